"""Radau IIA, three stages, order 5, on the dual flow nu' = y - X beta(nu).

Simplified Newton in the eigenbasis of the method's matrix (Hairer and Wanner, Solving Ordinary
Differential Equations II, section IV.8).  The Jacobian is one Gram matrix with slopes averaged over
the predicted stages; every iteration moves the stages z by X^T dN, so each z_i keeps the precision
of its own small change.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from ..._types import FloatArray
from .gram import ScaledGram
from .mirror import Value
from .state import DualState, reflect, relative_change

__all__ = ["Radau5"]

ROOT6 = np.sqrt(6.0)
C = np.array([(4.0 - ROOT6) / 10.0, (4.0 + ROOT6) / 10.0, 1.0])
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
ERROR_WEIGHTS = np.array([-13.0 - 7.0 * ROOT6, -13.0 + 7.0 * ROOT6, -1.0]) / 3.0
MAX_NEWTON = 8
GRAM_DRIFT = 0.2
# After a Newton iteration slower than this the matrix is brought up to date more closely.
SLOW_RATE = 0.1
FINE_DRIFT = 0.02
STEP_SHARE = 0.03
# Longest step, in units of the last one, over which its polynomial is extrapolated.
EXTRAPOLATE = 2.0
DIGITS_KEPT = 1e-8


def dense_weights(x: float) -> FloatArray:
    """Lagrange weights at x of the polynomial through (0, 0) and the three stages."""
    w = x / C
    for j in range(3):
        for k in range(3):
            if k != j:
                w[j] *= (x - C[k]) / (C[j] - C[k])
    return w


def kept_digits(L: FloatArray, diagonal: FloatArray) -> float:
    """Smallest ratio of a pivot to its diagonal entry: what cancellation left."""
    return float(np.min(np.diag(L) ** 2 / diagonal))


class Radau5:
    """One stiff step."""

    order = 4  # of the embedded estimate

    def __init__(self, state: DualState, newton_tolerance: float) -> None:
        self.s = state
        self.gram = ScaledGram(state)
        self.newton_tolerance = newton_tolerance
        self.h_factored = self.h_old = self.rate = 0.0
        self.old = np.zeros((len(state.y), 3))
        self.n_rhs = self.iterations = 0

    def forget(self) -> None:
        self.h_old = 0.0

    def predict(self, h: float) -> FloatArray:
        """The last stages extrapolated; far ahead their mean velocity; at first the residual's."""
        if self.h_old == 0.0:
            return np.outer(self.s.residual, h * C)
        ratio = h / self.h_old
        if ratio >= EXTRAPOLATE:
            return np.outer(self.old[:, 2], ratio * C)
        weights = np.stack([dense_weights(1.0 + ratio * c) for c in C], axis=1)
        weights[2] -= 1.0
        return self.old @ weights

    def evaluate(self) -> bool:
        """Values and fields at the stages self.Z."""
        self.n_rhs += 3
        at = self.s.mirror.evaluate(self.Z)
        if at is None:
            return False
        self.at: Value = at
        self.F = self.s.y[:, None] - self.s.X @ at.beta
        return True

    def prepare(self, h: float) -> tuple[bool, bool]:
        """Gram matrix and factors for a step h: (usable, whether the basis turned)."""
        s = self.s
        slope = self.at.slope.mean(axis=1)
        drift = FINE_DRIFT if self.rate > SLOW_RATE else GRAM_DRIFT
        if not self.gram.update(slope, GAMMA / h, drift) and h == self.h_factored:
            return True, False
        self.h_factored = h
        G, eye = self.gram.matrix, np.eye(len(s.y))
        real = G + eye * (GAMMA / h)
        kept = -1.0
        try:
            self.real = scipy.linalg.cho_factor(real, lower=True, check_finite=False)
            kept = kept_digits(self.real[0], np.diag(real))
        except np.linalg.LinAlgError:
            pass
        if kept <= DIGITS_KEPT:
            turns = s.grade(h * slope * s.feature_norm**2, 1e3)
            if turns:
                self.gram.clear()
                self.h_factored = 0.0
                for v in turns:
                    self.old = reflect(v, self.old)
                return True, True
        if kept <= 0.0:
            self.h_factored = 0.0  # there is no factor to reuse
            return False, False
        self.complex = scipy.linalg.lu_factor(
            G + eye * ((ALPHA + 1j * BETA) / h), check_finite=False
        )
        return True, False

    def correct(self, h: float) -> FloatArray:
        """One simplified Newton correction of the dual stages."""
        rhs = T_INVERSE @ self.F.T - BLOCK @ (T_INVERSE @ self.N.T) / h
        w1 = scipy.linalg.cho_solve(self.real, rhs[0], check_finite=False)
        w23 = scipy.linalg.lu_solve(self.complex, rhs[1] + 1j * rhs[2], check_finite=False)
        return np.asarray((T @ np.stack([w1, w23.real, w23.imag])).T)

    def attempt(self, h: float, rtol: float, atol: float, norm_before: float) -> float | None:
        """Error in units of the tolerance, or None where Newton does not converge."""
        s = self.s
        turned = True
        while turned:
            self.N = self.predict(h)
            self.Z = s.X.T @ self.N
            if not self.evaluate():
                self.N, self.Z = np.zeros_like(self.N), np.zeros_like(self.Z)
                if not self.evaluate():
                    return None
            usable, turned = self.prepare(h)
            if not usable:
                return None
        previous = self.rate = 0.0
        for self.iterations in range(1, MAX_NEWTON + 1):
            dN = self.correct(h)
            dZ = s.X.T @ dN
            self.N, self.Z = self.N + dN, self.Z + dZ
            if not self.evaluate():
                return None
            size = relative_change(dZ, self.at, rtol, atol, norm_before)
            if self.iterations > 1:
                self.rate = size / previous
                if not self.rate < 1.0:
                    return None
            # Without a measured rate the first change stands for the error left.  Unless that is
            # also small against the step, a second correction is made: a residual the tolerance no
            # longer sees still has to decay.
            left = size * (self.rate / (1.0 - self.rate) if self.iterations > 1 else 1.0)
            moved = np.linalg.norm(self.at.slope * dZ, axis=0).max()
            step_change = np.linalg.norm(self.at.slope[:, 2] * self.Z[:, 2])
            decays = self.iterations > 1 or moved <= STEP_SHARE * step_change
            if left <= self.newton_tolerance and decays and s.decreases(self.F[:, 2]):
                break
            if self.iterations > 2:
                ahead = left * self.rate ** (MAX_NEWTON - self.iterations)
                if ahead > self.newton_tolerance:
                    return None
            previous = size
        else:
            return None
        defect = scipy.linalg.cho_solve(
            self.real, self.N @ ERROR_WEIGHTS / h + s.residual, check_finite=False
        )
        at = Value(*(part[:, 2:] for part in self.at))
        return relative_change((s.X.T @ defect)[:, None], at, rtol, atol, norm_before)

    @property
    def end_z(self) -> FloatArray:
        return np.asarray(self.Z[:, 2])

    def accept(self, h: float) -> None:
        end = Value(*(part[:, 2] for part in self.at))
        self.s.advance(self.N[:, 2], self.Z[:, 2], end, self.F[:, 2])
        self.old, self.h_old = self.N, h

    def interpolate(self, x: float, h: float) -> tuple[FloatArray, FloatArray]:
        """(dz, dnu) at the fraction x of the step."""
        w = dense_weights(x)
        return self.Z @ w, self.N @ w
