"""The t -> infinity limit: damped Newton on the convex dual, continued in the scale.

The equation solved is y - X beta = relax nu with relax |nu| far below the tolerance: components of
y that are nothing but the rounding of sparse data then wake no weights.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from ..._types import FloatArray
from ...status import Status
from .gram import ScaledGram, kept_digits
from .mirror import Mirror
from .state import DualState

__all__ = ["LimitRun", "solve_limit"]


# Newton iterations a stage may take, and may take without progress, before it is cut shorter.
STAGE = 200
STALL = 60


@dataclass
class LimitRun:
    """A finished run."""

    beta: FloatArray
    w_plus: FloatArray
    w_minus: FloatArray
    dual: FloatArray
    loss: float
    status: Status
    n_iterations: int


def solve_limit(
    X: FloatArray,
    y: FloatArray,
    mirror: Mirror,
    log_weight: float,
    *,
    tol: float,
    max_iter: int,
    loss_offset: float,
) -> LimitRun:
    """``log_weight`` is the mean logarithm of the initial weights."""
    solver = _Solver(DualState(X, y, mirror), loss_offset, max_iter)
    s = solver.s
    status = Status.FAILED
    if s.start():
        goal = tol * float(np.hypot(s.y_norm, np.sqrt(loss_offset)))
        status = solver.solve(goal, log_weight)
        plus, minus = s.mirror.weights(np.zeros(X.shape[1]))
        # In the basis of the problem: what grading took for dependent rows may hold a residual.
        s.ungrade()
        loss = s.loss + loss_offset
        if status == Status.CONVERGED and loss > (1.01 * goal) ** 2:
            status = Status.STATIONARY
        return LimitRun(s.at.beta, plus, minus, s.nu, loss, status, solver.n_iterations)
    zero = np.zeros(X.shape[1])
    return LimitRun(zero, zero, zero, s.nu, float(y @ y), status, 0)


class _Solver:
    def __init__(self, state: DualState, loss_offset: float, max_iter: int) -> None:
        self.s, self.max_iter = state, max_iter
        self.loss_offset = self.offset = loss_offset
        self.gram = ScaledGram(state)
        self.n_iterations = 0

    def solve(self, goal: float, log_weight: float) -> Status:
        s = self.s
        depth = s.mirror.depth
        largest = float(np.max(s.feature_norm))
        size = s.y_norm / largest if largest > 0 else 0.0
        # How much larger weights must be for w^D to exceed the size of beta.
        level = max(0.0, np.log(size) / depth - log_weight) if size > 0 else 0.0
        self.rescale(level, 1.0)
        below, drop, pace = 2.0, 0.0, 1.0
        saved: tuple[Mirror, FloatArray] | None = None
        while True:
            status = self.newton(goal, max(1e-4 * s.y_norm, goal) if level > 0 else goal)
            if status == Status.CONVERGED:
                if level <= 0:
                    return Status.STATIONARY if self.offset > goal**2 else Status.CONVERGED
                saved = (copy.copy(s.mirror), s.original(s.nu))
                pace = min(1.0, 1.5 * pace)
            else:  # a shorter stage from the last one that converged
                if status != Status.FAILED or saved is None or pace < 1e-3:
                    return status
                s.ungrade()
                s.mirror, s.nu = copy.copy(saved[0]), saved[1]
                s.start()
                self.offset = self.loss_offset
                self.gram.clear()
                level += drop
                below -= drop
                pace *= 0.3
            stage = below if depth == 2 else (4.0 if depth == 3 else 6.0) / depth
            drop = min(level, pace * stage)
            stretch = (below + drop) / below
            below += drop
            level -= drop
            self.continue_to(drop, stretch if depth == 2 else 1.0, goal)

    def rescale(self, log_factor: float, stretch: float) -> None:
        self.s.nu = self.s.nu * self.s.mirror.rescale(log_factor, stretch)
        self.s.start()

    def relaxation(self, goal: float) -> float:
        norm = float(np.linalg.norm(self.s.nu))
        return 0.3 * goal / norm if norm > 0 else 0.0

    def continue_to(self, drop: float, stretch: float, goal: float) -> None:
        """Lower the scale, then fit nu to the z_i that leave the large beta_i as they were."""
        s = self.s
        kept = s.at.beta
        self.rescale(-drop, stretch)
        large = np.abs(kept) > 1e-3 * np.max(np.abs(kept))
        dz, slope = s.mirror.restore(kept)
        dz = np.where(large, dz, 0.0)
        weight = np.where(large, slope, s.at.slope)
        if not self.factor(weight, self.relaxation(goal)):
            return
        dnu = scipy.linalg.cho_solve(self.factors, s.X @ (weight * dz), check_finite=False)
        move = s.X.T @ dnu
        length = min(1.0, 4.0 * self.longest(move))
        for _ in range(40):
            if self.take(length, dnu, move):
                return
            length *= 0.5

    def factor(self, weight: FloatArray, relax: float) -> bool:
        """Factor X diag(weight) X^T + relax I; grade the basis where digits were lost."""
        s = self.s
        for graded in (False, True):
            if s.reflectors:
                self.gram.clear()
            self.gram.update(weight, 0.0, 0.05)
            matrix = self.gram.matrix + relax * np.eye(len(s.y))
            # Dropped rows stay, as an identity.
            dropped = np.arange(len(s.y)) >= self.rank
            matrix[dropped, dropped] = 1.0
            try:
                self.factors = scipy.linalg.cho_factor(matrix, lower=True, check_finite=False)
                kept = kept_digits(self.factors[0], np.diag(matrix))
            except np.linalg.LinAlgError:
                kept = -1.0
            if kept > 1e-9 or graded:
                return kept > 0.0
            if s.reflectors:
                s.ungrade()
                self.offset = self.loss_offset
            s.grade(weight * s.feature_norm**2, 0.0)
            if self.rank < len(s.y):
                self.offset += s.drop_null_rows()
            self.gram.clear()
        return False

    @property
    def rank(self) -> int:
        return len(self.s.reflectors) or len(self.s.y)

    def longest(self, dz: FloatArray) -> float:
        with np.errstate(divide="ignore"):
            damping = np.where(dz == 0.0, np.inf, self.s.mirror.damping(dz))
        return float(np.min(np.maximum(damping, self.s.step_cap(dz))))

    def take(self, length: float, dnu: FloatArray, dz: FloatArray) -> bool:
        at = self.s.mirror.evaluate(length * dz)
        if at is None:
            return False
        self.s.advance(length * dnu, length * dz, at, self.s.y - self.s.X @ at.beta)
        return True

    def newton(self, goal: float, target: float) -> Status:
        s = self.s
        best, stalled = np.inf, 0
        for stage_iterations in itertools.count():
            size = np.sqrt(s.loss)
            if size <= target:
                return Status.CONVERGED
            stalled = 0 if size < 0.9 * best else stalled + 1
            best = min(best, size)
            # Rounding can keep an ill-conditioned problem above its target.
            if stalled > 3 and s.measure_velocity():
                return Status.CONVERGED
            if self.n_iterations >= self.max_iter:
                return Status.MAX_STEPS
            self.n_iterations += 1
            relax = self.relaxation(goal)
            if stalled > STALL or stage_iterations > STAGE or not self.factor(s.at.slope, relax):
                return Status.FAILED
            if np.sqrt(s.loss) <= target:
                return Status.CONVERGED
            field = s.residual - relax * s.nu
            dnu = scipy.linalg.cho_solve(self.factors, field, check_finite=False)
            dz = s.X.T @ dnu
            start, before = float(dnu @ field), float(field @ field)
            length = min(1.0, self.longest(dz))
            for _ in range(50):
                at = s.mirror.evaluate(length * dz)
                if at is None:
                    length *= 0.25
                    continue
                trial = s.y - s.X @ at.beta - relax * (s.nu + length * dnu)
                now = float(dnu @ trial)
                # Convex along dnu: not far past the minimum, or nearer in the residual.
                if now >= -0.5 * start or trial @ trial < before:
                    break
                length *= min(0.6, max(0.1, start / (start - now)))
            if not self.take(length, dnu, dz):
                return Status.FAILED
        raise AssertionError
