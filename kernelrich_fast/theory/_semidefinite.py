"""Least trace over positive semidefinite matrices that fit, by a primal-dual interior point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from .._types import FloatArray
from ..equations.factorization import Sensing
from ..equations.linear_systems import independent_rows, row_norms

__all__ = [
    "LeastTrace",
    "independent",
    "least_trace",
    "misfit",
    "nonzero_rows",
    "restricted",
]

_BALANCE = 20

_TRACE_CAP = 1e12  # times the first guess of the trace: what needs more is said not to exist
_LARGE = 10.0  # times the first guess of M: where the iteration begins
_SHIFT = 1e-15, 1e-11  # of the Schur matrix with a unit diagonal, before a Cholesky factorisation
_REFINE = 2
_BACK = 0.9, 0.09  # share of the way to the boundary, and what a good predictor adds to it


BoolArray = NDArray[np.bool_]


class LeastTrace(NamedTuple):
    """The last iterate: positive definite M, its misfit and gap, and the proven bound on tr M."""

    M: FloatArray
    misfit: float
    gap: float
    fits: bool  # False: no matrix of a trace below the cap fits


class _Step(NamedTuple):
    X: FloatArray
    nu: FloatArray


def misfit(sensing: Sensing, y: FloatArray, M: FloatArray) -> float:
    """The largest |<X_i, M> - y_i|, each relative to sum_jk |X_i,jk| sqrt(M_jj M_kk).

    That is the size of the terms whose sum is y_i, so the measure does not see the units of a row
    or column of M.
    """
    root = np.sqrt(np.maximum(np.diag(M), 0.0))
    terms = np.outer(root, root)
    if sensing.X is None:
        size = sensing.observe(terms)
    else:
        size = np.abs(sensing.X).reshape(len(y), -1) @ terms.ravel()
    error = np.abs(sensing.observe(M) - y)
    return float(
        np.max(np.divide(error, size, out=np.where(error > 0, np.inf, 0.0), where=size > 0))
    )


def least_trace(
    sensing: Sensing,
    y: FloatArray,
    tol: float,
    fit: float,
    budget: int,
) -> LeastTrace:
    """Minimise tr M over positive semidefinite M that fit, for independent symmetric X_i.

    Predictor-corrector steps in the direction of Helmberg, Kojima and Monteiro. The dual matrix
    S = 1 - sum nu_i X_i begins and stays positive definite, so y . nu is a lower bound on the
    trace at any time; it grows without bound where no matrix fits. All linear algebra is by
    Cholesky factors, whose errors, like the iterates, do not depend on the units of the rows of M.
    """
    first, dual = _first_guess(sensing, y)
    eye, cap = np.eye(len(first)), _TRACE_CAP * float(np.sum(first))
    at = _Step(np.diag(_LARGE * first), _dual_of(sensing, dual))
    best = LeastTrace(at.X, np.inf, np.inf, True)
    for _ in range(budget):
        S = eye - _adjoint(sensing, at.nu)
        try:
            factors = np.linalg.cholesky(at.X), np.linalg.cholesky(S)
            trace, bound = float(np.trace(at.X)), float(y @ at.nu)
            now = LeastTrace(at.X, misfit(sensing, y, at.X), abs(trace - bound) / trace, True)
            if bound > cap:
                return now._replace(fits=False)
            if max(now.misfit / fit, now.gap / tol) < max(best.misfit / fit, best.gap / tol):
                best = now
            if now.misfit <= 0.01 * fit and now.gap <= 0.5 * tol:
                break
            at = _advance(sensing, y, at, S, factors)
        except np.linalg.LinAlgError:
            break  # no more digits: what was best is judged by the caller
    return best


def nonzero_rows(sensing: Sensing, y: FloatArray) -> BoolArray:
    """False for rows with an observed 0 on the diagonal, whose other entries are 0 then too.

    Without them an interior exists more often; with them the dual has no maximum.
    """
    kept = np.ones(sensing.dims[0], dtype=bool)
    if sensing.X is not None:
        return kept
    a, b = sensing.row, sensing.column
    for i in np.flatnonzero((a == b) & (y < 0.0)):
        raise ValueError(
            "y: expected targets that some positive semidefinite matrix fits, got a negative "
            f"number at entry ({a[i]}, {b[i]})"
        )
    kept[a[(a == b) & (y == 0.0)]] = False
    for i in np.flatnonzero(~(kept[a] & kept[b]) & (y != 0.0)):
        raise ValueError(
            "y: expected targets that some positive semidefinite matrix fits, got a number other "
            f"than 0 at entry ({a[i]}, {b[i]}) beside a 0 on the diagonal"
        )
    return kept


def restricted(sensing: Sensing, y: FloatArray, kept: BoolArray) -> tuple[Sensing, FloatArray]:
    """The same observations of the rows and columns ``kept``."""
    if kept.all():
        return sensing, y
    number = np.cumsum(kept) - 1
    inside = kept[sensing.row] & kept[sensing.column]
    row, column = number[sensing.row[inside]], number[sensing.column[inside]]
    count = int(kept.sum())
    return replace(sensing, dims=(count, count), row=row, column=column), y[inside]


def independent(sensing: Sensing, y: FloatArray) -> tuple[Sensing, FloatArray]:
    """Measurements of norm one in balanced units, without those that follow from others."""
    if sensing.X is None:
        return sensing, y
    sizes = np.abs(sensing.X).max(axis=(1, 2))
    sizes[sizes == 0.0] = 1.0
    X, y = sensing.X / sizes[:, None, None], y / sizes
    unit = _units(X)
    rows = (X / np.outer(unit, unit)).reshape(len(y), -1)
    chosen = independent_rows(rows, y, "matrix")
    norms = row_norms(rows[chosen])
    return replace(sensing, X=X[chosen] / norms[:, None, None]), y[chosen] / norms


def _units(X: FloatArray) -> FloatArray:
    """Units u of rows and columns in which max_i |X_i,jk| / (u_j u_k) has row maxima of 1."""
    largest = np.max(np.abs(X), axis=0)
    unit = np.ones(len(largest))
    for _ in range(_BALANCE):
        top = np.max(largest / np.outer(unit, unit), axis=1)
        unit *= np.sqrt(np.where(top > 0.0, top, 1.0))
    return unit


def _first_guess(sensing: Sensing, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The diagonal of a first M, and of the dual matrix that makes it a centre.

    What single observations and 2x2 minors ask for. A row with an observed diagonal may begin at
    its own size, as its dual variable is free.
    """
    d = sensing.dims[0]
    if sensing.X is not None:
        return float(np.abs(y).max()) / _units(sensing.X) ** 2, np.ones(d)
    a, b, size = sensing.row, sensing.column, np.sqrt(np.abs(y))
    root = np.zeros(d)
    root[a[a == b]] = size[a == b]
    known = root > 0.0
    for i, j in ((a, b), (b, a)):
        use = known[i] & ~known[j]
        np.maximum.at(root, j[use], size[use] * (size[use] / root[i[use]]))
    use = ~known[a] & ~known[b]
    np.maximum.at(root, a[use], size[use])
    np.maximum.at(root, b[use], size[use])
    top = float(np.max(root**2))
    M = np.where(known, root**2, top)
    return M, top / M


def _dual_of(sensing: Sensing, diagonal: FloatArray) -> FloatArray:
    """The nu with S = diag(diagonal), which is 1 where no diagonal entry is observed."""
    if sensing.X is not None:
        return np.zeros(sensing.n_samples)
    a, b = sensing.row, sensing.column
    return np.where(a == b, 1.0 - diagonal[a], 0.0)


def _advance(
    sensing: Sensing,
    y: FloatArray,
    at: _Step,
    S: FloatArray,
    factors: tuple[Any, Any],
) -> _Step:
    d = len(S)
    inverse = _symmetric(scipy.linalg.cho_solve((factors[1], True), np.eye(d), check_finite=False))
    solve = _equilibrated(_schur(sensing, at.X, inverse))
    residual = y - sensing.observe(at.X)
    mu = max(float(np.sum(at.X * S)) / d, np.finfo(np.float64).tiny)

    def direction(
        centre: float, second: FloatArray | float
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        base = _symmetric(centre * inverse - at.X - second)
        nu = solve(residual - sensing.observe(base))
        dual = _adjoint(sensing, nu)
        return base + _symmetric(at.X @ dual @ inverse), nu, dual

    def lengths(X: FloatArray, dual: FloatArray, share: float) -> tuple[float, float]:
        return (
            min(1.0, share * _boundary(factors[0], X)),
            min(1.0, share * _boundary(factors[1], -dual)),
        )

    X, nu, dual = direction(0.0, 0.0)
    p, q = lengths(X, dual, _BACK[0])
    ahead = max(float(np.sum((at.X + p * X) * (S - q * dual))) / d, 0.0)
    centring = max(min(ahead / mu, 1.0) ** (3 if min(p, q) > 0.5 else 2), 1e-6)
    X, nu, dual = direction(centring * mu, -X @ dual @ inverse)
    p, q = lengths(X, dual, _BACK[0] + _BACK[1] * min(p, q))
    return _Step(_symmetric(at.X + p * X), at.nu + q * nu)


def _symmetric(A: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (A + A.T))


def _adjoint(sensing: Sensing, nu: FloatArray) -> FloatArray:
    return _symmetric(sensing.adjoint(nu))


def _schur(sensing: Sensing, X: FloatArray, T: FloatArray) -> FloatArray:
    """The matrix tr(X_i X X_j T)."""
    if sensing.X is not None:
        moved = X @ sensing.X @ T
        return np.asarray(sensing.matrix() @ np.swapaxes(moved, 1, 2).reshape(len(moved), -1).T)
    a, b = sensing.row, sensing.column
    pairs = ((b, a, a, b), (a, a, b, b), (b, b, a, a), (a, b, b, a))
    B = np.zeros((len(a), len(a)))
    for i, j, k, m in pairs:
        B += X[np.ix_(i, j)] * T[np.ix_(k, m)]
    return 0.25 * B


def _equilibrated(B: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Solutions of B x = r by Cholesky of B with a unit diagonal, refined."""
    root = 1.0 / np.sqrt(np.diag(B))
    C = _symmetric(B * root[:, None] * root)
    try:
        factor = scipy.linalg.cho_factor(C + _SHIFT[0] * np.eye(len(C)), check_finite=False)
    except np.linalg.LinAlgError:
        factor = scipy.linalg.cho_factor(C + _SHIFT[1] * np.eye(len(C)), check_finite=False)

    def solve(r: FloatArray) -> FloatArray:
        x = scipy.linalg.cho_solve(factor, root * r, check_finite=False)
        for _ in range(_REFINE):
            x = x + scipy.linalg.cho_solve(factor, root * r - C @ x, check_finite=False)
        return np.asarray(root * x)

    return solve


def _boundary(L: FloatArray, D: FloatArray) -> float:
    """The largest t for which L L^T + t D is positive semidefinite."""
    half = scipy.linalg.solve_triangular(L, D, lower=True, check_finite=False)
    moved = scipy.linalg.solve_triangular(L, half.T, lower=True, check_finite=False)
    least = float(np.linalg.eigvalsh(_symmetric(moved))[0])
    return np.inf if least >= 0.0 else -1.0 / least
