"""The separating direction of largest margin, in l1 and in l2."""

from __future__ import annotations

import numpy as np
import scipy.optimize

from .. import _validate as check
from .._types import ArrayLike, FloatArray
from ..equations.margins import signed_rows

__all__ = ["max_margin"]

_NORMS = ("l1", "l2")
# By how much a margin may fall short of one.
_FIT = 1e-9


def max_margin(X: ArrayLike, y: ArrayLike, norm: str = "l2") -> FloatArray:
    """The beta of minimum norm whose margins y_n <beta, x_n> are all at least 1.

    Parameters
    ----------
    X : array_like, (n_samples, n_features)
        Inputs.
    y : array_like, (n_samples,)
        Labels, -1 or +1.
    norm : {"l1", "l2"}
        The norm to minimise. One divided by its minimum is the largest margin of a direction of
        norm one.

    Returns
    -------
    ndarray, (n_features,)
        The minimiser; for "l1" a vertex of the set of minimisers.

    Raises
    ------
    ValueError
        If no beta separates the classes.

    Notes
    -----
    "l2" is the support vector machine without an intercept. It is solved as a non-negative
    least-squares problem (Lawson and Hanson's least-distance programming), and then once more on
    its support vectors alone. "l1" is a linear program, solved by HiGHS. For an intercept add a
    column of ones to X; its coefficient counts in the norm. Margins are at least 1 up to 1e-9.

    References
    ----------
    Lawson and Hanson, Solving Least Squares Problems, chapter 23.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.max_margin([[2.0, 0.0], [0.0, 1.0]], [1, -1]).round(9)
    array([ 0.5, -1. ])
    """
    X, y = check.labelled_pair(X, y)
    check.choice("norm", norm, _NORMS)
    if X.ndim != 2:
        raise ValueError(f"X: expected shape (n_samples, n_features), got {X.shape}")
    Z = signed_rows(X, y)
    size = float(np.max(np.abs(Z)))
    least = _least_l1 if norm == "l1" else _least_l2
    beta = least(Z / size) / size if size > 0.0 else np.zeros(Z.shape[1])
    if float(np.min(Z @ beta)) < 1.0 - _FIT * _terms(Z, beta):
        raise ValueError(
            "y: expected classes that some beta separates, but none does; for an intercept add a "
            "column of ones to X"
        )
    return beta


def _terms(Z: FloatArray, beta: FloatArray) -> float:
    return 1.0 + float(np.max(np.abs(Z) @ np.abs(beta)))


def _least_l1(Z: FloatArray) -> FloatArray:
    program = scipy.optimize.linprog(
        np.ones(2 * Z.shape[1]), A_ub=np.hstack([-Z, Z]), b_ub=-np.ones(len(Z)), method="highs-ds"
    )
    if program.status != 0 or program.x is None:
        return np.zeros(Z.shape[1])
    beta = np.asarray(program.x[: Z.shape[1]] - program.x[Z.shape[1] :])
    support, tight = np.flatnonzero(beta), np.flatnonzero(-program.ineqlin.marginals > 1e-9)
    if 0 < len(support) == len(tight):
        fresh = np.zeros_like(beta)
        try:
            fresh[support] = np.linalg.solve(Z[np.ix_(tight, support)], np.ones(len(tight)))
        except np.linalg.LinAlgError:
            return beta
        if np.min(Z @ fresh) >= min(1.0 - 1e-12, float(np.min(Z @ beta))):
            return fresh
    return beta


def _least_l2(Z: FloatArray) -> FloatArray:
    stacked = np.vstack([Z.T, np.ones(len(Z))])
    target = np.zeros(len(stacked))
    target[-1] = 1.0
    shares = scipy.optimize.nnls(stacked, target, maxiter=30 * sum(Z.shape))[0]
    left = target - stacked @ shares
    if left[-1] <= 0.0:
        return np.zeros(Z.shape[1])
    beta = np.asarray(-left[:-1] / left[-1])
    support = shares > 0.0
    fresh = np.linalg.lstsq(Z[support], np.ones(int(support.sum())), rcond=None)[0]
    better = np.min(Z @ fresh) >= 1.0 - 1e-12 and np.linalg.norm(fresh - beta) < 1e-4 * (
        np.linalg.norm(beta)
    )
    return np.asarray(fresh) if better else beta
