"""Sweeps on disk: nothing lost, nothing mixed, nothing overwritten."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import kernelrich_fast as krf
from kernelrich_fast.sweeps import execute

filelock = pytest.importorskip("filelock")
zarr = pytest.importorskip("zarr")


def diagonal(**options):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3, 4, 9)), rng.standard_normal((3, 4))
    arguments = dict(
        alpha=np.geomspace(1e-3, 1.0, 5), depth=[2, 3], keep=("norms", "beta"), progress=False,
        beta_star=rng.standard_normal((3, 9)), w0=np.linspace(1.0, 2.0, 9), t_eval=[0.0, 0.1, 0.5],
        rtol=np.array([[1e-4], [1e-6]]), num_threads=1,
    )  # fmt: skip
    return krf.sweep_diagonal(X, y, **(arguments | options))


def factorization(**options):
    data = krf.datasets.low_rank_completion(5, 5, 1, 12)
    return krf.sweep_factorization(
        np.stack([data.Y_star, data.Y_star.T]), alpha=[0.01, 0.1, 1.0], width=[3, 30],
        seeds=[4, 7], n_observed=12, keep=("norms", "M"), t_max=[[[1.0, 2.0]]],
        progress=False, **options,
    )  # fmt: skip


def linear(**options):
    rng = np.random.default_rng(1)
    return krf.sweep_linear(
        rng.standard_normal((5, 4)), rng.standard_normal((5, 3)), alpha=[0.01, 0.1, 1.0],
        width=[3, 30], seeds=[4, 7], keep=("norms", "modes", "M"), t_max=[[[1.0, 2.0]]],
        M_star=np.ones((3, 4)), progress=False, **options,
    )  # fmt: skip


def networks(**options):
    data = krf.datasets.circle_teacher(6, seed=1)
    return krf.sweep_mlp(
        data.X, data.y, depth=[2, 3], alpha=[[0.3, 1.0], [0.4, 1.0]], seeds=[0, 1, 2], rtol=1e-3,
        keep=("norms", "predictions", "kernel_predictors"), X_test=data.X_test, y_test=data.y_test,
        progress=False, **options,
    )  # fmt: skip


def large(**options):
    """Matrices that linear algebra libraries share out among threads."""
    X, y, _ = krf.datasets.sparse_regression(150, 300, 5)
    return krf.sweep_diagonal(
        np.stack([X, -X]), y, alpha=[0.1, 1.0], limit=True, progress=False, num_threads=1, **options
    )


def medium(**options):
    """Matrices that linear algebra libraries multiply as their addresses suggest."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 30, 60)), rng.standard_normal((20, 30))
    return krf.sweep_diagonal(
        X, y, alpha=[1e-3, 1.0], limit=True, progress=False, num_threads=1, **options
    )


SWEEPS = {
    "diagonal": diagonal, "factorization": factorization, "linear": linear, "networks": networks,
    "large": large,
    "medium": medium,
}  # fmt: skip


def files(path: Path) -> dict[str, str]:
    return {
        str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(path.rglob("*"))
        if p.is_file()
    }


def chunk(path: Path) -> Path:
    """The file of a block of a variable, which may have dimensions beyond the grid's."""
    while path.is_dir():
        path = path / "0"
    return path


def stop_after(count: int, monkeypatch) -> None:
    """Let so many blocks be computed, then raise what Ctrl-C raises."""
    original, calls = execute.compute_block, []

    def compute(*arguments):
        calls.append(1)
        if len(calls) > count:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(execute, "compute_block", compute)


@pytest.mark.parametrize("family", SWEEPS)
def test_blocks_and_stores_change_no_bit(family, tmp_path, small_blocks, monkeypatch):
    sweep = SWEEPS[family]
    with monkeypatch.context() as patch:
        patch.setattr(execute, "MOST_BYTES", 1e9)
        whole = sweep()
    xr.testing.assert_identical(sweep(), whole)
    stored = sweep(store=tmp_path / "new.zarr")
    xr.testing.assert_identical(stored, whole)
    for name, variable in whole.variables.items():
        assert stored[name].dtype == variable.dtype
    # Once complete it is only read.
    monkeypatch.setattr(execute, "compute_block", None)
    before = files(tmp_path / "new.zarr")
    assert sum(name.startswith("status/c") for name in before) > 1
    xr.testing.assert_identical(sweep(store=str(tmp_path / "new.zarr")), whole)
    assert files(tmp_path / "new.zarr") == before


def test_a_stored_sweep_is_plain_zarr_with_its_arguments(tmp_path):
    path = tmp_path / "sweep.zarr"
    ds = diagonal(store=path)
    with xr.open_zarr(path, chunks=None) as opened:
        manifest = opened.attrs.pop("kernelrich_fast_sweep")
        xr.testing.assert_identical(opened.drop_vars("t"), ds)  # says what time does
    assert manifest["versions"]["kernelrich_fast"] == krf.__version__
    assert manifest["backend"] == ds.attrs["backend"]
    assert manifest["arguments"]["max_steps"]["values"] == ["100000"]  # defaults too
    with xr.open_zarr(path, group="arguments", chunks=None) as arguments:
        assert np.array_equal(arguments.w0, np.linspace(1.0, 2.0, 9))
        assert arguments.X.shape == (3, 4, 9)
    for name in files(path):  # JSON and arrays of numbers, nothing that a reader would execute
        if name.endswith("zarr.json"):
            assert json.loads((path / name).read_text())["zarr_format"] == 3
        else:
            assert "/c/" in name or name.endswith("/c")
    for array in zarr.open_group(path, mode="r").arrays():
        assert array[1].dtype.kind in "fi"


def test_resuming_computes_what_is_missing(unfinished, monkeypatch):
    with xr.open_zarr(unfinished, chunks=None) as part:  # readable while it is unfinished
        done = part.status.values >= 0
        assert 0 < done.sum() < done.size
        assert np.isnan(part.loss.values[~done]).all()
    before = files(unfinished)
    seen = []
    original = execute.compute_block

    def compute(plan, block, *rest):
        seen.append(block)
        return original(plan, block, *rest)

    monkeypatch.setattr(execute, "compute_block", compute)
    resumed = diagonal(store=unfinished)
    missing = np.zeros(done.shape, dtype=bool)
    for block in seen:
        missing[block] = True
    xr.testing.assert_identical(resumed, diagonal())
    assert np.array_equal(missing, ~done)
    after = files(unfinished)
    assert {k: v for k, v in after.items() if k in before} == before


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from kernelrich_fast.sweeps import execute
execute._BLOCK_SECONDS = 1e-4
execute.MOST_BYTES = 4000
from test_store import diagonal
diagonal(store=sys.argv[1])
"""


def start(path: Path) -> subprocess.Popen[bytes]:
    call = [sys.executable, "-c", SCRIPT, str(path), str(Path(__file__).parent)]
    return subprocess.Popen(call, cwd=path.parent)


def wait_for_blocks(path: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    while sum(1 for p in (path / "status").rglob("*") if p.is_file()) <= count:
        if process.poll() is not None:
            return
        time.sleep(0.001)


def test_killed_at_any_moment_and_shut_to_others(tmp_path, small_blocks):
    path = tmp_path / "sweep.zarr"
    rng = np.random.default_rng(0)
    kills = 0
    for attempt, blocks in enumerate((0, 5, 20)):
        process = start(path)
        wait_for_blocks(path, blocks, process)
        if attempt == 1 and process.poll() is None:
            os.kill(process.pid, signal.SIGSTOP)  # so that it cannot end meanwhile
            before = files(path)
            with pytest.raises(krf.StoreError, match="being written by another call"):
                diagonal(store=path)
            assert files(path) == before
            os.kill(process.pid, signal.SIGCONT)
        time.sleep(float(rng.uniform(0.0, 0.01)))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    xr.testing.assert_identical(diagonal(store=path), diagonal())


def test_other_arguments_change_nothing(unfinished):
    before = files(unfinished)
    for options, name in (
        ({"alpha": [0.1]}, "alpha: it has .*got \\[0.1\\]"),
        ({"rtol": 1e-5}, "rtol: it has .*got 1e-05"),
        ({"keep": "beta"}, "keep: it has .*norms"),
        ({"w0": None}, "w0: it has .*got None"),
        ({"backend": "cpu"}, "backend: it has 'auto', got 'cpu'"),
        ({"beta_star": None}, "beta_star: it has values of shape"),
    ):
        with pytest.raises(ValueError, match=f"other arguments; {name}"):
            diagonal(store=unfinished, **options)
    with pytest.raises(ValueError, match="is of sweep_diagonal, not of sweep_mlp"):
        networks(store=unfinished)
    diagonal(store=unfinished, num_threads=2)  # which results do not depend on
    assert files(unfinished).items() >= before.items()


def test_nothing_else_is_overwritten(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("mine")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    other = tmp_path / "other.zarr"
    xr.Dataset({"a": ("x", [1.0])}).to_zarr(other, zarr_format=3, consolidated=False)
    before = files(tmp_path)
    for path in (text, folder, other):
        with pytest.raises(ValueError, match="which is something else; nothing was changed"):
            diagonal(store=path)
    assert files(tmp_path) == before
    with pytest.raises(ValueError, match="expected a path on this machine"):
        diagonal(store="s3://bucket/sweep.zarr")
    with pytest.raises(TypeError, match="store: expected a path"):
        diagonal(store=3)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert diagonal(store=empty).status.size == 30


def test_bad_arguments_leave_no_store(tmp_path):
    with pytest.raises(ValueError, match="rtol"):
        diagonal(store=tmp_path / "new.zarr", rtol=1.0)
    with pytest.raises(ValueError, match="method"):
        diagonal(store=tmp_path / "new.zarr", method="euler")
    assert not (tmp_path / "new.zarr").exists()


def test_a_full_disk_keeps_what_was_there(unfinished):
    """The operating system refuses to write longer files, as it does when a disk is full."""
    before = files(unfinished)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(krf.StoreError, match=r"could not write block .* is kept and readable"):
            diagonal(store=unfinished)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = files(unfinished)
    assert {name: after.get(name) for name in before} == before
    with xr.open_zarr(unfinished, chunks=None) as part:
        assert np.isfinite(part.loss.values[part.status.values >= 0]).all()
    xr.testing.assert_identical(diagonal(store=unfinished), diagonal())


def test_a_full_disk_leaves_no_half_store(tmp_path, small_blocks):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(krf.StoreError, match="could not write"):
            diagonal(store=tmp_path / "new.zarr")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in tmp_path.iterdir()] == ["new.zarr.lock"]


@pytest.mark.skipif(sys.platform != "linux", reason="takes another user's identity")
def test_read_only_stores(unfinished, tmp_path):
    import copy

    complete = tmp_path / "complete.zarr"
    diagonal(store=complete)
    folders = [tmp_path, *(p for p in tmp_path.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    for parent in copy.copy(tmp_path.parents)[:3]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(0o755)
    root = os.geteuid() == 0
    if root:  # whom no mode keeps from writing
        os.seteuid(65534)
    try:
        before = files(tmp_path)
        assert (diagonal(store=complete).status.values >= 0).all()
        for path in (unfinished, tmp_path / "new.zarr"):
            with pytest.raises(krf.StoreError, match=r"cannot write beside|read-only"):
                diagonal(store=path)
        assert files(tmp_path) == before
    finally:
        if root:
            os.seteuid(0)
        for folder in folders:
            folder.chmod(0o755)


def test_versions_and_backends_are_not_mixed(tmp_path, small_blocks, monkeypatch):
    path = tmp_path / "sweep.zarr"
    with monkeypatch.context() as patch:
        original = execute.get_backend
        patch.setattr(execute, "get_backend", lambda name, **_: original("numpy"))
        stop_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            diagonal(store=path)
    with monkeypatch.context() as patch:
        patch.setattr("kernelrich_fast.sweeps._manifest.__version__", "99.0")
        with pytest.raises(ValueError, match=r"was begun by kernelrich_fast .*, this is 99\.0"):
            diagonal(store=path)
    ds = diagonal(store=path)  # goes on with what "auto" meant when it began
    assert ds.attrs["backend"] == "numpy"
    del ds.attrs["backend"]
    expected = diagonal(backend="numpy")
    del expected.attrs["backend"]
    xr.testing.assert_identical(ds, expected)


def test_convergence_is_counted_once(tmp_path, small_blocks):
    for options in ({}, {"store": tmp_path / "a.zarr"}, {"store": tmp_path / "a.zarr"}):
        with pytest.warns(krf.ConvergenceWarning, match="30 MAX_STEPS of 30 runs") as caught:
            diagonal(max_steps=1, t_eval=None, rtol=1e-6, w0=None, **options)
        assert len(caught) == 1
        assert caught[0].filename == __file__
