"""Gradient flow of one model: step control and stopping rules."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..._types import FloatArray
from ...status import Status
from .dopri5 import Dopri5
from .radau5 import Radau5
from .system import System

__all__ = ["FlowRun", "integrate_flow"]

SAFETY = 0.9
MAX_GROWTH = 10.0
MAX_FAILURES = 100
# A loss that falls by less than this share in so many steps is looked at more closely.
ROUNDED = 1.0 + 1e-6  # what rounding may add to a loss that converged
STAGNANT, STAGNANT_SHARE = 100, 1e-9
# "auto": explicit until this many steps in a row were at the edge of stability.
STIFF_STEPS = 3
STABILITY_EDGE = 2.5


def radau_tolerance(rtol: float) -> float:
    """Radau's embedded error has order 3, its step order 5: hence the power 2/3."""
    return float(min(0.5 * rtol ** (2.0 / 3.0), 40.0 * rtol))


def dopri_tolerance(rtol: float) -> float:
    """Local errors add up over more steps the tighter they are."""
    return float(rtol * min(1.0, (rtol * 1e6) ** 0.2))


@dataclass
class FlowRun:
    """Rows of a finished run by name, and how it ended."""

    rows: dict[str, FloatArray]
    status: Status
    n_steps: int
    n_rhs: int


def integrate_flow(
    s: System,
    *,
    rtol: float,
    atol: float,
    t_max: float,
    stop_loss: float,
    loss_offset: float,
    max_steps: int,
    method: str,
    t_eval: FloatArray | None,
) -> FlowRun:
    """Integrate until t_max, the last evaluation time, or ``stop_loss`` (absolute)."""
    # What overflows on the way shows as an error that is not a number, or as a step of zero.
    with np.errstate(all="ignore"):
        return _integrate(
            s, rtol, atol, t_max, stop_loss, loss_offset, max_steps, method == "radau5",
            method == "auto", np.empty(0) if t_eval is None else t_eval,
        )  # fmt: skip


def _integrate(
    s: System,
    rtol: float,
    atol: float,
    t_max: float,
    stop_loss: float,
    loss_offset: float,
    max_steps: int,
    stiff: bool,
    auto: bool,
    times: FloatArray,
) -> FlowRun:
    rows = _Rows(max(len(times), 1), loss_offset)
    if not s.start():
        return rows.finish(s, 0.0, Status.FAILED, 0, 0)
    t_end = min(float(times[-1]), t_max) if len(times) else t_max
    tolerance = {True: radau_tolerance(rtol), False: dopri_tolerance(rtol)}
    radau = Radau5(s, min(0.03, s.newton_share * tolerance[False] / tolerance[True]))
    dopri = Dopri5(s)
    t, t_low = 0.0, 0.0  # two-double: after a plateau of 1e18 a jump of 1e-2 still counts

    def remaining(until: float) -> float:
        return (until - t) - t_low

    still = s.measure_velocity()
    rate = s.rate()
    h = rtol**0.2 / rate if rate > 0 else np.inf
    dense_h = np.inf  # longest step whose interpolant is as good as rtol asks
    failures = n_steps = attempts = stiff_steps = 0
    marked_loss = np.inf  # STAGNANT steps ago
    while rows.count < len(times) and times[rows.count] <= 0.0:
        rows.add(s, 0.0)
    status = Status.FAILED
    while True:
        loss = s.loss + loss_offset
        if not len(times) and loss <= stop_loss:
            status = Status.CONVERGED
        elif not remaining(t_end) > 0.0:
            status = Status.CONVERGED if loss <= stop_loss else Status.T_END
        elif still:
            status = Status.CONVERGED if loss <= stop_loss else Status.STATIONARY
        elif attempts >= max_steps:
            status = Status.MAX_STEPS
        elif failures <= MAX_FAILURES and h > 0.0 and t < 1e300:
            status = Status.FAILED
            attempts += 1
            cap = s.flow_cap()
            step = min(h, cap)
            left = remaining(t_end)
            next_time = remaining(float(times[rows.count])) if rows.count < len(times) else np.inf
            if stiff and next_time < step:
                step = min(step, max(next_time, dense_h))
            last = step >= left
            step = left if last else (0.5 * left if step > 0.5 * left else step)
            stepper: Dopri5 | Radau5 = radau if stiff else dopri
            error = stepper.attempt(step, tolerance[stiff], atol, s.predictor_norm)
            if (
                error is None
                or np.isnan(error)
                or (not stiff and error < 1.0 and not s.decreases(dopri.k[6]))
            ):
                h = 0.25 * step
                failures += 1
                continue
            factor = SAFETY * max(error, 1e-14) ** (-1.0 / stepper.order)
            if stiff:
                factor *= 17.0 / (16.0 + radau.iterations)
            if error >= 1.0:
                h = step * max(0.1, min(factor, 0.9))
                failures += 1
                continue
            if stiff and len(times):
                quality = max(error, 1e-14) * tolerance[True] / rtol
                dense_h = step * SAFETY * quality**-0.25
                if next_time < step and quality > 1.0:
                    continue
            failures = 0
            n_steps += 1
            while (
                rows.count < len(times)
                and times[rows.count] <= t_end
                and remaining(float(times[rows.count])) <= step
            ):
                when = float(times[rows.count])
                x = remaining(when) / step
                rows.add(s, when, stepper.interpolate(x, step), x)
            stepper.accept(step)
            turn = s.settle()
            if turn is not None:
                radau.old = turn(radau.old)
            if last:
                t, t_low = t_end, 0.0
            else:
                total = t + step
                part = total - t
                t_low += (t - (total - part)) + (step - part)
                t = total
            still = s.measure_velocity()
            if n_steps % STAGNANT == 0:
                stagnates = s.loss > marked_loss * (1.0 - STAGNANT_SHARE)
                still = still or (stagnates and s.at_rest(rtol))
                marked_loss = s.loss
            factor = min(MAX_GROWTH, max(0.2, factor))
            if stiff and 1.0 <= factor < 1.2 and step == h:
                factor = 1.0
            if step < cap and step < h:
                h = max(h, step * factor)
            else:
                h = max(step * factor, min(h, 4.0 * step)) if step < h else step * factor
            if auto and not stiff:
                stiff_steps = stiff_steps + 1 if dopri.stiffness > STABILITY_EDGE else 0
                # In interpreted code a stiff step costs hardly more than an explicit one.
                stiff = stiff_steps >= STIFF_STEPS or n_steps >= 6
            continue
        break
    if status in (Status.STATIONARY, Status.CONVERGED):
        while rows.count < len(times) and remaining(t_max) >= 0.0 and times[rows.count] <= t_max:
            rows.add(s, float(times[rows.count]))
    run = rows.finish(s, t, status, n_steps, radau.n_rhs + dopri.n_rhs)
    # What is returned, rounded, must be what the status says.
    final = run.rows["loss"][-1]
    if status == Status.CONVERGED and not len(times) and not final <= ROUNDED * stop_loss:
        run = replace(run, status=Status.FAILED)
    if not np.all(np.isfinite(run.rows["loss"])):
        run = replace(run, status=Status.FAILED)
    return run


class _Rows:
    """Output rows, one per evaluation time or one at the end."""

    def __init__(self, total: int, loss_offset: float) -> None:
        self.total, self.loss_offset = total, loss_offset
        self.rows: list[dict[str, FloatArray]] = []

    @property
    def count(self) -> int:
        return len(self.rows)

    def add(self, s: System, t: float, dense: FloatArray | None = None, x: float = 0.0) -> None:
        row = s.row(dense, x)
        row["loss"] = row["loss"] + self.loss_offset
        row["t"] = np.asarray(t)
        self.rows.append(row)

    def finish(self, s: System, t: float, status: Status, n_steps: int, n_rhs: int) -> FlowRun:
        """Times that were not reached show the last state, with the time it belongs to."""
        while self.count < self.total:
            self.add(s, t)
        stacked = {name: np.stack([row[name] for row in self.rows]) for name in self.rows[0]}
        return FlowRun(stacked, status, n_steps, n_rhs)
