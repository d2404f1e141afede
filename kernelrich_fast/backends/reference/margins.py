"""Margin losses by SciPy's Radau, in the integral of S / 2 over time, S the sum of -l'(m_n).

With p the derivatives -l'(m) over S, the velocity in that time tau depends on p alone: the dual of
a diagonal network moves with nu' = y p.  Values of the two clocks, -ln L and ln t, are found on the
solver's interpolant of the step that passes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import scipy.integrate
import scipy.interpolate
import scipy.optimize
import scipy.special

from ..._types import FloatArray
from ...equations.diagonal import mirror_map
from ...equations.margins import log_loss_slopes, log_loss_values, loss_curvatures
from ...status import Status
from .rows import Row, Run

__all__ = ["MarginDual", "MarginProblem", "follow_margins"]

# Points of a step at which ln S is taken for the integral of 1 / S, and those between, dense at its
# end, where late in a flow all of the time passes.
_NODES = 1.0 - np.linspace(1.0, 0.0, 25) ** 2
_GRID = np.unique(np.concatenate([np.linspace(0.0, 1.0, 200), 1.0 - np.geomspace(1e-12, 1.0, 200)]))
# A velocity of z below this part of what one sample alone would cause is rounding.
_STILL = 1e-12
# Longest step, relative to 1 / (epsilon |x| relative slope): beyond, at rest, rounding moves z.
_LONGEST = 1e-12 / np.finfo(np.float64).eps


class MarginProblem(Protocol):
    """The flow of a margin loss, whose state is a vector, in the time tau."""

    start: FloatArray
    floor: Any  # sizes of the parts of the state, below which relative errors do not count

    def log_slope_sum(self, state: FloatArray) -> float: ...

    def log_loss(self, state: FloatArray) -> float: ...

    def field(self, tau: float, state: FloatArray) -> FloatArray: ...

    def jacobian(self, tau: float, state: FloatArray) -> FloatArray: ...

    def rate(self) -> float: ...

    def longest(self, state: FloatArray) -> float:
        """The longest step."""

    def at_rest(self, state: FloatArray, tau: float, rtol: float) -> bool: ...

    def legal(self, state: FloatArray) -> bool: ...

    def row(self, state: FloatArray, log_t: float) -> Row: ...


class MarginDual:
    """The dual of a diagonal network under a margin loss."""

    def __init__(
        self, X: FloatArray, y: FloatArray, plus: FloatArray, minus: FloatArray, depth: float,
        loss: str,
    ) -> None:  # fmt: skip
        self.X, self.y, self.loss = X, y, loss
        self.map = mirror_map(np, plus, minus, depth)
        at = self.map.at(np.zeros(X.shape[1]))
        length = np.linalg.norm(X, axis=0)
        with np.errstate(divide="ignore"):
            self.floor = float(np.min(at.size / (at.slope * np.where(length > 0, length, np.nan))))
        self.start = np.zeros(len(y))
        self.length = length

    def margins(self, nu: FloatArray) -> FloatArray:
        return np.asarray(self.y * (self.X @ self.map.at(self.X.T @ nu).beta))

    def log_slope_sum(self, nu: FloatArray) -> float:
        return float(scipy.special.logsumexp(log_loss_slopes(self.loss, self.margins(nu))))

    def log_loss(self, nu: FloatArray) -> float:
        return float(scipy.special.logsumexp(log_loss_values(self.loss, self.margins(nu))))

    def shares(self, m: FloatArray) -> FloatArray:
        return np.asarray(scipy.special.softmax(log_loss_slopes(self.loss, m)))

    def field(self, tau: float, nu: FloatArray) -> FloatArray:
        return np.asarray(self.y * self.shares(self.margins(nu)))

    def jacobian(self, tau: float, nu: FloatArray) -> FloatArray:
        at = self.map.at(self.X.T @ nu)
        m = self.y * (self.X @ at.beta)
        p = self.shares(m)
        a = p * loss_curvatures(self.loss, m)
        gram = (self.X * at.slope) @ self.X.T
        weight = np.diag(a) - np.outer(self.y * p, self.y * a)
        return np.asarray(-weight @ gram)

    def rate(self) -> float:
        """At which ln L falls at the start."""
        zero = np.zeros(len(self.y))
        v = self.X.T @ self.field(0.0, zero)
        return float(np.sum(self.map.at(0.0 * v).slope * v * v))

    def longest(self, nu: FloatArray) -> float:
        at = self.map.at(self.X.T @ nu)
        return float(_LONGEST / np.max(at.slope / at.size * self.length))

    def at_rest(self, nu: FloatArray, tau: float, rtol: float) -> bool:
        size = 1.0 + float(np.sum(np.abs(self.map.at(self.X.T @ nu).beta) * self.length))
        v = np.abs(self.X.T @ self.field(0.0, nu))
        return bool(np.all(v <= min(_STILL * size, 1e-9) * self.length))

    def legal(self, nu: FloatArray) -> bool:
        return bool(np.all(np.isfinite(nu))) and self.map.holds(self.X.T @ nu)

    def row(self, nu: FloatArray, log_t: float) -> Row:
        z = self.X.T @ nu
        plus, minus = self.map.weights(z)
        return {
            "beta": self.map.at(z).beta, "w_plus": plus, "w_minus": minus, "dual": nu,
            "loss": np.asarray(self.log_loss(nu)), "t": np.asarray(log_t),
        }  # fmt: skip


class _Step:
    """A step from tau to tau + h, and the time that passes in it."""

    def __init__(
        self, flow: MarginProblem, at: Callable[[float], FloatArray], tau: float, h: float,
        log_t: float,
    ) -> None:  # fmt: skip
        self.flow, self.tau, self.h, self.log_t = flow, tau, h, log_t
        self._state = at
        values = [-flow.log_slope_sum(self.at(x)) for x in _NODES]
        self.speed: Any = scipy.interpolate.PchipInterpolator(_NODES, values)

    def at(self, x: float) -> FloatArray:
        """The dual at fraction x."""
        return self._state(self.tau + x * self.h)

    def log_time(self, x: float) -> float:
        """Ln t at fraction x: straight pieces of -ln S, whose exponentials are integrated."""
        grid = x * _GRID
        values = self.speed(grid)
        low, high = np.minimum(values[:-1], values[1:]), np.maximum(values[:-1], values[1:])
        gap = high - low
        mean = np.where(gap > 1e-8, -np.expm1(-gap) / np.where(gap > 1e-8, gap, 1.0), 1.0)
        with np.errstate(divide="ignore"):
            pieces = high + np.log(mean * np.diff(grid))
            passed = np.log(2.0 * self.h) + scipy.special.logsumexp(pieces)
        return float(np.logaddexp(self.log_t, passed))

    def clock(self, x: float, by_time: bool) -> float:
        return self.log_time(x) if by_time else -self.flow.log_loss(self.at(x))

    def fraction(self, value: float, by_time: bool) -> float:
        start = self.log_t if by_time else self.clock(0.0, False)
        if start >= value:
            return 0.0

        def gap(x: float) -> float:
            return max(self.clock(x, by_time) - value if x > 0 else start - value, -1e300)

        return float(scipy.optimize.brentq(gap, 0.0, 1.0, xtol=1e-15, rtol=1e-14))


def follow_margins(
    flow: MarginProblem, *, rtol: float, end: float, values: FloatArray | None, by_time: bool,
    max_steps: int,
) -> Run:  # fmt: skip
    """Integrate to the last of ``values`` of the clock, or where it shows ``end``."""
    targets = np.array([end]) if values is None else np.minimum(values, end)
    done = Status.CONVERGED if values is None else Status.T_END
    state, log_t = flow.start, -np.inf
    h = 1e-3 * float(np.sqrt(rtol)) / max(flow.rate(), 1e-300)
    rows: list[Row] = []
    n_steps = n_rhs = 0

    def finish(status: Status) -> Run:
        while len(rows) < len(targets):
            rows.append(flow.row(state, log_t))
        stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        held = all(np.all(np.isfinite(stacked[name])) for name in stacked if name != "t")
        return Run(stacked, status if held else Status.FAILED, n_steps, n_rhs)

    shown = log_t if by_time else -flow.log_loss(state)
    while len(rows) < len(targets) and shown >= targets[len(rows)]:
        rows.append(flow.row(state, log_t))

    def started(tau: float) -> Any:
        return scipy.integrate.Radau(
            flow.field, tau, state, np.inf, jac=flow.jacobian, first_step=h,
            rtol=max(0.1 * rtol, 1e-13), atol=1e-2 * rtol * flow.floor,
        )  # fmt: skip

    solver = started(0.0)
    while len(rows) < len(targets):
        if flow.at_rest(state, solver.t, rtol):
            return finish(Status.STATIONARY)
        if n_steps >= max_steps:
            return finish(Status.MAX_STEPS)
        before = solver.nfev
        try:
            message = solver.step()
        except (ValueError, np.linalg.LinAlgError):  # a trial step out of the domain
            message = "failed"
        n_steps, n_rhs = n_steps + 1, n_rhs + solver.nfev - before
        if message is not None or not flow.legal(solver.y):
            return finish(Status.FAILED)
        step = _Step(flow, solver.dense_output(), solver.t_old, solver.t - solver.t_old, log_t)
        while len(rows) < len(targets) and step.clock(1.0, by_time) >= targets[len(rows)]:
            x = step.fraction(targets[len(rows)], by_time)
            rows.append(flow.row(step.at(x), step.log_time(x)))
        state, log_t, longest = solver.y, step.log_time(1.0), flow.longest(solver.y)
        if solver.h_abs > longest:
            h = longest
            solver = started(solver.t)
    return finish(done)
