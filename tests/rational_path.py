"""The path alpha -> 0 in exact rational numbers: an oracle for small problems.

Every fit is found by trying all supports, so that it shares no method with the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np

Vector = list[Fraction]


@dataclass
class RationalPath:
    """Times of jumps, predictions X beta after each, s at the last, and the weighted norm there."""

    jump_times: list[Fraction]
    predictions: list[Vector]
    dual: Vector
    norm: Fraction


def rational_path(X, y, bound=None, together=0) -> RationalPath:
    """X (n, d) and y (n,) of any numbers; ``bound`` (d,) of integers, ones by default.

    Features that are as near to their bounds as ``together``, relative to these, jump together.
    """
    columns = [[Fraction(x.item()) for x in column] for column in np.asarray(X).T]
    target = [Fraction(v.item()) for v in np.asarray(y)]
    bounds = [Fraction(1 if bound is None else int(bound[i])) for i in range(len(columns))]
    s, time, sides = [Fraction(0)] * len(target), Fraction(0), {}
    beta: dict[int, Fraction] = {}
    found = RationalPath([], [], s, Fraction(0))
    while True:
        residual = _residual(columns, target, beta)
        drift = [_dot(x, residual) for x in columns]
        for i in [i for i in sides if i not in beta and sides[i] * drift[i] < 0]:
            del sides[i]
        waits = {
            i: max(bounds[i] - (c / abs(c)) * _dot(columns[i], s), Fraction(0)) / abs(c)
            for i, c in enumerate(drift)
            if i not in sides and c != 0
        }
        if not waits:
            break
        wait = min(waits.values())
        s = [a + wait * b for a, b in zip(s, residual, strict=True)]
        time += wait
        left = {i: (own - wait) * abs(drift[i]) for i, own in waits.items()}
        near = [i for i in left if left[i] <= together * bounds[i]]
        sides |= {i: (1 if drift[i] > 0 else -1) for i in near}
        beta = _signed_fit(columns, target, sides)
        if found.jump_times and wait <= together * time:
            if not together:
                raise AssertionError("features at the same bound are taken at once")
            found.jump_times.pop()
            found.predictions.pop()
        found.jump_times.append(time)
        found.predictions.append(
            [t - r for t, r in zip(target, _residual(columns, target, beta), strict=True)]
        )
    found.dual = s
    found.norm = sum((bounds[i] * abs(value) for i, value in beta.items()), Fraction(0))
    return found


def fits_exactly(X, y) -> bool:
    """Whether some beta fits, by elimination."""
    rows = [
        [Fraction(v.item()) for v in row] for row in np.column_stack([np.asarray(X), np.asarray(y)])
    ]
    top = 0
    for column in range(len(rows[0]) - 1):
        pivot = next((r for r in range(top, len(rows)) if rows[r][column] != 0), None)
        if pivot is None:
            continue
        rows[top], rows[pivot] = rows[pivot], rows[top]
        for r in range(top + 1, len(rows)):
            factor = rows[r][column] / rows[top][column]
            rows[r] = [a - factor * b for a, b in zip(rows[r], rows[top], strict=True)]
        top += 1
    return all(row[-1] == 0 for row in rows[top:])


def _dot(a: Vector, b: Vector) -> Fraction:
    return sum((p * q for p, q in zip(a, b, strict=True)), Fraction(0))


def _residual(columns: list[Vector], target: Vector, beta: dict[int, Fraction]) -> Vector:
    left = list(target)
    for i, value in beta.items():
        left = [a - value * b for a, b in zip(left, columns[i], strict=True)]
    return left


def _signed_fit(columns: list[Vector], target: Vector, sides: dict[int, int]) -> dict:
    """A solution of the least squares in which side_i beta_i >= 0, by its optimality conditions."""
    for size in range(min(len(sides), len(target)) + 1):
        for support in combinations(sides, size):
            values = _solve(columns, target, support)
            if values is None or any(
                sides[i] * v <= 0 for i, v in zip(support, values, strict=True)
            ):
                continue
            beta = dict(zip(support, values, strict=True))
            residual = _residual(columns, target, beta)
            if all(sides[i] * _dot(columns[i], residual) <= 0 for i in sides):
                return beta
    raise AssertionError("some support is optimal")


def _solve(columns: list[Vector], target: Vector, support) -> Vector | None:
    """The normal equations by elimination; None where the columns depend on each other."""
    rows = [
        [_dot(columns[i], columns[j]) for j in support] + [_dot(columns[i], target)]
        for i in support
    ]
    for k in range(len(rows)):
        pivot = next((r for r in range(k, len(rows)) if rows[r][k] != 0), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [v / rows[k][k] for v in rows[k]]
        for r in range(len(rows)):
            if r != k and rows[r][k] != 0:
                rows[r] = [a - rows[r][k] * b for a, b in zip(rows[r], rows[k], strict=True)]
    return [row[-1] for row in rows]
