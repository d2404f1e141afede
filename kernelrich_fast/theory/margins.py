"""The separating direction of largest margin, in l1 and in l2."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.optimize

from .. import _validate as check
from .._types import ArrayLike, FloatArray
from ..equations.linear_systems import balance, minimum_norm, row_norms
from ..equations.margins import signed_rows

__all__ = ["max_margin"]

BoolArray = npt.NDArray[np.bool_]

_NORMS = ("l1", "l2")
_FIT = 1e-9  # by which a margin may fall short of one
_SURE = 1e-5  # by which it may, with all that rounding can hide
_GAP = 1e-6  # of the norm and what its dual variables prove
_RESOLVED = 1e-13  # of 1 / (1 + |beta|^2), below which it is rounding
_FARTHER, _SCALES = 1e5, 3
_EXCHANGES = 50  # of support vectors, which the first solution has nearly found
_DIGITS = 1e-13


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
    ValueError, TypeError
        If an argument is invalid; the message names it.
    ValueError
        If no beta separates the classes, or none is found whose margins are beyond rounding.

    Notes
    -----
    "l2" is the support vector machine without an intercept. It is solved as a non-negative
    least-squares problem (Lawson and Hanson's least-distance programming) in units of the solution,
    and then once more on its support vectors, which are exchanged until the conditions of
    optimality hold. "l1" is a linear program in balanced units, solved by HiGHS, and then once more
    on its vertex. For an intercept add a column of ones to X; its coefficient counts in the norm.

    Margins are at least 1 up to 1e-9, or up to rounding of their terms where that is more, but at
    most 1e-5. The norm of "l1" is within 1e-6 of what the dual variables prove. Tests compare with
    rational numbers: where rows differ by factors up to 2^20 and columns up to 2^10, separable
    classes are found, and their norm is right to 1e-9. Where they differ by more, classes may be
    refused whose margins are of the size of rounding, or ("l1") whose entries HiGHS takes for 0.

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
    if y.ndim != 1:
        raise ValueError(f"y: expected shape {X.shape[:1]}, got {y.shape}")
    Z = signed_rows(X, y)
    beta = (_least_l1 if norm == "l1" else _least_l2)(Z)
    rounding = 4.0 * Z.shape[1] * np.finfo(np.float64).eps * (np.abs(Z) @ np.abs(beta))
    margins = Z @ beta
    if np.any(margins < 1.0 - _FIT - rounding) or np.any(margins - rounding < 1.0 - _SURE):
        raise ValueError(
            "y: expected classes that some beta separates, but none was found whose margins are "
            "beyond rounding; for an intercept add a column of ones to X"
        )
    return beta


def _least_l1(Z: FloatArray) -> FloatArray:
    r, s = balance(Z)
    A, unit = Z * r[:, None] * s, float(np.max(r))
    # At the least norm A x >= r and sum_j s_j |x_j|; HiGHS wants numbers around 1.
    cost, right = s / s.max(), r / unit
    program = scipy.optimize.linprog(
        np.concatenate([cost, cost]), A_ub=np.hstack([-A, A]), b_ub=-right, method="highs-ds"
    )
    if program.status != 0 or program.x is None:
        return np.zeros(Z.shape[1])
    x = np.asarray(program.x[: Z.shape[1]] - program.x[Z.shape[1] :])
    dual = -program.ineqlin.marginals
    bound = _proven(A, cost, right, dual)
    support, tight = np.flatnonzero(x), np.flatnonzero(dual > 1e-9)
    if 0 < len(support) == len(tight):
        vertex, fresh = A[np.ix_(tight, support)], np.zeros_like(x)
        fresh[support] = minimum_norm(vertex, right[tight, None])[:, 0]
        if _shortfall(A, fresh, right) <= max(1e-12, _shortfall(A, x, right)):
            x = fresh
        dual[tight] = minimum_norm(vertex.T, (cost * np.sign(x))[support, None])[:, 0]
        bound = max(bound, _proven(A, cost, right, dual))
    if float(cost @ np.abs(x)) > bound * (1.0 + _GAP):
        return np.zeros_like(x)
    return np.asarray(s * x * unit)


def _proven(A: FloatArray, cost: FloatArray, right: FloatArray, dual: FloatArray) -> float:
    """A lower bound of the least cost, by the dual variables once they are scaled to be allowed."""
    dual = np.maximum(dual, 0.0)
    return float(dual @ right) / max(float(np.max(np.abs(dual @ A) / cost)), 1e-300)


def _least_l2(Z: FloatArray) -> FloatArray:
    """Least-distance programming for points of norm one, in units in which beta is about 1."""
    norms = row_norms(Z)
    G, h = Z / norms[:, None], 1.0 / norms
    unit = float(np.max(h))  # no beta is smaller
    for _ in range(_SCALES):
        beta, support = _least_distance(G, h / unit)
        if np.any(support):
            break
        unit *= _FARTHER
    else:
        return np.zeros(Z.shape[1])
    size = unit * float(np.linalg.norm(beta))
    if size == 0.0:
        return beta
    again, better = _least_distance(G, h / size)
    if np.any(better):
        beta, support, unit = again, better, size
    return unit * _settled(G, h / unit, beta, support)


def _least_distance(G: FloatArray, h: FloatArray) -> tuple[FloatArray, BoolArray]:
    """The least beta with G beta >= h, and its support; none if it is too large to be told."""
    stacked = np.vstack([G.T, h])
    target = np.zeros(len(stacked))
    target[-1] = 1.0
    shares = scipy.optimize.nnls(stacked, target, maxiter=30 * sum(G.shape))[0]
    left = target - stacked @ shares
    if left[-1] <= _RESOLVED:
        return np.zeros(G.shape[1]), np.zeros(len(G), dtype=bool)
    return np.asarray(-left[:-1] / left[-1]), shares > 0.0


def _settled(G: FloatArray, h: FloatArray, beta: FloatArray, support: BoolArray) -> FloatArray:
    """Beta solved for anew from its support vectors, which change until it satisfies KKT."""
    for _ in range(_EXCHANGES):
        own = np.flatnonzero(support)
        fresh = minimum_norm(G[own], h[own, None])[:, 0]
        theta = minimum_norm(G[own].T, fresh[:, None])[:, 0]
        short = h - G @ fresh
        short[own] = 0.0
        rounding = _DIGITS * (np.abs(G) @ np.abs(fresh) + h)
        if np.min(theta) < -_DIGITS * np.max(np.abs(theta)):
            support[own[np.argmin(theta)]] = False
        elif np.any(short > rounding):
            support[np.argmax(short / rounding)] = True
        else:
            return fresh
        if not np.any(support):
            break
    return beta


def _shortfall(A: FloatArray, x: FloatArray, right: FloatArray) -> float:
    return float(np.max((right - A @ x) / right))
