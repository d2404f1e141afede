"""A device to test the Python side of the CUDA backend on where there is none.

It keeps arrays in NumPy, and hands every launch to the CPU's module. What a real device adds is
tested by every test that takes ``backend``.
"""

from __future__ import annotations

import sys
import types

import numpy as np

__all__ = ["DeviceArray", "StandIn", "fake_cupy", "on_device", "refusing"]


def has_host_array(values):
    return any(
        type(x) is np.ndarray or (isinstance(x, list | tuple) and has_host_array(x)) for x in values
    )


class DeviceArray(np.ndarray):
    """A NumPy array that mixes with the host's no more than CuPy's do."""

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


def given(result):
    if isinstance(result, tuple):
        return tuple(map(given, result))
    return result.view(DeviceArray) if isinstance(result, np.ndarray) else result


def on_device(array):
    return np.ascontiguousarray(array).view(DeviceArray)


def refusing(convert):
    """``np.asarray`` or ``np.array`` as the package meets it: CuPy refuses to be converted."""

    def guarded(a, *args, **options):
        caller = sys._getframe(1).f_globals["__name__"]
        if isinstance(a, DeviceArray) and caller.startswith("kernelrich_fast"):
            raise TypeError("Implicit conversion to a NumPy array is not allowed")
        return convert(a, *args, **options)

    return guarded


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
    for name in ("abs", "stack", "concatenate", "ones", "sqrt", "swapaxes", "broadcast_to", "where",
                 "broadcast_arrays", "linalg", "squeeze", "einsum", "isfinite", "sum",
                 "all", "exp"):  # fmt: skip
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
    """What csrc/bindings/cuda_module.cpp offers, by the CPU's module of the same families."""

    def __init__(self, most_runs=10**9, teams=4):
        super().__init__("kernelrich_fast._cuda")
        from kernelrich_fast import _core

        self.core, self.families = _core, _core.families
        self.most_runs, self.launches, self.teams = most_runs, [], teams

    def device_count(self):
        return 1

    def plan(self, family, arguments, threads):
        self.threads = threads
        listed, rows = self.families()[family]
        extents = {}
        for name, _, dtype, axes in listed:
            value = arguments.get(name)
            if axes and value is not None:
                assert value.dtype == dtype, name
                assert not (axes[0] == "runs" and isinstance(value, DeviceArray)), name
                extents |= dict(zip(axes, value.shape, strict=True))
        extents["rows"] = max(1, extents.get("times", 1))
        extents["averaged"] = extents.get("n_features", 0) * arguments.get("averaged", 0)
        depth = arguments.get("depth", np.full(extents["runs"], 2.0))
        kinds = [depth == 2, depth >= 3, (depth > 2) & (depth < 3)]
        groups = [np.flatnonzero(kind) for kind in kinds]
        plan = {"threads": 32, "cluster": 1, "teams": self.teams, "doubles_per_team": 8}
        return {
            "launches": [
                plan | {"variant": v, "order": runs} for v, runs in enumerate(groups) if len(runs)
            ],
            "rows": [(name, [extents[axis] for axis in axes], t) for name, _, t, axes in rows],
            "packed_doubles": 7,
        }

    def pack(self, family, arguments, packed, stream):
        assert stream == 7
        assert packed.shape == (7,)
        self.packed = packed

    def run(
        self, family, arguments, results, packed, queue, launch, workspace, stream, progress
    ):  # fmt: skip
        order = np.asarray(queue["order"])
        assert packed is self.packed
        assert sorted(order) == list(range(len(order)))
        assert launch["teams"] <= len(order)
        if len(order) > self.most_runs:
            raise MemoryError("stand-in")
        self.launches.append(len(order))
        for name, value in arguments.items():
            assert isinstance(value, DeviceArray) or not hasattr(value, "shape"), name
        there = {
            name: np.asarray(value) if isinstance(value, DeviceArray) else value
            for name, value in arguments.items()
        }
        found = self.core.run(family, there, threads=1, progress=progress)
        for name, value in found.items():
            results[name][:] = on_device(value)
