"""The Python side of the CUDA backend on a stand-in device: layout, queue, splitting, gathering.

The stand-in keeps arrays in NumPy, finds them by "address", and solves every run of a launch with
the CPU backend, from the packed arrays it was given. What a real device adds is tested by every
test that takes ``backend``.
"""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast import backends

ARRAYS: dict[int, np.ndarray] = {}


class DeviceArray(np.ndarray):
    """A NumPy array whose ``data.ptr`` is a key into ARRAYS."""

    @property
    def data(self):
        base = np.asarray(self)
        address = base.__array_interface__["data"][0]
        ARRAYS[address] = base
        return types.SimpleNamespace(ptr=address)


def on_device(array):
    return np.ascontiguousarray(array).view(DeviceArray)


def fake_cupy():
    cp = types.ModuleType("cupy")
    cp.asarray = lambda a, dtype=None: on_device(np.array(a, dtype=dtype))
    cp.empty = lambda *a, **k: on_device(
        np.full(*a, np.nan, **k) if "dtype" not in k else np.zeros(*a, **k)
    )
    cp.zeros = lambda *a, **k: on_device(np.zeros(*a, **k))
    cp.asnumpy = lambda a: np.array(a)
    cp.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)
    stream = types.SimpleNamespace(ptr=7)
    memory = types.SimpleNamespace(OutOfMemoryError=MemoryError)
    runtime = types.SimpleNamespace(getDeviceProperties=lambda i: {"name": b"stand-in"})
    cp.cuda = types.SimpleNamespace(
        get_current_stream=lambda: stream, memory=memory, runtime=runtime,
        Device=lambda: types.SimpleNamespace(id=0),
    )  # fmt: skip
    return cp


class StandIn(types.ModuleType):
    """What csrc/bindings/cuda_module.cpp offers."""

    def __init__(self, most_runs=10**9, blocks=4):
        super().__init__("kernelrich_fast._cuda")
        self.most_runs, self.launches, self.blocks = most_runs, [], blocks

    def device_count(self):
        return 1

    def plan(self, batch):
        return {"threads": 32, "blocks": self.blocks, "doubles_per_block": 8}

    plan_diagonal_flow = plan_diagonal_limit = plan_factor_flow = plan_mlp_flow = plan

    def pack(self, X, count, n, d, packed, norm, stream):
        assert stream == 7
        ARRAYS[packed][:] = 0.0
        ARRAYS[packed][:, :d, :n] = np.swapaxes(ARRAYS[X], 1, 2)
        ARRAYS[norm][:] = np.linalg.norm(ARRAYS[packed], axis=2)

    def runs(self, queue, plan):
        count = queue["count"]
        order = ARRAYS[queue["order"]]
        assert sorted(order) == list(range(count))
        assert plan["blocks"] <= count
        if count > self.most_runs:
            raise MemoryError("stand-in")
        self.launches.append(count)
        return order

    def diagonal_problem(self, batch, run):
        a = {k: ARRAYS.get(v) if isinstance(v, int) else v for k, v in batch.items()}
        n, d = batch["n"], batch["d"]
        w = a["w_index"][run]
        X = a["X"][a["x_index"][run]][:d, :n].T
        y = a["y"][a["y_index"][run]]
        assert np.all(y[n:] == 0.0)
        start = dict(w_plus0=a["profile_plus"][w], w_minus0=a["profile_minus"][w])
        return X, y[:n], dict(alpha=a["alpha"][run], depth=batch["depth"], **start)

    def diagonal_flow(self, batch, settings, results, queue, plan, workspace, stream, progress):
        out = {k: ARRAYS[v] for k, v in results.items()}
        times = ARRAYS[settings["t_eval"]] if settings["n_eval"] else None
        for done, run in enumerate(self.runs(queue, plan)):
            X, y, problem = self.diagonal_problem(batch, run)
            flow = krf.flow_diagonal(
                X, y, **problem, t_eval=times, rtol=ARRAYS[settings["rtol"]][run],
                t_max=ARRAYS[settings["t_max"]][run], backend="cpu", num_threads=1,
                stop_loss=ARRAYS[settings["stop_loss"]][run] / (y @ y),
            )  # fmt: skip
            for name in ("beta", "w_plus", "w_minus", "dual", "loss", "t"):
                out[name][run] = getattr(flow, name)
            for name in ("status", "n_steps", "n_rhs"):
                out[name][run] = getattr(flow, name)
            if progress is not None:
                progress(done + 1)

    def diagonal_limit(
        self, batch, tolerance, max_iterations, results, queue, plan, workspace, stream, progress
    ):
        out = {k: ARRAYS[v] for k, v in results.items()}
        for run in self.runs(queue, plan):
            X, y, problem = self.diagonal_problem(batch, run)
            limit = krf.limit_diagonal(X, y, **problem, tol=tolerance, backend="cpu")
            for name in ("beta", "w_plus", "w_minus", "dual", "loss", "status"):
                out[name][run] = getattr(limit, name)
            out["n_steps"][run] = limit.n_iterations

    def factor_flow(self, batch, settings, results, queue, plan, workspace, stream, progress):
        a = {k: ARRAYS.get(v) if isinstance(v, int) else v for k, v in batch.items()}
        out = {k: ARRAYS[v] for k, v in results.items()}
        p, N, r = batch["p"], batch["n_samples"], batch["rank"]
        times = ARRAYS[settings["t_eval"]] if settings["n_eval"] else None
        for run in self.runs(queue, plan):
            W = a["scale"][run] * a["starts"][a["start_index"][run]]
            assert np.all(W[:, r:] == 0.0)
            if batch["X"]:
                X = a["X"][: p * batch["q"], :N].T.reshape(N, p, batch["q"])
                where = dict(measurements=X)
            else:
                where = dict(entries=(a["row"], a["column"] - batch["c0"]))
            y = a["y"][a["y_index"][run]][:N]
            flow = krf.flow_factorization(
                y, **where, U0=W[:p, :r], V0=W[p:, :r], t_eval=times, backend="cpu",
                rtol=ARRAYS[settings["rtol"]][run],
                stop_loss=ARRAYS[settings["stop_loss"]][run] / (y @ y),
            )  # fmt: skip
            both = np.concatenate([flow.U, flow.V], axis=-2)
            for name, value in dict(W=both, loss=flow.loss, t=flow.t).items():
                out[name][run] = value
            for name in ("status", "n_steps", "n_rhs"):
                out[name][run] = getattr(flow, name)

    def mlp_flow(self, batch, settings, results, queue, plan, workspace, stream, progress):
        arrays = ("X", "y", "w0", "alpha", "x_index", "y_index", "w_index")
        a = {k: ARRAYS[v] if k in arrays else v for k, v in batch.items()}
        out = {k: ARRAYS[v] for k, v in results.items()}
        d, bias = a["units"][0], bool(a["bias"])
        for run in self.runs(queue, plan):
            X, y = a["X"][a["x_index"][run]], a["y"][a["y_index"][run]]
            assert np.all(X[:, d : d + bias] == 1.0)
            assert np.all(X[:, d + bias :] == 0.0)
            layers, biases, at = [], [], 0
            w0 = a["w0"][a["w_index"][run]]
            assert a["copies"] == 1
            for fan_in, fan_out in zip(a["units"][:-1], a["units"][1:], strict=True):
                size = fan_out * (fan_in + bias)
                layer = w0[at : at + size].reshape(fan_out, fan_in + bias)
                layers.append(layer[:, :fan_in])
                biases.append(layer[:, -1])
                at += size
            flow = krf.flow_mlp(
                X[:, :d], y, weights0=layers, biases0=biases if bias else None, bias=bias,
                alpha=a["alpha"][run], t_eval=ARRAYS[settings["t_eval"]], backend="cpu",
                rtol=ARRAYS[settings["rtol"]][run], num_threads=1,
                method=("auto", "dopri5", "exponential", "gradient_descent")[settings["method"]],
            )  # fmt: skip
            both = [
                np.concatenate([W, b[..., None]], axis=-1) if bias else W
                for W, b in zip(flow.weights, flow.biases or layers, strict=True)
            ]
            w = np.concatenate([W.reshape(len(flow.t), -1) for W in both], axis=1)
            for name, value in dict(w=w, loss=flow.loss, t=flow.t).items():
                out[name][run] = value
            for name in ("status", "n_steps", "n_rhs"):
                out[name][run] = getattr(flow, name)


@pytest.fixture
def stand_in(monkeypatch):
    def install(**options):
        device = StandIn(**options)
        monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
        monkeypatch.setitem(sys.modules, "kernelrich_fast._cuda", device)
        monkeypatch.setattr(krf, "_cuda", device, raising=False)
        backends._load.cache_clear()
        return device

    yield install
    backends._load.cache_clear()
    ARRAYS.clear()


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


def test_a_small_device_runs_fewer_blocks(stand_in, monkeypatch):
    stand_in(blocks=64)
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
    assert krf.flow_diagonal([[1.0]], [1.0], alpha=0.5).backend == "cuda"  # "auto" prefers it
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
        assert krf.flow_diagonal([[1.0]], [1.0], alpha=0.5).backend == "cpu"
