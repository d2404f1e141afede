"""The CUDA executor: a run a thread block or cluster, CuPy's memory and its current stream."""

from __future__ import annotations

import os
from typing import Any, final

import numpy as np

from .._types import IntArray, Progress
from .base import Rows
from .native import NativeBackend

__all__ = ["CudaBackend"]


@final
class CudaBackend(NativeBackend):
    """Persistent teams that draw runs from a queue; the integrators are the CPU backend's."""

    name = "cuda"

    def __init__(self) -> None:
        from .. import _cuda

        if _cuda.device_count() == 0:
            raise RuntimeError("there is no CUDA device")
        import cupy

        self.cuda, self.cp = _cuda, cupy
        # Per family, the arguments that have an entry for each run.
        self.of_runs = {
            family: [name for name, _, _, axes in arguments if axes[:1] == ("runs",)]
            for family, (arguments, _) in _cuda.families().items()
        }
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        self.detail = properties["name"].decode()

    def run(
        self,
        family: str,
        arguments: dict[str, Any],
        *,
        threads: int,
        progress: Progress | None,
        on_device: bool,
    ) -> Rows:
        """Results of all runs: a launch per variant, halved where it does not fit on the device."""
        cp = self.cp
        xp = cp if on_device else np
        each = [name for name in self.of_runs[family] if arguments.get(name) is not None]
        call = _Call(self, family, arguments, each)
        waiting, done = call.groups, 0
        out: Rows = {}
        while waiting:
            index = waiting.pop()
            try:
                results = call.part(index, progress, done)
            except MemoryError as error:
                cp.get_default_memory_pool().free_all_blocks()
                if len(index) == 1:
                    raise MemoryError(
                        f"a single run does not fit on the device: {error}"
                    ) from error
                half = len(index) // 2
                waiting += [index[:half], index[half:]]
                continue
            place = xp.asarray(index)
            for name, values in results.items():
                rows = values if on_device else cp.asnumpy(values)
                if name not in out:
                    out[name] = xp.empty((call.count, *rows.shape[1:]), dtype=rows.dtype)
                out[name][place] = rows
            done += len(index)
        return out


class _Call:
    """One batch on the device: what its runs share, and its runs in parts that fit there."""

    def __init__(
        self, backend: CudaBackend, family: str, arguments: dict[str, Any], of_runs: list[str]
    ) -> None:
        self.cuda, self.cp, self.family, self.arguments = (
            backend.cuda, backend.cp, family, arguments,
        )  # fmt: skip
        self.of_runs = of_runs
        self.count = len(arguments[of_runs[0]])
        plan = self.cuda.plan(family, arguments, _wanted_threads())
        self.groups: list[IntArray] = [np.sort(launch["order"]) for launch in plan["launches"]]
        self.packed = self.cp.empty(max(1, plan["packed_doubles"]))
        self.unpacked = True
        shared = {name: value for name, value in arguments.items() if name not in of_runs}
        self.shared = self._there(shared)

    def part(self, index: IntArray, progress: Progress | None, base: int) -> Rows:
        """Results, on the device, of runs of one variant; ``base`` runs are done."""
        runs = {name: self.arguments[name][index] for name in self.of_runs}
        # Indices are still on the host, where the module can check them.
        plan = self.cuda.plan(self.family, self.arguments | runs, _wanted_threads())
        there = self.shared | self._there(runs)
        stream = self.cp.cuda.get_current_stream().ptr
        if self.unpacked:
            self.cuda.pack(self.family, there, self.packed, stream)
            self.unpacked = False
        results: Rows = {
            name: self.cp.zeros(shape, dtype=dtype) for name, shape, dtype in plan["rows"]
        }
        (launch,) = plan["launches"]
        queue = {
            "order": self.cp.asarray(launch["order"]), "counters": self.cp.zeros(2, dtype=np.int64)
        }  # fmt: skip
        teams, workspace = self._workspace(launch)

        def shifted(finished: int) -> None:
            if progress is not None:
                progress(base + finished)

        self.cuda.run(
            self.family, there, results, self.packed, queue, launch | {"teams": teams}, workspace,
            stream, None if progress is None else shifted,
        )  # fmt: skip
        return results

    def _workspace(self, launch: dict[str, Any]) -> tuple[int, Any]:
        """As many teams as there are runs for, and as there is memory for."""
        teams = min(int(launch["teams"]), len(launch["order"]))
        while True:
            try:
                return teams, self.cp.empty(teams * int(launch["doubles_per_team"]))
            except self.cp.cuda.memory.OutOfMemoryError:
                self.cp.get_default_memory_pool().free_all_blocks()
                if teams == 1:
                    raise
                teams //= 2  # fewer runs at a time, the same runs

    def _there(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Arrays on the device; numbers as they are."""
        cp = self.cp
        return {
            name: cp.asarray(value) if getattr(value, "ndim", 0) else value
            for name, value in arguments.items()
        }


def _wanted_threads() -> int:
    """Threads a block by ``KRF_CUDA_THREADS``, for measurements; where unset 0, by the shape.

    Results depend on it in their last bits.
    """
    text = os.environ.get("KRF_CUDA_THREADS", "")
    if text and text not in map(str, range(32, 257, 32)):
        raise ValueError(f"KRF_CUDA_THREADS: expected a multiple of 32 up to 256, got {text!r}")
    return int(text or 0)
