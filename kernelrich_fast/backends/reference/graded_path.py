"""The path as alpha -> 0 where rows have very different units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..._types import FloatArray
from ...status import Status
from .graded_factor import ROUNDING, Fit, GradedFactor, row_units
from .rich_path import RichPathRun

__all__ = ["GradedPathRun"]

# Of their sizes: what rounding makes of x_i^T r, and of a coefficient, that is zero. The second is
# smaller, so that a feature that left does not return.
_GRADIENT, _TERM = ROUNDING, 0.25 * ROUNDING


class GradedPathRun(RichPathRun):
    """The run whose fits tell zero from rounding in every row."""

    together = 1e-12

    def __init__(self, X: FloatArray, y: FloatArray, loss_offset: float, bound: FloatArray) -> None:
        super().__init__(X, y, loss_offset, bound)
        norm = np.linalg.norm(X, axis=0)
        self.norm = np.where(norm > 0.0, norm, 1.0)
        self.support: list[int] = []
        self.factor = GradedFactor(row_units(X), min(X.shape))
        self.take(self.factor.fit(y))

    def take(self, fit: Fit) -> None:
        self.residual = fit.residual.value
        self.noise = _GRADIENT * np.sqrt((self.X**2).T @ fit.residual.size**2)

    def end_without_fit(self, fits: bool, loss: float, drift: FloatArray) -> Status:
        """The residual is zero, not rounding, where some beta fits."""
        return Status.STATIONARY if np.any(self.residual) else Status.FAILED

    def fit(self) -> bool:
        """Least squares over the features at their bounds, with the signs of these.

        The active-set method of Lawson and Hanson, started from the last solution.
        """
        refused: set[int] = set()
        budget = self.n_pivots + 100 * (len(self.y) + 1)
        while self.n_pivots < budget:
            gain = self.side * (self.X.T @ self.residual)
            gain[self.support] = 0.0
            gain[gain <= self.noise] = 0.0
            gain[list(refused)] = 0.0
            entering = int(np.argmax(gain / self.norm))
            if not gain[entering] > 0.0:
                return bool(np.all(np.isfinite(self.residual)))
            if not self.enter(entering):
                refused.add(entering)
                continue
            self.restore()
            refused.clear()
        return False

    def enter(self, feature: int) -> bool:
        """Whether the feature can join the support, with its sign."""
        if not self.factor.append(self.X[:, feature]):
            return False
        self.support.append(feature)
        if self.wrong(self.attempt())[-1]:
            self.leave(len(self.support) - 1)
            return False
        return True

    def leave(self, k: int) -> None:
        del self.support[k]
        self.factor.drop(k)

    def attempt(self) -> Fit:
        self.n_pivots += 1
        return self.factor.fit(self.y)

    def wrong(self, fit: Fit) -> NDArray[np.bool_]:
        """Which coefficients of the support do not have the sign of their bound."""
        return self.side[self.support] * fit.z.value <= _TERM * fit.z.size

    def restore(self) -> None:
        """Moves towards the fit; coefficients that reach zero leave."""
        while True:
            trial = self.factor.fit(self.y)
            own, wrong = np.array(self.support, np.int64), self.wrong(trial)
            now, then = self.beta[own], trial.z.value
            if not np.any(wrong):
                self.beta[own] = then
                self.take(trial)
                return
            past = np.minimum(self.side[own] * then, 0.0)
            reach = np.where(now != 0.0, np.abs(now) / (np.abs(now) - past + (now == 0.0)), 0.0)
            length = float(np.min(reach[wrong]))
            moved = now + length * (then - now)
            gone = wrong & ((reach == length) | (self.side[own] * moved <= 0.0))
            self.beta[own] = np.where(gone, 0.0, moved)
            for k in np.flatnonzero(gone)[::-1]:
                self.leave(int(k))
            self.n_pivots += 1
