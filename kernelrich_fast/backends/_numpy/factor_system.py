"""Matrix factorisation as the integrators see it: W' = -S W for a factor W of the lifted Gram.

Keeping a factor keeps W W^T positive semidefinite and of its rank.  Every Runge-Kutta stage is some
matrix times W, so errors are multiplicative: they are measured column by column, in a basis where
every column is a direction of its own, and besides as changes of M, which in the kernel regime is a
small difference of large parts.  Newton keeps the part -2 J^T J of the Jacobian, of rank n_samples,
so a solve is one with the tangent kernel J J^T (Sherman, Morrison and Woodbury).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg

from ..._types import FloatArray
from .measurements import Measurements
from .radau5 import ALPHA, BETA, GAMMA
from .system import Change

__all__ = ["FactorSystem"]

COSINE = 0.1  # between columns, once they are turned
DRIFT = 0.5  # relative motion of a column between two turns
SLOW_RATE = 0.1
GROWTH = 4.0
ASLEEP = 1e-12
SWEEPS = 40
BALANCE_NEWTON, BALANCE_ITERATIONS, BALANCE_SHARE = 5, 60, 1e-9
BALANCE_TERMS, BALANCE_LARGEST, BALANCE_NOISE = 5, 0.1, 16.0


class FactorSystem:
    """A `System` whose state is the factor W (n, r)."""

    # Newton converges linearly here (S is missing in its matrix), with errors of one sign.
    newton_share = 0.05

    def __init__(self, X: Measurements, y: FloatArray, W0: FloatArray) -> None:
        self.X, self.y, self.W = X, y, W0.copy()
        self.Q = np.eye(W0.shape[1])
        self.sign = np.where(np.arange(len(W0)) < X.c0, 1.0, -1.0)[:, None]
        self.imbalance = W0.T @ (self.sign * W0)
        self.y_norm = float(np.linalg.norm(y))
        self.field = np.zeros_like(W0)
        self.motion = 0.0
        self.fresh = False
        self.h_factored = 0.0

    def start(self) -> bool:
        norms = np.linalg.norm(self.W, axis=0)
        with np.errstate(all="ignore"):
            self.turn()
            # What rounding leaves of dependent columns is not a direction.
            if np.any(norms > 0):
                least = norms[norms > 0].min()
                self.W[:, np.linalg.norm(self.W, axis=0) < 1e-14 * least] = 0.0
            self.residual = self.residual_of(self.W)
            self.field = self.field_of(self.W, self.residual)
        return bool(np.isfinite(self.loss))

    def residual_of(self, W: FloatArray) -> FloatArray:
        return self.X.observe(self.X.image(W, W)) - self.y

    def field_of(self, W: FloatArray, residual: FloatArray) -> FloatArray:
        return -2.0 * self.X.adjoint(residual, W)

    @property
    def loss(self) -> float:
        return float(self.residual @ self.residual)

    @property
    def M(self) -> FloatArray:
        return self.X.image(self.W, self.W)

    @property
    def predictor_norm(self) -> float:
        return float(np.linalg.norm(self.M))

    def rate(self) -> float:
        """Relative rate of change of the loss or of a column."""
        slope = float(np.sum(self.field**2)) / max(self.loss, 1e-300)
        return max(slope, column_change(self.field, self.W))

    def flow_cap(self) -> float:
        speed = column_change(self.field, self.W)
        return GROWTH / speed if speed > 0 else np.inf

    def measure_velocity(self) -> bool:
        """At rest: each column's velocity is rounding, or the column is negligible and shrinks."""
        self.noise = 32 * np.finfo(float).eps * (self.y_norm + self.X.prediction_scale(self.W))
        return self.slower_than(2.0 * self.noise * self.X.norm)

    def at_rest(self, rtol: float) -> bool:
        """No faster than what rtol allows the state to be off, at the rates S could give it."""
        return self.slower_than(rtol * 2.0 * self.X.adjoint_norm(self.residual))

    def slower_than(self, speed: float) -> bool:
        size = np.linalg.norm(self.W, axis=0)
        still = np.linalg.norm(self.field, axis=0) <= speed * size
        asleep = size <= ASLEEP * np.linalg.norm(self.W)
        shrinks = np.sum(self.W * self.field, axis=0) < 0
        return bool(np.all(still | (asleep & shrinks)))

    def decreases(self, end_field: FloatArray) -> bool:
        bound = np.sqrt(self.loss) * (1.0 + 1e-9) + 2.0 * self.noise
        return bool(np.linalg.norm(self.end_residual) <= bound)

    def evaluate(self, at: FloatArray) -> FloatArray | None:
        self.end = self.W + at
        self.end_residual = self.residual_of(self.end)
        if not np.all(np.isfinite(self.end_residual)):
            return None
        return self.field_of(self.end, self.end_residual)

    def move_stages(
        self, N: FloatArray, V: FloatArray, add: bool
    ) -> tuple[FloatArray, Change] | None:
        fields, single = [], 0.0
        stages = [self.W + N[..., j] for j in range(3)]
        for j, stage in enumerate(stages):
            residual = self.residual_of(stage)
            fields.append(self.field_of(stage, residual))
            single = max(single, column_change(V[..., j], stage))
        self.mean = (stages[0] + stages[1] + stages[2]) / 3.0
        self.end, self.end_residual = stages[2], residual
        if not (np.all(np.isfinite(residual)) and np.isfinite(single)):
            return None
        whole = self.change_of(V[..., 2])
        step = float(np.linalg.norm(self.X.image(self.end, self.end) - self.M))
        return np.stack(fields, axis=-1), Change(single, whole.whole, whole.norm, step)

    def prepare(
        self, h: float, rate: float
    ) -> tuple[bool, Callable[[FloatArray], FloatArray] | None]:
        if self.fresh and rate <= SLOW_RATE and h == self.h_factored:
            return True, None
        self.jacobian_W = self.mean
        K = self.X.tangent_kernel(self.mean)
        self.fresh = True
        self.gamma, self.complex_gamma = GAMMA / h, (ALPHA + 1j * BETA) / h
        eye = np.eye(len(self.y))
        self.h_factored = 0.0
        try:
            self.real = scipy.linalg.cho_factor(K + 0.5 * self.gamma * eye, lower=True)
        except (np.linalg.LinAlgError, ValueError):
            return False, None
        self.complex = scipy.linalg.lu_factor(K + 0.5 * self.complex_gamma * eye)
        self.h_factored = h
        return True, None

    def linearise(self, b: np.ndarray) -> np.ndarray:
        return self.X.observe(self.X.image_change(b, self.jacobian_W))

    def solve_real(self, b: FloatArray) -> FloatArray:
        """(gamma / h + 2 J^T J)^-1 b."""
        c = scipy.linalg.cho_solve(self.real, self.linearise(b))
        return np.asarray((b - self.X.adjoint(c, self.jacobian_W)) / self.gamma)

    def solve_complex(self, b: np.ndarray) -> np.ndarray:
        c = scipy.linalg.lu_solve(self.complex, self.linearise(b))
        return np.asarray((b - self.X.adjoint(c, self.jacobian_W)) / self.complex_gamma)

    def change_of(self, V: FloatArray) -> Change:
        return Change(
            single=column_change(V, self.end),
            whole=float(np.linalg.norm(self.X.image_change(V, self.end))),
            norm=float(np.linalg.norm(self.X.image(self.end, self.end))),
        )

    def move_to_end(self, dN: FloatArray, end_field: FloatArray) -> None:
        self.motion += column_change(dN, self.W)
        self.W, self.residual, self.field = self.end, self.end_residual, end_field

    def settle(self) -> Callable[[FloatArray], FloatArray] | None:
        if self.motion < DRIFT:
            return None
        self.motion = 0.0
        turn = self.turn()
        if turn is None:
            return None
        self.field = self.field @ turn
        if self.fresh:
            self.jacobian_W = self.jacobian_W @ turn
        return lambda old: np.einsum("nrs,rq->nqs", old, turn)

    def turn(self) -> FloatArray | None:
        """One-sided Jacobi rotations until no two columns of W have a cosine above COSINE."""
        W, r = self.W.copy(), self.W.shape[1]
        turn, turned = np.eye(r), False
        for _ in range(SWEEPS):
            again = False
            for i in range(r):
                for j in range(i + 1, r):
                    a, ni, nj = W[:, i] @ W[:, j], W[:, i] @ W[:, i], W[:, j] @ W[:, j]
                    if not abs(a) > COSINE * np.sqrt(ni) * np.sqrt(nj):
                        continue
                    again = turned = True
                    zeta = (nj - ni) / (2.0 * a)
                    t = np.copysign(1.0, zeta) / (abs(zeta) + np.hypot(1.0, zeta))
                    c = 1.0 / np.hypot(1.0, t)
                    rotation = np.array([[c, c * t], [-c * t, c]])
                    W[:, [i, j]] = W[:, [i, j]] @ rotation
                    turn[:, [i, j]] = turn[:, [i, j]] @ rotation
            if not again:
                break
        if not turned:
            return None
        self.W, self.Q = W, self.Q @ turn
        return turn

    def interpolate_stages(self, weights: FloatArray) -> None:
        pass

    def interpolate_state(self, at: FloatArray) -> None:
        pass

    def row(self, dense: FloatArray | None, x: float) -> dict[str, FloatArray]:
        """What is reported at the state, or at the dense one: in the caller's columns."""
        W = self.W if dense is None else self.W + dense
        W = self.balanced(W) if self.X.c0 else W
        residual = self.residual_of(W)
        return {"W": W @ self.Q.T, "loss": np.asarray(residual @ residual)}

    def balanced(self, W: FloatArray) -> FloatArray:
        """U (I + L) and V (I + L)^-1, L symmetric, where U^T U - V^T V has its first value.

        Newton on the defect E: G L + L G = E with G = W^T W, by conjugate gradients preconditioned
        with the diagonal of G, nearly all of it.
        """
        target = self.Q.T @ self.imbalance @ self.Q
        # Of columns far smaller than others the target is but rounding.
        noise = BALANCE_NOISE * np.finfo(float).eps * np.linalg.norm(self.imbalance)
        before, best = np.inf, W
        for _ in range(BALANCE_NEWTON):
            G = W.T @ W
            both = np.diag(G)[:, None] + np.diag(G)
            scale = np.where(both > 0, 1.0 / np.where(both > 0, both, 1.0), 0.0)
            E = target - W.T @ (self.sign * W)
            E = 0.5 * (E + E.T)
            E[np.abs(E) <= noise] = 0.0
            worst = float(np.max(np.abs(E * scale)))
            if not worst < before:
                return best
            if worst < 0.5 * np.finfo(float).eps:
                break
            before, best = worst, W
            L, P = np.zeros_like(E), E * scale
            weight = float(np.sum(E * P))
            enough = weight * BALANCE_SHARE**2
            for _ in range(BALANCE_ITERATIONS):
                GP = G @ P
                curvature = float(np.sum(P * (GP + GP.T)))
                if not (weight > enough and curvature > 0.0):
                    break
                step = weight / curvature
                L, E = L + step * P, E - step * (GP + GP.T)
                scaled = E * scale
                weight, old = float(np.sum(E * scaled)), weight
                P = scaled + weight / old * P
            norm = np.linalg.norm(L)
            if norm > BALANCE_LARGEST:  # so that the series below may be short
                L *= BALANCE_LARGEST / norm
            power = W @ L
            W = W + self.sign * power
            for term in range(BALANCE_TERMS):  # (I + L)^-1 for V, which leaves U V^T alone
                power = power @ L
                W[self.X.c0 :] += (-1) ** term * power[self.X.c0 :]
        return W


def column_change(V: FloatArray, at: FloatArray) -> float:
    """Worst ratio of a column's norm in V to that in ``at``; zero columns do not count."""
    size = np.sum(at * at, axis=0)
    moved = np.sum(V * V, axis=0)
    return float(np.sqrt(np.max(np.where(size > 0, moved / np.where(size > 0, size, 1.0), 0.0))))
