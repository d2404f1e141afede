"""Potentials, norms, distances, flows and limits at the ends of the doubles."""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest
from scipy.optimize import linprog

import kernelrich_fast as krf
from kernelrich_fast import theory

DATA = krf.datasets.sparse_regression(20, 50, 3)


@pytest.mark.parametrize("alpha", [1e-300, 1e-200, 1e-100, 1e-3, 1e3, 1e100, 1e200])
def test_entropy_whatever_alpha(alpha):
    """Q at depth 2 is alpha^2 (2 - sqrt(4 + z^2) + z asinh(z / 2)), with 2500 digits."""
    for beta in (1e-300, 1e-150, 1.0, 1e150, 1e300):
        with mpmath.workdps(2500):
            scale = mpmath.mpf(alpha) ** 2
            z = mpmath.mpf(beta) / scale
            exact = scale * (2 - mpmath.sqrt(4 + z**2) + z * mpmath.asinh(z / 2))
            found = mpmath.mpf(float(theory.q_potential([beta], alpha)))
            if mpmath.mpf("1e-307") < exact < mpmath.mpf("1e308"):
                assert abs(found - exact) <= 1e-14 * exact
                of_a_matrix = theory.schatten_potential([[beta, 0.0], [0.0, 0.0]], alpha)
                assert np.isclose(float(of_a_matrix), float(exact), rtol=1e-13)
            else:
                assert found == np.inf if exact > 1 else found < 1e-307


@pytest.mark.parametrize("depth", [3, 4, 10, 1000])
def test_the_ends_of_deep_potentials(depth):
    p = depth / (depth - 2.0)
    # alpha^D far below beta: the l1 norm; weighted by w0^(2 - D), where that is a double.
    assert np.isclose(theory.q_potential([1e-3, -2e250], 1e-300, depth), 2e250, rtol=1e-12)
    weighted = theory.q_potential([3.0, 1.0], 1e-300, depth, [0.5, 1.0]) / 2.0 ** (depth - 2.0)
    assert np.isclose(weighted, 3.0 + 2.0 ** (2.0 - depth), rtol=1e-12)
    # alpha^D = 2^k far above beta: the square, which is 0 among the doubles at last.
    k = int(np.ceil(500 / depth)) * depth
    square = np.ldexp(0.25 / p, 100 - k)
    assert np.isclose(theory.q_potential([2.0**50], 2.0 ** (k // depth), depth), square, rtol=1e-12)
    assert theory.q_potential([1.0], 1e300, depth) == 0.0
    assert theory.q_potential([0.0], 1e-300, depth) == 0.0
    # alpha w0 = 1 leaves q_D itself, times w0^(2 - D).
    e = 1000 // depth
    plain = theory.q_potential([0.3, 20.0], 1.0, depth)
    for sign in (1, -1):
        shaped = theory.q_potential([0.3, 20.0], 2.0 ** (-sign * e), depth, [2.0 ** (sign * e)] * 2)
        assert np.isclose(shaped, np.ldexp(plain, sign * e * (2 - depth)), rtol=1e-12)


def test_potentials_are_numbers_for_every_legal_scale():
    ends = [5e-324, 1e-300, 1e-150, 1.0, 1e150, 1.7e308]
    for depth in (2, 3, 10, 10**6, 2**62):
        for alpha in ends:
            for w0 in ends:
                Q = theory.q_potential(np.array(ends)[:, None], alpha, depth, [w0])
                assert not np.isnan(Q).any()
                assert np.all(np.diff(Q[np.isfinite(Q)]) >= 0.0)  # it grows with beta
    for alpha in ends:
        assert not np.isnan(theory.r_potential(np.array(ends)[:, None], alpha)).any()
    t = theory.inverse_mirror_map([5e-324, 1e-310, 1e-200, 1.7e308], 4)
    assert np.allclose(t, [1e-324, 0.25e-310, 0.25e-200, 1.0], rtol=1e-13, atol=1e-323)


@pytest.mark.parametrize("exponent", [-700, -400, 0, 400, 700])
def test_r_potential_whatever_alpha(exponent):
    """With w = 1 / (1 -+ v) both beta / alpha^2 and R / alpha^2 are rational in v."""
    alpha = 2.0**exponent
    for v in (0.5, 0.25, 2.0**-20):
        z, r = 4 * v / (1 - v * v) ** 2, v * v * ((1 - v) ** -2 + (1 + v) ** -2)
        if abs(exponent) < 500:
            found = theory.r_potential([np.ldexp(z, 2 * exponent)], alpha)
            assert np.isclose(found, np.ldexp(r, 2 * exponent), rtol=1e-12)
    if exponent == -700:
        assert np.isclose(theory.r_potential([1e-3, -1e300], alpha), 1e300, rtol=1e-15)
    if exponent == 700:
        found = theory.r_potential([2.0**500], alpha)
        assert np.isclose(found, 2.0 ** (1000 - 1400 - 3), rtol=1e-14)


@pytest.mark.parametrize("size", [1e-320, 1e-300, 1e-170, 1e160, 1e307])
def test_norms_and_distances_of_any_size(size):
    A, B = size * np.array([[1.0, 0.0], [0.0, 2.0]]), size * np.array([[1.0, 0.0], [0.0, 4.0]])
    close = 1e-3 if size < 1e-307 else 1e-14  # digits that subnormal numbers have
    cosine = (1 * 1 + 2 * 4) / np.sqrt(5.0 * 17.0)
    assert np.isclose(theory.kernel_distance(A, B), 1.0 - cosine, rtol=10 * close)
    assert np.isclose(theory.kernel_distance(A / size, B), 1.0 - cosine, rtol=10 * close)
    assert np.isclose(theory.relative_kernel_change(A, B), 2.0 / np.sqrt(5.0), rtol=close)
    assert np.isclose(theory.relative_kernel_change(B, -B), 2.0, rtol=close)
    assert np.isclose(theory.nuclear_norm(A), 3.0 * size, rtol=close)
    rank = np.exp(np.log(3.0) - 2.0 / 3.0 * np.log(2.0))
    assert np.isclose(theory.effective_rank(A), rank, rtol=close)


def test_a_change_and_a_distance_of_a_few_last_places():
    K = np.diag([1.0, 3.0])
    moved = K + np.diag([2.0**-50, 0.0])
    assert theory.relative_kernel_change(K, moved) == 2.0**-50 / np.sqrt(10.0)
    for tiny in (1e-6, 1e-9, 1e-12):
        moved = K + np.diag([tiny, 0.0])
        with mpmath.workdps(60):
            a, b = mpmath.mpf(moved[0, 0]), mpmath.mpf(3)
            exact = float(1 - (a + 9) / mpmath.sqrt(10 * (a * a + b * b)))
        found = theory.kernel_distance(K, moved)
        assert abs(found - exact) <= 1e-15 * np.sqrt(exact)


def test_tangent_kernels_of_any_size():
    X = np.array([[1.0, 0.0], [0.0, 1e-30]])
    for exponent in (-600, -3, 0, 3, 340):
        w = np.full(2, 2.0**exponent)
        with np.errstate(over="ignore"):
            expected = 18.0 * np.ldexp([[1.0, 0.0], [0.0, 1e-60]], 4 * exponent)
        assert np.allclose(theory.tangent_kernel(X, w, w, 3), expected, rtol=1e-14)
    assert np.array_equal(theory.tangent_kernel(X, 0 * w, 0 * w, 3), np.zeros((2, 2)))


def test_zero_kernels():
    zero, some = np.zeros((2, 2)), np.eye(2)
    for pair in ((zero, some), (some, zero), (zero, zero)):
        assert np.isnan(theory.kernel_distance(*pair))
    assert theory.relative_kernel_change(zero, some) == np.inf
    assert theory.relative_kernel_change(some, zero) == 1.0
    assert theory.relative_kernel_change(zero, zero) == 0.0
    stack = theory.relative_kernel_change(np.stack([zero, some]), np.stack([some, some]))
    assert np.array_equal(stack, [np.inf, 0.0])


def test_feature_distances_of_any_size():
    rng = np.random.default_rng(17)
    first = [rng.standard_normal((6, 2)), rng.standard_normal((1, 6))]
    second = [W + 0.3 * rng.standard_normal(W.shape) for W in first]
    X = rng.standard_normal((4, 2))
    plain = theory.mlp_feature_distance(first, second, X)
    for power in (-300, 300, 480):
        scaled = [[np.ldexp(W, power) for W in layers] for layers in (first, second)]
        assert np.isclose(theory.mlp_feature_distance(*scaled, X), plain, rtol=1e-13)
    # Large inputs of one layer beside small ones of the next.
    uneven = [[np.ldexp(a, 500), np.ldexp(b, -900)] for a, b in (first, second)]
    alone = [[a, np.zeros((1, 6))] for a, _ in (first, second)]
    assert np.isclose(
        theory.mlp_feature_distance(*uneven, X), theory.mlp_feature_distance(*alone, X), rtol=1e-13
    )


def relative(found, expected):
    size = np.abs(expected).max()
    return np.linalg.norm(found / size - expected / size) / np.linalg.norm(expected / size)


def logarithmic_gap(result, X, alpha):
    """How far weights are from beta = 2 alpha^2 sinh(8 X^T nu), in the logarithm, relatively."""
    theta = 8.0 * (X.T @ result.dual)
    large = np.log(np.abs(result.beta)) - 2.0 * np.log(alpha)
    return np.abs(np.sign(result.beta) * large - theta)[large > 30.0].max() / large.max()


def least_l1(X, y):
    program = linprog(np.ones(2 * X.shape[1]), A_eq=np.hstack([X, -X]), b_eq=y, method="highs")
    return program.x[: X.shape[1]] - program.x[X.shape[1] :]


@pytest.mark.parametrize(
    ("depth", "alpha", "unit"),
    [
        (2, 1e-150, 1e-9), (2, 1e-150, 1e-140), (2, 1e-150, 1e-160), (2.5, 1e-100, 1e-9),
        (3, 1.1e-76, 1e-9), (3, 1e-50, 1e-40), (4, 1e-50, 1e-9), (5, 1e-38, 1e-9),
        (2, 1e-100, 1e130),
    ],
)  # fmt: skip
def test_limits_of_inputs_in_any_unit(compiled, depth, alpha, unit):
    """Slopes times squares of inputs lie outside the doubles; the rank of X is 20 all the same."""
    limit = krf.limit_diagonal(unit * DATA.X, DATA.y, alpha=alpha, depth=depth)
    assert limit.status == krf.Status.CONVERGED
    if depth > 2:
        assert relative(unit * limit.beta, least_l1(DATA.X, DATA.y)) < 1e-8
    else:
        assert relative(unit * (DATA.X @ limit.beta), DATA.y) < 1.1e-10
        assert logarithmic_gap(limit, unit * DATA.X, alpha) < 1e-9


@pytest.mark.parametrize(("depth", "alpha"), [(2, 1e-140), (2, 0.1), (2.5, 1e-60), (3, 1e-60)])
@pytest.mark.parametrize("k", [-420, -30, 30, 400])
def test_limits_when_all_data_change_their_unit(compiled, depth, alpha, k):
    """The fits stay the same, and nu is measured in the inverse of the unit."""
    limit = krf.limit_diagonal(np.ldexp(DATA.X, k), np.ldexp(DATA.y, k), alpha=alpha, depth=depth)
    plain = krf.limit_diagonal(DATA.X, DATA.y, alpha=alpha, depth=depth)
    assert limit.converged
    assert relative(limit.beta, plain.beta) < 1e-8
    assert relative(np.ldexp(limit.dual, k), plain.dual) < 1e-8
    assert 0.0 <= limit.loss <= 1.1e-20 * (np.ldexp(DATA.y, k) @ np.ldexp(DATA.y, k))


@pytest.mark.parametrize(("depth", "alpha", "unit"), [(2, 1e-150, 1e-9), (3, 1e-50, 1e-40)])
def test_least_squares_in_tiny_units(compiled, depth, alpha, unit):
    """Equal rows with other targets, which nothing fits: their means, by the rank of X."""
    X = np.vstack([DATA.X[:3], DATA.X[:3]])
    limit = krf.limit_diagonal(unit * X, DATA.y[:6], alpha=alpha, depth=depth)
    means = 0.5 * (DATA.y[:3] + DATA.y[3:6])
    assert limit.status == krf.Status.STATIONARY
    assert relative(unit * limit.beta, least_l1(DATA.X[:3], means)) < 1e-8
    gap = 0.5 * (DATA.y[:3] - DATA.y[3:6])
    assert np.isclose(limit.loss, 2.0 * gap @ gap, rtol=1e-9)


def test_limits_at_random_never_rest_where_data_are_fitted(compiled):
    """X of full rank, in units of one feature or of all; the scale wherever it may be."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        n, depth = rng.integers(1, 8), float(rng.choice([2, 2.5, 3, 4, 5, 8]))
        X = rng.standard_normal((n, rng.integers(n, 20)))
        X *= 10.0 ** (rng.uniform(-30, 0, X.shape[1]) * rng.integers(2))
        X *= 10.0 ** rng.uniform(-140, 139) / np.abs(X).max()
        y = rng.standard_normal(n)
        y *= 10.0 ** rng.uniform(-139, 139) / np.abs(y).max()
        alpha = 10.0 ** (rng.uniform(-303.0, 295.0) / (2.0 * depth - 2.0))
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", krf.ConvergenceWarning)
            limit = krf.limit_diagonal(X, y, alpha=alpha, depth=depth)
        assert limit.status != krf.Status.STATIONARY
        if limit.converged:
            assert relative(X @ limit.beta, y) < 1.1e-10


@pytest.mark.parametrize("depth", [2, 2.5, 3])
@pytest.mark.parametrize("exponent", [-140, -100, -82, -80, -77, -74, 80, 100, 139])
def test_flows_to_targets_of_any_size(compiled, depth, exponent):
    """Far below alpha^D the fit of least l2 norm, far above it and D > 2 that of least l1 norm."""
    unit = 10.0**exponent / np.abs(DATA.y).max() * 1.0000001
    flow = krf.flow_diagonal(DATA.X, unit * DATA.y, alpha=1e-3, depth=depth, method="radau5")
    assert flow.converged
    if exponent < 0:
        assert relative(flow.beta / unit, np.linalg.pinv(DATA.X) @ DATA.y) < 1e-5
        assert flow.n_steps < 60
    elif depth > 2:
        assert relative(flow.beta / unit, least_l1(DATA.X, DATA.y)) < 1e-5
    else:
        assert logarithmic_gap(flow, DATA.X, 1e-3) < 1e-6


@pytest.mark.parametrize(
    ("depth", "alpha", "unit", "size"),
    [(2.5, 3e10, 1e46, 1e105), (2.5, 3e92, 4e-39, 9e91), (4, 2e22, 5e28, 8e76)],
)
def test_flows_whose_first_rate_has_squares_beyond_the_doubles(compiled, depth, alpha, unit, size):
    X, y = unit * DATA.X, size * DATA.y
    flow = krf.flow_diagonal(X, y, alpha=alpha, depth=depth)
    assert flow.converged
    kernel = alpha**depth > size / unit
    expected = np.linalg.pinv(DATA.X) @ DATA.y if kernel else least_l1(DATA.X, DATA.y)
    # Ten rtol, and what the scale of the start leaves to its limits.
    assert relative(flow.beta * (unit / size), expected) < 2e-5
