"""What a backend is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
    "RichPathBackend",
    "RichPathOptions",
    "RichPathRaw",
    "Saddles",
]

# Positions are the numbers of csrc/core/ode/flow_options.hpp.
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


@dataclass(frozen=True)
class RichPathOptions:
    """The bound of every feature, a row per depth and profile, and what all runs share."""

    bound: FloatArray
    bound_index: IntArray  # per run, the row
    max_jumps: int
    num_threads: int
    progress: Progress | None


@dataclass(frozen=True)
class Saddles:
    """Saddles of one run, one after each jump; ``first[j]`` to ``first[j + 1]`` are those of j."""

    t: FloatArray
    loss: FloatArray
    first: IntArray
    feature: IntArray
    value: FloatArray


@dataclass(frozen=True)
class RichPathRaw:
    """Saddles per run; the rest runs first, at the last jump."""

    saddles: list[Saddles]
    dual: FloatArray
    at_bound: NDArray[np.int8]  # the sign of x_i^T dual where it is at its bound, else 0
    t: FloatArray
    loss: FloatArray
    status: IntArray
    n_pivots: IntArray


class RichPathBackend(Protocol):
    """A backend that follows paths as alpha -> 0."""

    name: str

    def rich_path(self, batch: DiagonalBatch, options: RichPathOptions) -> RichPathRaw: ...


class Backend(Protocol):
    """One way of computing whole batches."""

    name: str

    def flow_diagonal(self, batch: DiagonalBatch, options: FlowOptions) -> FlowRaw: ...

    def limit_diagonal(self, batch: DiagonalBatch, options: LimitOptions) -> LimitRaw: ...

    def flow_factorization(self, batch: FactorBatch, options: FlowOptions) -> FactorRaw: ...

    def flow_mlp(self, batch: MLPBatch, options: FlowOptions) -> MLPRaw: ...
