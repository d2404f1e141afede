"""Radau IIA of order 5 on the dual flow, with a lagged, incrementally updated Gram matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from .mirror import Array
from .state import FlowState

ROOT6 = np.sqrt(6.0)
C = np.array([(4.0 - ROOT6) / 10.0, (4.0 + ROOT6) / 10.0, 1.0])
# A^-1 = T diag(GAMMA, [[ALPHA, -BETA], [BETA, ALPHA]]) T^-1 (Hairer & Wanner, Solving ODEs II, IV.8).
GAMMA, ALPHA, BETA = 3.6378342527444957322, 2.6810828736277521339, 3.0504301992474105694
T = np.array(
    [
        [0.094438762488975241487, -0.14125529502095420843, -0.030029194105147424492],
        [0.25021312296533331138, 0.204129352293799932, 0.3829421127572619378],
        [1.0, 1.0, 0.0],
    ]
)
T_INV = np.array(
    [
        [4.1787185915519047273, 0.32768282076106238708, 0.52337644549944954804],
        [-4.1787185915519047273, -0.32768282076106238708, 0.47662355450055045196],
        [-0.50287263494578687595, 2.5719269498556054292, -0.59603920482822492497],
    ]
)
E = np.array([-13.0 - 7.0 * ROOT6, -13.0 + 7.0 * ROOT6, -1.0]) / 3.0

NEWTON_TOLERANCE = 0.02
MAX_NEWTON = 8
# Columns of the Gram matrix whose slope moved less than this are left: the Newton contraction
# they cost is bounded by the same number.
GRAM_DRIFT = 0.2


@dataclass
class Step:
    dnu: Array
    dz: Array
    end: tuple[Array, Array, Array, Array]
    error: float
    iterations: int
    stages: Array  # dz at the three stages, (d, 3)
    dual_stages: Array


class Radau:
    order = 5

    def __init__(self, state: FlowState) -> None:
        self.state = state
        self.slope = np.zeros(state.X.shape[1])
        self.gram = np.zeros((len(state.y),) * 2)
        self.h = 0.0
        self.dense: Array | None = None
        self.h_dense = 0.0
        self.n_rhs = self.n_factor = self.n_columns = 0

    def refresh(self, slope: Array, h: float) -> bool:
        """Bring the Gram matrix to `slope` where it matters for a step h."""
        s = self.state
        if s.mirror.depth > 2:
            weight = h * slope * s.feature_norm**2
            if np.max(weight) > 1e8:
                for _ in s.grade(weight, 1e4):
                    self.slope[:] = 0.0
                    self.gram[:] = 0.0
                    self.dense = None
        change = np.abs(slope - self.slope)
        moved = change > GRAM_DRIFT * np.minimum(slope, self.slope)
        # Small ones may be left when together they cannot reach the drift either.
        effect = np.where(moved, change * s.feature_norm**2 * h / GAMMA, 0.0)
        order = np.argsort(effect)
        moved[order[np.cumsum(effect[order]) < GRAM_DRIFT]] = False
        if not moved.any():
            return False
        self.n_columns += int(moved.sum())
        if moved.sum() > 0.5 * len(moved):
            self.slope = slope.copy()
            self.gram = (s.X * slope) @ s.X.T
        else:
            columns = s.X[:, moved]
            self.gram += (columns * (slope - self.slope)[moved]) @ columns.T
            self.slope[moved] = slope[moved]
        return True

    def factor(self, h: float) -> None:
        n = len(self.state.y)
        self.n_factor += 1
        self.h = h
        self.real = scipy.linalg.lu_factor(self.gram + np.eye(n) * (GAMMA / h), check_finite=False)
        self.complex = scipy.linalg.lu_factor(
            self.gram + np.eye(n) * ((ALPHA + 1j * BETA) / h), check_finite=False
        )

    def predict(self, h: float) -> Array:
        s = self.state
        w = h / self.h_dense if self.h_dense else np.inf
        if self.dense is not None and w < 4.0:
            x = 1.0 + w * C
            return np.stack([self.dense @ (xi ** np.arange(1, 4) - 1.0) for xi in x], axis=1)
        guess = np.outer(s.residual, h * C)
        guess[: len(s.reflectors)] = 0.0
        return guess

    def evaluate(self, Z: Array) -> tuple[Array, Array, Array, Array] | None:
        self.n_rhs += 3
        at = self.state.mirror.evaluate(Z)
        if at is None:
            return None
        return *at, self.state.y[:, None] - self.state.X @ at[0]

    def try_step(self, h: float, tolerance: float, atol: float) -> Step | None:
        s = self.state
        N = self.predict(h)
        Z = s.X.T @ N
        at = self.evaluate(Z)
        if at is None:
            N = np.zeros_like(N)
            Z = np.zeros_like(Z)
            at = self.evaluate(Z)
            assert at is not None
        wanted = at[1].mean(axis=1)
        k = len(s.reflectors)
        if self.refresh(wanted, h) or h != self.h:
            if len(s.reflectors) != k:
                return self.try_step(h, tolerance, atol)
            self.factor(h)
        previous = np.inf
        for iteration in range(1, MAX_NEWTON + 1):
            rhs = T_INV @ at[3].T - np.vstack(
                [
                    GAMMA * (T_INV[0] @ N.T),
                    ALPHA * (T_INV[1] @ N.T) - BETA * (T_INV[2] @ N.T),
                    BETA * (T_INV[1] @ N.T) + ALPHA * (T_INV[2] @ N.T),
                ]
            ) / h
            w1 = scipy.linalg.lu_solve(self.real, rhs[0], check_finite=False)
            w23 = scipy.linalg.lu_solve(self.complex, rhs[1] + 1j * rhs[2], check_finite=False)
            dN = (T @ np.vstack([w1, w23.real, w23.imag])).T
            dZ = s.X.T @ dN
            N, Z = N + dN, Z + dZ
            at = self.evaluate(Z)
            if at is None:
                return None
            scale = atol / tolerance + max(np.linalg.norm(s.beta), np.linalg.norm(at[0][:, 2]))
            size = max(s.error(dZ[:, j], at[1][:, j], at[2][:, j], scale) for j in range(3))
            size /= tolerance
            theta = size / previous
            previous = size
            if iteration > 1 and theta >= 1.0:
                return None
            if size * (theta / (1 - theta) if iteration > 1 else 1.0) < NEWTON_TOLERANCE:
                break
        else:
            return None
        end = (at[0][:, 2], at[1][:, 2], at[2][:, 2], at[3][:, 2])
        defect = scipy.linalg.lu_solve(self.real, N @ E / h + s.residual, check_finite=False)
        error = s.error(s.X.T @ defect, end[1], end[2], scale) / tolerance
        return Step(N[:, 2], Z[:, 2], end, error, iteration, Z, N)

    def remember(self, step: Step, h: float) -> None:
        """Coefficients of the collocation polynomial sum_k a_k x^k, x in [0, 1]."""
        V = np.array([[c**k for k in range(1, 4)] for c in C])
        self.dense = step.dual_stages @ np.linalg.inv(V).T
        self.h_dense = h
