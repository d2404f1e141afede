"""Linear equations A x = y whose rows and columns may have any units.

Errors are told apart from units: a row is judged beside the sum of the moduli of its own terms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from .._types import FloatArray, IntArray

__all__ = [
    "CONSISTENT",
    "INDEPENDENT",
    "balance",
    "independent_rows",
    "minimum_norm",
    "row_misfit",
    "row_norms",
]

CONSISTENT = 1e-8  # misfit of equations that are said to have a solution
INDEPENDENT = 1e-12  # of the largest pivot, rows of norm one
_SWEEPS = 10
_FAR = 1e5  # beyond every exponent of two


def row_norms(A: FloatArray) -> FloatArray:
    """Euclidean norms of the rows (..., n), by their largest entries first; 1 for rows of zeros."""
    top = np.max(np.abs(A), axis=-1, keepdims=True, initial=0.0)
    top = np.where(top > 0.0, top, 1.0)
    norms = top[..., 0] * np.linalg.norm(A / top, axis=-1)
    return np.asarray(np.where(norms > 0.0, norms, 1.0))


def row_misfit(A: FloatArray, x: FloatArray, y: FloatArray) -> float:
    """The largest |A x - y| of a row, relative to sum_j |A_ij x_j| + |y_i|."""
    terms = np.abs(A) @ np.abs(x) + np.abs(y)
    return float(np.max(np.abs(A @ x - y) / np.where(terms > 0.0, terms, 1.0), initial=0.0))


def independent_rows(A: FloatArray, y: FloatArray, what: str) -> IntArray:
    """The rows of A (n, d) of which the others are combinations; ValueError if y is no such one."""
    norms = row_norms(A)
    rows, targets = A / norms[:, None], y / norms
    R, order = scipy.linalg.qr(rows.T, mode="r", pivoting=True)
    pivots = np.abs(np.diag(R))
    rank = int(np.sum(pivots > INDEPENDENT * pivots[0]))
    chosen, others = np.sort(order[:rank]), order[rank:]
    if len(others):
        share = np.zeros((0, len(others)))
        if rank:
            share = scipy.linalg.lstsq(rows[chosen].T, rows[others].T)[0]
        if row_misfit(share.T, targets[chosen], targets[others]) > CONSISTENT:
            raise ValueError(f"y: expected targets that some {what} fits")
    return np.asarray(chosen, dtype=np.int64)


def balance(A: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Powers of two r, s for which the entries of r_i A_ij s_j other than 0 lie around 1.

    In every row and column the geometric mean of the smallest and the largest becomes 1.
    """
    size = np.abs(A)
    some = size > 0.0
    # A mask, and a first value, make each minimum several times slower.
    least: dict[str, Any] = {} if np.all(some) else {"where": some, "initial": _FAR}
    most = {**least, "initial": -_FAR} if least else {}
    logs = np.log2(np.where(some, size, 1.0))
    r, s, now = np.zeros(A.shape[0]), np.zeros(A.shape[1]), np.empty_like(logs)
    for _ in range(_SWEEPS):
        for own, axis in ((r, 1), (s, 0)):
            np.add(logs, r[:, None], out=now)
            now += s
            low, high = now.min(axis, **least), now.max(axis, **most)
            own -= 0.5 * (low + high)  # 0 where there is nothing but zeros
    return np.exp2(np.rint(r)), np.exp2(np.rint(s))


def minimum_norm(A: FloatArray, y: FloatArray) -> FloatArray:
    """The x (..., d, k) of least norm with A x = y, A (..., n, d); of least squares if none fits.

    By singular values of A with rows of norm one, so that the units of rows do not matter. The
    error is a few units in the last place times that matrix's condition number, which is not
    squared.
    """
    norms = row_norms(A)[..., None]
    x = _pseudo_inverse(A / norms, y / norms)
    terms = np.abs(A / norms) @ np.abs(x) + np.abs(y / norms)
    fits = np.all(np.abs((A / norms) @ x - y / norms) <= CONSISTENT * terms, axis=(-2, -1))
    if np.all(fits):
        return x
    # Where no x fits, weights of rows would change which one is nearest.
    top = np.max(norms, axis=-2, keepdims=True)
    return np.where(fits[..., None, None], x, _pseudo_inverse(A / top, y / top))


def _pseudo_inverse(A: FloatArray, y: FloatArray) -> FloatArray:
    u, values, vt = np.linalg.svd(A, full_matrices=False)
    kept = values > max(A.shape[-2:]) * np.finfo(np.float64).eps * values[..., :1]
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=kept)[..., None]
    return np.asarray(vt.mT @ (inverse * (u.mT @ y)))
