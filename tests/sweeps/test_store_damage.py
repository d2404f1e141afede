"""Stores that were damaged, moved or made elsewhere: repaired, or refused by name."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import xarray as xr
from test_store import chunk, diagonal, files, stop_after

import kernelrich_fast as krf
from kernelrich_fast.sweeps import execute

zarr = pytest.importorskip("zarr")


def test_damage_is_found(unfinished):
    whole = diagonal()
    status = [p for p in (unfinished / "status" / "c").rglob("*") if p.is_file()]
    index = status[0].relative_to(unfinished / "status")
    for name, damage in (("loss", b""), ("beta", None), ("l1_norm", b"nonsense")):
        file = chunk(unfinished / name / index)
        content = file.read_bytes()
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage or content[: len(content) // 2])
        with pytest.MonkeyPatch.context() as patch:
            stop_after(1, patch)  # the damaged block alone
            with pytest.raises(KeyboardInterrupt):
                diagonal(store=unfinished)
        with xr.open_zarr(unfinished, chunks=None) as part:
            done = part.status.values >= 0
            assert np.array_equal(part[name].values[done], whole[name].values[done])
    diagonal(store=unfinished)
    file = chunk(unfinished / "loss" / index)
    flipped = bytearray(file.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    file.write_bytes(flipped)
    xr.testing.assert_identical(diagonal(store=unfinished), diagonal())


# Both groups; of arrays of every kind (arguments and coordinates with and without dimensions, and
# results) the metadata and the numbers.
SOME = (
    "zarr.json", "arguments/zarr.json", "arguments/X/", "arguments/max_steps/", "problem/", "rtol/",
    "status/", "beta/", "t/",
)  # fmt: skip


@pytest.mark.parametrize("damage", ["lost", "cut", "empty", "flipped"])
def test_every_file_of_a_complete_store_may_be_damaged(damage, tmp_path):
    """What is computed is computed again; what is not is an error that names the store."""
    path = tmp_path / "sweep.zarr"
    whole = diagonal(store=path).load()
    kept = tmp_path / "kept"
    shutil.copytree(path, kept)
    answers = {"the same": 0, "an error": 0}
    for name in files(kept):
        if damage != "lost" and not name.startswith(SOME):
            continue
        file = path / name
        content = file.read_bytes()
        if damage == "lost":
            file.unlink()
        elif damage == "flipped":
            file.write_bytes(content[: len(content) // 2]
                             + bytes([content[len(content) // 2] ^ 1])
                             + content[len(content) // 2 + 1 :])  # fmt: skip
        else:
            file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
        try:
            again, said = diagonal(store=path).load(), ""
        except (ValueError, krf.StoreError) as error:
            again, said = None, str(error)
        if again is None:
            assert said.startswith("store: "), (name, said)
            assert str(path) in said, (name, said)
            assert not name.startswith(tuple(f"{v}/c" for v in whole.data_vars)), (name, said)
            answers["an error"] += 1
        else:
            xr.testing.assert_equal(again, whole)
            answers["the same"] += 1
        shutil.rmtree(path)
        shutil.copytree(kept, path)
    assert answers["the same"] > (10 if damage == "lost" else 2)


def test_a_foreign_manifest_reaches_no_other_file(tmp_path):
    """Names of a manifest are joined to paths."""
    path, other = tmp_path / "sweep.zarr", tmp_path / "elsewhere"
    other.mkdir()
    (other / "mine.partial").write_text("kept")
    diagonal(store=path)
    group = zarr.open_group(path, mode="r+", zarr_format=3)
    good = dict(group.attrs["kernelrich_fast_sweep"])
    for change in (
        {"variables": ["loss", "status", str(other)]},
        {"variables": ["loss", "status", "../elsewhere"]},
        {"variables": "loss"},
        {"variables": [1]},
        {"block_shape": [0, 1, 1]},
        {"block_shape": ["1"]},
        {"block_shape": None},
        {"versions": {}},
        {"arguments": 3},
        {"backend": None},
        {"backend": "nope"},
    ):
        group.attrs["kernelrich_fast_sweep"] = good | change
        with pytest.raises(ValueError, match=r"^store: expected the store of a sweep"):
            diagonal(store=path)
    (path / "loss").rename(tmp_path / "moved")
    (path / "loss").symlink_to(other)
    group.attrs["kernelrich_fast_sweep"] = good
    with pytest.raises(krf.StoreError, match="is a link"):
        diagonal(store=path)
    assert (other / "mine.partial").read_text() == "kept"


def test_a_store_is_there_before_the_first_run(tmp_path, monkeypatch):
    path = tmp_path / "sweep.zarr"

    def killed(*_):
        assert (path / "zarr.json").exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(execute, "compute_block", killed)
        with pytest.raises(KeyboardInterrupt):
            diagonal(store=path)
    with xr.open_zarr(path, chunks=None) as begun:
        assert np.all(begun.status == -1)
    xr.testing.assert_identical(diagonal(store=path), diagonal())


def test_the_home_folder_is_meant_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    diagonal(store="~/sweep.zarr")
    assert (tmp_path / "sweep.zarr" / "zarr.json").exists()
    assert not (tmp_path / "~").exists()


def test_what_a_killed_process_left_is_removed(unfinished):
    litter = unfinished / "loss" / "c" / "0.0123.partial"
    litter.write_text("half")
    draft = unfinished.with_name(f".{unfinished.name}.kernelrich-draft")
    draft.mkdir()
    diagonal(store=unfinished)
    assert not litter.exists()
    assert not draft.exists()


def test_instruction_sets_are_not_mixed(unfinished, monkeypatch):
    from kernelrich_fast.backends import get_backend

    backend = get_backend("auto")
    before = files(unfinished)
    with monkeypatch.context() as patch:
        patch.setattr(backend, "instruction_set", "avx1024", raising=False)
        with pytest.raises(ValueError, match=r"instruction set .*this is avx1024.*KRF_ISA="):
            diagonal(store=unfinished)
    assert files(unfinished) == before
    whole = diagonal(store=unfinished)
    with monkeypatch.context() as patch:  # a complete one may be read anywhere
        patch.setattr(backend, "instruction_set", "avx1024", raising=False)
        xr.testing.assert_identical(diagonal(store=unfinished), whole)


def test_equal_numbers_are_equal_arguments(tmp_path):
    path, options = tmp_path / "s.zarr", {"progress": False, "limit": True}
    X, y = np.ones((1, 2)), [1]
    first = krf.sweep_diagonal(X, y, alpha=[1, 2], max_iter=100, store=path, **options)
    again = krf.sweep_diagonal(
        X.astype(int), np.array([1.0]), alpha=[1.0, 2.0], max_iter=100, store=path, **options
    )
    xr.testing.assert_equal(first, again)


def test_the_first_of_many_values_that_differ_is_named(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((4, 9)), rng.standard_normal(4)
    krf.sweep_diagonal(X, y, alpha=1.0, store=tmp_path / "s.zarr", progress=False)
    other = X.copy()
    other[2, 3] = 7.0
    match = r"X: 1 of 36 values differ, the first at \(2, 3\): it has [-\d.]+, got 7;"
    with pytest.raises(ValueError, match=match):
        krf.sweep_diagonal(other, y, alpha=1.0, store=tmp_path / "s.zarr", progress=False)
