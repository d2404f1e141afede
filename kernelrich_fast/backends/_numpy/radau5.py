"""Radau IIA, three stages, order 5, for any model family.

Simplified Newton in the eigenbasis of the method's matrix (Hairer and Wanner, Solving Ordinary
Differential Equations II, section IV.8).  The unknowns N are the stages less the state, stacked on
a last axis.
"""

from __future__ import annotations

import numpy as np

from ..._types import FloatArray
from .system import C, System, dense_weights

__all__ = ["ALPHA", "BETA", "GAMMA", "Radau5"]

# A^-1 = T diag(GAMMA, [[ALPHA, -BETA], [BETA, ALPHA]]) T^-1.
GAMMA, ALPHA, BETA = 3.6378342527444957322, 2.6810828736277521339, 3.0504301992474105694
BLOCK = np.array([[GAMMA, 0.0, 0.0], [0.0, ALPHA, -BETA], [0.0, BETA, ALPHA]])
T = np.array(
    [
        [0.094438762488975241487, -0.14125529502095420843, -0.030029194105147424492],
        [0.25021312296533331138, 0.204129352293799932, 0.3829421127572619378],
        [1.0, 1.0, 0.0],
    ]
)
T_INVERSE = np.array(
    [
        [4.1787185915519047273, 0.32768282076106238708, 0.52337644549944954804],
        [-4.1787185915519047273, -0.32768282076106238708, 0.47662355450055045196],
        [-0.50287263494578687595, 2.5719269498556054292, -0.59603920482822492497],
    ]
)
ROOT6 = np.sqrt(6.0)
ERROR_WEIGHTS = np.array([-13.0 - 7.0 * ROOT6, -13.0 + 7.0 * ROOT6, -1.0]) / 3.0
MAX_NEWTON = 8
STEP_SHARE = 0.03
# Longest step, in units of the last one, over which its polynomial is extrapolated.
EXTRAPOLATE = 2.0


class Radau5:
    """One stiff step."""

    order = 4  # of the embedded estimate

    def __init__(self, system: System, newton_tolerance: float) -> None:
        self.s = system
        self.newton_tolerance = newton_tolerance
        self.h_old = self.rate = 0.0
        self.old = np.zeros((*system.field.shape, 3))
        self.n_rhs = self.iterations = 0

    def predict(self, h: float) -> FloatArray:
        """The last stages extrapolated; far ahead their mean velocity; at first the field's."""
        if self.h_old == 0.0:
            return np.multiply.outer(self.s.field, h * C)
        ratio = h / self.h_old
        if ratio >= EXTRAPOLATE:
            return np.multiply.outer(self.old[..., 2], ratio * C)
        weights = np.stack([dense_weights(1.0 + ratio * c) for c in C], axis=1)
        weights[2] -= 1.0
        return np.asarray(self.old @ weights)

    def move(self, V: FloatArray, add: bool) -> bool:
        self.n_rhs += 3
        moved = self.s.move_stages(self.N, V, add)
        if moved is None:
            return False
        self.F, self.change = moved
        return True

    def correct(self, h: float) -> FloatArray:
        """One simplified Newton correction of the stages."""
        rhs = self.F @ T_INVERSE.T - (self.N @ T_INVERSE.T) @ BLOCK.T / h
        w = np.empty_like(rhs)
        w[..., 0] = self.s.solve_real(rhs[..., 0])
        pair = self.s.solve_complex(rhs[..., 1] + 1j * rhs[..., 2])
        w[..., 1], w[..., 2] = pair.real, pair.imag
        return np.asarray(w @ T.T)

    def attempt(self, h: float, rtol: float, atol: float, norm_before: float) -> float | None:
        """Error in units of the tolerance, or None where Newton does not converge."""
        s = self.s
        while True:
            self.N = self.predict(h)
            if not self.move(self.N, False):
                self.N = np.zeros_like(self.N)
                if not self.move(self.N, False):
                    return None
            usable, turn = s.prepare(h, self.rate)
            if not usable:
                return None
            if turn is None:
                break
            self.old = turn(self.old)
        previous = self.rate = 0.0
        for self.iterations in range(1, MAX_NEWTON + 1):
            dN = self.correct(h)
            self.N = self.N + dN
            if not self.move(dN, True):
                return None
            size = self.change.relative_to(atol, rtol, norm_before)
            if self.iterations > 1:
                self.rate = size / previous
                if not self.rate < 1.0:
                    return None
            # Without a measured rate the first change stands for the error left.  Unless that is
            # also small against the step, a second correction is made: a residual the tolerance no
            # longer sees still has to decay.
            left = size * (self.rate / (1.0 - self.rate) if self.iterations > 1 else 1.0)
            decays = self.iterations > 1 or self.change.whole <= STEP_SHARE * self.change.step
            if left <= self.newton_tolerance and decays and s.decreases(self.F[..., 2]):
                break
            if self.iterations > 2:
                ahead = left * self.rate ** (MAX_NEWTON - self.iterations)
                if ahead > self.newton_tolerance:
                    return None
            previous = size
        else:
            return None
        defect = s.solve_real(self.N @ ERROR_WEIGHTS / h + s.field)
        return s.change_of(defect).relative_to(atol, rtol, norm_before)

    def accept(self, h: float) -> None:
        self.s.move_to_end(self.N[..., 2], self.F[..., 2])
        self.old, self.h_old = self.N, h

    def interpolate(self, x: float, h: float) -> FloatArray:
        """The state at the fraction x of the step, less its start."""
        w = dense_weights(x)
        self.s.interpolate_stages(w)
        return np.asarray(self.N @ w)
