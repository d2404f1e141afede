"""The status of a Dataset: the same plain integers, and what they mean, however it came about."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import kernelrich_fast as krf
from kernelrich_fast.sweeps import execute

X, Y, _ = krf.datasets.sparse_regression(5, 9, 2)
# The first run ends at its last time, the others at a loss.
RUNS = {"alpha": [0.1, 0.5, 1.0], "t_max": [1e-6, np.inf, np.inf], "num_threads": 1}


def swept(**options):
    return krf.sweep_diagonal(X, Y, progress=False, **RUNS, **options)


def one_block(tmp_path, monkeypatch):
    return swept()


def several_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "MOST_BYTES", 1.0)
    return swept()


def stored(tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    return swept(store=tmp_path / "sweep.zarr")


def stored_before(tmp_path, monkeypatch):
    """As a version that wrote no attributes left it."""
    stored(tmp_path, monkeypatch)
    file = tmp_path / "sweep.zarr" / "status" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"attributes": {}}))
    return swept(store=tmp_path / "sweep.zarr")


def opened_by_others(tmp_path, monkeypatch):
    stored(tmp_path, monkeypatch)
    return xr.open_zarr(tmp_path / "sweep.zarr", chunks=None)


def netcdf(tmp_path, monkeypatch):
    swept().to_netcdf(tmp_path / "sweep.nc", engine="scipy")
    return xr.load_dataset(tmp_path / "sweep.nc", engine="scipy")


def joined(tmp_path, monkeypatch):
    ds = swept()
    return xr.concat([ds.isel(alpha=[0]), ds.isel(alpha=[1, 2])], "alpha")


def of_one_call(tmp_path, monkeypatch):
    return krf.flow_diagonal(X, Y, **RUNS).to_dataset({"alpha": RUNS["alpha"]})


def of_networks(tmp_path, monkeypatch):
    data = krf.datasets.circle_teacher(5)
    return krf.sweep_mlp(data.X, data.y, width=3, rtol=1e-2, progress=False, **RUNS)


ROUTES = (
    one_block, several_blocks, stored, stored_before, opened_by_others, netcdf, joined, of_one_call,
    of_networks,
)  # fmt: skip


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
def test_status_is_plain_integers_with_their_meanings(route, tmp_path, monkeypatch):
    status = route(tmp_path, monkeypatch).status
    assert type(status.variable.values) is type(status.variable.data) is np.ndarray
    assert status.dtype.kind == "i"
    names = dict(zip(status.flag_values, status.flag_meanings.split(), strict=True))
    assert names == {int(each): each.name for each in krf.Status}
    if route is not opened_by_others:  # of Zarr attributes are JSON, which has lists
        assert np.asarray(status.flag_values).dtype.kind == "i"
        assert isinstance(status.flag_values, np.ndarray)
    assert (status == krf.Status.T_END).values.tolist() == [True, False, False]
