"""The limit of margin losses as alpha grows and the loss falls: argmin Q_mu, all margins >= 1."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
import scipy.optimize

from . import _validate as check
from ._blas import one_blas_thread
from ._results import Result
from ._types import ArrayLike, FloatArray, IntArray
from .equations.margins import MarginMap, signed_rows
from .status import Status, warn_unless_converged
from .theory.margins import max_margin

__all__ = ["MarginLimit", "margin_limit"]

# Bound on |margin - 1| of a sample that counts, and the largest that rounding may make of it.
_TOL, _MOST = 1e-11, 1e-6
# Newton iterations for one mu.
_ITERATIONS = 200
# By how much log(mu) falls from one solution to the next: at first, and at least.
_STAGE, _LEAST_STAGE = 1.0, 0.01
# Added to the diagonal of the Hessian, relative to its mean: repeated samples make H singular.
_RIDGE = 1e-13
# Newton iterations on the free variables alone; later ones also try `_bounded_step`.
_SIMPLE = 15
# Halvings of a step before the search gives up.
_SEARCH = 40
# Rounding error of (Z^T theta)_i, relative to sum_n |Z_ni| theta_n.
_ROUNDED = 2.0 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False, repr=False)
class MarginLimit(Result):
    """Result of `margin_limit`; B is the batch shape.

    Attributes
    ----------
    beta : ndarray, B + (n_features,)
        The minimiser.
    dual : ndarray, B + (n_samples,)
        theta >= 0, positive only for support vectors.
    margins : ndarray, B + (n_samples,)
        y_n <beta, x_n>, at least 1.
    loss : ndarray, B
        By how much the least margin falls short of 1; there is no loss here.
    status : ndarray of int, B
        A `Status` per run.
    n_iterations : ndarray of int, B
        Newton iterations.
    backend : str
        The backend that ran.
    """

    _dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "beta": ("feature",), "dual": ("sample",), "margins": ("sample",),
    }  # fmt: skip

    beta: FloatArray
    dual: FloatArray
    margins: FloatArray
    status: IntArray
    n_iterations: IntArray
    backend: str

    @property
    def _timed(self) -> bool:
        return False

    @property
    def loss(self) -> FloatArray:
        """By how much the least margin falls short of 1."""
        return np.asarray(np.maximum(0.0, 1.0 - self.margins.min(axis=-1)))

    def _described(self) -> list[tuple[str, str]]:
        return [line for line in super()._described() if line[0] != "loss"]


def margin_limit(
    X: ArrayLike,
    y: ArrayLike,
    *,
    mu: ArrayLike,
    depth: ArrayLike = 2,
    w0: ArrayLike | None = None,
) -> MarginLimit:
    """Minimise Q_mu with all margins at least 1: the joint limit of a large scale and a low loss.

    With the exponential or the logistic loss, alpha -> infinity and L -> 0 such that
    alpha^D / log(1 / L) -> mu, the flow of a diagonal network divided by log(1 / L) tends to this
    minimiser. It goes from the l2 maximum margin at large mu to the l1 maximum margin as mu -> 0.

    Parameters
    ----------
    X : array_like, (..., n_samples, n_features)
        Inputs.
    y : array_like, (..., n_samples)
        Labels, -1 or +1.
    mu : array_like, (...)
        Scales, positive; leading axes of all arguments broadcast to the batch shape B.
    depth : array_like, (...)
        Number of layers D >= 2, a real number.
    w0 : array_like, (..., n_features) or scalar, optional
        Positive profile of the initial weights; ones by default.

    Returns
    -------
    MarginLimit
        Arrays with leading shape B.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid (the message names it), or no beta separates the classes.

    Warns
    -----
    ConvergenceWarning
        Once, if runs ended as FAILED.

    Notes
    -----
    Minimises sum_i w0_i^2 mu q_D(beta_i / (mu w0_i^D)) by projected Newton on its dual, of as many
    variables as there are samples, from large mu to small. Margins of support vectors are 1 to
    1e-11, or to what the rounding of the dual makes of them: 1e-8 at depth 4 and mu = 1e-14. Where
    rounding keeps them from 1 by more than 1e-6, the run ends as FAILED. Cost: about five Gram
    products and Cholesky factorisations for every factor e in mu.

    References
    ----------
    Moroshko, Woodworth, Gunasekar, Lee, Srebro and Soudry, Implicit Bias in Deep Linear
    Classification: Initialization Scale vs Training Accuracy, NeurIPS 2020.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> X, y = [[2.0, 1.0], [1.0, 2.0]], [1, 1]
    >>> krf.margin_limit(X, y, mu=[1e3, 1e-12]).beta.round(6)
    array([[0.333333, 0.333333],
           [0.333333, 0.333333]])
    """
    X, y = check.labelled_pair(X, y)
    d = X.shape[-1]
    scales, depths = check.positive_array("mu", mu), check.depth_array("depth", depth)
    profile = check.profile("w0", 1.0 if w0 is None else w0, d)
    leads = {
        "X": X.shape[:-2], "y": y.shape[:-1], "mu": scales.shape, "depth": depths.shape,
        "w0": profile.shape[:-1],
    }  # fmt: skip
    shape = check.broadcast(**leads)
    runs = [
        np.broadcast_to(array, shape + array.shape[array.ndim - own :]).reshape(
            -1, *array.shape[array.ndim - own :]
        )
        for array, own in ((X, 2), (y, 1), (scales, 0), (depths, 0), (profile, 1))
    ]
    found: list[Any] = [None] * len(runs[2])
    with one_blas_thread():
        for group in _groups(runs):
            Z = signed_rows(runs[0][group[0]], runs[1][group[0]])
            path = _Path(Z, runs[4][group[0]], float(runs[3][group[0]]))
            for b in group:
                found[b] = path.solution(float(runs[2][b]))
    beta, dual, margins, status, counts = (np.stack(part) for part in zip(*found, strict=True))
    status = status.reshape(shape)
    warn_unless_converged(status, "margin_limit")
    n = X.shape[-2]
    return MarginLimit(
        beta=beta.reshape(*shape, d), dual=dual.reshape(*shape, n),
        margins=margins.reshape(*shape, n), status=status, n_iterations=counts.reshape(shape),
        backend="numpy",
    )  # fmt: skip


def _groups(runs: list[FloatArray]) -> list[list[int]]:
    """Runs that differ in mu alone, by falling mu."""
    groups: dict[bytes, list[int]] = {}
    for b in range(len(runs[2])):
        key = b"".join(np.ascontiguousarray(runs[k][b]).tobytes() for k in (0, 1, 3, 4))
        groups.setdefault(key, []).append(b)
    return [sorted(group, key=lambda b: -float(runs[2][b])) for group in groups.values()]


class _Path:
    """The minimiser along falling mu.

    Its stages do not depend on the values of mu that are asked for, so that the solution at each
    has the bits that it has alone.
    """

    def __init__(self, Z: FloatArray, w0: FloatArray, depth: float) -> None:
        self.Z, self.w0, self.depth = Z, w0, depth
        size = float(np.max(np.abs(max_margin(Z, np.ones(len(Z))) / w0**depth)))
        self.first = 100.0 * size  # of the kernel regime
        self.begun = self.stuck = self.good = False
        self._begin(self.first)

    def _begin(self, mu: float) -> None:
        self.map = MarginMap(mu, self.w0, self.depth)
        self.theta = np.zeros(len(self.Z))
        self.count = 0

    def solution(self, mu: float) -> tuple[Any, ...]:
        """Beta, dual, margins, status, iterations at mu, which is not above any mu before."""
        if mu > self.first:
            alone = copy(self)
            alone._begin(mu)
            return alone._down_to(mu, alone._solve())
        if not self.begun:
            self.begun, self.stuck = True, not self._solve()
            self.good = not self.stuck
        while not self.stuck and (there := float(self.map.mu * np.exp(-_STAGE))) > mu:
            count = self.count
            if not self._move(there):  # shorter stages are for each mu to take
                self.stuck, self.count = True, count
        return copy(self)._down_to(mu, self.good)

    def _down_to(self, mu: float, good: bool) -> tuple[Any, ...]:
        stage = _STAGE
        while good and self.map.mu > mu:
            if not self._move(max(mu, self.map.mu * np.exp(-stage))):
                stage *= 0.5
                good = stage > _LEAST_STAGE
        beta = self.map.at(self.Z.T @ self.theta).beta
        status = Status.CONVERGED if good else Status.FAILED
        return beta, self.theta, self.Z @ beta, int(status), self.count

    def _move(self, mu: float) -> bool:
        """To the minimiser at a smaller mu, unless Newton fails there."""
        before = self.map, self.theta
        self.theta = self.theta * self.map.rescaled(self.Z.T @ self.theta, mu)
        self.map = MarginMap(mu, self.w0, self.depth)
        if not self._solve():
            self.map, self.theta = before
            return False
        return True

    def _solve(self) -> bool:
        """Newton with theta >= 0, from where theta is."""
        Z = self.Z
        if not self.map.holds(Z.T @ self.theta):
            return False
        at = self.map.at(Z.T @ self.theta)
        for iteration in range(_ITERATIONS):
            gap = Z @ at.beta - 1.0
            free = (self.theta > 0.0) | (gap < 0.0)
            tol = min(max(_TOL, self._rounding(at)), _MOST)
            if np.max(np.abs(gap[free]), initial=0.0) <= tol and np.min(gap) >= -tol:
                return True
            self.count += 1
            H = (Z * at.slope) @ Z.T
            if not np.isfinite(H).all():
                return False
            H[np.diag_indices_from(H)] += _RIDGE * float(np.mean(np.diag(H)))
            moved = None
            if iteration < _SIMPLE:
                step = np.zeros_like(self.theta)
                step[free] = -np.linalg.solve(H[np.ix_(free, free)], gap[free])
                moved = self._search(at, gap, step)
            if moved is None:
                moved = self._search(at, gap, self._bounded_step(H, gap))
            if moved is None:
                return False
            at = moved
        return False

    def _bounded_step(self, H: FloatArray, gap: FloatArray) -> FloatArray:
        """Newton's step to the minimiser of the quadratic model over theta >= 0; costs an NNLS.

        With repeated samples H is singular, and only the bounds say which of them counts.
        """
        root = scipy.linalg.cholesky(H)
        target = scipy.linalg.solve_triangular(root, H @ self.theta - gap, trans="T")
        most = 30 * len(gap)
        return np.asarray(scipy.optimize.nnls(root, target, maxiter=most)[0] - self.theta)

    def _rounding(self, at: Any) -> float:
        """Error of a margin that the rounding of theta causes: large where z is near its bound."""
        z = np.abs(self.Z).T @ self.theta
        return _ROUNDED * float(np.max(np.abs(self.Z) @ (at.slope * z)))

    def _search(self, at: Any, gap: FloatArray, step: FloatArray) -> Any:
        """The point on the projected step that lowers the dual; None if no step length does."""
        value = float(np.sum(at.integral)) - float(np.sum(self.theta))
        length = 1.0
        for _ in range(_SEARCH):
            trial = np.maximum(self.theta + length * step, 0.0)
            z = self.Z.T @ trial
            if self.map.holds(z):
                there = self.map.at(z)
                new = float(np.sum(there.integral)) - float(np.sum(trial))
                least = value + 1e-4 * float(gap @ (trial - self.theta))
                if new <= least + 1e-13 * (abs(value) + float(np.sum(trial))):
                    self.theta = trial
                    return there
            length *= 0.5
        return None
