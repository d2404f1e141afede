"""Potentials against mpmath, interpolants against KKT, kernels against finite differences."""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest
from conftest import relative

import kernelrich_fast as krf
from kernelrich_fast import theory

mpmath.mp.dps = 50
POINTS = np.concatenate([[0.0], np.geomspace(1e-12, 1e12, 49)])


def exact_q(z: float, depth: float) -> mpmath.mpf:
    z = mpmath.mpf(z)
    if depth == 2:
        return 2 - mpmath.sqrt(4 + z**2) + z * mpmath.asinh(z / 2)
    if z == 0:
        return mpmath.mpf(0)
    p, k = mpmath.mpf(depth) / (depth - 2), mpmath.mpf(2) / (depth - 2)
    low, high = mpmath.mpf(-120), mpmath.mpf(120)  # x with s = tanh x, by bisection in log x
    for _ in range(300):
        middle = (low + high) / 2
        s = mpmath.tanh(mpmath.e**middle)
        value = (1 - s) ** -p - (1 + s) ** -p if s < 1 else mpmath.inf
        low, high = (middle, high) if value < z else (low, middle)
    s = mpmath.tanh(mpmath.e**low)
    return s * z - ((1 - s) ** -k + (1 + s) ** -k - 2) / k


@pytest.mark.parametrize("depth", [2, 2.0 + 1e-9, 2.1, 2.5, 3, 3.7, 4, 5, 10, 100])
def test_q_potential_against_mpmath(depth):
    mpmath.mp.dps = 80
    got = theory.q_potential(POINTS[:, None], 1.0, depth)
    for z, q in zip(POINTS, got, strict=True):
        expected = exact_q(float(z), depth)
        assert abs(mpmath.mpf(float(q)) - expected) <= 1e-12 * expected


@pytest.mark.parametrize("depth", [2.0 + 1e-9, 2.0001, 2.001, 2.01, 2.1, 2.2, 2.5, 3, 100, 1e6])
def test_q_potential_where_alpha_to_the_depth_is_no_double(depth):
    mpmath.mp.dps = 60
    for digits in range(-25, 720, 35):
        beta, alpha = 10.0 ** min(digits, 200), 10.0 ** (min(200 - digits, 0) / depth)
        size = mpmath.mpf(alpha) ** depth
        expected = size * q_by_logs(mpmath.mpf(beta) / size, depth)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            got = float(theory.q_potential([beta], alpha, depth))
        assert abs(got - expected) <= 1e-12 * max(1.0, depth / 1e3) * expected, digits


def q_by_logs(z, depth):
    """Also for z that is no double: bisection for L = -log(1 - t), in log L."""
    p, k = mpmath.mpf(depth) / (depth - 2), 2 / (mpmath.mpf(depth) - 2)
    with mpmath.workdps(120):  # q cancels to z^2
        low, high = mpmath.mpf(-95), mpmath.log(mpmath.log(1 + z) / p + 50)
        for _ in range(400):
            middle = (low + high) / 2
            size = mpmath.e**middle
            less = mpmath.e ** (p * size) - (2 - mpmath.e**-size) ** -p < z
            low, high = (middle, high) if less else (low, middle)
        size = mpmath.e**low
        t = -mpmath.expm1(-size)
        return t * z - (mpmath.e ** (k * size) + (1 + t) ** -k - 2) / k


def test_mirror_map_is_infinite_where_it_overflows():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for depth in (2.0, 2.0 + 1e-9, 2.001, 2.01):
            t = np.array([-0.99, -1e-300, 0.0, 0.99]) * (1e3 if depth == 2.0 else 1.0)
            found = theory.mirror_map(t, depth)
            assert np.array_equal(found[[0, 2, 3]], [-np.inf, 0.0, np.inf])
            assert found[1] < 0.0


def test_hyperbolic_entropy_is_even_and_precise():
    mpmath.mp.dps = 80
    got = theory.hyperbolic_entropy(-POINTS)
    for z, q in zip(POINTS, got, strict=True):
        expected = exact_q(float(z), 2)
        assert abs(mpmath.mpf(float(q)) - expected) <= 1e-14 * expected


def test_r_potential_is_the_smaller_root_of_the_quartic():
    mpmath.mp.dps = 60
    for z in (1e-6, 0.1, 1.0, 10.0, 25.0, 1e6):
        x = mpmath.mpf(z)
        with warnings.catch_warnings():  # newer versions of mpmath want the order spelled out
            warnings.simplefilter("ignore", DeprecationWarning)
            roots = mpmath.polyroots(
                [1, -6, 12 - 2 * x**2, -(8 + 10 * x**2), x**2 + x**4], maxsteps=500, extraprec=400
            )
        real = min(mpmath.re(r) for r in roots if abs(mpmath.im(r)) < 1e-20)
        got = float(theory.r_potential([z], 1.0))
        assert abs(got - real) <= 1e-11 * real
    assert theory.r_potential([0.0, -10.0], 2.0) == theory.r_potential([10.0], 2.0)


def test_figure_values_of_the_paper():
    assert np.isclose(theory.q_potential([25.0], 1.0), 57.43, atol=0.01)
    assert np.isclose(theory.r_potential([25.0], 1.0), 16.44, atol=0.01)
    e1, flat = np.eye(100)[0], np.full(100, 0.1)
    for depth, row in {
        2: (0.149, 0.295, 0.686, 0.981),
        3: (0.115, 0.216, 0.557, 0.960),
        5: (0.106, 0.180, 0.478, 0.940),
        100: (0.102, 0.151, 0.394, 0.907),
    }.items():
        alpha = np.exp(np.array([-8.0, -4.0, -2.0, 0.0]) / depth)
        ratio = theory.q_potential(e1, alpha, depth) / theory.q_potential(flat, alpha, depth)
        assert np.allclose(ratio, row, atol=1e-3)


@pytest.mark.parametrize("depth", [2, 2.001, 2.5, 3, 4, 9])
def test_mirror_maps_invert_and_differentiate_q(depth):
    z = np.concatenate([-np.geomspace(1e-8, 1e6, 25), np.geomspace(1e-8, 1e6, 25)])
    t = theory.inverse_mirror_map(z, depth)
    inner = np.abs(z) < 1e3
    assert np.allclose(theory.mirror_map(t[inner], depth), z[inner], rtol=1e-9)
    h = 1e-5 * np.abs(z)
    slope = theory.q_potential((z + h)[:, None], 1.0, depth)
    slope = (slope - theory.q_potential((z - h)[:, None], 1.0, depth)) / (2 * h)
    assert np.allclose(slope, t, rtol=1e-5)
    with pytest.raises(ValueError, match=r"t: expected values in \(-1, 1\)"):
        theory.mirror_map(1.0, 3)


@pytest.mark.parametrize("above", [1e-3, 1e-6, 1e-9, 1e-12])
def test_mirror_maps_close_to_depth_two_are_those_of_it_in_other_units(above):
    depth, s = 2.0 + above, np.array([-10.0, -0.01, 0.5, 3.0])
    half = (depth - 2.0) / 2.0
    z = theory.mirror_map(s)
    assert np.all(np.abs(theory.mirror_map(half * s, depth) / z - 1.0) < above * (1.0 + s**2))
    inverse = theory.inverse_mirror_map(z, depth) / half
    assert np.all(np.abs(inverse / s - 1.0) < above * (1.0 + np.abs(s)))


def test_shaped_potential_has_the_flow_as_its_mirror(medium):
    X, y, _ = medium
    w0 = np.linspace(0.5, 2.0, X.shape[1])
    for depth, alpha in ((2, 0.1), (2.5, 0.2), (3, 0.2), (5, 0.7)):
        beta = krf.limit_diagonal(X, y, alpha=alpha, depth=depth, w0=w0).beta
        null = np.linalg.svd(X)[2][len(y) :]
        h = 1e-5
        ends = [
            theory.q_potential(beta + sign * h * null, alpha, depth, w0) for sign in (1.0, -1.0)
        ]
        scale = theory.q_potential(beta, alpha, depth, w0)
        assert np.all(np.abs(ends[0] - ends[1]) / (2 * h) < 1e-5 * scale)


def test_min_l1_has_a_dual_certificate(medium):
    X, y, _ = medium
    for weights in (None, np.linspace(0.5, 2.0, X.shape[1])):
        c = np.ones(X.shape[1]) if weights is None else weights
        beta = theory.min_l1(X, y, weights)
        assert np.allclose(X @ beta, y, atol=1e-10)
        support = np.abs(beta) > 1e-8
        nu, *_ = np.linalg.lstsq(X[:, support].T, (c * np.sign(beta))[support], rcond=None)
        assert np.all(np.abs(X.T @ nu) <= c * (1 + 1e-7))
    assert np.all(theory.min_l1(X, 0 * y) == 0)
    with pytest.raises(ValueError, match="y: expected targets that some beta fits"):
        theory.min_l1([[1.0], [1.0]], [1.0, 2.0])


def test_min_l2_is_orthogonal_to_the_null_space(medium):
    X, y, _ = medium
    c = np.linspace(0.5, 2.0, X.shape[1])
    beta = theory.min_l2(X, y, c)
    assert np.allclose(X @ beta, y)
    null = np.linalg.svd(X)[2][len(y) :]
    assert np.allclose(null @ (c * beta), 0.0, atol=1e-12)
    assert theory.min_l2(np.stack([X, X]), np.stack([y, 2 * y])).shape == (2, X.shape[1])


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_tangent_kernel_is_that_of_the_gradients(depth):
    rng = np.random.default_rng(0)
    X, plus, minus = rng.standard_normal((3, 4)), rng.random(4) + 0.5, rng.random(4) + 0.5

    def f(w):
        return X @ (w[:4] ** depth - w[4:] ** depth)

    w = np.concatenate([plus, minus])
    h = 1e-6
    J = np.stack([(f(w + h * e) - f(w - h * e)) / (2 * h) for e in np.eye(8)], axis=1)
    assert np.allclose(theory.tangent_kernel(X, plus, minus, depth), J @ J.T, rtol=1e-7)


def test_kernel_predictor_is_the_kernel_limit(medium):
    X, y, _ = medium
    w = np.full(X.shape[1], 1e3)
    limit = krf.limit_diagonal(X, y, alpha=1e3, depth=3).beta
    assert relative(theory.kernel_predictor(X, y, w, w, 3), limit) < 1e-8


def test_kernel_distances():
    K = np.diag([1.0, 2.0])
    assert theory.kernel_distance(K, 3 * K) < 1e-30
    tiny = theory.kernel_distance(K, K + 1e-9 * np.diag([1.0, 0.0]))
    assert np.isclose(tiny, 0.5 * (1e-9 * 2 / 5) ** 2 * 5, rtol=1e-3)
    assert np.isclose(theory.relative_kernel_change(K, 1.5 * K), 0.5)


def test_laziness_rates_of_the_kernel_regime(medium):
    """Kernel change ~ alpha^-2D, its cosine distance ~ alpha^-4D."""
    X, y, _ = medium
    for depth in (2, 3):
        changes = []
        for alpha in (10.0, 20.0):
            run = krf.limit_diagonal(X, y, alpha=alpha, depth=depth)
            start = theory.tangent_kernel(X, *[np.full(X.shape[1], alpha)] * 2, depth)
            end = theory.tangent_kernel(X, run.w_plus, run.w_minus, depth)
            changes.append((theory.relative_kernel_change(start, end),
                            theory.kernel_distance(start, end)))  # fmt: skip
        slopes = np.log2(np.array(changes[0]) / np.array(changes[1]))
        assert np.allclose(slopes, [2 * depth, 4 * depth], rtol=0.05)


def test_critical_alpha_brackets_the_threshold():
    data = krf.datasets.sparse_regression(60, 120, 3, noise_variance=1e-3)
    for depth in (2, 3):
        alpha = theory.critical_alpha(*data, depth, threshold=0.05)
        errors = [
            np.sum((krf.limit_diagonal(data.X, data.y, alpha=a, depth=depth).beta
                    - data.beta_star) ** 2)
            for a in (0.97 * alpha, 1.03 * alpha)
        ]  # fmt: skip
        assert errors[0] <= 0.05 < errors[1]
    fine, finest = (theory.critical_alpha(*data, threshold=0.05, xtol=x) for x in (1e-13, 1e-300))
    assert np.isclose(fine, finest, rtol=1e-12)
    assert theory.critical_alpha(*data, threshold=1e-9) == 0.0
    assert theory.critical_alpha(*data, threshold=1e9) == np.inf
    with pytest.raises(ValueError, match="log10_range"):
        theory.critical_alpha(*data, log10_range=(1.0, 0.0))
    with pytest.raises(ValueError, match="beta_star"):
        theory.critical_alpha(data.X, data.y, [1.0])


def test_bounds_refuse_zero():
    with pytest.raises(ValueError, match="beta_l1: expected a non-zero vector"):
        theory.alpha_for_l1(0.5, [0.0])


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e-200, 1e200, np.inf, np.nan])
def test_scales_beyond_the_doubles_are_refused(value):
    with pytest.raises(ValueError, match="loss_scale: expected"):
        krf.limit_diagonal([[1.0, 2.0]], [1.0], alpha=1.0, loss_scale=value)
    with pytest.raises(ValueError, match="loss_scale: expected"):
        krf.flow_diagonal([[1.0, 2.0]], [1.0], alpha=1.0, loss_scale=value)


@pytest.mark.parametrize("value", [1e-150, 1e150])
def test_the_largest_and_the_least_scale_have_finite_times(value):
    flow = krf.flow_diagonal([[1.0, 2.0]], [1.0], alpha=1.0, loss_scale=value)
    assert flow.converged
    assert 0.0 < float(flow.t) < np.inf


@pytest.mark.parametrize("value", [-1.0, 1e300, np.inf, np.nan])
def test_noise_beyond_the_doubles_is_refused(value):
    with pytest.raises(ValueError, match="noise_variance: expected"):
        krf.datasets.sparse_regression(5, 6, 1, noise_variance=value)
