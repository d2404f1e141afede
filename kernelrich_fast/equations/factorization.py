"""Matrix factorisation M = U V^T (or W W^T) with the loss L = sum_i (<X_i, M> - y_i)^2.

With W = [U; V] both are one model: M is a block of W W^T, of its first rows and its columns from
``c0`` on, where c0 is 0 for the symmetric model. R stands for sum_i r_i X_i, half the derivative of
L by M; S for the symmetric matrix with W' = -S W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._types import FloatArray, IntArray

__all__ = ["Sensing", "factor_field", "gram_field"]


def factor_field(U: Any, V: Any, R: Any) -> tuple[Any, Any]:
    """The gradient flow of both factors, U' = -2 R V and V' = -2 R^T U."""
    return -2.0 * (R @ V), -2.0 * (R.T @ U)


def gram_field(xp: Any, G: Any, R: Any) -> Any:
    """The flow G' = -(S G + G S) of the Gram matrix G = [U; V] [U; V]^T."""
    d1 = R.shape[0]
    moved = 2.0 * xp.concatenate([R @ G[d1:, :], R.T @ G[:d1, :]])
    return -(moved + moved.T)


@dataclass(frozen=True)
class Sensing:
    """What is observed: entries (row, column), or X (n_samples, d1, d2), of a matrix ``dims``.

    The X of a symmetric model are symmetric. Sample i is ``weight[i]`` times its entry, or, where
    there are no weights, the entry.
    """

    dims: tuple[int, int]
    symmetric: bool
    row: IntArray
    column: IntArray
    X: FloatArray | None
    weight: FloatArray | None = None

    @property
    def scale(self) -> Any:
        """Weights of the entries."""
        return 1.0 if self.weight is None else self.weight

    @property
    def n(self) -> int:
        """Rows of the lifted factor W."""
        return self.dims[0] if self.symmetric else sum(self.dims)

    @property
    def c0(self) -> int:
        """The row of W where the right factor begins."""
        return 0 if self.symmetric else self.dims[0]

    @property
    def n_samples(self) -> int:
        return self.row.shape[-1] if self.X is None else len(self.X)

    def matrix(self) -> FloatArray:
        """The measurements as rows (n_samples, d1 d2)."""
        d1, d2 = self.dims
        if self.X is not None:
            return self.X.reshape(-1, d1 * d2)
        rows = np.zeros((self.n_samples, d1 * d2))
        rows[np.arange(self.n_samples), self.row * d2 + self.column] = self.scale
        return rows

    def observe(self, M: FloatArray) -> FloatArray:
        """The predictions <X_i, M>."""
        if self.X is None:
            return np.asarray(self.scale * M[self.row, self.column])
        return np.asarray(np.tensordot(self.X, M, 2))

    def predictions(self, W: FloatArray) -> FloatArray:
        """<X_i, M> at a factor W (n, r)."""
        left, right = W[: self.dims[0]], W[self.c0 :]
        if self.X is None:
            return np.asarray(self.scale * np.sum(left[self.row] * right[self.column], axis=1))
        return self.observe(left @ right.T)

    def adjoint(self, r: FloatArray) -> FloatArray:
        """R = sum_i r_i X_i, (d1, d2)."""
        if self.X is not None:
            return np.asarray(np.tensordot(r, self.X, 1))
        R = np.zeros(self.dims)
        R[self.row, self.column] = self.scale * r
        return R

    def is_symmetric_at(self, y: FloatArray) -> bool:
        """Whether the loss of targets y is the same at M = U V^T and at its transpose."""
        if self.symmetric or self.dims[0] != self.dims[1]:
            return False
        if self.X is not None:
            return bool(np.array_equal(self.X, np.swapaxes(self.X, 1, 2)))
        parts = self.adjoint(self.scale * np.ones(self.n_samples)), self.adjoint(y)
        return all(np.array_equal(R, R.T) for R in parts)

    def generator(self, r: FloatArray) -> FloatArray:
        """The matrix S (n, n) of the flow W' = -S W at the residuals r."""
        R, d1 = self.adjoint(r), self.dims[0]
        if self.symmetric:
            return 2.0 * (R + R.T)
        S = np.zeros((self.n, self.n))
        S[:d1, d1:], S[d1:, :d1] = 2.0 * R, 2.0 * R.T
        return S

    def jacobian(self, W: FloatArray) -> FloatArray:
        """The derivatives of the predictions by W, (n_samples, n, r)."""
        d1, c0 = self.dims[0], self.c0
        J = np.zeros((self.n_samples, *W.shape))
        if self.X is not None:
            J[:, :d1] += self.X @ W[c0:]
            J[:, c0:] += np.swapaxes(self.X, 1, 2) @ W[:d1]
            return J
        sample = np.arange(self.n_samples)
        scale = np.reshape(self.scale, (-1, 1))
        J[sample, self.row] += scale * W[c0 + self.column]
        J[sample, c0 + self.column] += scale * W[self.row]
        return J

    def tangent_kernel(self, G: FloatArray) -> FloatArray:
        """K (..., n_samples, n_samples) at the Gram matrix G = W W^T (..., n, n)."""
        if self.X is None:
            a, b = self.row, self.c0 + self.column
            K = np.where(a[:, None] == a, G[..., b[:, None], b], 0.0)
            K = K + np.where(b[:, None] == b, G[..., a[:, None], a], 0.0)
            if self.symmetric:
                K = K + np.where(a[:, None] == b, G[..., b[:, None], a], 0.0)
                K = K + np.where(b[:, None] == a, G[..., a[:, None], b], 0.0)
            return np.asarray(np.reshape(self.scale, (-1, 1)) * K * self.scale)
        moved = self.tangent_image(self.X, G)
        return np.asarray(moved.reshape(*moved.shape[:-2], -1) @ self.matrix().T)

    def tangent_image(self, X: FloatArray, G: FloatArray) -> FloatArray:
        """The change of M along J^T of every X (m, d1, d2): X V V^T + U U^T X."""
        G = G[..., None, :, :]
        if self.symmetric:
            A = X + np.swapaxes(X, -1, -2)
            return np.asarray(A @ G + G @ A)
        c0 = self.c0
        return np.asarray(X @ G[..., c0:, c0:] + G[..., :c0, :c0] @ X)
