"""Random starts: Gaussian factors of any width with few columns, and layers of networks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ._device import contiguous, namespace
from ._types import FloatArray

__all__ = ["gaussian_factor", "he_layers", "reduce_factor"]


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
        return contiguous(W)
    return contiguous(namespace(W).linalg.qr(W.T)[1].T)


def he_layers(units: tuple[int, ...], kind: str, seed: int) -> list[FloatArray]:
    """Weights (fan_out, fan_in) of a network, layer after layer.

    Parameters
    ----------
    units : tuple of int
        Inputs, hidden units, outputs.
    kind : {"he_uniform", "he_normal"}
        Uniform on +-sqrt(6 / fan_in), or normal of variance 2 / fan_in.
    seed : int
        Seed; draws of different (seed, units) are independent.

    Returns
    -------
    list of ndarray
        One per layer of weights.

    References
    ----------
    He et al., Delving deep into rectifiers (ICCV 2015).
    """
    rng = np.random.default_rng([seed, *units])
    layers = []
    for fan_in, fan_out in pairwise(units):
        shape = (fan_out, fan_in)
        draw = (
            rng.uniform(-np.sqrt(3.0), np.sqrt(3.0), shape)
            if kind == "he_uniform"
            else rng.standard_normal(shape)
        )
        layers.append(np.sqrt(2.0 / fan_in) * draw)
    return layers
