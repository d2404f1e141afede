"""The CUDA executor: a run a thread block or cluster, CuPy's memory and its current stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, final

import numpy as np

from .._types import FloatArray, IntArray, Progress
from .base import METHODS, FactorRaw, FlowOptions, FlowRaw, LimitOptions, LimitRaw, MLPRaw
from .batch import DiagonalBatch
from .factor_batch import FactorBatch
from .mlp_batch import MLP_METHODS, MLPBatch

__all__ = ["CudaBackend"]

_LANES = 8  # rows and features are padded to this many doubles (csrc/core/base/config.hpp)


@final
class CudaBackend:
    """Persistent teams that draw runs from a queue; the integrators are the CPU backend's."""

    name = "cuda"

    def __init__(self) -> None:
        from .. import _cuda

        if _cuda.device_count() == 0:
            raise RuntimeError("there is no CUDA device")
        import cupy

        self._cuda, self._cp = _cuda, cupy
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        self.detail = properties["name"].decode()

    def flow_diagonal(self, batch: DiagonalBatch, options: FlowOptions) -> FlowRaw:
        rows = 1 if options.t_eval is None else len(options.t_eval)
        n, d = batch.X.shape[1:]
        shared = self._diagonal_arrays(batch)

        def part(index: IntArray, progress: Progress | None) -> dict[str, Any]:
            arrays = shared | self._diagonal_runs(batch, index)
            results = self._empty(
                len(index),
                {"beta": (rows, d), "w_plus": (rows, d), "w_minus": (rows, d), "dual": (rows, n)}
                | {"loss": (rows,), "t": (rows,)},
            )
            self._launch(
                "diagonal_flow", arrays, [self._settings(options, index)], results,
                -np.log(batch.alpha[index]), progress,
            )  # fmt: skip
            return results

        groups = [np.flatnonzero(batch.depth == D) for D in np.unique(batch.depth)]
        return FlowRaw(**self._gather(batch, groups, part, options.progress))

    def limit_diagonal(self, batch: DiagonalBatch, options: LimitOptions) -> LimitRaw:
        n, d = batch.X.shape[1:]
        shared = self._diagonal_arrays(batch)

        def part(index: IntArray, progress: Progress | None) -> dict[str, Any]:
            arrays = shared | self._diagonal_runs(batch, index)
            results = self._empty(
                len(index),
                {"beta": (d,), "w_plus": (d,), "w_minus": (d,), "dual": (n,), "loss": ()},
            )
            results["t"] = results["loss"]
            self._launch(
                "diagonal_limit", arrays, [options.tol, options.max_iter], results,
                -np.log(batch.alpha[index]), progress,
            )  # fmt: skip
            results["n_iterations"] = results.pop("n_steps")
            return {k: v for k, v in results.items() if k not in ("t", "n_rhs", "n_flops")}

        groups = [np.flatnonzero(batch.depth == D) for D in np.unique(batch.depth)]
        return LimitRaw(**self._gather(batch, groups, part, options.progress))

    def flow_factorization(self, batch: FactorBatch, options: FlowOptions) -> FactorRaw:
        cp = self._cp
        rows = 1 if options.t_eval is None else len(options.t_eval)
        n_samples = batch.y.shape[1]
        q = batch.n - batch.c0
        shared: dict[str, Any] = {
            "n": batch.n, "p": batch.p, "q": q, "c0": batch.c0, "n_samples": n_samples,
            "row": cp.asarray(batch.row, dtype=np.int32),
            "column": cp.asarray(batch.column, dtype=np.int32),
            "X": None, "X_norm": 0.0,
            "y": self._padded(batch.y, -1),
        }  # fmt: skip
        if batch.X is not None:
            X = cp.asarray(batch.X)
            shared["X"] = self._padded(self._padded(X.reshape(n_samples, -1).T, 0), 1)
            shared["X_norm"] = float(cp.sqrt((X * X).sum()))
        ranks = np.array([W.shape[1] for W in batch.starts])[batch.start_index]
        W: list[FloatArray] = [np.empty(0)] * len(batch)

        def part(index: IntArray, progress: Progress | None) -> dict[str, Any]:
            rank = int(ranks[index[0]])
            used, start_index = np.unique(batch.start_index[index], return_inverse=True)
            starts = cp.stack([cp.asarray(batch.starts[s]) for s in used])
            arrays = shared | {
                "rank": rank,
                "starts": self._padded(starts, -1),
                "scale": cp.asarray(batch.scale[index]),
                "y_index": cp.asarray(batch.y_index[index]),
                "start_index": cp.asarray(start_index.astype(np.int64)),
                "entry_index": cp.asarray(batch.entry_index[index]),
            }
            results = self._empty(
                len(index), {"W": (rows, batch.n, rank), "loss": (rows,), "t": (rows,)}
            )
            norms = cp.asnumpy(cp.sqrt((starts * starts).sum(axis=(1, 2))))
            size = np.log(norms[start_index] + 1e-300)
            self._launch(
                "factor_flow", arrays, [self._settings(options, index)], results,
                -np.log(batch.scale[index]) - size, progress,
            )  # fmt: skip
            factors = results.pop("W")
            for b, factor in zip(
                index, factors if batch.on_device else cp.asnumpy(factors), strict=True
            ):
                W[b] = factor
            return results

        groups = [np.flatnonzero(ranks == r) for r in np.unique(ranks)]
        return FactorRaw(W=W, **self._gather(batch, groups, part, options.progress))

    def flow_mlp(self, batch: MLPBatch, options: FlowOptions) -> MLPRaw:
        cp = self._cp
        rows = 1 if options.t_eval is None else len(options.t_eval)
        layout = batch.layout
        X = cp.asarray(batch.X)
        if layout.bias:
            X = cp.concatenate([X, cp.ones((*X.shape[:-1], 1))], axis=-1)
        shared: dict[str, Any] = {
            "units": list(layout.units),
            "n": batch.y.shape[1],
            "copies": layout.copies,
            "bias": int(layout.bias),
            "loss": int(batch.loss == "cross_entropy"),
            "n_weights": layout.n_weights,
            "step_size": batch.step_size,
            "X": self._padded(X, -1),
            "y": cp.asarray(batch.y),
            "w0": cp.asarray(batch.w0),
        }

        def part(index: IntArray, progress: Progress | None) -> dict[str, Any]:
            arrays = shared | {
                name: cp.asarray(getattr(batch, name)[index])
                for name in ("alpha", "x_index", "y_index", "w_index")
            }
            results = self._empty(
                len(index), {"w": (rows, layout.n_weights), "loss": (rows,), "t": (rows,)}
            )
            self._launch(
                "mlp_flow", arrays, [self._settings(options, index, MLP_METHODS)], results,
                -np.log(batch.alpha[index]), progress,
            )  # fmt: skip
            return results

        groups = [np.arange(len(batch))]
        return MLPRaw(**self._gather(batch, groups, part, options.progress))

    def _diagonal_arrays(self, batch: DiagonalBatch) -> dict[str, Any]:
        """What all runs share, on the device; X packed feature after feature."""
        cp = self._cp
        count, n, d = batch.X.shape
        X = cp.asarray(batch.X)
        packed = cp.empty((count, _up(d), _up(n)))
        norm = cp.empty((count, _up(d)))
        self._cuda.pack(
            X.data.ptr,
            count,
            n,
            d,
            packed.data.ptr,
            norm.data.ptr,
            cp.cuda.get_current_stream().ptr,
        )
        return {
            "n": n, "d": d, "X": packed, "feature_norm": norm, "y": self._padded(batch.y, -1),
            "loss_offset": cp.asarray(batch.loss_offset),
            "profile_plus": cp.asarray(batch.profile_plus),
            "profile_minus": cp.asarray(batch.profile_minus),
        }  # fmt: skip

    def _diagonal_runs(self, batch: DiagonalBatch, index: IntArray) -> dict[str, Any]:
        cp = self._cp
        return {
            "depth": int(batch.depth[index[0]]),
            "alpha": cp.asarray(batch.alpha[index]),
            "x_index": cp.asarray(batch.x_index[index]),
            "y_index": cp.asarray(batch.y_index[index]),
            "w_index": cp.asarray(batch.w_index[index]),
        }

    def _settings(
        self, options: FlowOptions, index: IntArray, methods: tuple[str, ...] = METHODS
    ) -> dict[str, Any]:
        cp = self._cp
        times = options.t_eval
        return {
            "rtol": cp.asarray(options.rtol[index]),
            "t_max": cp.asarray(options.t_max[index]),
            "stop_loss": cp.asarray(options.stop_loss[index]),
            "atol": options.atol,
            "max_steps": options.max_steps,
            "method": methods.index(options.method),
            "t_eval": None if times is None else cp.asarray(times),
            "n_eval": 0 if times is None else len(times),
        }

    def _empty(self, count: int, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
        cp = self._cp
        arrays: dict[str, Any] = {k: cp.empty((count, *shape)) for k, shape in shapes.items()}
        arrays["status"] = cp.empty(count, dtype=np.int32)
        arrays["n_steps"] = cp.zeros(count, dtype=np.int64)
        arrays["n_rhs"] = cp.zeros(count, dtype=np.int64)
        arrays["n_flops"] = cp.zeros(count)
        return arrays

    def _padded(self, array: FloatArray, axis: int) -> Any:
        """On the device, ``axis`` filled with zeros to a multiple of eight."""
        cp = self._cp
        array = cp.asarray(array)
        shape = list(array.shape)
        shape[axis] = _up(shape[axis])
        out = cp.zeros(shape)
        out[tuple(slice(0, n) for n in array.shape)] = array
        return out

    def _launch(
        self,
        kernel: str,
        arrays: dict[str, Any],
        settings: list[Any],
        results: dict[str, Any],
        expected: FloatArray,
        progress: Progress | None,
    ) -> None:
        """One kernel over all runs; the workspace takes what memory there is."""
        cp = self._cp
        batch = _addresses(arrays)
        plan = getattr(self._cuda, f"plan_{kernel}")(batch, _wanted_threads())
        teams = min(int(plan["teams"]), len(expected))
        while True:
            try:
                workspace = cp.empty(teams * int(plan["doubles_per_team"]))
                break
            except cp.cuda.memory.OutOfMemoryError:
                cp.get_default_memory_pool().free_all_blocks()
                if teams == 1:
                    raise
                teams //= 2  # fewer runs at a time, the same runs
        order = cp.asarray(np.argsort(-expected, kind="stable").astype(np.int64))
        counters = cp.zeros(2, dtype=np.int64)
        queue = {
            "order": order.data.ptr, "count": len(expected),
            "next": counters[:1].data.ptr, "finished": counters[1:].data.ptr,
        }  # fmt: skip
        native = [_addresses(s) if isinstance(s, dict) else s for s in settings]
        getattr(self._cuda, kernel)(
            batch, *native, _addresses(results), queue, {**plan, "teams": teams},
            workspace.data.ptr, cp.cuda.get_current_stream().ptr, progress,
        )  # fmt: skip

    def _gather(
        self,
        batch: DiagonalBatch | FactorBatch | MLPBatch,
        groups: Iterable[IntArray],
        part: Callable[[IntArray, Progress | None], dict[str, Any]],
        progress: Progress | None,
    ) -> dict[str, Any]:
        """Results of all groups in the order of the batch; a group that does not fit is halved.

        They stay on the device where the problem was there.
        """
        cp = self._cp
        stay = batch.on_device
        xp = cp if stay else np
        out: dict[str, Any] = {}
        waiting, done = list(groups), 0
        while waiting:
            index = waiting.pop()
            base = done

            def shifted(finished: int, base: int = base) -> None:
                if progress is not None:
                    progress(base + finished)

            try:
                results = part(index, None if progress is None else shifted)
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
                rows = values if stay else cp.asnumpy(values)
                if rows.dtype == np.int32:
                    rows = rows.astype(np.int64)
                if name not in out:
                    out[name] = xp.empty((len(batch), *rows.shape[1:]), dtype=rows.dtype)
                out[name][place] = rows
            done += len(index)
        return out


def _wanted_threads() -> int:
    """Threads a block by ``KRF_CUDA_THREADS``, for measurements; where unset 0, by the shape.

    Results depend on it in their last bits.
    """
    text = os.environ.get("KRF_CUDA_THREADS", "")
    if text and text not in map(str, range(32, 257, 32)):
        raise ValueError(f"KRF_CUDA_THREADS: expected a multiple of 32 up to 256, got {text!r}")
    return int(text or 0)


def _up(count: int) -> int:
    return -(-count // _LANES) * _LANES


def _addresses(arrays: dict[str, Any]) -> dict[str, Any]:
    """Device addresses in place of arrays, zero for none."""
    return {
        name: 0 if value is None else value.data.ptr if hasattr(value, "data") else value
        for name, value in arrays.items()
    }
