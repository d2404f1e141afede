"""A device to test the Python side of the CUDA backend on where there is none.

It keeps arrays in NumPy, finds them by "address", and solves every run of a launch with the CPU
backend, from the packed arrays it was given. What a real device adds is tested by every test that
takes ``backend``.
"""

from __future__ import annotations

import types

import numpy as np

import kernelrich_fast as krf

__all__ = ["ARRAYS", "DeviceArray", "StandIn", "fake_cupy", "on_device"]

ARRAYS: dict[int, np.ndarray] = {}


def has_host_array(values):
    return any(
        type(x) is np.ndarray or (isinstance(x, list | tuple) and has_host_array(x)) for x in values
    )


class DeviceArray(np.ndarray):
    """A NumPy array whose ``data.ptr`` is a key into ARRAYS; it mixes with the host's no more than
    CuPy's do.
    """

    def __dlpack_device__(self):
        return 2, 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        if has_host_array(inputs):
            raise TypeError("a host's array beside a device's")
        plain = [np.asarray(x) if isinstance(x, DeviceArray) else x for x in inputs]
        if out is not None:
            options["out"] = tuple(np.asarray(x) for x in out)
        return given(getattr(ufunc, method)(*plain, **options))

    def __array_function__(self, function, types, args, kwargs):
        if has_host_array((*args, *kwargs.values())):
            raise TypeError("a host's array beside a device's")
        return given(super().__array_function__(function, types, args, kwargs))

    def __getitem__(self, key):
        if has_host_array(key if isinstance(key, tuple) else (key,)):
            raise TypeError("a host's index into a device's array")
        return super().__getitem__(key)

    def __setitem__(self, key, value):
        if has_host_array((*(key if isinstance(key, tuple) else (key,)), value)):
            raise TypeError("a host's array into a device's")
        super().__setitem__(key, value)

    @property
    def data(self):
        base = np.asarray(self)
        address = base.__array_interface__["data"][0]
        ARRAYS[address] = base
        return types.SimpleNamespace(ptr=address)


def given(result):
    if isinstance(result, tuple):
        return tuple(map(given, result))
    return result.view(DeviceArray) if isinstance(result, np.ndarray) else result


def on_device(array):
    return np.ascontiguousarray(array).view(DeviceArray)


def fake_cupy():
    cp = types.ModuleType("cupy")
    cp.ndarray, cp.moved = DeviceArray, []

    def asarray(a, dtype=None):
        if isinstance(a, DeviceArray):
            return a if dtype in (None, a.dtype) else a.astype(dtype)
        cp.moved.append(np.asarray(a, dtype=dtype))
        return on_device(np.array(a, dtype=dtype))

    def asnumpy(a):
        cp.moved.append(np.array(a))
        return np.array(a)

    cp.asarray, cp.asnumpy = asarray, asnumpy
    cp.from_dlpack = lambda a: on_device(a.array)
    for name in ("stack", "concatenate", "ones", "sqrt", "swapaxes", "broadcast_to", "where",
                 "broadcast_arrays", "linalg", "squeeze", "einsum", "isfinite", "sum",
                 "all"):  # fmt: skip
        setattr(cp, name, getattr(np, name))
    cp.ones = lambda *a, **k: on_device(np.ones(*a, **k))
    cp.ascontiguousarray = lambda a: a if a.flags.c_contiguous else on_device(a)
    cp.empty = lambda *a, **k: on_device(
        np.full(*a, np.nan, **k) if "dtype" not in k else np.zeros(*a, **k)
    )
    cp.zeros = lambda *a, **k: on_device(np.zeros(*a, **k))
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

    def __init__(self, most_runs=10**9, teams=4):
        super().__init__("kernelrich_fast._cuda")
        self.most_runs, self.launches, self.teams = most_runs, [], teams

    def device_count(self):
        return 1

    def plan(self, batch, threads):
        self.threads = threads
        return {"threads": 32, "cluster": 1, "teams": self.teams, "doubles_per_team": 8}

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
        assert plan["teams"] <= count
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

    def stop(self, settings, run, y, times):
        """Times and a loss to stop at are not given together."""
        return {} if times is not None else {
            "stop_loss": ARRAYS[settings["stop_loss"]][run] / (y @ y)
        }  # fmt: skip

    def diagonal_flow(self, batch, settings, results, queue, plan, workspace, stream, progress):
        out = {k: ARRAYS[v] for k, v in results.items()}
        times = ARRAYS[settings["t_eval"]] if settings["n_eval"] else None
        for done, run in enumerate(self.runs(queue, plan)):
            X, y, problem = self.diagonal_problem(batch, run)
            flow = krf.flow_diagonal(
                X, y, **problem, t_eval=times, rtol=ARRAYS[settings["rtol"]][run],
                t_max=ARRAYS[settings["t_max"]][run], backend="cpu", num_threads=1,
                **self.stop(settings, run, y, times),
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
                of = a["entry_index"][run]
                where = dict(entries=(a["row"][of], a["column"][of] - batch["c0"]))
            y = a["y"][a["y_index"][run]][:N]
            flow = krf.flow_factorization(
                y, **where, U0=W[:p, :r], V0=W[p:, :r], t_eval=times, backend="cpu",
                rtol=ARRAYS[settings["rtol"]][run],
                **self.stop(settings, run, y, times),
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
