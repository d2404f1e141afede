"""Flows of diagonal networks under a margin loss, to losses far below the smallest double."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from . import _validate as check
from ._runs import solve_flows
from ._types import ArrayLike, FloatArray, Progress
from .backends import MarginBatch, make_batch
from .diagonal_results import DiagonalFlow
from .diagonal_start import Start, check_weight_range
from .margin_clock import direction_of, margin_clock, refuse_squared_options
from .schedules import Schedule, decays

__all__ = ["MarginFlow", "flow_margin", "refuse_with_margins"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MarginFlow(DiagonalFlow):
    """Result of `flow_diagonal` with a margin loss: a `DiagonalFlow`, and what follows.

    Attributes
    ----------
    log_loss : ndarray, B or B + (T,)
        ln L; ``loss`` is its exponential, 0 where that underflows.
    log_t : ndarray, B or B + (T,)
        ln t; ``t`` is its exponential, infinite where that overflows. In a row at t = 0 ln t is
        -inf, also in rows of ``log_loss_eval`` above the loss of the start.
    margins : ndarray, B + (n_samples,) or B + (T, n_samples)
        y_n <beta, x_n>.
    direction : ndarray, B + (n_features,) or B + (T, n_features)
        beta over the least margin: of margins at least 1, and NaN where a margin is not positive.
    dual : ndarray, B + (n_samples,) or B + (T, n_samples)
        Half the integral of -l'(m_n) over time, theta_n >= 0: the weights are the functions of
        X^T (y theta) that they are of X^T nu for the squared loss; under weight decay as there,
        -l'(m_n) times exp(-2 (D - 2) Lambda).
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
        return direction_of(self.beta, self.margins)


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
    decay: Schedule | None,
) -> tuple[dict[str, Any], Start, MarginBatch]:
    """The fields of a `MarginFlow` from the start that ``begin(X)`` gives, and what it ran on."""
    clock = margin_clock(stop_log_loss, t_eval, log_t_eval, log_loss_eval, decayed=decays(decay))
    X, y = check.labelled_pair(X, y, device=True)
    start: Start = begin(X)
    pace = start.time_factor(loss_scale)
    units = {"log_pace": float(np.log(pace)), "log_scale": float(np.log(loss_scale))}
    options = clock.options(
        rtol=rtol, atol=atol, method=method, max_steps=max_steps, num_threads=num_threads, **units
    )
    check_weight_range(start.alpha, start.depth, start.plus, start.minus)
    shapes = {"rtol": options.rtol.shape, "stop_log_loss": clock.stop.shape}
    common_batch = make_batch(
        X, y, start.alpha, start.depth, start.plus, start.minus, shapes,
        None if decay is None else decay.at_pace(pace), reduce=False,
    )  # fmt: skip
    batch = MarginBatch(**vars(common_batch), loss=loss)
    solved = solve_flows(
        "flow_diagonal", "margin_flow", batch, options, batch.y_norm2,
        backend=backend, progress=progress,
    )  # fmt: skip
    rows = solved.rows
    rows["w_minus"] = batch.without(rows["w_minus"], start.minus == 0.0)
    return (
        {
            **{name: solved.shaped(rows[name]) for name in ("beta", "w_plus", "w_minus")},
            "dual": solved.shaped(batch.labels() * rows["dual"] / pace),
            "margins": solved.shaped(batch.margins(rows["beta"])),
            **clock.ends(solved, **units),
        },
        start,
        batch,
    )


def refuse_with_margins(loss: str, t_max: Any, stop_loss: Any, averaged: Any) -> None:
    """Options that flows of a margin loss do not have."""
    refuse_squared_options(loss, t_max, stop_loss)
    if check.flag("averaged", averaged):
        raise ValueError(f"averaged: expected False with loss={loss!r}")
