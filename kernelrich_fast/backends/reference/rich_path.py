"""The path as alpha -> 0 by SciPy's non-negative least squares, solved anew at every jump."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from scipy.optimize import nnls

from ..._types import FloatArray, IntArray
from ...status import Status
from ..base import Saddles

__all__ = ["RichPathRun", "follow_rich_path"]

# Relative errors below these are rounding: of x_i^T r to |x_i| |y|, of the distance to a bound, and
# of a residual that some beta makes zero.
_GRADIENT = 1e-13
_TOGETHER = 1e-11
_FITS = 1e-11


class RichPathRun:
    """Where the path of one problem stands."""

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
                loss = float(self.residual @ self.residual) + self.loss_offset
                fits = loss <= _FITS**2 * self.size2
                return saddles, Status.CONVERGED if fits else Status.STATIONARY
            left = self.bound - np.sign(drift) * (self.X.T @ self.s)
            wait = np.full(len(drift), np.inf)
            wait[free] = np.maximum(left[free], 0.0) / np.abs(drift[free])
            step = float(np.min(wait))
            together = bool(saddles) and step <= _TOGETHER * self.t
            if len(saddles) == max_jumps and not together:
                return saddles, Status.MAX_STEPS
            arrived = free & (left <= step * np.abs(drift) + _TOGETHER * self.bound)
            self.side[arrived] = np.sign(drift[arrived])
            self.s, self.t = self.s + step * self.residual, self.t + step
            self.fit()
            at_once = at_once + 1 if together else 0
            if together:
                saddles.pop()
            saddles.append((self.t, self.beta.copy()))
        return saddles, Status.FAILED

    def loss(self, beta: FloatArray) -> float:
        return float(np.sum((self.y - self.X @ beta) ** 2)) + self.loss_offset

    def fit(self) -> None:
        """Least squares over the features at their bounds, with the signs of these."""
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


def follow_rich_path(
    X: FloatArray, y: FloatArray, loss_offset: float, bound: FloatArray, max_jumps: int
) -> tuple[Saddles, RichPathRun, Status]:
    """The saddles of one problem, where its path ended, and how."""
    run = RichPathRun(X, y, loss_offset, bound)
    try:
        saddles, status = run.follow(max_jumps)
    except RuntimeError:  # from nnls, which used up its iterations
        saddles, status = [], Status.FAILED
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
