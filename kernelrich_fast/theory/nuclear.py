"""Minimum nuclear norm: the rich limit of matrix factorisation."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.linalg

from .. import _validate as check
from .._blas import one_blas_thread
from .._types import ArrayLike, FloatArray
from ..equations.factorization import Sensing
from ..equations.linear_systems import CONSISTENT, INDEPENDENT, row_misfit, row_norms
from ..errors import ConvergenceWarning
from ..measurements import check_sensing
from ._semidefinite import (
    LeastTrace,
    independent,
    least_trace,
    misfit,
    nonzero_rows,
    restricted,
)

__all__ = ["min_nuclear_norm"]

_RELAX = 1.7
_LOOK = 10  # iterations between two looks at the gap
_ADAPT = 3000  # iterations in which tau may change
_UNEVEN = 1.5
_FIT = 1e-8  # of a positive semidefinite matrix, see `misfit`
_MOST_DENSE = 4000  # samples of an interior point, whose Schur matrix has their square
_STEPS = 300


def min_nuclear_norm(
    y: ArrayLike,
    *,
    entries: tuple[ArrayLike, ArrayLike] | None = None,
    measurements: ArrayLike | None = None,
    dims: tuple[int, int] | None = None,
    symmetric: bool = False,
    tol: float = 1e-5,
    max_iter: int = 20_000,
) -> FloatArray:
    """Matrix of minimum nuclear norm that fits the observations.

    Parameters
    ----------
    y : array_like, (n_samples,)
        Targets.
    entries, measurements, dims, symmetric
        As in `flow_factorization`; with ``symmetric`` the minimum is over positive semidefinite
        matrices, which are those of the form W W^T.
    tol : float
        Bound on the duality gap relative to the norm, 1e-12 to 0.1.
    max_iter : int
        Largest number of iterations, each with one singular value decomposition (with
        ``symmetric``, at most 300 steps of an interior-point method).

    Returns
    -------
    ndarray, (d1, d2)
        A matrix that fits y to rounding, whose nuclear norm is within ``tol`` of the minimum,
        relatively. With ``symmetric``: a positive semidefinite matrix (a Cholesky factor exists)
        with |<X_i, M> - y_i| at most 1e-8 sum_jk |X_i,jk| sqrt(M_jj M_kk), a measure that
        does not see the units of rows, whose trace is within ``tol`` of a proven lower bound.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid; the message names it.
    ValueError
        If no matrix fits y; with ``symmetric``, also if every positive semidefinite matrix that
        fits has a trace of more than 1e12 times what a single observation requires.

    Warns
    -----
    ConvergenceWarning
        If the result is not certified to fit and to be within ``tol`` of the minimum, because
        ``max_iter`` iterations were too few, or because the problem is too ill-conditioned for an
        accuracy of 1e-8 and ``tol``.

    Notes
    -----
    The method is Douglas-Rachford splitting between the affine set and the norm. Every iterate
    yields a feasible dual matrix, so the gap is certified, not estimated. If the norm grows slowly
    around the minimiser, thousands of iterations are needed, and the result is at a distance of
    order sqrt(tol) from it. With ``symmetric`` the method is a primal-dual interior-point method,
    with 10 to 50 steps of O(n_samples^3 + d1^3) operations for entries and n_samples d1^3 more for
    measurements, and memory for n_samples^2 numbers. Its iterates do not depend on the units of the
    rows of M. Above 4000 samples the splitting is used again; its matrix is positive semidefinite
    only to ``tol`` of its largest eigenvalue, and contradictions between samples are not detected.

    References
    ----------
    Lions and Mercier, SIAM J. Numer. Anal. 16 (1979), for the splitting; Helmberg, Rendl,
    Vanderbei and Wolkowicz, SIAM J. Optim. 6 (1996), for the interior point; Woodworth et al. (COLT
    2020), Theorem 4, for the limit.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.min_nuclear_norm(
    ...     [1.0, 2.0, 2.0], entries=([0, 0, 1], [0, 1, 0]), dims=(2, 2)
    ... ).round(3)
    array([[1., 2.],
           [2., 1.]])
    >>> krf.theory.min_nuclear_norm(
    ...     [1.0, 2.0], entries=([0, 0], [0, 1]), dims=(2, 2), symmetric=True
    ... ).round(3)
    array([[1., 2.],
           [2., 4.]])
    """
    targets = check.real_array("y", y, ndim=1)
    if targets.ndim != 1:
        raise ValueError(f"y: expected one problem of one dimension, got shape {targets.shape}")
    tolerance = check.scalar("tol", tol, low=1e-12, high=0.1, open_low=False)
    budget = check.integer("max_iter", max_iter, low=1)
    sensing = check_sensing(entries, measurements, dims, symmetric, len(targets))
    size = float(np.max(np.abs(targets)))
    if size == 0.0:
        return np.zeros(sensing.dims)
    if symmetric and sensing.n_samples <= _MOST_DENSE:
        return _least_trace(sensing, targets, tolerance, budget)
    M = _solve(_Affine(sensing, targets / size), symmetric, tolerance, budget)
    return np.asarray(size * M)


def _least_trace(sensing: Sensing, y: FloatArray, tol: float, budget: int) -> FloatArray:
    """The positive semidefinite matrix of least trace, certified or with a warning."""
    kept = nonzero_rows(sensing, y)
    if not kept.any():
        return np.zeros(sensing.dims)
    smaller, targets = independent(*restricted(sensing, y, kept))
    size = float(np.max(np.abs(targets)))
    # Threads would cost these small factorisations more than they save.
    with np.errstate(all="ignore"), one_blas_thread():  # what overflows is not certified
        found = least_trace(smaller, targets / size, tol, _FIT, min(budget, _STEPS))
    if not found.fits:
        raise ValueError(
            "y: expected targets that some positive semidefinite matrix fits, but none does"
        )
    M = np.zeros(sensing.dims)
    M[np.ix_(kept, kept)] = size * found.M
    _warn_unless_certified(found._replace(misfit=misfit(sensing, y, M)), tol)
    return M


def _warn_unless_certified(found: LeastTrace, tol: float) -> None:
    if found.misfit <= _FIT and found.gap <= tol:
        return
    warnings.warn(
        f"min_nuclear_norm: reached a misfit of {found.misfit:.1e} and a duality gap of "
        f"{found.gap:.1e}, not at most {_FIT} and {tol}",
        ConvergenceWarning,
        stacklevel=4,
    )


class _Affine:
    """Projection onto the matrices that fit y, without forming anything for entries."""

    def __init__(self, sensing: Sensing, y: FloatArray) -> None:
        self.sensing, self.y = sensing, y
        self.dense = sensing.X is not None
        if not self.dense:
            return
        norms = row_norms(sensing.matrix())
        X, y = sensing.matrix() / norms[:, None], y / norms
        # Rows of an orthonormal basis of the measurements, with the targets that belong to them.
        u, values, self.basis = scipy.linalg.svd(X, full_matrices=False)
        kept = values > INDEPENDENT * values[0]
        self.basis = self.basis[kept]
        self.target = (u.T @ y)[kept] / values[kept]
        if row_misfit(X, self.basis.T @ self.target, y) > CONSISTENT:
            raise ValueError("y: expected targets that some matrix fits, but none does")

    def project(self, Z: FloatArray) -> FloatArray:
        if self.dense:
            flat = Z.ravel()
            fit = flat + self.basis.T @ (self.target - self.basis @ flat)
            return np.asarray(fit.reshape(Z.shape))
        M = Z.copy()
        M[self.sensing.row, self.sensing.column] = self.y
        if self.sensing.symmetric:
            M[self.sensing.column, self.sensing.row] = self.y
        return M


def _shrink(Z: FloatArray, tau: float, symmetric: bool) -> FloatArray:
    """Proximal point of tau times the (trace) norm."""
    if symmetric:
        values, vectors = np.linalg.eigh(0.5 * (Z + Z.T))
        kept = np.maximum(values - tau, 0.0)
        return np.asarray((vectors * kept) @ vectors.T)
    u, values, vt = np.linalg.svd(Z, full_matrices=False)
    return np.asarray((u * np.maximum(values - tau, 0.0)) @ vt)


def _gap(M: FloatArray, G: FloatArray, symmetric: bool) -> float:
    """Relative duality gap of the feasible M and the dual matrix G, which lies in the row space.

    With ``symmetric`` M may lie outside the cone, where the gap may be negative: the share of its
    negative eigenvalues is returned if that is larger.
    """
    if symmetric:
        values = np.linalg.eigvalsh(0.5 * (M + M.T))
        gap = 1.0 - float(np.sum(G * M)) / (
            max(float(np.linalg.eigvalsh(0.5 * (G + G.T))[-1]), 1.0) * float(np.abs(values).sum())
        )
        return max(abs(gap), -float(values[0]) / max(float(values[-1]), 1e-300))
    norm = float(np.linalg.svd(M, compute_uv=False).sum())
    return 1.0 - float(np.sum(G * M)) / (max(float(np.linalg.norm(G, 2)), 1.0) * norm)


def _solve(affine: _Affine, symmetric: bool, tol: float, budget: int) -> FloatArray:
    Z = previous = affine.project(np.zeros(affine.sensing.dims))
    tau = 0.3 * float(np.linalg.norm(Z, 2))
    gap = np.inf
    for iteration in range(1, budget + 1):
        M = affine.project(Z)
        Y = _shrink(2.0 * M - Z, tau, symmetric)
        # At the solution a subgradient of the norm in the row space of the measurements.
        G = (M - Z) / tau
        if iteration % _LOOK == 0:
            gap = _gap(M, G, symmetric)
            if gap <= tol:
                return M
            # Primal and dual residual should shrink together.
            primal = float(np.linalg.norm(Y - M)) / float(np.linalg.norm(M))
            slope = max(float(np.linalg.norm(G)), 1e-300)
            dual = float(np.linalg.norm(M - previous)) / (tau * slope)
            small, large = min(primal, dual), max(primal, dual)
            uneven = small > 0.0 and large > _UNEVEN * small
            if uneven and iteration < _ADAPT:
                tau *= float(np.clip(np.sqrt(dual / primal), 0.5, 2.0))
                Z = M - tau * G
                previous = M
                continue
        Z = Z + _RELAX * (Y - M)
        previous = M
    warnings.warn(
        f"min_nuclear_norm: {budget} iterations reached a duality gap of {gap:.1e}, not at most "
        f"{tol}",
        ConvergenceWarning,
        stacklevel=3,
    )
    return M
