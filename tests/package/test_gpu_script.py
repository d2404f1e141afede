"""What bench/gpu.sh makes of a machine, with stand-ins for the programs that a GPU's has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
TOOLS = ("bash", "timeout", "mktemp", "grep", "tail", "tee", "cut")

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason="needs the usual shell tools"
)

PYTHON = r"""#!/usr/bin/env bash
case "$*" in
*'import kernelrich_fast._cuda'* | *pytest_timeout*) exit 0 ;;
*'kernelrich_fast info'*) echo "  cuda: $CUDA" ;;
*pytest*) printf '%b\n' "$TESTS" ;;
*first_contact*) echo '{"check": "device", "found": 1}' ;;
*gpu.py*) for word; do last=$word; done; echo '{"rows": []}' >"$last" ;;
esac
"""

# Builds, as its last argument, the experiments of bench/device/micro.
NVCC = r"""#!/usr/bin/env bash
for word; do last=$word; done
printf "%s\n" "#!/usr/bin/env bash" "echo {}" >"$last"
[ -n "$BROKEN" ] || chmod +x "$last"
"""


@pytest.fixture
def machine(tmp_path):
    """Runs a stage; gives its exit status, the lines of steps.jsonl and the files it left."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("nvidia-smi", "ncu", "compute-sanitizer"):
        (programs / name).write_text("#!/usr/bin/env bash\nexit 0\n")
    (programs / "nvcc").write_text(NVCC)
    (programs / "python3").write_text(PYTHON)
    for each in programs.iterdir():
        each.chmod(0o755)

    def run(stage, *names, cuda="works", tests="3 passed, 1 skipped", broken=""):
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        env = os.environ | {"CUDA": cuda, "TESTS": tests, "BROKEN": broken}
        env["PATH"] = f"{programs}:{env['PATH']}"
        done = subprocess.run(
            ["bash", str(BENCH / "gpu.sh"), str(out), stage, *names],
            env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        steps = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
        return done.returncode, steps, sorted(each.name for each in out.rglob("*"))

    return run


@pytest.mark.parametrize("stage", ["check", "measure"])
def test_a_machine_on_which_all_goes_well(machine, stage):
    status, steps, files = machine(stage)
    assert [each["step"] for each in steps if each.get("rc", 1)] == []
    assert status == 0
    assert ("micro.jsonl" in files) == (stage == "check")
    assert len(files) <= 8  # few enough to carry away whole
    assert "log.txt" in files


def test_a_build_that_leaves_no_executable_is_a_failure(machine):
    status, steps, files = machine("check", broken="yes")
    assert status == 1
    assert [each["step"] for each in steps if each["rc"]] == ["micro"]
    assert "micro.jsonl" not in files


@pytest.mark.parametrize(
    "tests", ["11 skipped", "3 passed, 8 skipped\\nSKIPPED [8] tests/x.py:1: cuda: no device", ""]
)
def test_tests_that_did_not_run_on_the_device_show_nothing(machine, tests):
    status, steps, _ = machine("check", tests=tests)
    assert status == 1
    assert [s["step"] for s in steps if "nothing_ran_on_the_device" in s] == ["parts", "tests"]


def test_without_a_device_nothing_else_is_tried(machine):
    status, steps, _ = machine("measure", cuda="not available: no device")
    assert status == 1
    assert [each["step"] for each in steps] == ["info"]


def test_steps_are_chosen_by_name(machine):
    status, steps, files = machine("check", "contact", "tests")
    assert status == 0
    assert [each["step"] for each in steps] == ["info", "contact", "tests"]
    assert files == ["contact.jsonl", "log.txt", "steps.jsonl"]


def test_an_unknown_stage_is_an_error(machine):
    assert machine("chekc")[0] == 2


def test_contact_is_rehearsed_on_the_cpu():
    done = subprocess.run(
        [sys.executable, str(BENCH / "device" / "first_contact.py"), "--backend", "cpu", "--small"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, rows
    assert [row["check"] for row in rows[:-1]] == [
        "small_flows", "small_limits", "factorization", "linear_networks", "networks", "cluster",
    ]  # fmt: skip
    assert rows[-1] == {"failed": 0}


def test_a_row_that_fails_does_not_end_the_others(tmp_path):
    out = tmp_path / "rows.json"
    program = (
        f"import runpy, sys; sys.argv = ['gpu.py', '--backend', 'cpu', '--runs', '2', '--repeats',"
        f" '1', '--only', 'limit,flow,limit', '--out', {str(out)!r}]\n"
        "import kernelrich_fast as krf\n"
        "def broken(*a, **k): raise RuntimeError('an illegal memory access')\n"
        "krf.flow_diagonal = broken\n"
        f"runpy.run_path({str(BENCH / 'gpu.py')!r}, run_name='__main__')"
    )
    # `limit` wants the flow's times first, which is what fails here.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    rows = json.loads(out.read_text())["rows"]
    assert done.returncode == 1
    assert len(rows) == 3
    assert all("illegal memory access" in row["failed"] for row in rows)
