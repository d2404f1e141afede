"""Gaussian starts of any width as factors with few columns."""

from __future__ import annotations

import numpy as np

from ._types import FloatArray

__all__ = ["gaussian_factor", "reduce_factor"]


def gaussian_factor(n: int, width: int, seed: int) -> FloatArray:
    """A factor of Z Z^T, Z (n, width) with i.i.d. N(0, 1) entries, with at most n columns.

    Parameters
    ----------
    n : int
        Rows.
    width : int
        Columns of Z.
    seed : int
        Seed; draws of different (seed, width) are independent.

    Returns
    -------
    ndarray, (n, min(n, width))
        Z itself for width <= n; otherwise the lower triangular L with L L^T distributed as Z Z^T.

    References
    ----------
    Bartlett, On the theory of statistical regression (1933): L has chi-distributed diagonal entries
    with width - i degrees of freedom, and N(0, 1) entries below.
    """
    rng = np.random.default_rng([seed, width])
    if width <= n:
        return rng.standard_normal((n, width))
    L = np.tril(rng.standard_normal((n, n)), -1)
    L[np.diag_indices(n)] = np.sqrt(rng.chisquare(width - np.arange(n, dtype=np.float64)))
    return L


def reduce_factor(W: FloatArray) -> FloatArray:
    """W (n, k), or for k > n a factor (n, n) of the same W W^T."""
    n, k = W.shape
    if k <= n:
        return np.ascontiguousarray(W)
    return np.ascontiguousarray(np.linalg.qr(W.T)[1].T)
