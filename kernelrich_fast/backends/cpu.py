"""The compiled CPU executor."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from .base import (
    METHODS,
    FactorRaw,
    FlowOptions,
    FlowRaw,
    LimitOptions,
    LimitRaw,
    MLPRaw,
    RichPathOptions,
    RichPathRaw,
    Saddles,
)
from .batch import DiagonalBatch
from .factor_batch import FactorBatch
from .mlp_batch import MLP_METHODS, MLPBatch

__all__ = ["CpuBackend"]


@final
class CpuBackend:
    """Worker threads over whole runs, vectorised within a run."""

    name = "cpu"

    def __init__(self) -> None:
        from .. import _core

        self._core = _core
        self.instruction_set: str = _core.instruction_set
        self.detail = f"instruction set {self.instruction_set}"

    def _batch(self, batch: DiagonalBatch) -> Any:
        return self._core.DiagonalBatch(
            X=batch.X,
            y=batch.y,
            loss_offset=batch.loss_offset,
            profile_plus=batch.profile_plus,
            profile_minus=batch.profile_minus,
            alpha=batch.alpha,
            depth=batch.depth,
            x_index=batch.x_index,
            y_index=batch.y_index,
            w_index=batch.w_index,
        )

    def flow_diagonal(self, batch: DiagonalBatch, options: FlowOptions) -> FlowRaw:
        raw = self._core.flow_diagonal(self._batch(batch), **_arguments(options))
        raw["status"] = raw["status"].astype(np.int64)
        return FlowRaw(**raw)

    def flow_factorization(self, batch: FactorBatch, options: FlowOptions) -> FactorRaw:
        native = self._core.FactorBatch(
            n=batch.n,
            p=batch.p,
            q=batch.n - batch.c0,
            c0=batch.c0,
            row=batch.row.astype(np.int32),
            column=batch.column.astype(np.int32),
            X=np.empty((0, 1, 1)) if batch.X is None else batch.X,
            y=batch.y,
            starts=np.concatenate([W.ravel() for W in batch.starts]),
            start_offset=np.cumsum([0, *(W.size for W in batch.starts[:-1])]),
            rank=np.array([W.shape[1] for W in batch.starts]),
            scale=batch.scale,
            y_index=batch.y_index,
            start_index=batch.start_index,
            entry_index=batch.entry_index,
        )
        raw = self._core.flow_factorization(native, **_arguments(options))
        offset = [*raw.pop("W_offset"), raw["W"].size]
        flat = raw.pop("W")
        shapes = [(raw["t"].shape[1], batch.n, batch.starts[s].shape[1]) for s in batch.start_index]
        W = [flat[offset[b] : offset[b + 1]].reshape(shape) for b, shape in enumerate(shapes)]
        raw["status"] = raw["status"].astype(np.int64)
        return FactorRaw(W=W, **raw)

    def flow_mlp(self, batch: MLPBatch, options: FlowOptions) -> MLPRaw:
        native = self._core.MlpBatch(
            units=list(batch.layout.units),
            copies=batch.layout.copies,
            bias=batch.layout.bias,
            loss=int(batch.loss == "cross_entropy"),
            step_size=batch.step_size,
            X=batch.X,
            y=batch.y,
            w0=batch.w0,
            alpha=batch.alpha,
            x_index=batch.x_index,
            y_index=batch.y_index,
            w_index=batch.w_index,
        )
        raw = self._core.flow_mlp(native, **_arguments(options, MLP_METHODS))
        raw["status"] = raw["status"].astype(np.int64)
        return MLPRaw(**raw)

    def limit_diagonal(self, batch: DiagonalBatch, options: LimitOptions) -> LimitRaw:
        raw = self._core.limit_diagonal(
            self._batch(batch),
            tolerance=options.tol,
            max_iterations=options.max_iter,
            threads=options.num_threads,
            progress=options.progress,
        )
        raw["status"] = raw["status"].astype(np.int64)
        return LimitRaw(**raw)

    def rich_path(self, batch: DiagonalBatch, options: RichPathOptions) -> RichPathRaw:
        native = self._core.RichPathBatch(
            X=batch.X,
            y=batch.y,
            loss_offset=batch.loss_offset,
            bound=options.bound,
            x_index=batch.x_index,
            y_index=batch.y_index,
            bound_index=options.bound_index,
        )
        raw = self._core.rich_path(
            native,
            max_jumps=options.max_jumps,
            threads=options.num_threads,
            progress=options.progress,
        )
        raw["saddles"] = [Saddles(*arrays) for arrays in raw["saddles"]]
        raw["status"] = raw["status"].astype(np.int64)
        return RichPathRaw(**raw)


def _arguments(options: FlowOptions, methods: tuple[str, ...] = METHODS) -> dict[str, Any]:
    return {
        "rtol": options.rtol,
        "t_max": options.t_max,
        "stop_loss": options.stop_loss,
        "atol": options.atol,
        "max_steps": options.max_steps,
        "method": methods.index(options.method),
        "t_eval": np.empty(0) if options.t_eval is None else options.t_eval,
        "threads": options.num_threads,
        "progress": options.progress,
    }
