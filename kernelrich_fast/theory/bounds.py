"""How small or large alpha must be: the paper's Theorem 2."""

from __future__ import annotations

import numpy as np

from .. import _validate as check
from .._types import ArrayLike

__all__ = ["alpha_for_l1", "alpha_for_l2"]


def alpha_for_l1(eps: float, beta_l1: ArrayLike) -> float:
    """Scale below which the limit's l1 norm exceeds the minimum by at most the factor 1 + eps.

    Parameters
    ----------
    eps : float
        Relative excess, between 0 and n_features.
    beta_l1 : array_like, (n_features,)
        An interpolant (a beta that fits all samples) of minimum l1 norm, from `min_l1`; not zero.

    Returns
    -------
    float
        A sufficient alpha at depth 2 and w0 = 1; it may underflow to 0.

    Raises
    ------
    ValueError
        If eps is not from 0 (excluded) to n_features, or beta_l1 is zero or not finite.
    TypeError
        If eps is not a single number, or beta_l1 does not consist of real numbers.

    References
    ----------
    Woodworth et al. (COLT 2020), Theorem 2.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> 0 < krf.theory.alpha_for_l1(0.5, [1.0, 0.0]) < 0.1
    True
    """
    beta = check.real_array("beta_l1", beta_l1, ndim=1)
    d = beta.size
    eps = check.scalar("eps", eps, low=0.0, high=d)
    norm = float(np.abs(beta).sum())
    if norm == 0.0:
        raise ValueError("beta_l1: expected a non-zero vector, got zeros")
    log_power = -(2.0 + eps) / (2.0 * eps) * np.log(2.0 * (1.0 + eps) * norm)
    return float(np.exp(min(log_power, -d / (eps * norm))))


def alpha_for_l2(eps: float, beta_l2: ArrayLike) -> float:
    """Scale above which the limit's squared l2 norm exceeds the minimum by at most 1 + eps.

    Parameters
    ----------
    eps : float
        Relative excess, positive.
    beta_l2 : array_like, (n_features,)
        The interpolant of minimum l2 norm (`min_l2`).

    Returns
    -------
    float
        A sufficient alpha at depth 2 and w0 = 1.

    Raises
    ------
    ValueError
        If eps is not positive, or beta_l2 is not finite.
    TypeError
        If eps is not a single number, or beta_l2 does not consist of real numbers.

    References
    ----------
    Woodworth et al. (COLT 2020), Theorem 2.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> round(krf.theory.alpha_for_l2(1.0, [1.0, 0.0]), 3)
    3.464
    """
    beta = check.real_array("beta_l2", beta_l2, ndim=1)
    eps = check.scalar("eps", eps, low=0.0)
    return float(np.sqrt(2.0 * (1.0 + eps) * (1.0 + 2.0 / eps) * np.linalg.norm(beta)))
