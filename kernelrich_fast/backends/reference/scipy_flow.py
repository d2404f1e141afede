"""A flow by the stiff solvers of SciPy, step by step, so that every step can be checked.

What these solvers may do unasked (return NaN as a success, overflow in a first step that is too
long, end a step outside the domain) is caught here; the tolerance they are given follows from how
many digits of the state the predictor needs, which a first run finds out.
"""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import scipy.integrate

from ..._types import FloatArray
from ...status import Status
from .rows import Clock, Row, Run

__all__ = ["ScipyProblem", "follow"]

SOLVERS: dict[str, Any] = {
    "auto": scipy.integrate.LSODA,
    "radau5": scipy.integrate.Radau,
    "dopri5": scipy.integrate.RK45,
}
# A run is given this share of the tolerance asked for, since errors of its steps add up.
SHARE = 0.25
# Of a step that leaves the domain, the part below which it is not tried again.
_SHORTEST = 1e-8
_LAST = 1e300  # a time beyond which there are no steps
_SOON = 1e-300  # a time up to which nothing moves
# What the solvers can tell apart.
LEAST_TOLERANCE = 100 * np.finfo(np.float64).eps


def _make_lock() -> None:
    """SciPy's LSODA keeps its state in one place for the whole process: one run at a time."""
    global _one_at_a_time
    _one_at_a_time = threading.Lock()


_one_at_a_time: threading.Lock
_make_lock()
if hasattr(os, "register_at_fork"):  # a child may be born while a thread it lacks holds the lock
    os.register_at_fork(after_in_child=_make_lock)


class ScipyProblem(Protocol):
    """A flow whose state is a vector."""

    start: FloatArray
    floor: FloatArray  # sizes of the parts of the state, below which relative errors do not count
    breaks: tuple[float, ...]  # times at which the field changes its formula

    def field(self, t: float, state: FloatArray) -> FloatArray: ...

    def jacobian(self, t: float, state: FloatArray) -> FloatArray: ...

    def rate(self) -> float:
        """The fastest rate of change at the start."""
        ...

    def loss(self, state: FloatArray) -> float: ...

    def loss_counts(self, t: float) -> bool:
        """Whether the run may end at t because its loss is small."""
        ...

    def resolution(self, state: FloatArray, rtol: float, atol: float) -> float:
        """The relative error of the state that makes one of rtol (or atol) in the predictor."""
        ...

    def at_rest(self, t: float, state: FloatArray, tolerance: float) -> bool:
        """Whether the predictor is within the tolerance of where the flow ends; once a step."""
        ...

    def legal(self, state: FloatArray) -> bool: ...

    def row(self, state: FloatArray, t: float) -> Row: ...

    def row_at_rest(self, state: FloatArray, t: float, later: float) -> Row:
        """The row of a later time, for a flow that rests from t on."""
        ...


def follow(
    problem: ScipyProblem, *, rtol: float, atol: float, t_max: float, stop_loss: float,
    max_steps: int, method: str, t_eval: FloatArray | None,
) -> Run:  # fmt: skip
    """Integrate until t_max, the last evaluation time, or ``stop_loss`` (absolute)."""
    with _one_at_a_time, warnings.catch_warnings():
        # How a run ends is its status; LSODA would say so once more.
        warnings.filterwarnings("ignore", module=r"scipy\.integrate")
        needed = rtol
        # The loss is a square; its last digits ask for a tolerance of their own.
        size = problem.loss(problem.start)
        if t_eval is None and size > 0.0:
            needed = min(needed, max(np.sqrt(stop_loss / size), 1e-11))
        last = None
        for _ in range(5):
            if needed < LEAST_TOLERANCE:
                break
            clock = Clock(t_max, stop_loss, t_eval)
            attempt = _Attempt(problem, clock, rtol, atol, max(SHARE * needed, LEAST_TOLERANCE))
            last = attempt.run(SOLVERS[method], max_steps)
            if last.status == Status.FAILED:  # a step too long may have left the domain
                needed *= 0.01
            elif last.status == Status.MAX_STEPS or attempt.resolution >= 0.5 * needed:
                return last
            needed = min(needed, 0.7 * attempt.resolution)
        if last is not None:  # what was computed has too few digits
            return replace(last, status=Status.FAILED)
        start = problem.row(problem.start, 0.0)
        return Clock(t_max, stop_loss, t_eval).finish(0.0, start, Status.FAILED, 0, 0)


class _Attempt:
    """One run at one tolerance; ``resolution`` is the least that it met on its way."""

    def __init__(
        self, problem: ScipyProblem, clock: Clock, rtol: float, atol: float, tolerance: float
    ) -> None:
        self.problem, self.clock, self.tolerance = problem, clock, tolerance
        self.accuracy = rtol, atol
        self.resolution = np.inf

    def run(self, kind: Any, max_steps: int) -> Run:
        problem, clock = self.problem, self.clock
        state, t, steps, n_rhs, status = problem.start, 0.0, 0, 0, None
        while clock.due <= _SOON:
            clock.report(clock.due, problem.row(state, 0.0))
        status = self.ended(state, t)
        if status is None and clock.t_end <= _SOON:
            t, status = clock.t_end, Status.T_END
        solver, shorter = None, 1.0
        while status is None:
            if steps >= max_steps or t >= _LAST:
                status = Status.MAX_STEPS
                break
            if solver is None or solver.status == "finished":  # at a break
                n_rhs += 0 if solver is None else int(solver.nfev)
                solver = self.solver(kind, t, state)
            solver.step()
            steps += 1
            if solver.status != "failed" and not problem.legal(solver.y) and shorter > _SHORTEST:
                # A step over an activation that its start says nothing of.
                n_rhs, shorter = n_rhs + int(solver.nfev), 0.1 * shorter
                solver = self.solver(kind, t, state, 0.1 * (float(solver.t) - t))
                continue
            if solver.status == "failed" or not problem.legal(solver.y):
                status = Status.FAILED
                break
            shorter = 1.0
            state, t = solver.y, float(solver.t)
            self.resolution = min(self.resolution, problem.resolution(state, *self.accuracy))
            if clock.due <= t:
                dense = solver.dense_output()
                while clock.due <= t:
                    clock.report(clock.due, problem.row(dense(clock.due), clock.due))
            status = self.ended(state, t)
        n_rhs += 0 if solver is None else int(solver.nfev)
        return clock.finish(
            t, problem.row(state, t), status, steps, n_rhs,
            lambda later: problem.row_at_rest(state, t, later),
        )  # fmt: skip

    def solver(self, kind: Any, t: float, state: FloatArray, first: float = np.inf) -> Any:
        problem = self.problem
        rate = problem.rate()
        end = min([self.clock.t_end, _LAST, *(b for b in problem.breaks if b > t)])
        options: dict[str, Any] = {"rtol": self.tolerance, "atol": self.tolerance * problem.floor}
        if rate > 0.0:
            options["first_step"] = min(1e-3 / rate, 0.1 * (end - t), first)
        if kind is not scipy.integrate.RK45:
            options["jac"] = problem.jacobian
        return kind(problem.field, t, state.copy(), end, **options)

    def ended(self, state: FloatArray, t: float) -> Status | None:
        at_rest = self.problem.at_rest(t, state, self.tolerance)
        loss = self.problem.loss(state) if self.problem.loss_counts(t) else np.inf
        return self.clock.ended(t, loss, at_rest)
