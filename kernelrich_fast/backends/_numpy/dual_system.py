"""The diagonal network as the integrators see it: the flow nu' = y - X beta(nu) of its dual.

The Jacobian is one Gram matrix with slopes averaged over the predicted stages; every iteration
moves the stages z by X^T dN, so each z_i keeps the precision of its own small change.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg

from ..._types import FloatArray
from .gram import ScaledGram, kept_digits
from .mirror import Mirror, Value
from .radau5 import ALPHA, BETA, GAMMA
from .state import DualState, reflect
from .system import Change

__all__ = ["DualSystem"]

GRAM_DRIFT = 0.2
# After a Newton iteration slower than this the matrix is brought up to date more closely.
SLOW_RATE = 0.1
FINE_DRIFT = 0.02
DIGITS_KEPT = 1e-8


class DualSystem(DualState):
    """A `System` whose state is nu."""

    newton_share = 0.3

    def __init__(self, X: FloatArray, y: FloatArray, mirror: Mirror) -> None:
        super().__init__(X, y, mirror)
        self.gram = ScaledGram(self)
        self.h_factored = 0.0
        self.Z = np.zeros((X.shape[1], 3))
        self.residual = y

    @property
    def field(self) -> FloatArray:
        return self.residual

    @property
    def predictor_norm(self) -> float:
        return self.beta_norm

    def rate(self) -> float:
        """Relative rate at which the loss falls."""
        return float(self.at.slope @ self.velocity**2) / max(self.loss, 1e-300)

    def evaluate(self, at: FloatArray) -> FloatArray | None:
        self.end_z = self.X.T @ at
        value = self.mirror.evaluate(self.end_z)
        if value is None:
            return None
        self.end: Value = value
        return np.asarray(self.y - self.X @ value.beta)

    def move_stages(
        self, N: FloatArray, V: FloatArray, add: bool
    ) -> tuple[FloatArray, Change] | None:
        dZ = self.X.T @ V
        self.Z = self.Z + dZ if add else dZ
        at = self.mirror.evaluate(self.Z)
        if at is None:
            return None
        self.mean_slope = at.slope.mean(axis=1)
        self.end, self.end_z = Value(*(part[:, 2] for part in at)), self.Z[:, 2]
        moved = at.slope * np.abs(dZ)
        change = Change(
            single=float(np.max(moved / at.size)),
            whole=float(np.linalg.norm(moved, axis=0).max()),
            norm=float(np.linalg.norm(self.end.beta)),
            step=float(np.linalg.norm(self.end.slope * self.end_z)),
        )
        return self.y[:, None] - self.X @ at.beta, change

    def prepare(
        self, h: float, rate: float
    ) -> tuple[bool, Callable[[FloatArray], FloatArray] | None]:
        drift = FINE_DRIFT if rate > SLOW_RATE else GRAM_DRIFT
        if not self.gram.update(self.mean_slope, GAMMA / h, drift) and h == self.h_factored:
            return True, None
        self.h_factored = h
        G, eye = self.gram.matrix, np.eye(len(self.y))
        real = G + eye * (GAMMA / h)
        kept = -1.0
        try:
            self.real = scipy.linalg.cho_factor(real, lower=True, check_finite=False)
            kept = kept_digits(self.real[0], np.diag(real))
        except np.linalg.LinAlgError:
            pass
        if kept <= DIGITS_KEPT:
            turns = self.grade(h * self.mean_slope * self.feature_norm**2, 1e3)
            if turns:
                self.gram.clear()
                self.h_factored = 0.0

                def turn(old: FloatArray) -> FloatArray:
                    for v in turns:
                        old = reflect(v, old)
                    return old

                return True, turn
        if kept <= 0.0:
            self.h_factored = 0.0  # there is no factor to reuse
            return False, None
        self.complex = scipy.linalg.lu_factor(
            G + eye * ((ALPHA + 1j * BETA) / h), check_finite=False
        )
        return True, None

    def solve_real(self, b: FloatArray) -> FloatArray:
        return np.asarray(scipy.linalg.cho_solve(self.real, b, check_finite=False))

    def solve_complex(self, b: np.ndarray) -> np.ndarray:
        return np.asarray(scipy.linalg.lu_solve(self.complex, b, check_finite=False))

    def change_of(self, V: FloatArray) -> Change:
        moved = self.end.slope * np.abs(self.X.T @ V)
        return Change(
            single=float(np.max(moved / self.end.size)),
            whole=float(np.linalg.norm(moved)),
            norm=float(np.linalg.norm(self.end.beta)),
        )

    def move_to_end(self, dN: FloatArray, end_field: FloatArray) -> None:
        self.advance(dN, self.end_z, self.end, end_field)

    def at_rest(self, rtol: float) -> bool:
        return False  # rounding is the only rest of a convex flow

    def settle(self) -> None:
        return None

    def interpolate_stages(self, weights: FloatArray) -> None:
        self.dense_z = self.Z @ weights

    def interpolate_state(self, at: FloatArray) -> None:
        self.dense_z = self.X.T @ at

    def row(self, dense: FloatArray | None, x: float) -> dict[str, FloatArray]:
        """What is reported at the state, or at the fraction x of the last step."""
        z = np.zeros(self.X.shape[1])
        if dense is not None:
            # A polynomial between two points of the mirror's domain may leave it; the chord cannot.
            inside = self.mirror.evaluate(self.dense_z) is not None
            z = self.dense_z if inside else x * self.end_z
        value = self.mirror.evaluate(z)
        beta = value.beta if value is not None else z
        plus, minus = self.mirror.weights(z) if value is not None else (z, z)
        residual = self.y - self.X @ beta
        return {
            "beta": beta,
            "w_plus": plus,
            "w_minus": minus,
            "dual": self.original(self.nu + (0.0 if dense is None else dense)),
            "loss": np.asarray(residual @ residual),
        }
