"""Dormand-Prince 5(4) on the dual flow, with Shampine's quartic interpolant.

References: Dormand and Prince, J. Comput. Appl. Math. 6 (1980); Shampine, Math. Comp. 46 (1986).
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import RK45

from ..._types import FloatArray
from .mirror import Value
from .state import DualState, relative_change

__all__ = ["Dopri5"]

# SciPy's RK45 is this method: its tableau serves as the specification's.
A_ROWS = [*(RK45.A[j, :j] for j in range(1, 6)), RK45.B]


class Dopri5:
    """One explicit step."""

    order = 5

    def __init__(self, state: DualState) -> None:
        self.s = state
        self.n_rhs = 0
        self.stiffness = 0.0

    def attempt(self, h: float, rtol: float, atol: float, norm_before: float) -> float | None:
        """Error in units of the tolerance, or None where a stage leaves the domain."""
        s = self.s
        self.k = [s.residual]
        previous = end = np.zeros(len(s.y))
        for row in A_ROWS:
            previous, end = end, h * sum(a * k for a, k in zip(row, self.k, strict=True))
            self.z: FloatArray = s.X.T @ end
            value = s.mirror.evaluate(self.z)
            if value is None:
                return None
            self.end: Value = value
            self.k.append(s.y - s.X @ value.beta)
            self.n_rhs += 1
        self.dnu = end
        distance = float(np.linalg.norm(end - previous))
        change = float(np.linalg.norm(self.k[6] - self.k[5]))
        self.stiffness = h * change / distance if distance > 0 else 0.0
        defect = h * sum(e * k for e, k in zip(RK45.E, self.k, strict=True))
        dz = (s.X.T @ defect)[:, None]
        at = Value(*(part[:, None] for part in self.end))
        return relative_change(dz, at, rtol, atol, norm_before)

    @property
    def end_z(self) -> FloatArray:
        return self.z

    def accept(self, h: float) -> None:
        self.s.advance(self.dnu, self.z, self.end, self.k[6])

    def interpolate(self, x: float, h: float) -> tuple[FloatArray, FloatArray]:
        """(dz, dnu) at the fraction x of the step."""
        weights = h * RK45.P @ x ** np.arange(1, 5)
        dnu = np.asarray(sum(w * k for w, k in zip(weights, self.k, strict=True)))
        return self.s.X.T @ dnu, dnu
