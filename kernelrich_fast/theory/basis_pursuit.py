"""The interpolant of minimum l1 norm, which the flow reaches in the rich regime."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import scipy.optimize

from .. import _validate as check
from .._types import ArrayLike, FloatArray
from ..backends import available_backends
from ..equations.linear_systems import balance, independent_rows, minimum_norm, row_misfit
from ..errors import ConvergenceWarning
from ..saddle_path import rich_path
from ..status import without_convergence_warnings

__all__ = ["min_l1"]

_FIT = 1e-9  # of a row, relative to its terms
_GAP = 1e-7
_WELL = 1e-9  # the gap that ends the refinement
_ROUNDS = 8
_DIGITS = 1e-13
_MOST = 1e15  # larger numbers may mean infinity to HiGHS
# Where costs differ by ten decades, one way or another takes the program for unbounded.
_TRIES: tuple[tuple[Literal["highs-ds", "highs-ipm"], Any], ...] = (
    ("highs-ds", {}),
    ("highs-ipm", {}),
    ("highs-ds", {"presolve": False}),
)
_NEGLIGIBLE = 1e-11  # share of every row
_LEAST_COST = 1e-140  # which `rich_path` takes as w0


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
        A minimiser, a vertex of the linear program unless a warning is given.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid; the message names it.
    ValueError
        If no beta fits y. This is so if a sample is a linear combination of others (to 1e-12), but
        its target is not the same combination of their targets (to 1e-8).

    Warns
    -----
    ConvergenceWarning
        If floating-point numbers have too few digits for the accuracy promised below.

    Notes
    -----
    The result is the end of `rich_path`, with samples and features scaled to balanced units; its
    dual variable gives a lower bound of the norm. If norm and bound do not agree, or there is no
    compiled module, HiGHS solves a linear program (dual simplex) instead. Since HiGHS accepts
    errors of 1e-7, the solution is refined: its errors are magnified and solved for again, and the
    coefficients on the last support follow by QR. beta fits every sample to 1e-9 of
    sum_j |X_ij beta_j| + |y_i|, and its norm is within 1e-7 of the bound that the dual solution
    proves, relatively; both are checked.

    References
    ----------
    Woodworth et al. (COLT 2020), Theorems 1 and 3, alpha to 0; Gleixner, Steffy and Wolter, INFORMS
    J. Comput. 28 (2016), for the refinement.

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
    if not y.any():
        return np.zeros(d)
    beta, bound = _basis_pursuit(X, y, c)
    error, least = row_misfit(X, beta, y), float(c @ np.abs(beta))
    if error > _FIT or least > bound * (1.0 + _GAP):
        warnings.warn(
            f"min_l1: reached a misfit of {error:.1e} and a duality gap of "
            f"{(least - bound) / max(least, 1e-300):.1e}, not at most {_FIT} and {_GAP}",
            ConvergenceWarning,
            stacklevel=2,
        )
    return beta


def _basis_pursuit(X: FloatArray, y: FloatArray, c: FloatArray) -> tuple[FloatArray, float]:
    """Beta, and a lower bound on the least norm."""
    # The targets are one more column: what is small beside a small target counts.
    r, s = balance(np.column_stack([X, y]))
    A, b, cost = X * r[:, None] * s[:-1], y * r * s[-1], c / c.max() * s[:-1]
    unit = float(cost.max())
    cost = np.maximum(cost / unit, np.finfo(np.float64).tiny)
    rows = independent_rows(A, b, "beta")
    x, bound = _by_path(A[rows], b[rows], cost) or _refined_program(A[rows], b[rows], cost)
    return np.asarray(s[:-1] * x / s[-1]), bound * (unit / s[-1] * c.max())


def _by_path(A: FloatArray, b: FloatArray, cost: FloatArray) -> tuple[FloatArray, float] | None:
    """The end of the path as alpha -> 0 and what its dual variable proves, if these agree."""
    if cost.min() < _LEAST_COST or available_backends()["cpu"] is not None:
        return None
    # At depth 3 the cost of a feature is 1 / w0.
    with without_convergence_warnings():
        path = rich_path(A, b, depth=3, w0=1.0 / cost, backend="cpu", num_threads=1)
    x, bound = path.beta[-1], _bound(A, b, cost, path.dual)
    good = row_misfit(A, x, b) <= _FIT and float(cost @ np.abs(x)) <= bound * (1.0 + _WELL)
    return (x, bound) if good else None


def _refined_program(A: FloatArray, b: FloatArray, cost: FloatArray) -> tuple[FloatArray, float]:
    """Solution x of least sum_j cost_j |x_j| with A x = b, and a lower bound on that sum."""
    n, d = A.shape
    both, costs = np.hstack([A, -A]), np.concatenate([cost, cost])
    parts, nu, scale = np.zeros(2 * d), np.zeros(n), 1.0
    best, order, bound = np.zeros(d), (np.inf, np.inf), 0.0
    for _ in range(_ROUNDS):
        # What is wrong is magnified to about 1; the scale of the costs never falls again.
        left, reduced = b - both @ parts, costs - nu @ both
        left[np.abs(left) <= _DIGITS * (np.abs(both) @ parts + np.abs(b))] = 0.0
        wrong = np.where(reduced < -_DIGITS * costs, -reduced, 0.0)
        wide = _magnifier(float(np.max(np.abs(left))))
        scale = max(scale, _magnifier(float(np.max(wrong))))
        solved = _program(both, wide * left, scale * reduced, -wide * parts)
        if solved is None:
            break
        z, slopes = solved
        parts = np.where(z <= -wide * parts, 0.0, np.maximum(parts + z / wide, 0.0))
        nu = nu + slopes / scale
        x, proven = _on_support(A, b, cost, parts[:d] - parts[d:], nu)
        bound = max(bound, proven)
        quality = max(row_misfit(A, x, b), _FIT), float(cost @ np.abs(x))
        if quality < order:
            best, order = x, quality
        if order[0] <= _FIT and order[1] <= bound * (1.0 + _WELL):
            break
    return best, bound


def _program(
    A: FloatArray, b: FloatArray, cost: FloatArray, low: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """The z >= low of least cost with A z = b, and its dual variables, to 1e-7."""
    bounds: Any = np.column_stack([np.maximum(low, -_MOST), np.full(len(low), np.inf)])
    cost = np.minimum(cost, _MOST)
    for method, options in _TRIES:
        program = scipy.optimize.linprog(
            cost, A_eq=A, b_eq=b, bounds=bounds, method=method, options=options
        )
        if program.status == 0 and program.x is not None:
            return program.x, program.eqlin.marginals
    return None


def _magnifier(error: float) -> float:
    """A power of two that makes ``error`` about 1, if there is one."""
    return float(2.0 ** -np.rint(np.log2(error))) if error > 0.0 else 1.0


def _on_support(
    A: FloatArray, b: FloatArray, cost: FloatArray, x: FloatArray, nu: FloatArray
) -> tuple[FloatArray, float]:
    """X solved for anew from its support, where that fits better, and the bound that nu proves."""
    terms = np.abs(A) @ np.abs(x) + np.abs(b)
    support = np.flatnonzero(np.max(np.abs(A * x) / terms[:, None], axis=0) > _NEGLIGIBLE)
    bound = _bound(A, b, cost, nu)
    if not 0 < len(support) <= len(b):
        return x, bound
    if len(support) == len(b):
        slopes = (cost * np.sign(x))[support]
        fresh = minimum_norm(A[:, support].T, slopes[:, None])[:, 0]
        bound = max(bound, _bound(A, b, cost, fresh))
    refined = np.zeros_like(x)
    refined[support] = minimum_norm(A[:, support], b[:, None])[:, 0]
    same = np.array_equal(np.sign(refined[support]), np.sign(x[support]))
    better = same and row_misfit(A, refined, b) <= row_misfit(A, x, b)
    return refined if better else x, bound


def _bound(A: FloatArray, b: FloatArray, cost: FloatArray, nu: FloatArray) -> float:
    """What nu proves about the least cost, once it is scaled into its bounds |nu A| <= cost."""
    return float(nu @ b) / max(float(np.max(np.abs(nu @ A) / cost)), 1e-300)
