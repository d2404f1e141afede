"""The linear map M -> (<X_i, M>)_i of a factorisation problem and its adjoint.

With A_i the symmetric matrix for which <X_i, M> = tr(A_i W W^T) / 2, the loss has gradient
2 sum_i r_i A_i W, and the tangent kernel is K_ij = tr(A_i W W^T A_j).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..._types import FloatArray, IntArray

__all__ = ["Measurements"]


@dataclass(frozen=True)
class Measurements:
    """Entries (row, column) of W W^T, or dense X (n_samples, p, q) on its block M."""

    p: int
    c0: int
    row: IntArray
    column: IntArray
    X: FloatArray | None

    def image(self, B: FloatArray, W: FloatArray) -> FloatArray:
        """B_p W_q^T."""
        return B[: self.p] @ W[self.c0 :].T

    def image_change(self, V: FloatArray, W: FloatArray) -> FloatArray:
        """The change of M along V."""
        return self.image(V, W) + self.image(W, V)

    def observe(self, M: FloatArray) -> FloatArray:
        if self.X is None:
            return M[self.row, self.column - self.c0]
        return np.asarray(np.tensordot(self.X, M, 2))

    def adjoint(self, c: FloatArray, W: FloatArray) -> FloatArray:
        """sum_i c_i A_i W."""
        if self.X is None:
            R = np.zeros((self.p, len(W) - self.c0), dtype=c.dtype)
            R[self.row, self.column - self.c0] = c
        else:
            R = np.tensordot(c, self.X, 1)
        out = np.zeros(W.shape, dtype=c.dtype)
        out[: self.p] += R @ W[self.c0 :]
        out[self.c0 :] += R.T @ W[: self.p]
        return out

    def adjoint_norm(self, c: FloatArray) -> float:
        """Frobenius norm of sum_i c_i X_i."""
        return float(np.linalg.norm(c if self.X is None else np.tensordot(c, self.X, 1)))

    def tangent_kernel(self, W: FloatArray) -> FloatArray:
        """J J^T."""
        left, right = W[: self.p], W[self.c0 :]
        if self.X is None:
            G, a, b = W @ W.T, self.row, self.column
            K = (a[:, None] == a) * G[np.ix_(b, b)] + (b[:, None] == b) * G[np.ix_(a, a)]
            K = K + (a[:, None] == b) * G[np.ix_(b, a)] + (b[:, None] == a) * G[np.ix_(a, b)]
            return np.asarray(K)
        rows = self.X @ right  # (n_samples, p, r)
        columns = np.swapaxes(self.X, 1, 2) @ left
        n = len(self.X)
        if self.c0:
            flat = np.concatenate([rows.reshape(n, -1), columns.reshape(n, -1)], axis=1)
        else:
            flat = (rows + columns).reshape(n, -1)
        return np.asarray(flat @ flat.T)

    @cached_property
    def norm(self) -> float:
        """Of a measurement; that of entries is one."""
        return 1.0 if self.X is None else float(np.linalg.norm(self.X))

    def prediction_scale(self, W: FloatArray) -> float:
        """Norm of what the predictions are sums of, which bounds their rounding."""
        if self.X is None:
            size = np.sum(W * W, axis=1)
            return float(np.sqrt(size[self.row] @ size[self.column]))
        return self.norm * float(np.sum(W * W))
