"""Linear equations A x = y whose rows and columns may have any units.

Errors are told apart from units: a row is judged beside the sum of the moduli of its own terms.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from .._types import FloatArray, IntArray

__all__ = [
    "CONSISTENT",
    "INDEPENDENT",
    "balance",
    "has_uneven_rows",
    "independent_rows",
    "minimum_norm",
    "row_misfit",
    "row_norms",
]

CONSISTENT = 1e-8  # misfit of equations that are said to have a solution
INDEPENDENT = 1e-12  # of the largest pivot, rows of norm one
_PASSES = 10
_FAR = 1e5  # beyond every exponent of two
_DROP = 0.1  # of pivots below their rows, after which these are sorted anew
_UNEVEN_ROWS, _UNEVEN_TARGETS = 1e4, 1e8
_LARGE = 900  # an exponent of two with room to the ends of the doubles


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


def has_uneven_rows(X: FloatArray, y: FloatArray) -> bool:
    """Whether rows of X (..., n, d), features in any units, or targets differ by orders.

    The squares of small rows then begin to vanish in the rounding of large ones.
    """
    top = np.max(np.abs(X), axis=(-2, -1), keepdims=True)
    squares = (X / np.where(top > 0.0, top, 1.0)) ** 2
    features = squares.sum(axis=-2)
    scaled = squares @ (1.0 / np.where(features > 0.0, features, 1.0))[..., None]
    return bool(
        np.any(_spread(squares.sum(axis=-1)) > _UNEVEN_ROWS**2)
        or np.any(_spread(scaled[..., 0]) > _UNEVEN_ROWS**2)
        or np.any(_spread(np.abs(y)) > _UNEVEN_TARGETS)
    )


def _spread(v: FloatArray) -> FloatArray:
    """The largest over the smallest of numbers (..., n) that are not zero."""
    least = np.min(v, axis=-1, where=v > 0.0, initial=np.inf)
    return np.asarray(np.max(v, axis=-1) / least)


def independent_rows(A: FloatArray, y: FloatArray, what: str) -> IntArray:
    """The rows of A (n, d) of which the others are combinations; ValueError if y is no such one."""
    norms = row_norms(A)
    rows, targets = A / norms[:, None], y / norms
    R, order = scipy.linalg.qr(rows.T, mode="r", pivoting=True)
    pivots = np.abs(np.diag(R))
    rank = int(np.sum(pivots > INDEPENDENT * pivots[0]))
    first, others = order[:rank], order[rank:]
    if rank:
        seen = scipy.linalg.solve_triangular(R[:rank, :rank], targets[first], trans="T")
        R = R[:rank, rank:]
        terms = np.abs(targets[others]) + np.abs(R.T) @ np.abs(seen)
        # A share that is nothing but rounding has a target of any size beside it.
        allowed = CONSISTENT * terms + _rounding(A) * float(np.sum(np.abs(seen)))
        contradicts = np.abs(targets[others] - R.T @ seen) > allowed
    else:
        contradicts = targets != 0.0
    if np.any(contradicts):
        raise ValueError(f"y: expected targets that some {what} fits")
    return np.asarray(np.sort(first), dtype=np.int64)


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
    for _ in range(_PASSES):
        for own, axis in ((r, 1), (s, 0)):
            np.add(logs, r[:, None], out=now)
            now += s
            low, high = now.min(axis, **least), now.max(axis, **most)
            own -= 0.5 * (low + high)  # 0 where there is nothing but zeros
    return np.exp2(np.rint(r)), np.exp2(np.rint(s))


def minimum_norm(A: FloatArray, y: FloatArray, root: FloatArray | None = None) -> FloatArray:
    """The x (..., d, k) of least |x / root| with A x = y, A (..., n, d); least squares if none.

    ``root`` (..., d) is positive, 1 by default. The error is a few units in the last place times
    the condition number of A diag(root) with rows of norm one, or less: neither the units of rows
    nor a root of small entries costs digits, and the condition number is not squared.
    """
    roots = np.ones(A.shape[-1]) if root is None else root
    lead = np.broadcast_shapes(A.shape[:-2], y.shape[:-2], roots.shape[:-1])
    A, y, roots = (
        np.broadcast_to(each, lead + each.shape[each.ndim - own :])
        for each, own in ((A, 2), (y, 2), (roots, 1))
    )
    x = np.empty((*lead, A.shape[-1], y.shape[-1]))
    for i in np.ndindex(lead):
        x[i] = _least(A[i], y[i], roots[i])
    return x


def _least(A: FloatArray, y: FloatArray, root: FloatArray) -> FloatArray:
    x, fits = _in_units(A, y, root, _row_units(A))
    if fits:
        return x
    # Where no x fits, weights of rows would change which one is nearest. What is nearest to y
    # depends neither on the units of columns nor on the root.
    u, values, _ = np.linalg.svd(A / row_norms(A.T), full_matrices=False)
    u = u[:, values > max(A.shape) * np.finfo(np.float64).eps * values[0]]
    return _in_units(A, u @ (u.T @ y), root, np.zeros(len(A), dtype=np.int64))[0]


def _in_units(
    A: FloatArray, y: FloatArray, root: FloatArray, unit: IntArray
) -> tuple[FloatArray, bool]:
    """The x of least |x / root| with rows in units 2^unit, whose numbers need not be doubles."""
    part, power = np.frexp(root)
    B, exponent = np.frexp(A)
    exponent = exponent + unit[:, None] + power
    most = int(np.max(exponent, where=B != 0.0, initial=-_LARGE))
    B = np.ldexp(B * part, exponent - most)
    targets, exponent = np.frexp(y)
    exponent = exponent + unit[:, None]
    top = int(np.max(exponent, where=targets != 0.0, initial=-_LARGE))
    shift = top - min(max(top, -_LARGE), _LARGE)
    z, fits = _by_pivots(B.T, np.ldexp(targets, exponent - shift))
    return np.ldexp(part[:, None] * z, power[:, None] + (shift - most)), fits


def _row_units(A: FloatArray) -> IntArray:
    """Exponents of two for the rows by which, with others for columns, entries are around 1.

    In the mean of their logarithms, which a few that are nothing but rounding hardly move (Curtis
    and Reid, J. Inst. Math. Appl. 10, 1972).
    """
    size = np.abs(A)
    some = size > 0.0
    logs = np.log2(np.where(some, size, 1.0))
    counts = [np.maximum(np.sum(some, axis=axis), 1) for axis in (1, 0)]
    means = [np.sum(logs, axis=axis) / count for axis, count in zip((1, 0), counts, strict=True)]
    share, column = some.astype(np.float64), np.zeros(A.shape[1])
    for _ in range(_PASSES):
        row = means[0] + share @ column / counts[0]
        column = row @ share / counts[1] - means[1]
    return np.asarray(-np.rint(row), dtype=np.int64)


class _Equations(NamedTuple):
    """B^T z = y for a B (d, n), and what its numbers are judged by."""

    B: FloatArray
    y: FloatArray
    noise: FloatArray  # of the rows of B
    terms: FloatArray  # of every y
    y_noise: FloatArray


def _by_pivots(B: FloatArray, y: FloatArray) -> tuple[FloatArray, bool]:
    """The z of least norm with B^T z = y, and whether it fits.

    Householder's QR with the rows of B sorted by size and the columns pivoted, whose backward
    error is small row by row (Cox and Higham, BIT 38, 1998). Entries of which only rounding is left
    become zero: beside rows that are much smaller, it would count.
    """
    noise = _rounding(B) * np.max(np.abs(B), axis=1, initial=0.0)
    return _solved(_Equations(B, y, noise, np.abs(y), np.zeros_like(y)))


def _solved(given: _Equations) -> tuple[FloatArray, bool]:
    size = np.max(np.abs(given.B), axis=1)
    order = np.argsort(-size, kind="stable")
    B, size, noise = given.B[order], size[order], given.noise[order]
    (factor, tau), R, pivot = scipy.linalg.qr(B, mode="raw", pivoting=True)
    pivots = np.abs(np.diag(R))
    small = pivots <= np.maximum(_DROP * size, np.maximum.accumulate(noise[::-1])[::-1])[: len(tau)]
    rank = int(np.argmax(small)) if np.any(small) else len(tau)
    factor, tau, first, others = factor[:, :rank], tau[:rank], pivot[:rank], pivot[rank:]
    z, fits = np.zeros((len(B), given.y.shape[1])), True
    if rank:
        z[:rank] = scipy.linalg.solve_triangular(R[:rank, :rank], given.y[first], trans="T")
    if len(others):
        R, seen = R[:rank, rank:].T, np.abs(z[:rank])
        share = np.max(noise[:rank] / pivots[:rank], initial=0.0)
        left = _Equations(
            _reflected(factor, tau, B[:, others], "T")[rank:],
            given.y[others] - R @ z[:rank],
            np.maximum(noise[rank:], share * size[rank:]),
            given.terms[others] + np.abs(R) @ seen,
            given.y_noise[others] + noise[:rank] @ seen,
        )
        left.B[np.abs(left.B) <= left.noise[:, None]] = 0.0
        left.noise[~np.any(left.B, axis=1)] = 0.0
        if np.any(left.B):
            z[rank:], fits = _solved(left)
        else:
            fits = bool(np.all(np.abs(left.y) <= CONSISTENT * left.terms + left.y_noise))
    x = np.empty_like(z)
    x[order] = _reflected(factor, tau, z, "N")
    return x, fits


def _reflected(factor: Any, tau: Any, C: FloatArray, trans: str) -> FloatArray:
    """Q C or Q^T C."""
    if not len(tau):
        return C.copy()
    lwork = 64 * max(C.shape[1], 1) + 64 * 65
    return np.asarray(scipy.linalg.lapack.dormqr("L", trans, factor, tau, C, lwork)[0])


def _rounding(A: FloatArray) -> float:
    return float(8 * max(A.shape) * np.finfo(np.float64).eps)
