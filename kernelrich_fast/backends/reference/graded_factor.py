"""Least squares whose rows may have any units: a factorisation with bounds on its rounding errors.

A = Q R is kept with all n columns of Q while columns are appended by Householder reflections and
dropped, which factors the others anew. The reflections meet the largest entry first, so that the
entries of Q that link a large row to a small one are as accurate, relative to themselves, as the
others (Powell and Reid 1969; Cox and Higham, BIT 38, 1998). A projection y - Q Q^T y would carry
errors of the largest row into all others.

With every number goes a size: its rounding error is a small multiple of its size times the machine
precision. What lies below that is set to zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..._types import FloatArray
from ...equations.linear_systems import balance

__all__ = ["Fit", "GradedFactor", "Sized"]

ROUNDING = 64.0 * np.finfo(np.float64).eps  # of a size


class Sized(NamedTuple):
    """Numbers and their sizes."""

    value: FloatArray
    size: FloatArray

    def rounded(self) -> Sized:
        """What is rounding becomes zero, and exact."""
        kept = np.abs(self.value) > ROUNDING * self.size
        return Sized(np.where(kept, self.value, 0.0), np.where(kept, self.size, 0.0))


class Fit(NamedTuple):
    """Coefficients and the residual of a fit."""

    z: Sized
    residual: Sized


class GradedFactor:
    """Q and R of chosen columns A, with their sizes."""

    def __init__(self, rows: FloatArray, most: int) -> None:
        n, self.rows = len(rows), rows
        self.most = most
        self.R = Sized(np.zeros((most, most)), np.zeros((most, most)))
        self.A = np.zeros((n, most))
        self._clear()

    def append(self, x: FloatArray) -> bool:
        """Returns False where x is a combination of the columns there are, or these are enough."""
        k = self.k
        if k == self.most:
            return False
        of_x, _, left = self._eliminate(x)
        rest = Sized(left.value[k:], left.size[k:]).rounded()
        if not np.any(rest.value):
            return False
        self._take(x, of_x, rest)
        return True

    def drop(self, p: int) -> None:
        """Column p goes; the others are factored anew."""
        columns = np.delete(self.A[:, : self.k], p, axis=1).T
        self._clear()
        for x in columns:  # they were found independent
            of_x, _, left = self._eliminate(x)
            self._take(x, of_x, Sized(left.value[self.k :], left.size[self.k :]))

    def fit(self, y: FloatArray) -> Fit:
        """Z minimises |A z - y|."""
        k = self.k
        _, z, left = self._eliminate(y)
        rest = Sized(left.value[k:], left.size[k:]).rounded().value
        change = self._solve(Sized(left.value[:k], left.size[:k]))
        size = np.sqrt(self.Q.size[:, k:] ** 2 @ rest**2)
        total = Sized(z.value + change.value, np.maximum(z.size, change.size))
        return Fit(total, Sized(self.Q.value[:, k:] @ rest, size))

    def _clear(self) -> None:
        n, self.k = len(self.rows), 0
        self.Q = Sized(np.eye(n), np.eye(n))

    def _take(self, x: FloatArray, of_x: Sized, rest: Sized) -> None:
        k, length = self.k, self._reflect(rest)
        for own, entry, column in zip(self.R, of_x, length, strict=True):
            own[:k, k], own[k, k] = entry[:k], column
        self.A[:, k] = x
        self.k += 1

    def _eliminate(self, v: FloatArray) -> tuple[Sized, Sized, Sized]:
        """Q^T v, the z of a fit to v, and Q^T (v - A z) with rows that fit set to zero.

        The second product is that of small numbers alone: what large rows, which fit, leave of
        their rounding does not enter it.
        """
        first, k = self._turn(Sized(v, np.abs(v))), self.k
        z = self._solve(Sized(first.value[:k], first.size[:k])).rounded()
        value = v - self.A[:, :k] @ z.value
        terms = np.abs(self.A[:, :k] * z.value)
        size = np.maximum(np.abs(v), np.max(terms, axis=1, initial=0.0))
        # A fit to large rows has errors of their condition number in small ones.
        if np.all(np.abs(value) <= 4.0 * ROUNDING * size):
            value[:] = 0.0
        return first, z, self._turn(Sized(value, size).rounded())

    def _turn(self, v: Sized) -> Sized:
        """Q^T v."""
        Q, m = self.Q
        return Sized(Q.T @ v.value, np.sqrt((Q**2).T @ v.size**2 + (m**2).T @ v.value**2))

    def _solve(self, b: Sized) -> Sized:
        """R^-1 b."""
        z, size = np.zeros(self.k), np.zeros(self.k)
        R, m = self.R
        for i in range(self.k - 1, -1, -1):
            after = slice(i + 1, self.k)
            z[i] = (b.value[i] - R[i, after] @ z[after]) / R[i, i]
            terms = np.concatenate(
                [[b.size[i], m[i, i] * z[i]], R[i, after] * size[after], m[i, after] * z[after]]
            )
            size[i] = np.max(np.abs(terms)) / abs(R[i, i])
        return Sized(z, size)

    def _reflect(self, h: Sized) -> Sized:
        """Turns columns k on of Q, so that k is along their sum with weights h; its length."""
        k = self.k
        pivot = k + int(np.argmax(np.abs(h.value)))
        for own in self.Q:
            own[:, [k, pivot]] = own[:, [pivot, k]]
        v, m = h.value.copy(), h.size.copy()
        for own in (v, m):
            own[[0, pivot - k]] = own[[pivot - k, 0]]
        length = float(np.sqrt(v @ v))
        v, m = v / length, m / length
        spread = float(np.sqrt(v**2 @ m**2))
        m = np.maximum(m, np.abs(v) * max(spread, 1.0))
        sign, factor = np.copysign(1.0, v[0]), 1.0 / (1.0 + abs(v[0]))
        v[0] += sign
        m[0] = max(m[0], 1.0)
        Q, Q_size = self.Q.value[:, k:], self.Q.size[:, k:]
        w = factor * (Q @ v)
        w_size = factor * np.sqrt(Q_size**2 @ v**2 + Q**2 @ m**2)
        own = np.maximum(np.outer(w_size, np.abs(v)), np.outer(np.abs(w), m))
        np.maximum(Q_size, own, out=Q_size)
        Q -= np.outer(w, v)
        self._limit(slice(k, None))
        return Sized(np.asarray(-sign * length), np.asarray(length * max(spread, 1.0)))

    def _limit(self, columns: slice) -> None:
        """Sizes grow as if errors never cancelled; they stay below those of a graded matrix."""
        Q, m = self.Q.value[:, columns], self.Q.size[:, columns]
        level = np.max(self.rows[:, None] * np.abs(Q), axis=0)
        share = self.rows[:, None] / level
        np.minimum(m, np.maximum(np.abs(Q), np.minimum(share, 1.0 / share)), out=m)


def row_units(X: FloatArray) -> FloatArray:
    """The largest entries of rows, features in units that are balanced against those of rows."""
    r, s = balance(X)
    del r
    most = np.max(np.abs(X) * s, axis=1)
    return np.where(most > 0.0, most, 1.0)
