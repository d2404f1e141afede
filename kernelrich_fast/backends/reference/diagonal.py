"""Diagonal networks: the flow on its dual, and its limit by damped Newton.

Both work in an orthonormal basis V of the row space of X = U S V^T: with z = V m, errors of z are
errors of m, whatever the conditioning of X, and dependent rows are gone.  The flow is
m' = S (U^T y - S V^T beta(V m)), and it ends where V^T beta = S^-1 U^T y.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from ..._types import FloatArray
from ...equations.diagonal import MirrorMap, mirror_map
from ...status import Status
from .rows import Row

__all__ = ["DualFlow", "RowSpace", "solve_limit"]

# Newton gives up after so many whole steps that did not halve the residual.
STALLED = 40
_REFINEMENTS = 4
_ROUNDING = 1e-14  # of the terms of X beta


class RowSpace:
    """The singular value decomposition of X, with a decision on its rank, and y in its basis."""

    def __init__(self, X: FloatArray, y: FloatArray) -> None:
        self.X, self.y = X, y
        U, S, Vt = np.linalg.svd(X, full_matrices=False)
        rank = int(np.sum(max(X.shape) * np.finfo(np.float64).eps * S[0] < S)) if S[0] > 0 else 0
        self.U, self.S, self.V = U[:, :rank], S[:rank], np.ascontiguousarray(Vt[:rank].T)
        self.reached = self.U.T @ y
        # What no beta reaches; what rounding leaves of a consistent y is nothing.
        self.rest = y - self.U @ self.reached
        if np.linalg.norm(self.rest) <= 1e-14 * np.linalg.norm(y):
            self.rest = np.zeros_like(y)
        self.offset = float(self.rest @ self.rest)
        # Coordinates V^T beta of everything that fits.
        self.target = self.reached / self.S

    def dual(self, m: FloatArray) -> FloatArray:
        """The nu of least norm with X^T nu = V m."""
        return np.asarray(self.U @ (m / self.S))


class DualFlow:
    """A `ScipyProblem` whose state is m."""

    breaks: tuple[float, ...] = ()

    def __init__(
        self, space: RowSpace, plus: FloatArray, minus: FloatArray, depth: float, loss_offset: float
    ) -> None:
        self.space, self.loss_offset = space, loss_offset + space.offset
        self.map: MirrorMap = mirror_map(np, plus, minus, depth)
        self.start = np.zeros(len(space.S))
        at = self.map.at(space.V @ self.start)
        self.slope0 = at.slope
        self.size = max(float(np.linalg.norm(space.target)), float(np.linalg.norm(at.beta)))
        # z is felt on the scale on which weights change, or beta becomes what it will be.
        scale = float(np.min(at.size / at.slope))
        if self.size > 0.0:
            scale = min(scale, self.size / float(np.max(at.slope)))
        self.floor = np.full(len(self.start), 1e-3 * scale)

    def residual(self, m: FloatArray) -> FloatArray:
        """Of the coordinates that X sees."""
        space = self.space
        return np.asarray(space.reached - space.S * (space.V.T @ self.map.at(space.V @ m).beta))

    def field(self, t: float, m: FloatArray) -> FloatArray:
        return np.asarray(self.space.S * self.residual(m))

    def jacobian(self, t: float, m: FloatArray) -> FloatArray:
        space = self.space
        slope = self.map.at(space.V @ m).slope
        return np.asarray(-(space.S[:, None] ** 2) * ((space.V.T * slope) @ space.V))

    def beta_jacobian(self, m: FloatArray) -> FloatArray:
        """Of beta by the state."""
        return np.asarray(self.map.at(self.space.V @ m).slope[:, None] * self.space.V)

    def rate(self) -> float:
        space = self.space
        if not len(space.S):
            return 0.0
        z = np.abs(space.V @ self.field(0.0, self.start))
        growth = np.max(z * self.slope0 / self.map.at(0.0 * z).size)
        return float(growth + np.max(space.S) ** 2 * np.max(self.slope0))

    def loss(self, m: FloatArray) -> float:
        r = self.residual(m)
        return float(r @ r) + self.loss_offset

    def resolution(self, m: FloatArray, rtol: float, atol: float) -> float:
        norm = float(np.linalg.norm(m))
        if norm == 0.0:
            return np.inf
        at = self.map.at(self.space.V @ m)
        whole = rtol * float(np.max(np.abs(at.beta))) + atol  # a square would underflow
        return min(rtol * float(np.min(at.size / at.slope)), whole / float(np.max(at.slope))) / norm

    def at_rest(self, t: float, m: FloatArray, tolerance: float) -> bool:
        space, r = self.space, self.residual(m)
        if self.loss_offset == 0.0:  # some beta fits, and its loss is still to be reached
            tolerance = min(tolerance, 1e-11)
        near = float(np.linalg.norm(r / space.S)) <= tolerance * self.size
        return near and float(np.linalg.norm(r)) <= tolerance * float(np.linalg.norm(space.reached))

    def legal(self, m: FloatArray) -> bool:
        return bool(np.all(np.isfinite(m))) and self.map.holds(self.space.V @ m)

    def loss_counts(self, t: float) -> bool:
        return True

    def row_at_rest(self, m: FloatArray, t: float, later: float) -> Row:
        return self.row(m, later)

    def row(self, m: FloatArray, t: float) -> Row:
        space = self.space
        z = space.V @ m
        plus, minus = self.map.weights(z)
        return {
            "beta": self.map.at(z).beta,
            "w_plus": plus,
            "w_minus": minus,
            "dual": space.dual(m) + (t * space.rest if np.isfinite(t) else 0.0),
            "loss": np.asarray(self.loss(m)),
        }


def solve_limit(
    space: RowSpace, plus: FloatArray, minus: FloatArray, depth: float, *,
    tol: float, max_iter: int, loss_offset: float,
) -> tuple[Row, Status, int]:  # fmt: skip
    """Argmin Phi(m), convex, with gradient V^T beta - target: damped Newton."""
    goal = tol * float(np.sqrt(space.y @ space.y + loss_offset))
    newton = _Newton(space, mirror_map(np, plus, minus, depth), goal)
    fits = space.offset + loss_offset <= goal**2
    for attempt in range(_REFINEMENTS):
        status = newton.run(max_iter)
        if attempt and status == Status.FAILED:  # to come closer than rounding
            status = Status.MAX_STEPS
        residual = space.y - space.X @ newton.at.beta
        loss = float(residual @ residual) + loss_offset
        if not fits or status != Status.CONVERGED or loss <= (1.01 * goal) ** 2:
            break
        newton.aim_anew(residual)
    else:
        status = Status.MAX_STEPS
    if status == Status.FAILED and fits:  # in the basis, by rounding that X may not show
        status = _end_by_rounding(space, newton.at.beta, loss, goal)
    if status == Status.CONVERGED and not fits:
        status = Status.STATIONARY
    plus, minus = newton.map.weights(np.zeros(len(plus)))
    row = {"beta": newton.at.beta, "w_plus": plus, "w_minus": minus, "dual": space.dual(newton.m)}
    if not all(np.all(np.isfinite(value)) for value in row.values()):
        status = Status.FAILED
    return {**row, "loss": np.asarray(loss)}, status, newton.n_iterations


def _end_by_rounding(space: RowSpace, beta: FloatArray, loss: float, goal: float) -> Status:
    if loss <= goal**2:
        return Status.CONVERGED
    rounding = _ROUNDING * float(np.linalg.norm(np.abs(space.X) @ np.abs(beta)))
    return Status.MAX_STEPS if loss <= rounding**2 else Status.FAILED


class _Newton:
    """Where the iteration stands: m, the map with its origin there, and its values."""

    def __init__(self, space: RowSpace, start: MirrorMap, goal: float) -> None:
        self.space, self.map, self.goal = space, start, goal
        self.m, self.n_iterations = np.zeros(len(space.S)), 0
        self.at = start.at(np.zeros(space.X.shape[1]))
        self.target = space.target
        self.gap = self.gap_at(self.at.beta)

    def gap_at(self, beta: FloatArray) -> FloatArray:
        """What is left of V^T beta = target."""
        return np.asarray(self.target - self.space.V.T @ beta)

    def aim_anew(self, residual: FloatArray) -> None:
        """Correct the target by what X itself leaves, beside rounding in its decomposition."""
        self.target = self.target + (self.space.U.T @ residual) / self.space.S
        self.gap = self.gap_at(self.at.beta)

    def run(self, max_iter: int) -> Status:
        best, stalled, length = np.inf, 0, 1.0
        while (size := float(np.linalg.norm(self.space.S * self.gap))) > self.goal:
            best, stalled = (size, 0) if size < 0.5 * best else (best, stalled + (length == 1.0))
            if self.n_iterations == max_iter:
                return Status.MAX_STEPS
            if stalled > STALLED or not np.isfinite(size):
                return Status.FAILED
            self.n_iterations += 1
            try:
                length = self.step()
            except np.linalg.LinAlgError:
                return Status.FAILED
        return Status.CONVERGED

    def step(self) -> float:
        """Move along Newton's direction as far as the map and the convex Phi allow."""
        space = self.space
        dm = _newton_direction(space.V, self.at.slope, self.gap)
        dz = space.V @ dm
        length = min(1.0, self.map.newton_length(dz))
        for _ in range(60):
            trial = self.map.at(length * dz)
            gap = self.gap_at(trial.beta)
            # Beyond the least value of Phi along dm the slope there is positive.
            if self.map.holds(length * dz) and gap @ dm >= -0.9 * (self.gap @ dm):
                break
            length *= 0.5
        self.map, self.m = self.map.moved(length * dz), self.m + length * dm
        self.at, self.gap = trial, gap
        return length


def _newton_direction(V: FloatArray, slope: FloatArray, gap: FloatArray) -> FloatArray:
    """(V^T diag(slope) V)^-1 gap by QR of the rows sqrt(slope) V, the largest first.

    Slopes of coordinates that are on and off differ by many orders; with rows sorted and columns
    pivoted the factor keeps the digits of the small ones, which the matrix itself loses.
    """
    rows = np.sqrt(slope)[:, None] * V
    rows = rows[np.argsort(-np.max(np.abs(rows), axis=1, initial=0.0))]
    R, pivot = scipy.linalg.qr(rows, mode="r", pivoting=True, check_finite=False)
    R = R[: len(gap)]
    half = scipy.linalg.solve_triangular(R, gap[pivot], trans="T", check_finite=False)
    direction = np.empty_like(gap)
    direction[pivot] = scipy.linalg.solve_triangular(R, half, check_finite=False)
    return direction
