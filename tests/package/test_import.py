"""Importing is cheap, and every public name is there when it is asked for."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import kernelrich_fast as krf


def run(code: str, folder: object) -> str:
    call = [sys.executable, "-c", code]
    return subprocess.run(call, capture_output=True, text=True, check=True, cwd=str(folder)).stdout


def test_importing_loads_numpy_and_little_else(tmp_path):
    heavy = ("scipy", "xarray", "pandas", "matplotlib", "tqdm", "dask", "zarr", "bokeh")
    out = run(
        f"import sys, kernelrich_fast as krf; print([m for m in {heavy!r} if m in sys.modules])",
        tmp_path,
    )
    assert out.strip() == "[]"


@pytest.mark.parametrize("name", krf.__all__)
def test_every_name_comes_in_a_fresh_interpreter(name, tmp_path):
    if name in ("plot", "theory", "sweep_mlp", "flow_diagonal", "__version__"):
        run(f"import kernelrich_fast as krf; krf.{name}", tmp_path)
    assert getattr(krf, name) is not None
    assert name in dir(krf)


MODULES = (krf, krf.datasets, krf.plot, krf.schedules, krf.theory)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_completion_offers_public_names_only(module):
    assert dir(module) == sorted(module.__all__)
    for name in dir(module):
        assert not inspect.ismodule(getattr(module, name)) or getattr(module, name) in MODULES


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="has no attribute 'flow_convolution'"):
        krf.flow_convolution  # noqa: B018
