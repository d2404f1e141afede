"""What a flow of a margin loss is asked for: a loss, or values of one of its two clocks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from . import _validate as check
from ._device import namespace, to_host
from ._runs import STOP_LOSS, Default, Solved, flow_options
from ._types import ArrayLike, FloatArray
from .backends import MARGIN_LOSSES
from .backends.base import METHODS, MarginOptions
from .status import Status

__all__ = [
    "MarginClock",
    "direction_of",
    "margin_clock",
    "refuse_squared_options",
    "refuse_without_margins",
]

# Margins beyond this are no longer known to a fraction of one, which is what they are compared to.
_MOST = 1e12
# Under weight decay time itself is followed, which is a floating-point number.
_MOST_DECAYED = 690.0
_METHODS = ("auto", "radau5")
# A time this close to the one asked for, relative to it, is reported as that one.
_MET = 1e-7


@dataclass(frozen=True)
class MarginClock:
    """The ln L at which runs end, or ascending values of minus ln L or, ``by_time``, of ln t."""

    stop: FloatArray
    values: FloatArray | None
    by_time: bool
    t_eval: ArrayLike | None

    def options(
        self,
        *,
        rtol: ArrayLike,
        atol: float,
        method: str,
        max_steps: int,
        num_threads: int | None,
        log_pace: float = 0.0,
        log_scale: float = 0.0,
    ) -> MarginOptions:
        """Of a flow in the time exp(log_pace) t, whose loss is L over exp(log_scale)."""
        common = flow_options(
            rtol=rtol, t_max=np.inf, stop_loss=STOP_LOSS, t_eval=None, atol=atol,
            max_steps=max_steps, method=method, num_threads=num_threads, methods=_METHODS,
        )  # fmt: skip
        shift = log_pace if self.by_time else log_scale
        own = {
            "method": "radau5",
            "methods": METHODS,
            "t_max": log_scale - self.stop if self.values is None else np.array(np.inf),
            "t_eval": None if self.values is None else self.values + shift,
        }
        given = {field.name: getattr(common, field.name) for field in fields(common)}
        return MarginOptions(**given | own, by_time=self.by_time)

    @property
    def requested(self) -> tuple[ArrayLike | None, str]:
        """Values at which states were requested, if any, and the clock they are values of."""
        if self.t_eval is not None:
            return self.t_eval, "time"
        if self.by_time or self.values is None:
            return self.values, "log_t"
        return -self.values, "log_loss"

    def ends(self, solved: Solved, log_pace: float = 0.0, log_scale: float = 0.0) -> dict[str, Any]:
        """The fields of a `FlowResult`, with log_loss and log_t."""
        rows = solved.rows
        log_loss, log_t = rows["loss"] + log_scale, rows["t"] - log_pace
        xp = namespace(log_loss)
        with np.errstate(over="ignore", under="ignore"):
            rows["loss"], rows["t"] = xp.exp(log_loss), xp.exp(log_t)
        if self.t_eval is not None:  # those that were met are those that were asked for
            asked = xp.asarray(check.time_grid("t_eval", self.t_eval))
            rows["t"] = xp.where(abs(rows["t"] - asked) <= _MET * asked, asked, rows["t"])
        ends = solved.ends_at(*self.requested)
        ends["log_loss"], ends["log_t"] = solved.shaped(log_loss), solved.shaped(log_t)
        ends["status"] = self._status(ends["status"], ends["log_loss"])
        return ends

    def _status(self, status: Any, log_loss: FloatArray) -> Any:
        """CONVERGED where the loss that was asked for is reached, besides the times."""
        if self.values is None:
            return status
        last = to_host(log_loss[..., -1])
        reached = (last <= self.stop) if self.by_time else np.ones(status.shape, dtype=bool)
        xp = namespace(status)
        ended = status == int(Status.T_END)
        return xp.where(ended & xp.asarray(reached), int(Status.CONVERGED), status)


def margin_clock(
    stop_log_loss: Any, t_eval: Any, log_t_eval: Any, log_loss_eval: Any, *, decayed: bool = False
) -> MarginClock:
    """The clock that these arguments ask for, checked; ``decayed`` by weight decay."""
    given = {"log_loss_eval": log_loss_eval, "log_t_eval": log_t_eval, "t_eval": t_eval}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"{named[1]}: expected one of {', '.join(given)}, got {named}")
    if named and stop_log_loss is not None:
        raise ValueError(
            f"stop_log_loss: expected none together with {named[0]}, whose last value ends a run"
        )
    if decayed and log_loss_eval is not None:
        raise ValueError(
            "log_loss_eval: expected none with weight_decay, under which L need not fall; give "
            "t_eval or log_t_eval"
        )
    most = _MOST_DECAYED if decayed else _MOST
    stop = check.real_array(
        "stop_log_loss", np.log(STOP_LOSS) if stop_log_loss is None else stop_log_loss
    )
    _expect_in_range("stop_log_loss", stop, most)
    if log_loss_eval is not None:
        values = _grid("log_loss_eval", log_loss_eval, -1.0, most)
        return MarginClock(np.array(values[-1]), -values, False, None)
    if log_t_eval is not None:
        return MarginClock(stop, _grid("log_t_eval", log_t_eval, 1.0, most), True, None)
    if t_eval is not None:
        times = check.time_grid("t_eval", t_eval)
        least = np.exp(-_MOST_DECAYED)
        if decayed and np.any((times > 0.0) & (times < least)):
            raise ValueError(
                f"t_eval: expected zero, or times from {least:.0e} on with weight_decay, "
                f"got {times}"
            )
        with np.errstate(divide="ignore"):
            return MarginClock(stop, np.log(times), True, t_eval)
    return MarginClock(stop, None, False, None)


def _grid(name: str, values: Any, sign: float, most: float) -> FloatArray:
    array = check.real_array(name, values)
    order = "ascending" if sign > 0 else "descending"
    if array.ndim != 1 or not len(array) or np.any(np.diff(array) * sign < 0.0):
        raise ValueError(f"{name}: expected {order} values (T,), got {array}")
    _expect_in_range(name, array, most)
    return array


def _expect_in_range(name: str, array: FloatArray, most: float) -> None:
    if np.abs(array).max() > most:
        why = "margins are known to a small part of one"
        if most < _MOST:
            why = "with weight_decay, time is a floating-point number"
        raise ValueError(
            f"{name}: expected values between {-most:g} and {most:g}, where {why}, got {array}"
        )


def refuse_squared_options(loss: str, t_max: Any, stop_loss: Any) -> None:
    """Options of the squared loss that flows of a margin loss do not have."""
    expected = f"with loss={loss!r}"
    if np.any(np.asarray(t_max) != np.inf):
        raise ValueError(
            f"t_max: expected none {expected}, got {t_max!r}; give t_eval or log_t_eval"
        )
    if not isinstance(stop_loss, Default):
        raise ValueError(
            f"stop_loss: expected none {expected}, got {stop_loss!r}; give stop_log_loss, which is "
            "ln L"
        )


def refuse_without_margins(**options: Any) -> None:
    """Options that flows of a margin loss alone have."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(
                f"{name}: expected only with a margin loss, one of {', '.join(MARGIN_LOSSES)}; "
                "with loss='squared' give stop_loss or t_eval"
            )


def direction_of(predictor: FloatArray, margins: FloatArray) -> FloatArray:
    """The predictor over its least margin, NaN where that is not positive."""
    xp = namespace(margins)
    least = margins.min(axis=-1)
    least = least.reshape(least.shape + (1,) * (predictor.ndim - least.ndim))
    positive = least > 0.0
    scaled: FloatArray = xp.where(positive, predictor / xp.where(positive, least, 1.0), np.nan)
    return scaled
