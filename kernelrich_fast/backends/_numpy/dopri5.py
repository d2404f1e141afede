"""Dormand-Prince 5(4) for any model family, with Shampine's quartic interpolant.

References: Dormand and Prince, J. Comput. Appl. Math. 6 (1980); Shampine, Math. Comp. 46 (1986).
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import RK45

from ..._types import FloatArray
from .system import System

__all__ = ["Dopri5"]

# SciPy's RK45 is this method: its tableau serves as the specification's.
A_ROWS = [*(RK45.A[j, :j] for j in range(1, 6)), RK45.B]


class Dopri5:
    """One explicit step."""

    order = 5

    def __init__(self, system: System) -> None:
        self.s = system
        self.n_rhs = 0
        self.stiffness = 0.0

    def attempt(self, h: float, rtol: float, atol: float, norm_before: float) -> float | None:
        """Error in units of the tolerance, or None where a stage leaves the domain."""
        self.k = [self.s.field]
        previous = end = np.zeros_like(self.s.field)
        for row in A_ROWS:
            previous, end = end, h * sum(a * k for a, k in zip(row, self.k, strict=True))
            field = self.s.evaluate(end)
            self.n_rhs += 1
            if field is None:
                return None
            self.k.append(field)
        self.end: FloatArray = end
        distance = float(np.linalg.norm(end - previous))
        change = float(np.linalg.norm(self.k[6] - self.k[5]))
        self.stiffness = h * change / distance if distance > 0 else 0.0
        defect = h * sum(e * k for e, k in zip(RK45.E, self.k, strict=True))
        return self.s.change_of(np.asarray(defect)).relative_to(atol, rtol, norm_before)

    def accept(self, h: float) -> None:
        self.s.move_to_end(self.end, self.k[6])

    def interpolate(self, x: float, h: float) -> FloatArray:
        """The state at the fraction x of the step, less its start."""
        weights = h * RK45.P @ x ** np.arange(1, 5)
        at = np.asarray(sum(w * k for w, k in zip(weights, self.k, strict=True)))
        self.s.interpolate_state(at)
        return at
