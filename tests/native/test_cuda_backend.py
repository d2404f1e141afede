"""The Python side of the CUDA backend on a stand-in device: layout, queue, splitting, gathering."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast import backends


@pytest.mark.parametrize("most_runs", [10**9, 2, 1])
def test_diagonal_batches_come_back_in_order(stand_in, most_runs, capsys):
    device = stand_in(most_runs=most_runs)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 1, 1, 3, 7)), rng.standard_normal((2, 1, 1, 3))
    options = dict(alpha=[0.1, 0.5, 1.0], depth=[[2], [3]], w0=rng.uniform(0.5, 1, 7))
    for times in (None, [0.1, 0.3]):
        got = krf.flow_diagonal(X, y, **options, t_eval=times, backend="cuda", progress=True)
        expected = krf.flow_diagonal(X, y, **options, t_eval=times, backend="cpu")
        assert got.backend == "cuda"
        for name in ("beta", "dual", "loss", "t", "status", "n_steps", "n_rhs"):
            assert np.allclose(getattr(got, name), getattr(expected, name), rtol=1e-12), name
            assert getattr(got, name).dtype == getattr(expected, name).dtype
    assert max(device.launches) <= most_runs
    assert sum(device.launches) == 24
    assert "12/12" in capsys.readouterr().err
    got = krf.limit_diagonal(X, y, **options, backend="cuda")
    expected = krf.limit_diagonal(X, y, **options, backend="cpu")
    for name in ("beta", "loss", "status", "n_iterations"):
        assert np.allclose(getattr(got, name), getattr(expected, name), rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize("dense", [False, True])
def test_factorization_batches_come_back_in_order(stand_in, dense):
    stand_in(most_runs=3)
    data = krf.datasets.low_rank_completion(4, 3, 1, 8)
    if dense:
        A = np.random.default_rng(0).standard_normal((5, 4, 3))
        where, y = dict(measurements=A), np.tensordot(A, data.Y_star, 2)
    else:
        where, y = dict(entries=data.entries, dims=(4, 3)), data.y
    options = dict(alpha=[0.1, 1.0], width=[[2], [5], [40]], seed=3, t_eval=[0.1, 0.5])
    got = krf.flow_factorization(y, **where, **options, backend="cuda")
    expected = krf.flow_factorization(y, **where, **options, backend="cpu")
    for name in ("M", "gram", "loss", "t", "status"):
        assert np.allclose(getattr(got, name), getattr(expected, name), rtol=1e-9), name


@pytest.mark.parametrize("bias", [False, True])
def test_network_batches_come_back_in_order(stand_in, bias):
    stand_in(most_runs=2)
    data = krf.datasets.circle_teacher(6, seed=2)
    options = dict(width=5, alpha=[0.3, 1.0], seed=[[0], [1]], t_eval=[0.1, 0.5], bias=bias)
    got = krf.flow_mlp(data.X, data.y, **options, method="dopri5", backend="cuda")
    expected = krf.flow_mlp(data.X, data.y, **options, method="dopri5", backend="cpu")
    assert got.backend == "cuda"
    for name in ("loss", "t", "status", "n_steps", "n_rhs"):
        assert np.allclose(getattr(got, name), getattr(expected, name), rtol=1e-12), name
    assert np.allclose(got.predict(data.X), expected.predict(data.X), rtol=1e-12)


def test_a_single_run_that_does_not_fit_says_so(stand_in):
    stand_in(most_runs=0)
    with pytest.raises(MemoryError, match="a single run does not fit"):
        krf.flow_diagonal([[1.0, 2.0]], [2.0], alpha=[0.1, 1.0], backend="cuda")


def test_an_environment_variable_sets_the_threads_of_a_block(stand_in, monkeypatch):
    device = stand_in()

    def flow():
        krf.flow_diagonal([[1.0, 2.0]], [2.0], alpha=0.1, backend="cuda")
        return device.threads

    for text, threads in ((None, 0), ("", 0), ("128", 128), ("256", 256)):
        if text is not None:
            monkeypatch.setenv("KRF_CUDA_THREADS", text)
        assert flow() == threads
    for text in ("48", "0", "512", "many"):
        monkeypatch.setenv("KRF_CUDA_THREADS", text)
        with pytest.raises(ValueError, match="KRF_CUDA_THREADS: expected a multiple of 32"):
            flow()


def test_a_small_device_runs_fewer_teams(stand_in, monkeypatch):
    stand_in(teams=64)
    cp = sys.modules["cupy"]
    empty = cp.empty

    def small(shape, **options):
        if isinstance(shape, int) and shape > 20 * 8:
            raise MemoryError
        return empty(shape, **options)

    monkeypatch.setattr(cp, "empty", small)
    flow = krf.flow_diagonal([[1.0, 2.0]], [2.0], alpha=np.full(50, 0.1), backend="cuda")
    assert np.all(flow.status == krf.Status.CONVERGED)
    monkeypatch.setattr(cp, "empty", lambda *a, **k: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        krf.flow_diagonal([[1.0, 2.0]], [2.0], alpha=0.1, backend="cuda")


def test_why_the_device_is_missing(stand_in, monkeypatch):
    device = stand_in()
    many = dict(alpha=np.full(64, 0.5), num_threads=1)
    assert krf.flow_diagonal([[1.0]], [1.0], **many).backend == "cuda"  # "auto" prefers it
    assert "stand-in" in krf.show_config()
    for break_it, reason in (
        (lambda: monkeypatch.setattr(device, "device_count", lambda: 0), "no CUDA device"),
        (lambda: monkeypatch.setitem(sys.modules, "cupy", None), "CuPy is missing"),
    ):
        monkeypatch.setattr(device, "device_count", lambda: 1)
        break_it()
        backends._load.cache_clear()
        with pytest.raises(krf.BackendUnavailableError, match=reason):
            krf.flow_diagonal([[1.0]], [1.0], alpha=0.5, backend="cuda")
        assert krf.flow_diagonal([[1.0]], [1.0], **many).backend == "cpu"


def test_auto_takes_a_gpu_from_the_measured_number_of_runs_on(stand_in, monkeypatch):
    stand_in()
    X, y, _ = krf.datasets.sparse_regression(3, 4, 1)
    DATA = krf.datasets.low_rank_completion(4, 3, 1, 8)
    where = dict(entries=DATA.entries, dims=(4, 3), width=2)
    net = dict(width=2, t_eval=[1e-3])
    flows = {
        "flow_diagonal": lambda **o: krf.flow_diagonal(X, y, **o),
        "limit_diagonal": lambda **o: krf.limit_diagonal(X, y, **o),
        "flow_factorization": lambda **o: krf.flow_factorization(DATA.y, **where, **o),
        "flow_mlp": lambda **o: krf.flow_mlp(X, y, **net, **o),
    }
    for name, flow in flows.items():
        alpha = np.geomspace(0.1, 1.0, 128)
        assert flow(alpha=alpha, num_threads=2).backend == "cuda", name
        assert flow(alpha=alpha[1:], num_threads=2).backend == "cpu", name
        assert flow(alpha=0.5, num_threads=1, backend="cuda").backend == "cuda", name
    # Networks of more layers were slower on a GPU, however many.
    assert krf.flow_mlp(X, y, **net, alpha=np.ones(200), depth=3, num_threads=1).backend == "cpu"
    # Nor were margin losses measured, which "cuda" takes all the same.
    labels, signs = np.sign(y), np.sign(DATA.y)
    flows = {
        "flow_diagonal": lambda **o: krf.flow_diagonal(X, labels, loss="logistic", **o),
        "flow_factorization": lambda **o: krf.flow_factorization(
            signs, **where, loss="exponential", **o
        ),
    }
    for name, flow in flows.items():
        assert flow(alpha=np.ones(200), log_loss_eval=[0.0], num_threads=1).backend == "cpu", name
        assert flow(alpha=1.0, log_loss_eval=[0.0], backend="cuda").backend == "cuda", name
    many = dict(
        alpha=np.geomspace(0.5, 1.0, 200), loss="logistic", num_threads=1, progress=False, keep=()
    )
    sweep = krf.sweep_diagonal(X, labels, depth=[2], **many)
    assert sweep.attrs["backend"] == "cpu"
    # A sweep counts all its runs, and its blocks agree.
    sweep = dict(depth=[2, 3], alpha=np.geomspace(0.1, 1.0, 32), num_threads=1, progress=False)
    assert krf.sweep_diagonal(X, y, **sweep).attrs["backend"] == "cuda"
    sweep["alpha"] = sweep["alpha"][1:]
    assert krf.sweep_diagonal(X, y, **sweep).attrs["backend"] == "cpu"
    # With arrays on the device it is not a matter of speed.
    cp = sys.modules["cupy"]
    flow = krf.flow_diagonal(cp.asarray(X), cp.asarray(y), alpha=0.5, num_threads=1)
    assert flow.backend == "cuda"
    # Where the CPU's module does not load, a GPU is still better than the fallback.
    load = backends._load
    with monkeypatch.context() as patch:
        patch.setattr(backends, "_load", lambda name: "gone" if name == "cpu" else load(name))
        assert backends.get_backend("auto", many=False).name == "cuda"
