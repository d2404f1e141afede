"""A tree without the compiled module: everything runs, and what runs is said once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import distribution
from pathlib import Path

import pytest

import kernelrich_fast as krf

SCRIPT = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy as np, kernelrich_fast as krf
    X, y, star = krf.datasets.sparse_regression(6, 15, 2, seed=3)
    flow = krf.flow_diagonal(X, y, alpha=[0.1, 1.0], t_eval=[0.0, 0.1])
    limit = krf.limit_diagonal(X, y, alpha=0.1)
    data = krf.datasets.low_rank_completion(4, 3, 1, 8)
    cells = krf.flow_factorization(data.y, entries=data.entries, dims=(4, 3), alpha=0.1, width=5)
    circle = krf.datasets.circle_teacher(5)
    nets = krf.flow_mlp(circle.X, circle.y, width=6, stop_loss=1e-3, rtol=1e-3)
    assert {r.backend for r in (flow, limit, cells, nets)} == {"numpy"}
    assert all(np.all(r.status < 3) for r in (flow, limit, cells, nets))
    sweeps = [
        krf.sweep_diagonal(X, y, alpha=[0.1, 1.0], beta_star=star, progress=False),
        krf.sweep_factorization(np.ones((3, 3)), alpha=1.0, width=2, seeds=[0], n_observed=7,
                                progress=False),
        krf.sweep_mlp(circle.X, circle.y, alpha=1.0, seeds=[0], width=6, stop_loss=1e-3,
                      rtol=1e-3, progress=False),
    ]
    assert all(ds.attrs["backend"] == "numpy" for ds in sweeps)
    krf.theory.critical_alpha(X, y, star, threshold=1.0)
(warning,) = caught
assert warning.category is krf.FallbackWarning and warning.filename == "<string>", warning
print(warning.message)
try:
    krf.flow_diagonal(X, y, alpha=1.0, backend="cpu")
except krf.BackendUnavailableError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    left_out = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    package = Path(krf.__file__).parent
    shutil.copytree(package, folder / "kernelrich_fast", ignore=left_out)
    return folder


def printed_by(script, tree):
    # -S and a path of our own: an installation that hooks imports would bring its module along.
    path = [str(tree), *(p for p in sys.path if p and Path(p).resolve() != tree)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    out = subprocess.run(
        [sys.executable, "-S", "-c", script], env=environment, capture_output=True, text=True,
        cwd=tree,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    return out.stdout


def test_everything_runs_and_says_so_once(tree):
    said, refused = printed_by(SCRIPT, tree).splitlines()
    assert "'numpy' runs: slower" in said
    assert "was not built" in said
    assert refused.startswith("backend 'cpu': the compiled module kernelrich_fast._core was not")


def test_a_source_tree_says_so_and_names_the_installed_package(tree):
    ask = "from kernelrich_fast import backends\nprint(backends.available_backends()['cpu'])"
    nothing = (
        "import importlib.metadata as m\n"
        "def none(name): raise m.PackageNotFoundError\n"
        "m.distribution = none\n"
    )
    (tree / "csrc").mkdir()
    try:
        beside, alone = printed_by(ask, tree), printed_by(nothing + ask, tree)
    finally:
        (tree / "csrc").rmdir()
    for said in (beside, alone):
        assert f"is not in the source tree {tree / 'kernelrich_fast'}, which was imported" in said
        assert "start Python in another folder" in said
    assert "pip install it" in alone
    installed = Path(str(distribution("kernelrich_fast").locate_file("kernelrich_fast")))
    if any(installed.glob("_core*")):
        assert f"the installed package is {installed.resolve()}" in beside


def test_commands_in_a_source_tree_warn(tree):
    # PYTHONPATH is behind the working directory, which -m puts first.
    out = subprocess.run(
        [sys.executable, "-m", "kernelrich_fast", "reproduce", "fig5", "--quick", "--out", "out"],
        capture_output=True, text=True, cwd=tree,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    assert out.stderr.count("FallbackWarning") == 1


def test_a_module_that_is_there_and_does_not_load_says_why(tree):
    asks = (
        "from kernelrich_fast.backends import available_backends as all_of\nprint(all_of()['cuda'])"
    )
    assert printed_by(asks, tree).startswith("the CUDA module was not built")
    broken = tree / "kernelrich_fast" / f"_cuda{EXTENSION_SUFFIXES[0]}"
    broken.write_bytes(b"not a module")
    try:
        said = printed_by(asks, tree)
    finally:
        broken.unlink()
    assert said.startswith("the CUDA module does not load (")
    assert broken.name in said
