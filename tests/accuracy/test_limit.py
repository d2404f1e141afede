"""Limits: feasibility, KKT at 50 digits, and the two regimes."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import relative
from fallback_cases import fallback_takes
from oracles import kkt_violation

import kernelrich_fast as krf

EXTREMES = [
    (2, 1e-300), (2, 1e-40), (2, 1e-6), (2, 1.0), (2, 1e12),
    (2.01, 1e-100), (2.5, 1e-24), (2.5, 1e12), (3, 1e-24), (3, 1e-3), (3, 1e12), (3.5, 1e-24),
    (4, 1e-24), (5, 1e-12), (6, 1e-24), (8, 1e-24), (8, 1e12),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::kernelrich_fast.ConvergenceWarning")
@fallback_takes(
    *({"depth": 2, "power": power} for power in (1e-300, 1e-6, 1e12)),
    {"depth": 2.5, "power": 1e-24}, {"depth": 3, "power": 1e-3}, {"depth": 8},
)  # fmt: skip
@pytest.mark.parametrize("noise", [0.01, 0.0])
@pytest.mark.parametrize(("depth", "power"), EXTREMES)
def test_feasible_and_stationary(backend, depth, power, noise):
    X, y, _ = krf.datasets.sparse_regression(12, 40, 2, noise_variance=noise, seed=5)
    alpha = power ** (1 / depth)
    limit = krf.limit_diagonal(X, y, alpha=alpha, depth=depth, backend=backend)
    if backend == "numpy" and noise == 0.0 and power < 1e-20 and limit.status >= 3:
        return  # the fallback says that it cannot
    assert limit.status == krf.Status.CONVERGED
    assert np.linalg.norm(X @ limit.beta - y) <= 1e-10 * np.linalg.norm(y)
    assert kkt_violation(X, limit.beta, alpha, depth) <= 1e-7


@pytest.mark.parametrize("depth", [2.5, 3, 4, 5, 8])
def test_flow_arrives_in_the_deep_rich_regime(depth, compiled):
    X, y, _ = krf.datasets.sparse_regression(20, 60, 2, noise_variance=0.0, seed=2)
    alpha = 1e-24 ** (1 / depth)
    flow = krf.flow_diagonal(X, y, alpha=alpha, depth=depth, backend="cpu")
    limit = krf.limit_diagonal(X, y, alpha=alpha, depth=depth, backend="cpu")
    assert flow.status == krf.Status.CONVERGED
    assert relative(flow.beta, limit.beta) < 1e-4


@pytest.mark.parametrize("power", [1e-300, 1e-100, 1e12])
def test_flow_arrives_at_extreme_scales_of_depth_two(backend, power):
    X, y, _ = krf.datasets.sparse_regression(12, 40, 2, seed=5)
    flow = krf.flow_diagonal(X, y, alpha=power**0.5, backend=backend)
    limit = krf.limit_diagonal(X, y, alpha=power**0.5, backend=backend)
    assert flow.status == krf.Status.CONVERGED
    assert relative(flow.beta, limit.beta) < 1e-4


@pytest.mark.parametrize("depth", [2, 3, 3.5, 5])
def test_kernel_and_rich_limits(medium, backend, depth):
    X, y, _ = medium
    w0 = np.linspace(0.6, 1.5, X.shape[1])
    options = dict(depth=depth, w0=w0, backend=backend)
    kernel = krf.limit_diagonal(X, y, alpha=1e4, **options).beta
    assert relative(kernel, krf.theory.min_l2(X, y, w0 ** (2.0 - 2 * depth))) < 1e-8
    if depth > 2:
        # Corrections are powers of alpha, and at depth three and more the shape does not wash out.
        rich = krf.limit_diagonal(X, y, alpha=1e-3, **options).beta
        assert relative(rich, krf.theory.min_l1(X, y, w0 ** (2.0 - depth))) < 1e-4


def test_alpha_to_zero_is_basis_pursuit(medium, backend):
    X, y, _ = medium
    rich = krf.limit_diagonal(X, y, alpha=1e-150, backend=backend).beta
    assert relative(rich, krf.theory.min_l1(X, y)) < 1e-6


def test_limit_minimises_q(medium, backend):
    X, y, _ = medium
    rng = np.random.default_rng(0)
    null = np.linalg.svd(X)[2][len(y) :]
    for depth, alpha in ((2, 0.05), (2.2, 0.05), (3, 0.1), (5, 0.5)):
        beta = krf.limit_diagonal(X, y, alpha=alpha, depth=depth, backend=backend).beta
        least = krf.theory.q_potential(beta, alpha, depth)
        moves = rng.standard_normal((50, len(null))) @ null
        for size in (1e-3, 1e-1, 1.0):
            assert np.all(krf.theory.q_potential(beta + size * moves, alpha, depth) > least)


def test_biased_start_is_a_bregman_projection(small, backend):
    X, y, _ = small
    plus, minus = np.linspace(0.5, 2.0, 15), np.linspace(1.5, 0.4, 15)
    limit = krf.limit_diagonal(X, y, alpha=0.3, w_plus0=plus, w_minus0=minus, backend=backend)
    kappa, phi = 2 * 0.09 * plus * minus, np.log(plus / minus)
    gradient = np.arcsinh(limit.beta / kappa) - phi
    nu, *_ = np.linalg.lstsq(X.T, gradient, rcond=None)
    assert np.linalg.norm(X.T @ nu - gradient) < 1e-8 * np.linalg.norm(gradient)


def test_nearly_dependent_rows(backend):
    rng = np.random.default_rng(8)
    X = rng.standard_normal((6, 20))
    X[1] = X[0] + 1e-6 * X[1]
    y = X @ rng.standard_normal(20)
    for alpha in (1e-4, 1.0):
        limit = krf.limit_diagonal(X, y, alpha=alpha, backend=backend)
        assert limit.status == krf.Status.CONVERGED
        assert np.linalg.norm(X @ limit.beta - y) <= 1e-10 * np.linalg.norm(y)


@pytest.mark.parametrize("excess", [1e-15, 1e-12, 1e-9, 1e-6, 1e-4])
def test_depth_two_is_the_end_of_depths_above_it(medium, backend, excess):
    """Beta moves by a multiple of D - 2 and by no digits."""
    X, y, _ = medium
    for alpha in (1e-3, 1.0):
        options = dict(alpha=alpha, backend=backend, tol=1e-13)
        two = krf.limit_diagonal(X, y, depth=2, **options).beta
        above = krf.limit_diagonal(X, y, depth=2.0 + excess, **options).beta
        assert relative(above, two) < 2.0 * excess + 1e-11
        times = np.array([0.01, 0.1, 1.0])
        options = dict(alpha=alpha, backend=backend, t_eval=times, rtol=1e-9)
        two = krf.flow_diagonal(X, y, depth=2, **options)
        above = krf.flow_diagonal(X, y, depth=2.0 + excess, **options)
        assert relative(above.beta, two.beta).max() < 60.0 * excess + 2e-8
        assert relative(above.dual, two.dual).max() < 60.0 * excess + 2e-8


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("depth", [3, 4, 5, 10])
@pytest.mark.parametrize("alpha", [1e-1, 1e-2, 1e-3, 1e-4])
def test_shares_of_equal_features_lose_digits_and_predictions_do_not(depth, alpha):
    """Two equal columns share alike to 1e-16 alpha^(2-D), and no better; the rest is accurate."""
    X, y = np.array([[1.0, 1.0, 0.5], [0.3, 0.3, 1.0]]), np.array([1.0, 0.2])
    error = 1e-16 * alpha ** (2.0 - depth)
    results = [krf.limit_diagonal(X, y, alpha=alpha, depth=depth, backend="cpu")]
    if error < 1.0:  # beyond, a flow need not end
        options = {"alpha": alpha, "depth": depth, "stop_loss": 1e-18, "rtol": 1e-9}
        results.append(krf.flow_diagonal(X, y, backend="cpu", **options))
    for result in results:
        assert result.status == krf.Status.CONVERGED
        beta = result.beta
        assert abs(beta[0] - beta[1]) < 10.0 * error + 1e-15
        assert np.allclose([beta[0] + beta[1], beta[2]], [0.9 / 0.85, -0.1 / 0.85], atol=1e-8)
        assert np.linalg.norm(X @ beta - y) < 1e-8
    if error > 1e3:
        assert abs(results[0].beta[0] - results[0].beta[1]) > 0.1
