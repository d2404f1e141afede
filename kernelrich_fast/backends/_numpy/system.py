"""What the integrators ask of a model family.

A state is an array of any shape; the stages of a Radau step stack three of them on a last axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..._types import FloatArray

__all__ = ["Change", "System", "dense_weights"]

C = np.array([(4.0 - np.sqrt(6.0)) / 10.0, (4.0 + np.sqrt(6.0)) / 10.0, 1.0])


def dense_weights(x: float) -> FloatArray:
    """Lagrange weights at x of the polynomial through (0, 0) and Radau's three stages."""
    w = x / C
    for j in range(3):
        for k in range(3):
            if k != j:
                w[j] *= (x - C[k]) / (C[j] - C[k])
    return w


@dataclass(frozen=True)
class Change:
    """How large a change of the state is, in the measures that the tolerance speaks of."""

    single: float  # worst relative change of a part that must keep its own relative accuracy
    whole: float  # norm of the change of the predictor
    norm: float  # of the predictor there
    step: float = 0.0  # norm of the predictor's change over the whole step

    def relative_to(self, atol: float, rtol: float, norm_before: float) -> float:
        scale = atol + rtol * max(norm_before, self.norm)
        whole = self.whole / scale if scale > 0 else (np.inf if self.whole > 0 else 0.0)
        return max(self.single / rtol, whole)


class System(Protocol):
    """One run of a model family: its field, its Jacobian, its measure of errors."""

    newton_share: float  # of the tolerance, which Newton's iteration may leave

    @property
    def field(self) -> FloatArray: ...
    def start(self) -> bool: ...
    @property
    def loss(self) -> float: ...
    @property
    def predictor_norm(self) -> float: ...
    def rate(self) -> float: ...
    def flow_cap(self) -> float: ...
    # Whether the velocity is rounding; and whether it is no more than rtol allows.
    def measure_velocity(self) -> bool: ...
    def at_rest(self, rtol: float) -> bool: ...
    def decreases(self, end_field: FloatArray) -> bool: ...

    # The state plus ``at`` becomes the trial end; None where that leaves the domain.
    def evaluate(self, at: FloatArray) -> FloatArray | None: ...
    # Fields at the stages N, which moved by V (from zero unless ``add``), and how much that was.
    def move_stages(
        self, N: FloatArray, V: FloatArray, add: bool
    ) -> tuple[FloatArray, Change] | None: ...
    # Factors for a step h, with the Newton rate seen last: (usable, None), or (True, turn) where
    # the basis was turned and ``turn`` brings old stages along.
    def prepare(
        self, h: float, rate: float
    ) -> tuple[bool, Callable[[FloatArray], FloatArray] | None]: ...
    def solve_real(self, b: FloatArray) -> FloatArray: ...
    def solve_complex(self, b: np.ndarray) -> np.ndarray: ...
    def change_of(self, V: FloatArray) -> Change: ...
    def move_to_end(self, dN: FloatArray, end_field: FloatArray) -> None: ...
    # Renews what must be renewed between steps; what turns the old stages, if anything.
    def settle(self) -> Callable[[FloatArray], FloatArray] | None: ...

    def interpolate_stages(self, weights: FloatArray) -> None: ...
    def interpolate_state(self, at: FloatArray) -> None: ...
    def row(self, dense: FloatArray | None, x: float) -> dict[str, FloatArray]: ...
