"""The path as alpha -> 0 by SciPy's non-negative least squares, solved anew at every jump.

Rows in very different units take `graded_path` instead.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from scipy.optimize import nnls

from ..._types import FloatArray, IntArray
from ...equations.linear_systems import has_uneven_rows, row_misfit
from ...status import Status
from ..base import Saddles

__all__ = ["RichPathRun", "follow_rich_path"]

# Relative errors below these are rounding: of x_i^T r to |x_i| |y|, and to |x_i| |r| where no beta
# lowers |r|; and of a residual that some beta makes zero, of all rows and of one.
_GRADIENT = 1e-13
_ORTHOGONAL = 1e-11
_FITS = 1e-11


class RichPathRun:
    """Where the path of one problem stands."""

    together = 1e-11  # features as near to their bounds, relative to these, jump together
    reduced = False  # whether rows are those of a factorisation

    def __init__(self, X: FloatArray, y: FloatArray, loss_offset: float, bound: FloatArray) -> None:
        self.X, self.y, self.loss_offset, self.bound = X, y, loss_offset, bound
        self.s, self.t = np.zeros(len(y)), 0.0
        self.side = np.zeros(X.shape[1])
        self.beta, self.residual = np.zeros(X.shape[1]), y.copy()
        self.size2 = float(y @ y) + loss_offset
        self.noise = _GRADIENT * np.linalg.norm(X, axis=0) * np.sqrt(self.size2)
        self.n_pivots = 0

    def follow(self, max_jumps: int) -> tuple[list[tuple[float, FloatArray]], Status]:
        """Times and saddles, and how the path ends."""
        saddles: list[tuple[float, FloatArray]] = []
        at_once = 0
        while at_once <= sum(self.X.shape):
            drift = self.X.T @ self.residual
            inwards = (self.beta == 0.0) & (self.side * drift < -self.noise)
            self.side[inwards] = 0.0
            free = (self.side == 0.0) & (np.abs(drift) > self.noise)
            if not np.any(free):
                return saddles, self.end(drift)
            left = self.bound - np.sign(drift) * (self.X.T @ self.s)
            wait = np.full(len(drift), np.inf)
            wait[free] = np.maximum(left[free], 0.0) / np.abs(drift[free])
            step = float(np.min(wait))
            together = bool(saddles) and step <= self.together * self.t
            if len(saddles) == max_jumps and not together:
                return saddles, Status.MAX_STEPS
            arrived = free & (left <= step * np.abs(drift) + self.together * self.bound)
            self.side[arrived] = np.sign(drift[arrived])
            self.s, self.t = self.s + step * self.residual, self.t + step
            if not self.fit():
                return saddles, Status.FAILED
            at_once = at_once + 1 if together else 0
            if together:
                saddles.pop()
            saddles.append((self.t, self.beta.copy()))
        return saddles, Status.FAILED

    def end(self, drift: FloatArray) -> Status:
        """Of a path on which no feature is drawn outwards; FAILED where rounding may hide one."""
        loss = float(self.residual @ self.residual) + self.loss_offset
        fits = loss <= _FITS**2 * self.size2
        if self.reduced:
            return Status.CONVERGED if fits else Status.STATIONARY
        if fits and row_misfit(self.X, self.beta, self.y) <= _FITS:
            return Status.CONVERGED
        return self.end_without_fit(fits, loss, drift)

    def end_without_fit(self, fits: bool, loss: float, drift: FloatArray) -> Status:
        least = _ORTHOGONAL * np.linalg.norm(self.X, axis=0) * np.sqrt(loss)
        stationary = not fits and bool(np.all(np.abs(drift) <= least))
        return Status.STATIONARY if stationary else Status.FAILED

    def loss(self, beta: FloatArray) -> float:
        return float(np.sum((self.y - self.X @ beta) ** 2)) + self.loss_offset

    def fit(self) -> bool:
        """Least squares over the features at their bounds, with the signs of these, if found."""
        at = np.flatnonzero(self.side)
        unit = self.side[at] / np.linalg.norm(self.X[:, at], axis=0)
        A = self.X[:, at] * unit
        values, _ = nnls(A, self.y)
        self.n_pivots += 1
        on = np.flatnonzero(values)
        Q, R = scipy.linalg.qr(A[:, on], mode="economic")
        # X beta - y would carry the rounding of every term, and a gradient of 0 would be one.
        self.residual = self.y - Q @ (Q.T @ self.y)
        self.residual -= Q @ (Q.T @ self.residual)
        solved = scipy.linalg.solve_triangular(R, Q.T @ self.y) if len(on) else values[on]
        if np.all(solved > 0.0):
            values[on] = solved
        self.beta = np.zeros_like(self.beta)
        self.beta[at] = unit * values
        return True


def follow_rich_path(
    X: FloatArray, y: FloatArray, loss_offset: float, bound: FloatArray, max_jumps: int,
    reduced: bool,
) -> tuple[Saddles, RichPathRun, Status]:  # fmt: skip
    """The saddles of one problem, where its path ended, and how."""
    from .graded_path import GradedPathRun  # a RichPathRun

    kinds = [RichPathRun] if reduced else [RichPathRun, GradedPathRun]
    for kind in kinds[1:] if not reduced and has_uneven_rows(X, y) else kinds:
        run = kind(X, y, loss_offset, bound)
        run.reduced = reduced
        try:
            saddles, status = run.follow(max_jumps)
        except RuntimeError:  # from nnls, which used up its iterations
            saddles, status = [], Status.FAILED
        if status != Status.FAILED:
            break
    supports: list[IntArray] = [np.flatnonzero(beta) for _, beta in saddles]
    values = [beta[support] for (_, beta), support in zip(saddles, supports, strict=True)]
    loss = [run.loss(beta) for _, beta in saddles]
    return (
        Saddles(
            t=np.array([t for t, _ in saddles]),
            loss=np.array(loss),
            first=np.cumsum([0, *map(len, supports)]),
            feature=np.concatenate([np.empty(0, np.int64), *supports]),
            value=np.concatenate([np.empty(0), *values]),
        ),
        run,
        status,
    )
