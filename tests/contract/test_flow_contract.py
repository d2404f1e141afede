"""Shapes, statuses, stopping rules, and problems at the edge of the legal."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import relative

import kernelrich_fast as krf
from kernelrich_fast import Status


def test_broadcasting_shapes(backend):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3, 1, 4, 9)), rng.standard_normal((3, 1, 4))
    flow = krf.flow_diagonal(
        X, y, alpha=[0.1, 1.0], depth=[[2], [3], [4]], t_eval=[0.0, 0.1], backend=backend
    )
    assert flow.beta.shape == (3, 2, 2, 9)
    assert flow.dual.shape == (3, 2, 2, 4)
    assert flow.loss.shape == flow.t.shape == (3, 2, 2)
    assert flow.status.shape == flow.n_steps.shape == flow.n_rhs.shape == (3, 2)
    assert flow.n_flops.shape == (3, 2)
    assert flow.backend == backend
    limit = krf.limit_diagonal(X, y, alpha=[0.1, 1.0], backend=backend)
    assert limit.beta.shape == (3, 2, 9)


@pytest.mark.parametrize("method", ["dopri5", "radau5"])
def test_operations_are_counted(medium, backend, method):
    X, y, _ = medium
    flow = krf.flow_diagonal(X, y, alpha=0.1, method=method, backend=backend)
    if backend == "numpy":
        assert flow.n_flops == 0.0
        return
    n, d = (-(-size // 8) * 8 for size in X.shape)
    fields = 4.0 * n * d * flow.n_rhs
    # Beside the fields: two projections a step, and what is n x n.
    dense = (n * n * d + 5.0 / 3.0 * n**3 + 12.0 * n * n) * 8.0 * flow.n_steps
    extra = 6.0 * n * d * flow.n_steps + (dense if method == "radau5" else 0.0)
    assert fields < flow.n_flops < fields + extra + 100.0 * n * d


def test_limits_of_a_batch_are_those_of_single_calls_bit_for_bit(medium, backend):
    X, y, _ = medium
    alpha, depth = np.array([1e-3, 0.1, 2.0]), np.array([2, 3, 5])
    limits = krf.limit_diagonal(X, y, alpha=alpha, depth=depth, backend=backend, num_threads=2)
    for i in range(3):
        end = krf.limit_diagonal(X, y, alpha=alpha[i], depth=depth[i], backend=backend)
        assert np.array_equal(end.beta, limits.beta[i])


def test_t_eval_rows_and_end(small, backend):
    X, y, _ = small
    flow = krf.flow_diagonal(
        X, y, alpha=0.5, t_eval=[0.0, 0.01, 0.01, 5.0], t_max=1.0, backend=backend
    )
    assert np.all(flow.beta[0] == 0.0)
    assert np.array_equal(flow.beta[1], flow.beta[2])
    assert flow.t[-1] <= 1.0  # says what was reached instead of pretending
    assert np.all(np.isfinite(flow.beta))
    beyond = krf.flow_diagonal(X, y, alpha=0.5, t_eval=[1.0, 1e9], backend=backend)
    assert np.all(beyond.t == [1.0, 1e9])
    assert beyond.loss[1] < 1e-12


def test_dense_paths_stay_finite_and_decrease_in_the_deep_rich_regime(backend):
    X, y, _ = krf.datasets.sparse_regression(5, 12, 1, noise_variance=0.0, seed=4)
    # At 1e-3 the fallback says that it has too few digits: test_reference.py.
    alpha = 0.1 if backend == "numpy" else 1e-3
    options = dict(alpha=alpha, depth=5, rtol=1e-3, backend=backend)
    end = float(krf.flow_diagonal(X, y, **options).t)
    times = np.unique(
        np.concatenate([end * np.linspace(0, 1, 150), end * np.geomspace(1e-9, 1, 150)])
    )
    flow = krf.flow_diagonal(X, y, **options, t_eval=times)
    for part in (flow.beta, flow.w_plus, flow.w_minus, flow.dual, flow.loss):
        assert np.all(np.isfinite(part))
    assert np.all(flow.w_plus > 0)
    assert np.all(np.diff(flow.loss) <= 1e-2 * (y @ y))


def test_already_converged_and_zero_targets(small, backend):
    X, y, _ = small
    flow = krf.flow_diagonal(X, 0 * y, alpha=0.5, backend=backend)
    assert flow.status == Status.CONVERGED
    assert flow.t == 0.0
    limit = krf.limit_diagonal(X, 0 * y, alpha=0.5, backend=backend)
    assert limit.status == Status.CONVERGED
    assert np.all(limit.beta == 0.0)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_inconsistent_ends_at_least_squares(backend, depth):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((12, 4))
    y = X @ [1.0, 0.0, 0.0, -1.0] + 0.3 * rng.standard_normal(12)
    expected, *_ = np.linalg.lstsq(X, y, rcond=None)
    flow = krf.flow_diagonal(X, y, alpha=0.1, depth=depth, backend=backend)
    assert flow.status == Status.STATIONARY
    assert relative(flow.beta, expected) < 1e-6
    assert np.isclose(flow.loss, np.sum((X @ expected - y) ** 2))
    limit = krf.limit_diagonal(X, y, alpha=0.1, depth=depth, backend=backend)
    assert limit.status == Status.STATIONARY
    assert relative(limit.beta, expected) < 1e-8


@pytest.mark.parametrize("depth", [2, 4])
def test_contradicting_duplicate_rows(backend, depth):
    rng = np.random.default_rng(2)
    row = rng.standard_normal((1, 8))
    X = np.vstack([row, row, rng.standard_normal((2, 8))])
    y = np.array([1.0, 2.0, 0.5, -0.5])
    mean = np.array([1.5, 0.5, -0.5])
    flow = krf.flow_diagonal(X, y, alpha=0.1, depth=depth, backend=backend)
    limit = krf.limit_diagonal(X, y, alpha=0.1, depth=depth, backend=backend)
    reference = krf.limit_diagonal(X[1:], mean, alpha=0.1, depth=depth, backend=backend)
    assert flow.status == limit.status == Status.STATIONARY
    assert relative(flow.beta, reference.beta) < 1e-5
    assert relative(limit.beta, reference.beta) < 1e-8
    assert np.isclose(limit.loss, 0.5)


def test_degenerate_but_legal(backend):
    options = dict(backend=backend)
    rng = np.random.default_rng(4)
    X = rng.standard_normal((3, 7))
    X[:, 2] = 0.0  # a zero column stays where it starts
    flow = krf.flow_diagonal(X, X[:, 0], alpha=0.1, **options)
    assert flow.status == Status.CONVERGED
    assert flow.beta[2] == 0.0
    doubled = krf.flow_diagonal(np.vstack([X, X]), np.tile(X[:, 0], 2), alpha=0.1, **options)
    assert doubled.status == Status.CONVERGED
    one = krf.flow_diagonal([[2.0]], [3.0], alpha=0.3, **options)  # one sample, one feature
    assert np.isclose(one.beta[0], 1.5, rtol=1e-5)
    tall = krf.flow_diagonal([[1.0], [2.0], [3.0]], [2.0, 4.0, 6.0], alpha=0.3, **options)
    assert tall.status == Status.CONVERGED
    assert tall.dual.shape == (3,)
    zero = krf.flow_diagonal(np.zeros((2, 3)), [1.0, 1.0], alpha=1.0, **options)
    assert zero.status == Status.STATIONARY
    equal = krf.limit_diagonal(np.vstack([X, X]), np.tile(X[:, 0], 2), alpha=0.1, **options)
    assert equal.status == Status.CONVERGED
    assert relative(equal.beta, krf.limit_diagonal(X, X[:, 0], alpha=0.1, **options).beta) < 1e-8


def test_dual_of_more_samples_than_features(backend):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((6, 3))
    y = rng.standard_normal(6)
    times = np.linspace(0.0, 0.2, 2001)
    flow = krf.flow_diagonal(X, y, alpha=0.5, t_eval=times, backend=backend)
    integral = np.trapezoid(y - flow.beta @ X.T, times, axis=0)
    assert np.allclose(flow.dual[-1], integral, atol=1e-5)


def test_a_limit_out_of_budget_warns(small, backend):
    X, y, _ = small
    with pytest.warns(krf.ConvergenceWarning, match="limit_diagonal"):
        limit = krf.limit_diagonal(X, y, alpha=1e-6, max_iter=1, backend=backend)
    assert limit.status == Status.MAX_STEPS


def test_a_limit_changes_no_input(small, backend):
    X, y, _ = small
    X_before, y_before = X.copy(), y.copy()
    krf.limit_diagonal(X, y, alpha=1e-6, depth=4, backend=backend)
    assert np.array_equal(X, X_before)
    assert np.array_equal(y, y_before)


def test_layouts_and_dtypes(small, backend):
    X, y, _ = small
    expected = krf.flow_diagonal(X, y, alpha=0.2, backend=backend).beta
    strided = np.zeros((6, 30))[:, ::2]
    strided[:] = X
    for other in (np.asfortranarray(X), X.tolist(), strided, X.astype(">f8")):
        assert np.array_equal(
            krf.flow_diagonal(other, y, alpha=0.2, backend=backend).beta, expected
        )
    single = krf.flow_diagonal(X.astype(np.float32), y, alpha=0.2, backend=backend)
    assert single.beta.dtype == np.float64
    assert krf.flow_diagonal([[1, 2]], [2], alpha=1, backend=backend).status == Status.CONVERGED


def test_what_cannot_be_reached_is_not_called_converged(backend):
    # beta = 1e200 needs weights of 1e100 from 1e-3, with rates that overflow on the way.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", krf.ConvergenceWarning)
        flow = krf.flow_diagonal([[1e-130]], [1e130], alpha=1e-3, backend=backend, max_steps=2000)
    reached = abs(1e-130 * flow.beta[0] - 1e130) <= 1e-5 * 1e130
    assert reached == (flow.status == Status.CONVERGED)
    assert np.all(np.isfinite(flow.beta))
