"""Interpolants and margins against rational numbers: dependent samples, units of any size.

The oracle reduces [X y] by exact elimination, so that what fits is known and not judged.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from kernelrich_fast import theory


def reduced(rows):
    """The reduced echelon form of rows of fractions, and the columns of its pivots."""
    rows, pivots = [[Fraction(v) for v in row] for row in rows], []
    for j in range(len(rows[0])):
        at = len(pivots)
        found = next((i for i in range(at, len(rows)) if rows[i][j]), None)
        if found is None:
            continue
        rows[at], rows[found] = rows[found], rows[at]
        rows[at] = [v / rows[at][j] for v in rows[at]]
        for i, row in enumerate(rows):
            if i != at and row[j]:
                rows[i] = [a - row[j] * b for a, b in zip(row, rows[at], strict=True)]
        pivots.append(j)
    return rows[: len(pivots)], pivots


def fits(X, y):
    return X.shape[1] not in reduced(np.column_stack([X, y]).tolist())[1]


def exact_min_l2(X, y=None, weights=None):
    """Interpolant of least weighted l2 norm, in fractions; y, 1 by default, has to fit."""
    n, d = X.shape
    c = [Fraction(w) for w in (np.ones(d) if weights is None else weights).tolist()]
    given = np.column_stack([X, np.ones(n) if y is None else y]).tolist()
    rows = [row for row in reduced(given)[0] if any(row[:d])]
    gram = [
        [sum(a * b / w for a, b, w in zip(one[:d], two[:d], c, strict=True)) for two in rows]
        + [one[d]]
        for one in rows
    ]
    nu = [row[-1] for row in reduced(gram)[0]] if rows else []
    return [
        sum((row[j] * v for row, v in zip(rows, nu, strict=True)), Fraction(0)) / c[j]
        for j in range(d)
    ]


def integer_problem(rng, n_max, d_max):
    """X and y of small integers, y = X beta with zeros in beta, and units of rows."""
    n, d = rng.integers(1, n_max + 1), rng.integers(1, d_max + 1)
    most = rng.choice([1, 2, 5])
    X = rng.integers(-most, most + 1, (n, d)).astype(float)
    one_hot = np.eye(d)[rng.integers(d)] * rng.integers(1, 4)
    y = X @ (one_hot if rng.random() < 0.5 else rng.integers(-2, 3, d))
    return X, y, np.ldexp(1.0, rng.integers(-40, 41, n) * int(rng.integers(2)))


def test_min_l1_fits_what_has_a_fit_and_refuses_the_rest():
    outcomes = set()
    for seed in range(600):
        rng = np.random.default_rng(seed)
        X, y, row = integer_problem(rng, 6, 4)
        if rng.random() < 0.3:
            y[rng.integers(len(y))] += 1.0
        outcomes.add(fits(X, y))
        if fits(X, y):
            beta = theory.min_l1(X * row[:, None], y * row)
            assert np.allclose(X @ beta, y, rtol=0.0, atol=1e-12 * np.abs(beta).max(initial=1.0))
            if len(reduced(X.tolist())[1]) == X.shape[1]:
                assert np.allclose(beta, np.array(exact_min_l2(X, y), dtype=float), atol=1e-12)
        else:
            with pytest.raises(ValueError, match="y: expected targets that some beta fits"):
                theory.min_l1(X * row[:, None], y * row)
    assert outcomes == {True, False}


@pytest.mark.parametrize("decades", [0, 10, 50, 300])
def test_min_l2_fits_with_weights_of_any_size(decades):
    errors = []
    for seed in range(400):
        rng = np.random.default_rng([decades, seed])
        X, y, row = integer_problem(rng, 5, 5)
        weights = np.ldexp(1.0, rng.integers(-decades, decades + 1, X.shape[1]))
        beta = theory.min_l2(X * row[:, None], y * row, weights)
        expected = np.array(exact_min_l2(X, y, weights), dtype=float)
        size = np.abs(expected).max() or 1.0
        assert np.all(np.abs(X @ beta - y) <= 1e-13 * size), (X, y, weights)
        errors.append(np.abs(beta - expected).max() / size)
    assert np.quantile(errors, 0.99) < 1e-5
    assert max(errors) < (1e-10 if decades <= 10 else np.inf)


def test_min_l2_where_one_feature_is_all_that_tells_samples_apart():
    X, y = np.array([[1.0, 1.0], [1.0, -1.0]]), [1.0, 2.0]
    for heavy in (1e32, 1e150, 1e300):
        for pair in ((1.0, heavy), (1.0 / heavy, heavy)):
            assert np.allclose(theory.min_l2(X, y, pair), [1.5, -0.5], rtol=1e-14)
    assert np.allclose(theory.min_l2(X * [1.0, 1e-16], y), [1.5, -0.5e16], rtol=1e-14)
    # Two light features that agree: neither must stand in for the heavy one.
    X = np.array([[1.0, 2.0, 1.0], [1.0, 2.0, -1.0]])
    assert np.allclose(X @ theory.min_l2(X, y, [1e-40, 1e-40, 1.0]), y, rtol=1e-14)
    # What is nearest does not depend on the weights.
    beta = theory.min_l2([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], [1.0, 2.0, 2.0], [1.0, 1e40])
    assert np.allclose(beta, [1.75, -0.25], rtol=1e-14)


def test_kernel_predictor_fits_at_any_depth():
    X, y = [[1.0, 1.0], [1.0, -1.0]], [1.0, 2.0]
    for depth in (2, 20, 60, 500):
        found = theory.kernel_predictor(X, y, [1.0, 0.5], [1.0, 0.5], depth)
        assert np.allclose(found, [1.5, -0.5], rtol=1e-13), depth
    w = [1.0, 0.5, 0.9]
    found = theory.kernel_predictor([[1.0, 2.0, 0.5], [0.0, 1.0, 0.0]], [2.0, 1.0], w, w, 1000)
    assert np.allclose(found, [0.0, 1.0, 0.0], rtol=1e-13, atol=1e-40)


def exact_least(Z, norm):
    """The least norm of a beta with Z beta >= 1, over all tight sets and supports; or None."""
    n, d = Z.shape
    rows, least = [[Fraction(v) for v in row] for row in Z.tolist()], None
    for k in range(1, min(n, d) + 1):
        supports = [range(d)] if norm == "l2" else list(itertools.combinations(range(d), k))
        for tight, support in itertools.product(itertools.combinations(range(n), k), supports):
            part = Z[np.ix_(tight, support)]
            if len(reduced(part.tolist())[1]) < k:
                continue
            beta = dict(zip(support, exact_min_l2(part), strict=True))
            if all(sum(row[j] * v for j, v in beta.items()) >= 1 for row in rows):
                values = beta.values()
                own = sum(abs(v) if norm == "l1" else v * v for v in values)
                least = own if least is None else min(least, own)
    return None if least is None else float(least) ** (1.0 if norm == "l1" else 0.5)


def margin_problem(rng, decades):
    """Integers times powers of two, by rows or one row or one column; most are separable."""
    Z = rng.integers(-3, 4, (rng.integers(1, 6), rng.integers(1, 5))).astype(float)
    if rng.random() < 0.6:
        Z *= np.where(Z @ rng.standard_normal(Z.shape[1]) > 0.0, 1.0, -1.0)[:, None]
    row = np.ones(len(Z))
    row[rng.integers(len(Z))] = 2.0**-decades
    if rng.random() < 0.3:
        row = np.ldexp(1.0, rng.integers(-decades, decades + 1, len(Z)))
    Z *= row[:, None]
    if rng.random() < 0.3:
        Z[:, rng.integers(Z.shape[1])] *= 2.0**-decades
    return Z


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("decades", [0, 10, 20, 30])
def test_margins_against_rational_arithmetic(norm, decades):
    """What is accepted is right; what is separable is refused only beyond factors of 2^20."""
    refused, found = 0, 0
    for seed in range(150):
        Z = margin_problem(np.random.default_rng([decades, seed]), decades)
        expected = exact_least(Z, norm)
        try:
            beta = theory.max_margin(Z, np.ones(len(Z)), norm)
        except ValueError:
            refused += expected is not None
            continue
        found += 1
        assert expected is not None, Z
        size = np.abs(beta).sum() if norm == "l1" else np.linalg.norm(beta)
        assert size == pytest.approx(expected, rel=1e-9 if decades < 30 else 1e-5), Z
        exact = [
            float(sum(Fraction(a) * Fraction(b) for a, b in zip(row, beta.tolist(), strict=True)))
            for row in Z.tolist()
        ]
        assert min(exact) >= 1.0 - 1e-5
    assert found > 70
    assert refused <= {0: 0, 10: 0, 20: 10, 30: 45}[decades]


def test_margins_that_are_small_beside_the_points():
    for small in (1e-3, 1e-6, 1e-7, 1e-9):
        for norm in ("l1", "l2"):
            assert np.allclose(
                theory.max_margin([[1.0, 0.0], [-1.0, small]], [1, 1], norm),
                [1.0, 2.0 / small],
                rtol=1e-9,
            )
            assert np.allclose(
                theory.max_margin([[1.0, 0.0], [0.0, small]], [1, 1], norm),
                [1.0, 1.0 / small],
                rtol=1e-9,
            )
    rng = np.random.default_rng(4196)  # points that are all but inseparable
    d = rng.integers(1, 6)
    X = rng.standard_normal((rng.integers(d + 1, 4 * d + 8), d))
    y = np.where(rng.random(len(X)) > 0.5, 1.0, -1.0)
    assert (y * (X @ theory.max_margin(X, y))).min() > 1.0 - 1e-9
