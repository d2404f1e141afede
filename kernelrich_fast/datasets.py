"""Data sets of the paper's experiments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import _validate as check
from ._types import FloatArray

__all__ = ["SparseRegression", "sparse_regression"]


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
