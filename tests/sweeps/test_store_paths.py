"""Where stores lie, who writes to them, and what they leave as it was."""

from __future__ import annotations

import os
import threading
import warnings

import numpy as np
import pytest
import xarray as xr
from test_store import SWEEPS, diagonal, files

import kernelrich_fast as krf

filelock = pytest.importorskip("filelock")
zarr = pytest.importorskip("zarr")


def paths(**options):
    rng = np.random.default_rng(0)
    return krf.sweep_rich_path(
        rng.standard_normal((6, 4, 9)), rng.standard_normal((6, 4)), depth=[2, 3],
        keep=("norms", "path"), progress=False, num_threads=1, **options,
    )  # fmt: skip


ALL = SWEEPS | {"paths": paths}


@pytest.mark.parametrize("family", ALL)
def test_the_settings_of_zarr_stay_as_they_are(family, tmp_path, small_blocks, monkeypatch):
    """A setting that holds for a while holds for other threads as well."""

    def touched(*_, **__):
        raise AssertionError("the settings of Zarr belong to the whole process")

    monkeypatch.setattr(zarr.config, "set", touched)
    ALL[family](store=tmp_path / "s.zarr")
    group = zarr.open_group(tmp_path / "s.zarr", mode="r")
    for name, array in group.arrays():
        if "kernelrich_fast_sweep" in group.attrs and name in group.attrs[
            "kernelrich_fast_sweep"]["variables"]:  # fmt: skip
            blocks = sum(p.is_file() for p in (tmp_path / "s.zarr" / name / "c").rglob("*"))
            assert blocks == array.nchunks, name


def test_threads_write_stores_at_once(tmp_path, small_blocks):
    """Each its own; nothing that they set for a while stays."""
    before = zarr.config.get("array.write_empty_chunks")
    whole, found = paths(), {}

    def sweep(k):
        found[k] = paths(store=tmp_path / f"{k}.zarr").load()

    threads = [threading.Thread(target=sweep, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert zarr.config.get("array.write_empty_chunks") is before
    assert ("ignore", None, Warning, None, 0) not in warnings.filters
    for k in range(4):
        xr.testing.assert_identical(found[k], whole)
        assert xr.open_zarr(tmp_path / f"{k}.zarr", consolidated=True).status.min() >= 0


def test_one_writer_whatever_the_link(tmp_path):
    real, link, chain = tmp_path / "real.zarr", tmp_path / "link.zarr", tmp_path / "chain.zarr"
    link.symlink_to(real)
    chain.symlink_to(link)
    with filelock.FileLock(f"{real}.lock"):
        for path in (link, chain, tmp_path / "." / "link.zarr"):
            with pytest.raises(krf.StoreError, match=r"real\.zarr is being written by another"):
                diagonal(store=path)
    xr.testing.assert_identical(diagonal(store=chain), diagonal())
    assert link.is_symlink()
    assert (real / "zarr.json").exists()
    assert not (tmp_path / "link.zarr.lock").exists()
    xr.testing.assert_identical(diagonal(store=real), diagonal())


def test_links_to_nothing_and_to_an_empty_folder_are_followed(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        link = tmp_path / f"to-{name}"
        link.symlink_to(tmp_path / name)
        assert diagonal(store=link).status.size == 30
        assert link.is_symlink()
        assert (tmp_path / name / "zarr.json").exists()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(ValueError, match=r"^store: expected .*loop, a link that leads to itself"):
        diagonal(store=loop)


def test_the_current_folder_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path in ("", ".", os.getcwd(), tmp_path / "here"):
        with pytest.raises(ValueError, match=r"^store: expected"):
            diagonal(store=path)
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]
    diagonal(store="sweep.zarr")
    monkeypatch.chdir("sweep.zarr")
    xr.testing.assert_identical(diagonal(store="."), diagonal())  # it is there already


def test_pending_runs_are_seen_to_be_pending(tmp_path, small_blocks, monkeypatch):
    from test_store import stop_after

    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            paths(store=tmp_path / "s.zarr")
    with xr.open_zarr(tmp_path / "s.zarr", chunks=None) as part:
        pending = part.status.values < 0
        assert 0 < pending.sum() < pending.size
        for name, variable in part.data_vars.items():
            values = variable.values[pending]
            expected = {"f": np.isnan(values), "i": values == -1, "b": ~values.astype(bool)}
            assert expected[variable.dtype.kind].all(), name


@pytest.mark.parametrize("calls", [1, 2])
def test_an_interrupted_store_is_consolidated_when_it_goes_on(calls, tmp_path, monkeypatch):
    from kernelrich_fast.sweeps import store

    original, count = store._consolidate, []

    def consolidate(path):
        count.append(path)
        if len(count) == calls:
            raise KeyboardInterrupt
        original(path)

    with monkeypatch.context() as patch:
        patch.setattr(store, "_consolidate", consolidate)
        with pytest.raises(KeyboardInterrupt):
            diagonal(store=tmp_path / "s.zarr")
    ds = diagonal(store=tmp_path / "s.zarr")
    with xr.open_zarr(tmp_path / "s.zarr", consolidated=True, chunks=None) as opened:
        assert set(ds.data_vars) <= set(opened.data_vars)
        assert np.array_equal(opened.loss, ds.loss)
    before = files(tmp_path)
    diagonal(store=tmp_path / "s.zarr")
    assert files(tmp_path) == before


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no folder in which nobody can write")
def test_a_folder_in_which_nobody_can_write_is_not_another_call():
    with pytest.raises(krf.StoreError, match=r"^store: cannot write beside /proc/x.zarr"):
        diagonal(store="/proc/x.zarr")
