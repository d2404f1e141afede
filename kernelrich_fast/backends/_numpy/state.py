"""Where one run stands: the dual nu, the mirror, predictor, slopes and residual."""

from __future__ import annotations

import numpy as np

from ..._types import FloatArray
from .mirror import FELT, Mirror, Value

__all__ = ["DualState", "reflect"]

# A feature with less than 1e-12 of its length left lies in the rows already graded.
DEPENDENT = 1e-24


class DualState:
    """One run.

    The residual space may be turned by Householder reflections (`grade`) so that features with
    huge slope occupy leading rows only.  Inner products stay; what changes is that x_i . nu of such
    a feature no longer sums large numbers of opposite sign, and that the Gram matrix is graded, its
    tiny complement not drowned in the rounding of its large block.
    """

    def __init__(self, X: FloatArray, y: FloatArray, mirror: Mirror) -> None:
        self.X0, self.y0 = X, y
        self.X, self.y, self.mirror = X, y, mirror
        self.nu = np.zeros(len(y))
        self.feature_norm = np.sqrt(np.einsum("nd,nd->d", X, X))
        self.reflectors: list[FloatArray] = []
        self.graded = np.zeros(X.shape[1], dtype=bool)
        self.y_norm = float(np.linalg.norm(y))

    def start(self) -> bool:
        """Evaluate at the position; False if that leaves the floating-point range."""
        at = self.mirror.evaluate(np.zeros(self.X.shape[1]))
        if at is None:
            return False
        self.at = at
        self.residual = self.y - self.X @ at.beta
        return True

    @property
    def loss(self) -> float:
        return float(self.residual @ self.residual)

    @property
    def beta_norm(self) -> float:
        return float(np.linalg.norm(self.at.beta))

    def advance(self, dnu: FloatArray, dz: FloatArray, end: Value, residual: FloatArray) -> None:
        self.mirror.advance(dz)
        self.nu = self.nu + dnu
        self.at, self.residual = end, residual

    def measure_velocity(self) -> bool:
        """X^T residual; returns True where it is nothing but rounding."""
        self.velocity = self.X.T @ self.residual
        self.noise = 32 * np.finfo(float).eps
        self.noise *= self.y_norm + float(np.abs(self.at.beta) @ self.feature_norm)
        return not np.any(np.abs(self.velocity) > self.noise * self.feature_norm)

    def decreases(self, residual: FloatArray) -> bool:
        """Along the flow the loss never increases; whether a trial end keeps to that."""
        bound = np.sqrt(self.loss) * (1.0 + 1e-9) + 2.0 * self.noise
        return bool(np.linalg.norm(residual) <= bound)

    def step_cap(self, velocity: FloatArray) -> FloatArray:
        """Longest multiple of ``velocity`` every coordinate stays predictable over."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            log_felt = 0.5 * np.log(self.loss) + np.log(FELT) - np.log(self.feature_norm)
            cap = self.mirror.step_cap(velocity, log_felt)
        return np.where(velocity == 0.0, np.inf, cap)

    def flow_cap(self) -> float:
        """`step_cap` along the flow, without features that relax within that time."""
        cap = self.step_cap(self.velocity)
        with np.errstate(over="ignore", invalid="ignore"):
            relaxes = cap * self.at.slope * self.feature_norm**2 >= 1.0
        return float(np.min(np.where(relaxes, np.inf, cap)))

    def grade(self, weight: FloatArray, threshold: float) -> list[FloatArray]:
        """Turn the space so that features with weight > threshold, largest first, lead."""
        norm2 = np.where(self.feature_norm > 0, self.feature_norm**2, 1.0)
        new: list[FloatArray] = []
        while (k := len(self.reflectors)) < len(self.y):
            rest = np.sum(self.X[k:] ** 2, axis=0)
            gain = np.where(
                ~self.graded & (weight > threshold) & (rest > DEPENDENT * norm2),
                weight * (rest / norm2),
                0.0,
            )
            best = int(np.argmax(gain))
            if gain[best] <= 0.0:
                break
            self.graded[best] = True
            v = np.zeros(len(self.y))
            v[k:] = self.X[k:, best]
            v[k] += np.copysign(np.linalg.norm(v), v[k])
            v /= np.linalg.norm(v)
            self.X = self.X - np.outer(2.0 * v, v @ self.X)
            self.X[k + 1 :, best] = 0.0
            self.y, self.nu = reflect(v, self.y), reflect(v, self.nu)
            self.reflectors.append(v)
            new.append(v)
        if new:
            self.residual = self.y - self.X @ self.at.beta
        return new

    def ungrade(self) -> None:
        """Back to the basis of the problem."""
        self.nu = self.original(self.nu)
        self.X, self.y = self.X0, self.y0
        self.reflectors = []
        self.graded[:] = False
        self.residual = self.y - self.X @ self.at.beta

    def drop_null_rows(self) -> float:
        """After grading with threshold zero: drop the rows beyond the rank; |y|^2 lost there."""
        rank = len(self.reflectors)
        lost = float(np.sum(self.y[rank:] ** 2))
        self.X = np.where(np.arange(len(self.y))[:, None] < rank, self.X, 0.0)
        self.y = np.where(np.arange(len(self.y)) < rank, self.y, 0.0)
        self.nu = np.where(np.arange(len(self.y)) < rank, self.nu, 0.0)
        self.residual = self.y - self.X @ self.at.beta
        return lost

    def original(self, dual: FloatArray) -> FloatArray:
        """A dual vector in the caller's basis."""
        for v in reversed(self.reflectors):
            dual = reflect(v, dual)
        return dual


def reflect(v: FloatArray, x: FloatArray) -> FloatArray:
    """X - 2 v v^T x, for a vector or for columns."""
    return x - np.multiply.outer(2.0 * v, v @ x)
