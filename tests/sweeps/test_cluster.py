"""Sweeps on a Dask cluster: the same bits, whoever dies."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import xarray as xr
from test_store import SWEEPS, diagonal

import kernelrich_fast as krf
from kernelrich_fast.sweeps import execute

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as connected,
    ):
        yield connected


@pytest.mark.parametrize("family", SWEEPS)
def test_the_cluster_changes_no_bit(family, client, tmp_path, monkeypatch):
    local = SWEEPS[family]()
    xr.testing.assert_identical(SWEEPS[family](client=client), local)
    monkeypatch.setattr(execute, "_BLOCK_SECONDS", 1e-4)
    stored = SWEEPS[family](client=client, store=tmp_path / "sweep.zarr")
    xr.testing.assert_identical(stored, local)
    # A local call reads, or goes on with, what a cluster wrote.
    xr.testing.assert_identical(SWEEPS[family](store=tmp_path / "sweep.zarr"), local)


@pytest.mark.parametrize("family", ["medium", "networks"])
def test_threads_of_a_worker_do_not_disturb_each_other(family, monkeypatch):
    monkeypatch.setattr(execute, "_BLOCK_SECONDS", 1e-4)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=4, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        xr.testing.assert_identical(SWEEPS[family](client=client), SWEEPS[family]())


def test_a_worker_killed_in_mid_sweep(client, tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "_BLOCK_SECONDS", 1e-4)
    path = tmp_path / "sweep.zarr"
    before = set(client.run(os.getpid).values())

    def kill_one() -> None:
        while not path.exists():
            time.sleep(0.001)
        os.kill(min(before), signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    ds = diagonal(client=client, store=path)
    killer.join()
    client.wait_for_workers(2, timeout=60)
    assert set(client.run(os.getpid).values()) != before
    xr.testing.assert_identical(ds, diagonal())


def test_few_blocks_are_under_way_at_a_time(client, monkeypatch):
    """However long the sweep, workers hold no more than they are about to be asked for."""
    monkeypatch.setattr(execute, "_BLOCK_SECONDS", 1e-4)
    keys, most = [], []
    submit = client.submit

    def counting(function, *arguments, **options):
        future = submit(function, *arguments, **options)
        if function.__name__ == "_run":
            keys.append(future.key)
            most.append(sum(key in client.futures for key in keys))
        return future

    monkeypatch.setattr(client, "submit", counting)
    diagonal(client=client)
    assert len(keys) == 30
    # Two for each of two workers, those being fetched and released.
    assert 4 <= max(most) <= 8


def test_progress_and_warnings(client, capsys):
    with pytest.warns(krf.ConvergenceWarning, match="30 MAX_STEPS of 30 runs") as caught:
        diagonal(client=client, max_steps=1, t_eval=None, rtol=1e-6, progress=True)
    assert len(caught) == 1
    assert "30/30" in capsys.readouterr().err


def test_errors_come_back_as_they_are(client):
    with pytest.raises(ValueError, match="method: expected one of"):
        diagonal(client=client, method="euler")
    with pytest.raises(krf.BackendUnavailableError, match="cuda"):
        diagonal(client=client, backend="cuda")
    with pytest.raises(TypeError, match=r"client: expected a dask.distributed.Client, got 3"):
        diagonal(client=3)


def test_a_closed_client_is_refused_by_name():
    inside = distributed.Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None
    )
    inside.close()
    with pytest.raises(ValueError, match=r"^client: expected one that is connected, got .*closed"):
        diagonal(client=inside)


def test_workers_of_two_instruction_sets_are_not_mixed(monkeypatch):
    from kernelrich_fast.sweeps import cluster

    names = iter(["avx512", "avx2", *["avx512"] * 1000])
    monkeypatch.setattr(execute, "_BLOCK_SECONDS", 1e-4)
    monkeypatch.setattr(cluster, "_instruction_set", lambda plan: next(names))
    with (
        distributed.Client(processes=False, n_workers=1, threads_per_worker=1,
                           dashboard_address=None) as inside,
        pytest.raises(ValueError, match=r"^client: .*avx512 and avx2.*KRF_ISA"),
    ):  # fmt: skip
        diagonal(client=inside)
