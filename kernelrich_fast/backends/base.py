"""What a backend is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .._types import FloatArray, IntArray, Progress
from .batch import DiagonalBatch
from .factor_batch import FactorBatch
from .mlp_batch import MLPBatch

__all__ = [
    "METHODS",
    "Backend",
    "FactorRaw",
    "FlowOptions",
    "FlowRaw",
    "LimitOptions",
    "LimitRaw",
    "MLPRaw",
]

# Positions are the numbers of csrc/core/problem.hpp.
METHODS = ("auto", "dopri5", "radau5")


@dataclass(frozen=True)
class FlowOptions:
    """Per-run stopping rules, and what all runs share. ``stop_loss`` is absolute here."""

    rtol: FloatArray
    t_max: FloatArray
    stop_loss: FloatArray
    atol: float
    max_steps: int
    method: str
    t_eval: FloatArray | None
    num_threads: int
    progress: Progress | None


@dataclass(frozen=True)
class LimitOptions:
    """Tolerance on |X beta - y| / |y| and the iteration budget."""

    tol: float
    max_iter: int
    num_threads: int
    progress: Progress | None


@dataclass(frozen=True)
class FlowRaw:
    """Runs, then evaluation times (one without t_eval), then coordinates."""

    beta: FloatArray
    w_plus: FloatArray
    w_minus: FloatArray
    dual: FloatArray
    loss: FloatArray
    t: FloatArray
    status: IntArray
    n_steps: IntArray
    n_rhs: IntArray
    n_flops: FloatArray


@dataclass(frozen=True)
class FactorRaw:
    """Per run the factor W (rows, n, r); the rest runs first, then evaluation times."""

    W: list[FloatArray]
    loss: FloatArray
    t: FloatArray
    status: IntArray
    n_steps: IntArray
    n_rhs: IntArray
    n_flops: FloatArray


@dataclass(frozen=True)
class MLPRaw:
    """Runs, then evaluation times, then weights as `MLPLayout` lays them out."""

    w: FloatArray
    loss: FloatArray
    t: FloatArray
    status: IntArray
    n_steps: IntArray
    n_rhs: IntArray
    n_flops: FloatArray


@dataclass(frozen=True)
class LimitRaw:
    """Runs, then coordinates."""

    beta: FloatArray
    w_plus: FloatArray
    w_minus: FloatArray
    dual: FloatArray
    loss: FloatArray
    status: IntArray
    n_iterations: IntArray


class Backend(Protocol):
    """One way of computing whole batches."""

    name: str

    def flow_diagonal(self, batch: DiagonalBatch, options: FlowOptions) -> FlowRaw: ...

    def limit_diagonal(self, batch: DiagonalBatch, options: LimitOptions) -> LimitRaw: ...

    def flow_factorization(self, batch: FactorBatch, options: FlowOptions) -> FactorRaw: ...

    def flow_mlp(self, batch: MLPBatch, options: FlowOptions) -> MLPRaw: ...
