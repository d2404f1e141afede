"""Data sets of the paper's experiments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import _validate as check
from ._types import FloatArray, IntArray

__all__ = [
    "LowRankCompletion",
    "SparseRegression",
    "image",
    "low_rank_completion",
    "observed_entries",
    "sparse_regression",
]


class SparseRegression(NamedTuple):
    """Inputs (n_samples, n_features), targets (n_samples,) and the sparse truth (n_features,)."""

    X: FloatArray
    y: FloatArray
    beta_star: FloatArray


def sparse_regression(
    n_samples: int,
    n_features: int,
    sparsity: int,
    noise_variance: float = 0.01,
    seed: int = 0,
) -> SparseRegression:
    """Gaussian inputs and a sparse teacher: the data of the paper's figures 1 and 3c.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of X, whose entries are i.i.d. N(0, 1).
    sparsity : int
        Number of non-zero entries of beta_star, each 1 / sqrt(sparsity); the first ones.
    noise_variance : float
        Variance of the Gaussian noise added to X beta_star.
    seed : int
        Seed. Data sets of the same seed are nested: fewer samples are the first rows of more.

    Returns
    -------
    SparseRegression
        Named tuple (X, y, beta_star).

    References
    ----------
    Woodworth et al. (COLT 2020), section 3 and figure 1.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.sparse_regression(20, 50, 4)
    >>> data.X.shape, float(data.beta_star.sum())
    ((20, 50), 2.0)
    """
    n = check.integer("n_samples", n_samples, low=1)
    d = check.integer("n_features", n_features, low=1)
    r = check.integer("sparsity", sparsity, low=1, high=d)
    variance = check.scalar("noise_variance", noise_variance, low=0.0, open_low=False)
    inputs, noise = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    X = inputs.standard_normal((n, d))
    beta_star = np.zeros(d)
    beta_star[:r] = 1.0 / np.sqrt(r)
    y = X @ beta_star + np.sqrt(variance) * noise.standard_normal(n)
    return SparseRegression(X, y, beta_star)


class LowRankCompletion(NamedTuple):
    """Truth (d1, d2), (rows, columns) of the observed entries, and their values (n_observed,)."""

    Y_star: FloatArray
    entries: tuple[IntArray, IntArray]
    y: FloatArray


def low_rank_completion(
    d1: int, d2: int, rank: int, n_observed: int, seed: int = 0
) -> LowRankCompletion:
    """A Gaussian matrix of low rank and a random choice of its entries: the data of figure 5.

    Parameters
    ----------
    d1, d2 : int
        Shape of Y_star = U V^T, U and V with i.i.d. N(0, 1) entries.
    rank : int
        Columns of U and V.
    n_observed : int
        Number of observed entries, drawn uniformly without repetition.
    seed : int
        Seed. Choices of the same seed are nested: fewer entries are the first ones of more.

    Returns
    -------
    LowRankCompletion
        Named tuple (Y_star, entries, y).

    References
    ----------
    Woodworth et al. (COLT 2020), section 6 and figure 5.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.low_rank_completion(10, 10, 1, 60)
    >>> data.Y_star.shape, data.y.shape
    ((10, 10), (60,))
    """
    p = check.integer("d1", d1, low=1)
    q = check.integer("d2", d2, low=1)
    k = check.integer("rank", rank, low=1, high=min(p, q))
    truth = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[0])
    Y_star = truth.standard_normal((p, k)) @ truth.standard_normal((q, k)).T
    entries = observed_entries(p, q, n_observed, seed)
    return LowRankCompletion(Y_star, entries, Y_star[entries])


def observed_entries(d1: int, d2: int, n_observed: int, seed: int = 0) -> tuple[IntArray, IntArray]:
    """Rows and columns of ``n_observed`` different entries of a (d1, d2) matrix, at random.

    Parameters
    ----------
    d1, d2 : int
        Shape of the matrix.
    n_observed : int
        Number of entries, at most d1 d2.
    seed : int
        Seed. Choices of the same seed are nested.

    Returns
    -------
    pair of ndarray of int, (n_observed,) each
        Rows and columns, an index into the matrix.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> rows, columns = krf.datasets.observed_entries(2, 2, 4)
    >>> sorted(zip(rows.tolist(), columns.tolist()))
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    p = check.integer("d1", d1, low=1)
    q = check.integer("d2", d2, low=1)
    count = check.integer("n_observed", n_observed, low=1, high=p * q)
    choice = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[1])
    row, column = np.divmod(choice.permutation(p * q)[:count].astype(np.int64), q)
    return row, column


def image(name: str, size: int = 64, corner: tuple[int, int] = (0, 0)) -> FloatArray:
    """A square crop, in grey, of a photograph that ships with scikit-learn.

    Parameters
    ----------
    name : {"china", "flower"}
        Which photograph (427 x 640).
    size : int
        Side of the crop in pixels, at most 427.
    corner : (int, int)
        Row and column of its upper left corner.

    Returns
    -------
    ndarray, (size, size)
        Grey values in [0, 1] (ITU-R BT.601 luma).

    Raises
    ------
    ImportError
        If scikit-learn or Pillow is missing (``pip install 'kernelrich_fast[data]'``).

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.datasets.image("china", 8).shape  # doctest: +SKIP
    (8, 8)
    """
    check.choice("name", name, ("china", "flower"))
    side = check.integer("size", size, low=1, high=427)
    row = check.integer("corner", corner[0], low=0, high=427 - side)
    column = check.integer("corner", corner[1], low=0, high=640 - side)
    try:
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise ImportError(
            "image: needs scikit-learn; install it with pip install 'kernelrich_fast[data]'"
        ) from error
    picture = load_sample_image(f"{name}.jpg")[row : row + side, column : column + side]
    return np.asarray(picture @ np.array([0.299, 0.587, 0.114]) / 255.0)
