"""What every flow shares: its stopping and accuracy options, threads, a progress bar."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _validate as check
from ._bars import tqdm
from ._types import FloatArray, Progress
from .backends import Backend, DiagonalBatch, FactorBatch, MLPBatch, cuda_pays, get_backend, per_run
from .backends.base import METHODS, FlowOptions

__all__ = ["FlowRules", "RunBar", "thread_count"]


# The default of all flows.
STOP_LOSS = 1e-12


@dataclass(frozen=True)
class FlowRules:
    """Checked options of a flow; the arrays broadcast to the batch."""

    rtol: FloatArray
    t_max: FloatArray
    stop_loss: FloatArray
    t_eval: FloatArray | None
    atol: float
    max_steps: int
    method: str
    num_threads: int

    @classmethod
    def checked(
        cls,
        *,
        rtol: Any,
        t_max: Any,
        stop_loss: Any,
        t_eval: Any,
        atol: Any,
        max_steps: Any,
        method: Any,
        num_threads: Any,
        methods: tuple[str, ...] = METHODS,
    ) -> FlowRules:
        check.choice("method", method, methods)
        tolerance = check.positive_array("rtol", rtol)
        if tolerance.min() < 1e-12 or tolerance.max() > 0.1:
            raise ValueError(f"rtol: expected values in [1e-12, 0.1], got {rtol!r}")
        least_loss = check.positive_array("stop_loss", stop_loss, zero=True)
        if t_eval is not None and np.any(least_loss != STOP_LOSS):
            raise ValueError(
                "stop_loss: expected none together with t_eval, whose last time ends a run "
                "whatever its loss; give one of them"
            )
        return cls(
            rtol=tolerance,
            t_max=check.positive_array("t_max", t_max, finite=False),
            stop_loss=least_loss,
            t_eval=None if t_eval is None else check.time_grid("t_eval", t_eval),
            atol=check.scalar("atol", atol, low=0.0, high=1e300, open_low=False),
            max_steps=check.integer("max_steps", max_steps, low=1),
            method=method,
            num_threads=thread_count(num_threads),
        )

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.rtol.shape, self.t_max.shape, self.stop_loss.shape

    def for_batch(
        self, shape: tuple[int, ...], y_norm2: FloatArray, progress: Progress | None
    ) -> FlowOptions:
        return FlowOptions(
            rtol=per_run(self.rtol, shape),
            t_max=per_run(self.t_max, shape),
            # Sums of squares in another order differ by rounding: a loss that is met is met.
            stop_loss=per_run(self.stop_loss, shape) * y_norm2 * (1.0 + 1e-13),
            atol=self.atol,
            max_steps=self.max_steps,
            method=self.method,
            t_eval=self.t_eval,
            num_threads=self.num_threads,
            progress=progress,
        )

    def rows(self, array: FloatArray, shape: tuple[int, ...]) -> FloatArray:
        """(B, T, ...) in the caller's batch shape, without the T axis unless t_eval was given."""
        if self.t_eval is None:
            array = array[:, 0]
        return array.reshape(shape + array.shape[1:])


def thread_count(num_threads: Any) -> int:
    if num_threads is not None:
        return check.integer("num_threads", num_threads, low=1, high=4096)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def backend_for(name: str, batch: DiagonalBatch | FactorBatch | MLPBatch, threads: int) -> Backend:
    """The backend called ``name``, "auto" by the size and the place of the batch."""
    many = cuda_pays(len(batch), batch.crossover, threads)
    return get_backend(name, batch.on_device, many=many)


class RunBar:
    """A tqdm bar, or a function, that hears the number of finished runs; or nothing."""

    def __init__(self, wanted: bool | Progress, total: int, name: str) -> None:
        if not (isinstance(wanted, bool | np.bool_) or callable(wanted)):
            raise TypeError(f"progress: expected True, False or a function, got {wanted!r}")
        self._listener = wanted if callable(wanted) else None
        shown = bool(wanted) and self._listener is None
        self._bar = tqdm(total=total, desc=name, unit="run") if shown else None
        self._total = total

    def __enter__(self) -> RunBar:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        update = self.update
        if update is not None and kind is None:
            update(self._total)
        if self._bar is not None:
            self._bar.close()

    @property
    def update(self) -> Progress | None:
        bar = self._bar
        if bar is None:
            return self._listener

        def show(done: int) -> None:
            bar.update(done - bar.n)

        return show
