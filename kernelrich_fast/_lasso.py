"""The minimiser of |X beta - y|^2 + lambda |beta|_1, with its certificate, or none."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from ._types import FloatArray

__all__ = ["lasso", "zero_is_the_lasso"]

_EPS = float(np.finfo(np.float64).eps)
# A certificate is none if rounding leaves more than this of the bound of one.
_LOOSE = 1e-6
# Pulls this near to the bound may belong to features that replace others.
_TIED = 1e-9
# The part of a unit column that others do not span, from which on it is independent.
_DEPENDENT = 1e-10


def _slack(X: FloatArray, size: float) -> FloatArray:
    """What rounding may make of X^T nu, if |nu| is ``size``."""
    return np.asarray((len(X) + 16) * _EPS * np.linalg.norm(X, axis=0) * size)


def _pulls(X: FloatArray, nu: FloatArray, both: Any) -> FloatArray:
    """What is at most one at a minimiser; beta >= 0 where ``both`` is false."""
    pull = X.T @ nu
    return np.where(both, np.abs(pull), pull)


def zero_is_the_lasso(
    X: FloatArray, y: FloatArray, lam: float, both: Any, offset: float, near: float = 0.0
) -> bool:
    """Whether lambda is, to rounding or to ``near``, at least the one from which on beta is zero.

    ``offset`` is the squared norm of what has been split off y, whose rounding remains in it.
    """
    noise = _slack(X, float(np.sqrt(y @ y + offset)))
    bound = 0.5 * lam * (1.0 + 8.0 * _EPS + near)
    return bool(np.all(_pulls(X, y, both) <= bound + np.minimum(noise, 0.5 * lam * _LOOSE)))


@np.errstate(over="ignore", invalid="ignore")
def lasso(
    X: FloatArray, y: FloatArray, lam: float, both: Any, offset: float = 0.0
) -> tuple[FloatArray, FloatArray] | None:
    """The minimiser beta and nu = 2 (y - X beta) / lambda, |x_i^T nu| <= 1.

    Features enter one by one, the one that pulls most first, and leave where their beta would
    change its sign, as in the method of Lawson and Hanson. Each new set of features has a lower
    minimum. None where rounding hides which features stay, or if the minimiser is not unique:
    then the start of the flow decides.

    Examples
    --------
    >>> import numpy as np
    >>> lasso(np.array([[1.0, 2.0]]), np.array([2.0]), 0.4, np.array([True, True]))[0]
    array([0.  , 0.95])
    """
    d, nu = X.shape[1], 2.0 / lam * y
    beta, sign, on = np.zeros(d), np.zeros(d), np.zeros(d, dtype=bool)
    if zero_is_the_lasso(X, y, lam, both, offset):
        return beta, nu
    for _ in range(4 * min(X.shape) + 20):
        pull = np.where(on, -np.inf, _pulls(X, nu, both))
        slack = _slack(X, float(np.sqrt(nu @ nu + (2.0 / lam) ** 2 * offset)))
        if np.any(slack[on] > _LOOSE):
            return None
        if np.all(pull <= 1.0 + slack):
            tied = on | (pull > 1.0 - _TIED - slack)
            return (beta, nu) if _basis(X[:, tied]) is not None else None
        new = int(np.argmax(np.where(pull > 1.0 + slack, pull, -np.inf)))
        on[new], sign[new] = True, np.sign(X[:, new] @ nu)
        step = _step(X, y, lam, beta, sign, on)
        if step is None or not on[new]:
            return None
        nu = step
    return None


def _step(
    X: FloatArray, y: FloatArray, lam: float, beta: FloatArray, sign: FloatArray, on: Any
) -> FloatArray | None:
    """Move beta to the minimum over features whose signs stay, and give its dual."""
    while True:
        found = _fit(X[:, on], y, lam, sign[on])
        if found is None:
            return None
        aim, nu = found
        wrong = aim * sign[on] <= 0.0
        if not np.any(wrong):
            beta[on] = aim
            return nu
        before = beta[on]
        share = np.where(wrong, before / np.where(wrong & (before != aim), before - aim, 1.0), 1.0)
        first = int(np.argmin(share))
        beta[on] = before + share[first] * (aim - before)
        gone = np.flatnonzero(on)[first]
        beta[gone], on[gone] = 0.0, False


def _fit(
    A: FloatArray, y: FloatArray, lam: float, sign: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """Beta and nu with A^T nu = sign and A beta + lambda nu / 2 = y."""
    found = _basis(A)
    if found is None:
        return None
    Q, R, sizes = found
    v = scipy.linalg.solve_triangular(R, sign / sizes, trans="T")
    beta = scipy.linalg.solve_triangular(R, Q.T @ y - 0.5 * lam * v) / sizes
    across = 2.0 / lam * y
    for _ in range(2):  # what the first leaves is rounding of the whole, not of the part
        across = across - Q @ (Q.T @ across)
    return beta, Q @ v + across


def _basis(A: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """A = Q R diag(sizes) with columns of Q R of length one, unless some depend on others."""
    sizes = np.linalg.norm(A, axis=0)
    if A.shape[1] > A.shape[0] or not np.all(sizes > 0.0):
        return None
    Q, R = np.linalg.qr(A / sizes)
    if not np.all(np.linalg.svd(R, compute_uv=False) > _DEPENDENT):
        return None
    return Q, R, sizes
