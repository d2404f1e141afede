"""Flows of diagonal networks under a margin loss, to losses far below the smallest double."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from . import _validate as check
from ._device import namespace, to_host
from ._runs import STOP_LOSS, flow_options, solve_flows
from ._types import ArrayLike, FloatArray, Progress
from .backends import MARGIN_LOSSES, MarginBatch, make_batch
from .backends.base import METHODS, MarginOptions
from .diagonal_results import DiagonalFlow
from .diagonal_start import Start, check_weight_range
from .schedules import weight_decay as weight_decay_of
from .status import Status

__all__ = [
    "MarginFlow", "flow_margin", "margin_clock", "refuse_with_margins", "refuse_without_margins",
]  # fmt: skip

# Margins beyond this are no longer known to a fraction of one, which is what they are compared to.
_MOST = 1e12
_METHODS = ("auto", "radau5")
# Times are found to 1e-12 of their logarithm.
_MET = 1e-9


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MarginFlow(DiagonalFlow):
    """Result of `flow_diagonal` with a margin loss: a `DiagonalFlow`, and what follows.

    Attributes
    ----------
    log_loss : ndarray, B or B + (T,)
        ln L; ``loss`` is its exponential, 0 where that underflows.
    log_t : ndarray, B or B + (T,)
        ln t, minus infinity at the start; ``t`` is its exponential, infinite where that overflows.
    margins : ndarray, B + (n_samples,) or B + (T, n_samples)
        y_n <beta, x_n>.
    direction : ndarray, B + (n_features,) or B + (T, n_features)
        beta over the least margin: of margins at least 1, and NaN where a margin is not positive.
    dual : ndarray, B + (n_samples,) or B + (T, n_samples)
        Half the integral of -l'(m_n) over time, theta_n >= 0: the weights are the functions of
        X^T (y theta) that they are of X^T nu for the squared loss.
    """

    _dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **DiagonalFlow._dims, "margins": ("sample",), "direction": ("feature",),
    }  # fmt: skip
    _derived: ClassVar[tuple[str, ...]] = ("penalty", "direction")

    log_loss: FloatArray
    log_t: FloatArray
    margins: FloatArray

    @property
    def direction(self) -> FloatArray:
        """Beta over the least margin, NaN where that is not positive."""
        xp = namespace(self.margins)
        least = self.margins.min(axis=-1)[..., None]
        positive = least > 0.0
        scaled: FloatArray = xp.where(positive, self.beta / xp.where(positive, least, 1.0), np.nan)
        return scaled


def flow_margin(
    X: ArrayLike,
    y: ArrayLike,
    begin: Any,
    *,
    loss: str,
    loss_scale: float,
    stop_log_loss: ArrayLike | None,
    log_loss_eval: ArrayLike | None,
    log_t_eval: ArrayLike | None,
    t_eval: ArrayLike | None,
    rtol: ArrayLike,
    atol: float,
    method: str,
    max_steps: int,
    backend: str,
    num_threads: int | None,
    progress: bool | Progress,
) -> tuple[dict[str, Any], Start, MarginBatch]:
    """The fields of a `MarginFlow` from the start that ``begin(X)`` gives, and what it ran on."""
    common = flow_options(
        rtol=rtol, t_max=np.inf, stop_loss=STOP_LOSS, t_eval=None, atol=atol, max_steps=max_steps,
        method=method, num_threads=num_threads, methods=_METHODS,
    )  # fmt: skip
    stop, clock, by_time = margin_clock(stop_log_loss, t_eval, log_t_eval, log_loss_eval)
    X, y = check.labelled_pair(X, y, device=True)
    start: Start = begin(X)
    pace, log_scale = start.time_factor(loss_scale), float(np.log(loss_scale))
    shift = float(np.log(pace)) if by_time else log_scale
    options = MarginOptions(
        **{field.name: getattr(common, field.name) for field in fields(common)} | {
            "method": "radau5",
            "methods": METHODS,
            "t_max": np.array(np.inf) if clock is not None else log_scale - stop,
            "t_eval": None if clock is None else clock + shift,
        },
        by_time=by_time,
    )  # fmt: skip
    check_weight_range(start.alpha, start.depth, start.plus, start.minus)
    extra = options.rtol.shape, stop.shape
    common_batch = make_batch(
        X, y, start.alpha, start.depth, start.plus, start.minus, extra, reduce=False
    )
    batch = MarginBatch(**vars(common_batch), loss=loss)
    solved = solve_flows(
        "flow_diagonal", "margin_flow", batch, options, batch.y_norm2,
        backend=backend, progress=progress,
    )  # fmt: skip
    rows = solved.rows
    log_loss, log_t = rows["loss"] + log_scale, rows["t"] - float(np.log(pace))
    xp = namespace(rows["beta"])
    with np.errstate(over="ignore", under="ignore"):
        rows["loss"], rows["t"] = xp.exp(log_loss), xp.exp(log_t)
    if t_eval is not None:  # those that were met are those that were asked for
        asked = xp.asarray(check.time_grid("t_eval", t_eval))
        rows["t"] = xp.where(abs(rows["t"] - asked) <= _MET * asked, asked, rows["t"])
    ends = solved.ends
    ends["status"] = _status(ends["status"], solved.shaped(log_loss), stop, clock, by_time)
    rows["w_minus"] = batch.without(rows["w_minus"], start.minus == 0.0)
    return (
        {
            **{name: solved.shaped(rows[name]) for name in ("beta", "w_plus", "w_minus")},
            "dual": solved.shaped(batch.labels() * rows["dual"] / pace),
            "log_loss": solved.shaped(log_loss),
            "log_t": solved.shaped(log_t),
            "margins": solved.shaped(batch.margins(rows["beta"])),
            **ends,
        },
        start,
        batch,
    )


def refuse_with_margins(
    loss: str, t_max: Any, stop_loss: Any, weight_decay: Any, averaged: Any
) -> None:
    """Options that flows of a margin loss do not have."""
    expected = f"with loss={loss!r}"
    if np.any(np.asarray(t_max) != np.inf):
        raise ValueError(f"t_max: expected none {expected}; give t_eval or log_t_eval")
    if np.any(np.asarray(stop_loss) != STOP_LOSS):
        raise ValueError(f"stop_loss: expected none {expected}; give stop_log_loss, which is ln L")
    if weight_decay_of(weight_decay) is not None:
        raise ValueError(f"weight_decay: expected none {expected}, got {weight_decay!r}")
    if check.flag("averaged", averaged):
        raise ValueError(f"averaged: expected False {expected}")


def refuse_without_margins(**options: Any) -> None:
    """Options that flows of a margin loss alone have."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(
                f"{name}: expected only with a margin loss, one of {', '.join(MARGIN_LOSSES)}; "
                "with loss='squared' give stop_loss or t_eval"
            )


def margin_clock(
    stop_log_loss: Any, t_eval: Any, log_t_eval: Any, log_loss_eval: Any
) -> tuple[FloatArray, FloatArray | None, bool]:
    """Ln L at which a run ends, ascending values of the clock, and whether that is ln t."""
    given = {"log_loss_eval": log_loss_eval, "log_t_eval": log_t_eval, "t_eval": t_eval}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"{named[1]}: expected one of {', '.join(given)}, got {named}")
    if named and stop_log_loss is not None:
        raise ValueError(
            f"stop_log_loss: expected none together with {named[0]}, whose last value ends a run"
        )
    stop = check.real_array(
        "stop_log_loss", np.log(STOP_LOSS) if stop_log_loss is None else stop_log_loss
    )
    _expect_in_range("stop_log_loss", stop)
    if log_loss_eval is not None:
        values = _grid("log_loss_eval", log_loss_eval, -1.0)
        return np.array(values[-1]), -values, False
    if log_t_eval is not None:
        return stop, _grid("log_t_eval", log_t_eval, 1.0), True
    if t_eval is not None:
        with np.errstate(divide="ignore"):
            return stop, np.log(check.time_grid("t_eval", t_eval)), True
    return stop, None, False


def _grid(name: str, values: Any, sign: float) -> FloatArray:
    array = check.real_array(name, values)
    order = "ascending" if sign > 0 else "descending"
    if array.ndim != 1 or not len(array) or np.any(np.diff(array) * sign < 0.0):
        raise ValueError(f"{name}: expected {order} values (T,), got {array}")
    _expect_in_range(name, array)
    return array


def _expect_in_range(name: str, array: FloatArray) -> None:
    if np.abs(array).max() > _MOST:
        raise ValueError(
            f"{name}: expected values between -1e12 and 1e12, where margins are known to a small "
            f"part of one, got {array}"
        )


def _status(
    status: Any, log_loss: FloatArray, stop: FloatArray, clock: FloatArray | None, by_time: bool
) -> Any:
    """CONVERGED where the loss that was asked for is reached, besides the times."""
    if clock is None:
        return status
    last = to_host(log_loss[..., -1])
    reached = (last <= stop) if by_time else np.ones(status.shape, dtype=bool)
    xp = namespace(status)
    ended = status == int(Status.T_END)
    return xp.where(ended & xp.asarray(reached), int(Status.CONVERGED), status)
