"""The scaled Gram matrix X diag(s) X^T, kept up to date column by column."""

from __future__ import annotations

import numpy as np

from ..._types import FloatArray
from .state import DualState

__all__ = ["ScaledGram", "kept_digits"]


class ScaledGram:
    """``matrix`` is X diag(``slope``) X^T; `update` moves only the columns that matter."""

    def __init__(self, state: DualState) -> None:
        self.state = state
        self.clear()

    def clear(self) -> None:
        n, d = self.state.X.shape
        self.matrix, self.slope = np.zeros((n, n)), np.zeros(d)

    def update(self, target: FloatArray, shift: float, drift: float) -> bool:
        """Move columns whose slope drifted by the fraction ``drift`` and weigh against shift I."""
        s = self.state
        change = target - self.slope
        moved = np.abs(change) > drift * np.minimum(target, self.slope)
        moved &= np.abs(change) * s.feature_norm**2 > drift * shift / len(change)
        if not moved.any():
            return False
        if 2 * moved.sum() > len(moved):  # also sheds the rounding of earlier updates
            self.slope = target.copy()
            self.matrix = (s.X * target) @ s.X.T
        else:
            columns = s.X[:, moved]
            self.matrix = self.matrix + (columns * change[moved]) @ columns.T
            self.slope[moved] = target[moved]
        return True


def kept_digits(L: FloatArray, diagonal: FloatArray) -> float:
    """Smallest ratio of a pivot to its diagonal entry: what cancellation left."""
    return float(np.min(np.diag(L) ** 2 / diagonal))
