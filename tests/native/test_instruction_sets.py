"""The instruction set of the compiled module: chosen by what the processor has, or by KRF_ISA."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import json, numpy as np, kernelrich_fast as krf
from kernelrich_fast import _core
X, y, _ = krf.datasets.sparse_regression(21, 50, 3)
runs = [krf.flow_diagonal(X, y, alpha=0.01, depth=D, rtol=1e-8) for D in (2, 2.5, 3, 5)]
ends = [krf.limit_diagonal(X, y, alpha=1e-5, depth=D) for D in (2, 2.5, 3, 5)]
print(json.dumps([_core.instruction_set, [r.beta.tolist() for r in runs + ends]]))
"""
# The module alone: an emulator takes long to load NumPy.
ALONE = """
import sys, importlib.util
spec = importlib.util.spec_from_file_location("_testing", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.instruction_set, module.phi(1, 0.5))
"""
ON_X86 = platform.machine().lower() in ("x86_64", "amd64")

pytestmark = pytest.mark.usefixtures("compiled")


def chosen(isa: str, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=sys.prefix,
        env={**os.environ, "KRF_ISA": isa},
    )  # fmt: skip


def test_instruction_sets_agree():
    results = {}
    for isa in ("baseline", "avx2", "avx512"):
        ran = chosen(isa, SCRIPT)
        if ran.returncode:
            assert isa != "baseline"
            assert "KRF_ISA: expected an instruction set that works here" in ran.stderr
            continue
        name, betas = json.loads(ran.stdout)
        assert name == isa
        results[name] = np.array(betas)
    for betas in results.values():
        assert np.allclose(betas, results["baseline"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("isa", ["avx1024", "AVX2", " "])
@pytest.mark.parametrize("backend", ["auto", "cpu"])
def test_an_unknown_instruction_set_is_an_error(isa, backend):
    """No other one in its place, and no other backend."""
    ran = chosen(
        isa,
        "import kernelrich_fast as krf; print(krf.show_config())\n"
        f"krf.flow_diagonal([[1.0]], [1.0], alpha=1.0, backend={backend!r})",
    )
    assert "BackendUnavailableError" in ran.stderr
    assert f"got '{isa}'" in ran.stderr
    assert "cpu: not available: KRF_ISA: expected an instruction set" in ran.stdout


def test_an_empty_wish_is_none():
    ask = "from kernelrich_fast import _core; print(_core.instruction_set)"
    environment = {k: v for k, v in os.environ.items() if k != "KRF_ISA"}
    unset = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, cwd=sys.prefix, check=True,
        env=environment,
    )  # fmt: skip
    assert chosen("", ask).stdout == unset.stdout


@pytest.mark.skipif(not ON_X86, reason="x86-64 alone has several")
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="no qemu-x86_64: qemu-user")
@pytest.mark.parametrize(
    "masked", ["", "bmi1", "bmi2", "abm", "movbe", "f16c", "fma", "avx2", "avx", "xsave", "popcnt"]
)
def test_one_masked_feature_rules_out_the_whole_level(masked):
    """Virtual machines mask single features; the compiler uses any of the level it was told."""
    _testing = pytest.importorskip("kernelrich_fast._testing", reason="built without KRF_TESTING")
    ran = subprocess.run(
        ["qemu-x86_64", "-cpu", f"max,-{masked}" if masked else "max", sys.executable, "-S", "-c",
         ALONE, _testing.__file__],
        capture_output=True, text=True, cwd=sys.prefix,
        # The C library of Debian 12 uses BMI1 itself wherever there is AVX2.
        env={**os.environ, "KRF_ISA": "", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    name, phi = ran.stdout.split()
    assert name == ("baseline" if masked else "avx2")  # the emulator has no AVX-512
    assert float(phi) == pytest.approx(-np.expm1(-0.5) / 0.5, rel=1e-15)
