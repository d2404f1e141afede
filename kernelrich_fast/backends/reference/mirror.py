"""Factorisations whose factors stay equal, U = V."""

from __future__ import annotations

import numpy as np

from ..._types import FloatArray
from ...equations.factorization import Sensing

__all__ = ["Mirror"]


class Mirror:
    """Reads a state W = [U; V], row after row, with U = V where both are equal for ever.

    They are if they are equal at the start and the loss is the same at M and at its transpose.
    Where a negative eigenvalue is wanted of M = U U^T, what rounding leaves of U - V would grow
    like e^(c t), and fit it.
    """

    def __init__(self, sensing: Sensing, y: FloatArray, W0: FloatArray) -> None:
        self.shape, half = W0.shape, sensing.dims[0]
        equal = len(W0) == 2 * half and np.array_equal(W0[:half], W0[half:])
        self.holds = bool(equal) and sensing.is_symmetric_at(y)

    def factor(self, state: FloatArray) -> FloatArray:
        """The factor W of a state."""
        W = state.reshape(self.shape)
        return 0.5 * (W + np.roll(W, len(W) // 2, axis=0)) if self.holds else W

    def read(self, A: FloatArray) -> FloatArray:
        """A Jacobian (..., n r) by the factor as one by the state."""
        if not self.holds:
            return A
        return 0.5 * (A + np.roll(A, A.shape[-1] // 2, axis=-1))
