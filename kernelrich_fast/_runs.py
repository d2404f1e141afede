"""What every flow shares: its stopping and accuracy options, threads, a progress bar."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import numpy as np

from . import _validate as check
from ._bars import tqdm
from ._messages import one_that_is
from ._types import ArrayLike, FloatArray, Progress
from .backends import Backend, cuda_pays, get_backend, solve_batch
from .backends.base import METHODS, Batch, FlowOptions, Rows
from .status import warn_unless_converged

__all__ = ["RunBar", "Solved", "backend_for", "flow_options", "solve_flows", "thread_count"]


class Default(float):
    """A default value, told from the same number given by the caller."""


# The default of all flows.
STOP_LOSS = Default(1e-12)


def flow_options(
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
) -> FlowOptions:
    """The options of a flow, checked."""
    given = {
        "rtol": rtol, "t_max": t_max, "stop_loss": stop_loss, "t_eval": t_eval, "atol": atol,
        "max_steps": max_steps, "method": method, "num_threads": thread_count(num_threads),
    }  # fmt: skip
    # The checks take as long as a small run, and most calls are alike.
    plain = all(type(value) in _PLAIN for value in given.values())
    checked = _checked_before if plain else _checked
    return checked(**given, methods=methods)


def _checked(
    *,
    rtol: Any,
    t_max: Any,
    stop_loss: Any,
    t_eval: Any,
    atol: Any,
    max_steps: Any,
    method: Any,
    methods: tuple[str, ...],
    num_threads: int,
) -> FlowOptions:
    check.choice("method", method, methods)
    tolerance = check.positive_array("rtol", rtol)
    outside = (tolerance < 1e-12) | (tolerance > 0.1)
    if outside.any():
        raise ValueError(
            f"rtol: expected values in [1e-12, 0.1], got {one_that_is(outside, tolerance)}"
        )
    least_loss = check.positive_array("stop_loss", stop_loss, zero=True)
    if t_eval is not None and not isinstance(stop_loss, Default):
        raise ValueError(
            "stop_loss: expected none together with t_eval, with which a run goes to the last time "
            "whatever its loss; give one of the two"
        )
    return FlowOptions(
        rtol=tolerance,
        t_max=check.positive_array("t_max", t_max, finite=False),
        stop_loss=least_loss,
        t_eval=None if t_eval is None else check.time_grid("t_eval", t_eval),
        atol=check.scalar("atol", atol, low=0.0, high=1e300, open_low=False),
        max_steps=check.integer("max_steps", max_steps, low=1),
        method=method,
        methods=methods,
        num_threads=num_threads,
    )


_PLAIN = (Default, float, int, bool, str, type(None))
# 1, 1.0 and True are not the same argument.
_checked_before = lru_cache(maxsize=256, typed=True)(_checked)


class Solved:
    """The results of a batch of flows, as arrays and in the shape that the caller sees."""

    def __init__(self, batch: Batch, rows: Rows, times: FloatArray | None, backend: str) -> None:
        self.rows, self.shape, self.backend = rows, batch.shape, backend
        self.times, self.timed = times, times is not None

    def shaped(self, array: FloatArray) -> FloatArray:
        """(runs, T, ...) in the batch's shape, without the T axis unless there were times."""
        if not self.timed:
            array = array[:, 0]
        return array.reshape(self.shape + array.shape[1:])

    @property
    def ends(self) -> dict[str, Any]:
        """The fields of a `FlowResult`."""
        return self.ends_at(self.times)

    def ends_at(self, values: ArrayLike | None, clock: str = "time") -> dict[str, Any]:
        """The same, of a flow whose caller has another time, or another clock."""
        rows = self.rows
        return {
            "loss": self.shaped(rows["loss"]),
            "t": self.shaped(rows["t"]),
            **{
                name: rows[name].reshape(self.shape)
                for name in ("status", "n_steps", "n_rhs", "n_flops")
            },
            "backend": self.backend,
            "requested": None if values is None else (clock, np.array(values, dtype=np.float64)),
        }


def solve_flows(
    function: str,
    family: str,
    batch: Batch,
    options: FlowOptions,
    zero_loss: FloatArray,
    *,
    backend: str,
    progress: bool | Progress,
) -> Solved:
    """Integrate a batch on the backend that is asked for, and warn of what did not converge.

    ``function`` is the public function that calls; ``zero_loss`` is per run what ``stop_loss``
    refers to.
    """
    chosen = backend_for(backend, batch, options.num_threads)
    with RunBar(progress, len(batch), function) as bar:
        each = options.for_batch(batch.shape, zero_loss, bar.update)
        rows = solve_batch(chosen, family, batch, each)
    warn_unless_converged(rows["status"], function, frames=2)
    return Solved(batch, rows, options.t_eval, chosen.name)


def thread_count(num_threads: Any) -> int:
    if num_threads is not None:
        return check.integer("num_threads", num_threads, low=1, high=4096)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def backend_for(name: str, batch: Batch, threads: int) -> Backend:
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
