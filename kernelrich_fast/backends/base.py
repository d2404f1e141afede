"""What a backend is given and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._device import namespace
from .._types import FloatArray, IntArray, Progress
from .batch import DiagonalBatch, per_run

__all__ = [
    "METHODS",
    "Backend",
    "Batch",
    "FlowOptions",
    "LimitOptions",
    "MarginOptions",
    "Options",
    "RichPathBackend",
    "RichPathOptions",
    "RichPathRaw",
    "Rows",
    "Saddles",
]

# Positions are the numbers of csrc/core/ode/flow_options.hpp.
METHODS = ("auto", "dopri5", "radau5")

# Results by name, runs first, then evaluation times (one without t_eval), then coordinates: what
# csrc/core/<family>/family.hpp lists as Rows.
Rows = dict[str, Any]


class Batch(Protocol):
    """The runs of one call, by index into shared arrays."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the batch, as the caller sees it."""

    def __len__(self) -> int: ...

    @property
    def on_device(self) -> bool:
        """Whether data or starts are, and with them the results."""

    @property
    def crossover(self) -> float:
        """Runs for each thread of the CPU from which on a GPU pays."""

    def seconds(self) -> FloatArray:
        """Expected, of every run."""

    def parts(self) -> Sequence[tuple[IntArray, Batch]]:
        """Where problems differ in size, the runs of each size, the largest first; else none."""

    def arguments(self) -> dict[str, Any]:
        """What csrc/core/<family>/family.hpp lists as Batch, but for ``work``."""


class Options(Protocol):
    """Accuracy, stopping rules, threads."""

    @property
    def num_threads(self) -> int: ...

    @property
    def progress(self) -> Progress | None: ...

    def of_runs(self, runs: IntArray, progress: Progress | None) -> Options:
        """Those of some of the runs."""

    def arguments(self) -> dict[str, Any]:
        """What csrc/core/<family>/family.hpp lists as Settings."""


@dataclass(frozen=True)
class FlowOptions:
    """Accuracy and stopping rules of a flow.

    As the caller gives them, the arrays broadcast to the batch and ``stop_loss`` is relative;
    `for_batch` makes them an entry per run, and ``stop_loss`` absolute.
    """

    rtol: FloatArray
    t_max: FloatArray
    stop_loss: FloatArray
    atol: float
    max_steps: int
    method: str
    methods: tuple[str, ...]  # of the family, in the order of their numbers
    t_eval: FloatArray | None
    num_threads: int
    progress: Progress | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the options that each run has its own of."""
        arrays = {"rtol": self.rtol, "t_max": self.t_max, "stop_loss": self.stop_loss}
        return {name: array.shape for name, array in arrays.items()}

    def at_pace(self, factor: float) -> FlowOptions:
        """The options of the same flow in a time that is ``factor`` times its own."""
        times = None if self.t_eval is None else factor * self.t_eval
        return replace(self, t_max=factor * self.t_max, t_eval=times)

    def times_at_pace(self, t: FloatArray, factor: float, shape: tuple[int, ...]) -> FloatArray:
        """Times (runs, T) of that flow as times of this one; those asked for to the last bit."""
        xp = namespace(t)
        found = t / factor
        asked = [per_run(self.t_max, shape)[:, None]]
        if self.t_eval is not None:
            asked.append(self.t_eval[None, :])
        for times in map(xp.asarray, asked):
            found = xp.where(t == factor * times, times, found)
        return found

    def for_batch(
        self, shape: tuple[int, ...], zero_loss: FloatArray, progress: Progress | None
    ) -> FlowOptions:
        """The options of every run, whose losses of the zero predictor are ``zero_loss``."""
        return replace(
            self,
            rtol=per_run(self.rtol, shape),
            t_max=per_run(self.t_max, shape),
            # Sums of squares in another order differ by rounding: a loss that is met is met.
            stop_loss=per_run(self.stop_loss, shape) * zero_loss * (1.0 + 1e-13),
            progress=progress,
        )

    def of_runs(self, runs: IntArray, progress: Progress | None) -> FlowOptions:
        """Of some runs, once there is an entry per run."""
        return replace(
            self, rtol=self.rtol[runs], t_max=self.t_max[runs], stop_loss=self.stop_loss[runs],
            progress=progress,
        )  # fmt: skip

    def arguments(self) -> dict[str, Any]:
        return {
            "rtol": self.rtol,
            "t_max": self.t_max,
            "stop_loss": self.stop_loss,
            "atol": self.atol,
            "max_steps": self.max_steps,
            "method": self.methods.index(self.method),
            "t_eval": np.empty(0) if self.t_eval is None else self.t_eval,
        }


@dataclass(frozen=True)
class MarginOptions(FlowOptions):
    """Of a flow of a margin loss: ``t_eval`` and ``t_max`` are values of its clock.

    The clock is minus ln L or, ``by_time``, ln t; ``stop_loss`` is not used.
    """

    by_time: bool = False

    def for_batch(
        self, shape: tuple[int, ...], zero_loss: FloatArray, progress: Progress | None
    ) -> MarginOptions:
        return replace(
            self,
            rtol=per_run(self.rtol, shape),
            t_max=per_run(self.t_max, shape),
            stop_loss=np.full(zero_loss.shape, -np.inf),
            progress=progress,
        )

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"by_time": int(self.by_time)}


@dataclass(frozen=True)
class LimitOptions:
    """Tolerance on |X beta - y| / |y| and the iteration budget."""

    tol: float
    max_iter: int
    num_threads: int
    progress: Progress | None

    def of_runs(self, runs: IntArray, progress: Progress | None) -> LimitOptions:
        """Those of some of the runs: all runs have the same."""
        return replace(self, progress=progress)

    def arguments(self) -> dict[str, Any]:
        return {"tolerance": self.tol, "max_iterations": self.max_iter}


@dataclass(frozen=True)
class RichPathOptions:
    """The bound of every feature, a row per depth and profile, and what all runs share."""

    bound: FloatArray
    bound_index: IntArray  # per run, the row
    max_jumps: int
    num_threads: int
    progress: Progress | None

    def of_runs(self, runs: IntArray, progress: Progress | None) -> RichPathOptions:
        """Of some runs."""
        return replace(self, bound_index=self.bound_index[runs], progress=progress)


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

    def solve(self, family: str, batch: Batch, options: Options) -> Rows:
        """The results of a batch of a family (csrc/core/families.hpp)."""
