"""Interpolants the flow is compared with: minimum l2 and minimum l1 norm."""

from __future__ import annotations

import numpy as np
import scipy.optimize

from .. import _validate as check
from .._types import ArrayLike, FloatArray

__all__ = ["min_l1", "min_l2"]


def min_l2(X: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Interpolant of minimum weighted l2 norm, the kernel limit of a diagonal network.

    Parameters
    ----------
    X : array_like, (..., n_samples, n_features)
        Inputs.
    y : array_like, (..., n_samples)
        Targets.
    weights : array_like, (n_features,), optional
        Positive weights c of sum_i c_i beta_i^2; the kernel limit has c = w0^(2-2D).

    Returns
    -------
    ndarray, (..., n_features)
        The minimiser; the least-squares solution of minimum norm where no beta fits.

    Notes
    -----
    By singular values, with those below 1e-13 of the largest dropped: accuracy is that of the
    condition number of X diag(c)^(-1/2), cost O(n_samples^2 n_features).

    References
    ----------
    Woodworth et al. (COLT 2020), Theorem 1, alpha to infinity.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.min_l2([[1.0, 2.0]], [2.0])
    array([0.4, 0.8])
    """
    X, y = check.data_pair(X, y)
    c = check.profile("weights", 1.0 if weights is None else weights, X.shape[-1])
    root = 1.0 / np.sqrt(c)
    pseudo = np.linalg.pinv(X * root, rcond=1e-13)
    return np.asarray(root * np.squeeze(pseudo @ y[..., None], -1))


def min_l1(X: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Interpolant of minimum weighted l1 norm, the rich limit of a diagonal network.

    Parameters
    ----------
    X : array_like, (n_samples, n_features)
        Inputs.
    y : array_like, (n_samples,)
        Targets.
    weights : array_like, (n_features,), optional
        Positive weights c of sum_i c_i |beta_i|; the rich limit at depth D >= 3 has c = w0^(2-D).

    Returns
    -------
    ndarray, (n_features,)
        A minimiser (a vertex of the linear program).

    Raises
    ------
    ValueError
        If no beta fits y.

    Notes
    -----
    Solved as a linear program by HiGHS (dual simplex), to its feasibility tolerance of 1e-7, then
    polished on its support by least squares when that has full rank.

    References
    ----------
    Woodworth et al. (COLT 2020), Theorems 1 and 3, alpha to 0.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.min_l1([[1.0, 2.0]], [2.0])
    array([0., 1.])
    """
    X, y = check.data_pair(X, y)
    if X.ndim != 2 or y.ndim != 1:
        raise ValueError(f"X: expected one problem of two dimensions, got shape {X.shape}")
    d = X.shape[1]
    c = check.profile("weights", 1.0 if weights is None else weights, d)
    scale = float(np.max(np.abs(y))) or 1.0
    program = scipy.optimize.linprog(
        np.concatenate([c, c]),
        A_eq=np.hstack([X, -X]),
        b_eq=y / scale,
        bounds=(0.0, None),
        method="highs-ds",
    )
    if program.status != 0 or program.x is None:
        raise ValueError(f"y: expected targets that some beta fits ({program.message})")
    beta = np.asarray((program.x[:d] - program.x[d:]) * scale)
    support = np.flatnonzero(np.abs(beta) > 1e-9 * scale)
    if 0 < len(support) <= len(y):
        refined, _, rank, _ = np.linalg.lstsq(X[:, support], y, rcond=None)
        if rank == len(support) and np.all(np.sign(refined) == np.sign(beta[support])):
            beta = np.zeros(d)
            beta[support] = refined
    return beta
