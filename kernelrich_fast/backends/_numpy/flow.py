"""Gradient flow of one diagonal network: step control and stopping rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..._types import FloatArray
from ...status import Status
from .dopri5 import Dopri5
from .mirror import Mirror
from .radau5 import Radau5
from .state import DualState

__all__ = ["FlowRun", "integrate_flow"]

SAFETY = 0.9
MAX_GROWTH = 10.0
MAX_FAILURES = 100
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
    """Rows of a finished run, and how it ended."""

    beta: FloatArray
    w_plus: FloatArray
    w_minus: FloatArray
    dual: FloatArray
    loss: FloatArray
    t: FloatArray
    status: Status
    n_steps: int
    n_rhs: int


def integrate_flow(
    X: FloatArray,
    y: FloatArray,
    mirror: Mirror,
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
    s = DualState(X, y, mirror)
    rows = _Rows(1 if t_eval is None else len(t_eval), X.shape, loss_offset)
    if not s.start():
        return rows.finish(s, 0.0, Status.FAILED, 0, 0)
    times = np.empty(0) if t_eval is None else t_eval
    t_end = min(float(times[-1]), t_max) if len(times) else t_max
    tolerance = {True: radau_tolerance(rtol), False: dopri_tolerance(rtol)}
    radau = Radau5(s, min(0.03, 0.3 * rtol / tolerance[True]))
    dopri = Dopri5(s)
    stiff = method == "radau5"
    t, t_low = 0.0, 0.0  # two-double: after a plateau of 1e18 a jump of 1e-2 still counts

    def remaining(until: float) -> float:
        return (until - t) - t_low

    still = s.measure_velocity()
    rate = float(s.at.slope @ s.velocity**2) / max(s.loss, 1e-300)
    h = rtol**0.2 / rate if rate > 0 else np.inf
    dense_h = np.inf  # longest step whose interpolant is as good as rtol asks
    failures = n_steps = attempts = stiff_steps = 0
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
            # What overflows on the way shows as an error that is not a number.
            with np.errstate(all="ignore"):
                error = stepper.attempt(step, tolerance[stiff], atol, s.beta_norm)
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
                dz, dnu = stepper.interpolate(x, step)
                # A polynomial between two points of the mirror's domain may leave it; the chord
                # cannot.
                rows.add(s, when, dz if s.mirror.evaluate(dz) else x * stepper.end_z, dnu)
            stepper.accept(step)
            if last:
                t, t_low = t_end, 0.0
            else:
                total = t + step
                part = total - t
                t_low += (t - (total - part)) + (step - part)
                t = total
            still = s.measure_velocity()
            factor = min(MAX_GROWTH, max(0.2, factor))
            if stiff and 1.0 <= factor < 1.2 and step == h:
                factor = 1.0
            if step < cap and step < h:
                h = max(h, step * factor)
            else:
                h = max(step * factor, min(h, 4.0 * step)) if step < h else step * factor
            if method == "auto" and not stiff:
                stiff_steps = stiff_steps + 1 if dopri.stiffness > STABILITY_EDGE else 0
                # In interpreted code a stiff step costs hardly more than an explicit one.
                stiff = stiff_steps >= STIFF_STEPS or n_steps >= 6
            continue
        break
    if status in (Status.STATIONARY, Status.CONVERGED):
        while rows.count < len(times) and remaining(t_max) >= 0.0 and times[rows.count] <= t_max:
            rows.add(s, float(times[rows.count]))
    return rows.finish(s, t, status, n_steps, radau.n_rhs + dopri.n_rhs)


class _Rows:
    """Output rows, one per evaluation time or one at the end."""

    def __init__(self, total: int, shape: tuple[int, int], loss_offset: float) -> None:
        n, d = shape
        self.count, self.total, self.loss_offset = 0, total, loss_offset
        self.beta, self.w_plus, self.w_minus = (np.zeros((total, d)) for _ in range(3))
        self.dual, self.loss, self.t = np.zeros((total, n)), np.zeros(total), np.zeros(total)

    def add(
        self,
        s: DualState,
        t: float,
        dz: FloatArray | None = None,
        dnu: FloatArray | float = 0.0,
    ) -> None:
        at = np.zeros(s.X.shape[1]) if dz is None else dz
        value = s.mirror.evaluate(at)
        if value is not None:
            self.beta[self.count] = value.beta
            self.w_plus[self.count], self.w_minus[self.count] = s.mirror.weights(at)
        residual = s.y - s.X @ self.beta[self.count]
        self.loss[self.count] = residual @ residual + self.loss_offset
        self.dual[self.count] = s.original(s.nu + dnu)
        self.t[self.count] = t
        self.count += 1

    def finish(self, s: DualState, t: float, status: Status, n_steps: int, n_rhs: int) -> FlowRun:
        """Times that were not reached show the last state, with the time it belongs to."""
        while self.count < self.total:
            self.add(s, t)
        return FlowRun(
            beta=self.beta,
            w_plus=self.w_plus,
            w_minus=self.w_minus,
            dual=self.dual,
            loss=self.loss,
            t=self.t,
            status=status,
            n_steps=n_steps,
            n_rhs=n_rhs,
        )
