"""Designs as statistics has them: tall, with categories, dependent and nearly dependent rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import relative
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import kkt_violation, weight_space_flow

import kernelrich_fast as krf
from kernelrich_fast import Status

SETTINGS = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def test_columns_that_depend_on_others(backend):
    """The mean of y, shared between two equal columns; the residual is no part of beta."""
    X, y = [[1.0, 1.0]] * 3, [0.0, 1.0, 2.0]
    limit = krf.limit_diagonal(X, y, alpha=1.0, backend=backend)
    flow = krf.flow_diagonal(X, y, alpha=0.1, backend=backend)
    late = krf.flow_diagonal(X, y, alpha=0.1, t_eval=[1e10, 1e16, 1e18], backend=backend)
    for beta in (limit.beta, flow.beta, *late.beta):
        assert np.allclose(beta, 0.5, rtol=1e-6)
    assert limit.status == flow.status == Status.STATIONARY
    assert np.isclose(limit.loss, 2.0)
    # The residual that stays keeps adding to its integral.
    residual = np.array([-1.0, 0.0, 1.0])
    assert np.allclose(late.dual[-1] / 1e18, residual, atol=1e-6)


@pytest.mark.parametrize("depth", [2, 3])
def test_one_hot_categories_beside_an_intercept(backend, depth):
    rng = np.random.default_rng(0)
    group = rng.integers(0, 4, 40)
    columns = rng.standard_normal((40, 3)) * [1.0, 1e3, 1e-3]
    X = np.hstack([np.ones((40, 1)), np.eye(4)[group], columns])
    y = rng.standard_normal(40)
    fitted = X @ np.linalg.lstsq(X, y, rcond=None)[0]
    options = dict(alpha=0.5, depth=depth, backend=backend)
    limit, flow = krf.limit_diagonal(X, y, **options), krf.flow_diagonal(X, y, **options)
    for end in (limit, flow):
        assert end.status == Status.STATIONARY
        assert relative(X @ end.beta, fitted) < 1e-7
    assert relative(flow.beta, limit.beta) < 1e-6
    # Problems of different rank in one batch.
    other = np.hstack([X[:, :1], rng.standard_normal((40, 7))])
    both = krf.limit_diagonal(np.stack([X, other]), y, **options)
    assert relative(both.beta[0], limit.beta) < 1e-7
    alone = krf.limit_diagonal(other, y, **options)
    assert relative(both.beta[1], alone.beta) < 1e-7


def test_nearly_equal_rows_with_different_targets(backend):
    """Some beta of size 1e5 fits: not a stationary point at a relative loss of 2.5e-9."""
    X, y = [[1.0, 2.0, 3.0, 1.0], [1.0, 2.0, 3.0 + 1e-9, 1.0]], [1.0, 1.0001]
    flow = krf.flow_diagonal(X, y, alpha=1.0, backend=backend)
    assert flow.status == Status.CONVERGED
    assert np.abs(flow.beta).max() > 1e5
    limit = krf.limit_diagonal(X, y, alpha=1.0, tol=1e-8, backend=backend)
    assert limit.status == Status.CONVERGED
    assert np.abs(limit.beta).max() > 1e5
    # Rounding errors of beta, 1e5 eps, move the residual by as much as the default tolerance, so
    # that chance decides whether it is met; a stationary point it is not.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", krf.ConvergenceWarning)
        tight = krf.limit_diagonal(X, y, alpha=1.0, backend=backend)
    assert tight.status != Status.STATIONARY
    assert tight.loss < 1e-16
    assert np.abs(tight.beta).max() > 1e5


def test_a_limit_from_a_start_of_one_sign(backend):
    """w_minus next to nothing: a Kullback-Leibler projection, with equal entries by symmetry."""
    limit = krf.limit_diagonal(
        [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]], [1.0, 0.4], alpha=1.0, w_plus0=1.0,
        w_minus0=1e-100, backend=backend,
    )  # fmt: skip
    assert limit.status == Status.CONVERGED
    assert np.allclose(limit.beta, [0.2, 0.3, 0.2, 0.3], rtol=1e-8)


def test_a_loss_that_is_reached_at_the_start(backend):
    for seed in range(20):
        X, y, _ = krf.datasets.sparse_regression(13, 30, 3, seed=seed)
        flow = krf.flow_diagonal(X, y, alpha=0.1, stop_loss=1.0, backend=backend)
        assert flow.status == Status.CONVERGED
        assert flow.t == 0.0


@st.composite
def designs(draw):
    """Tall and wide, with dependent rows and columns, of which some are categories."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, d = draw(st.integers(2, 9)), draw(st.integers(1, 6))
    X = rng.standard_normal((n, d))
    if draw(st.booleans()):
        X = np.hstack([np.ones((n, 1)), np.eye(3)[rng.integers(0, 3, n)], X[:, :1]])
    if draw(st.booleans()):
        X[-1] = X[0]
    y = X @ rng.standard_normal(X.shape[1])
    if draw(st.booleans()):
        y = y + 0.3 * rng.standard_normal(n)
    return X, y, draw(st.sampled_from([2, 3, 4])), 10.0 ** draw(st.floats(-1.3, 0.5))


@SETTINGS
@given(designs())
def test_no_status_is_false(backend, problem):
    """A status that claims something is held against the weights' flow and least squares."""
    X, y, depth, alpha = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", krf.ConvergenceWarning)
        flow = krf.flow_diagonal(X, y, alpha=alpha, depth=depth, backend=backend)
        limit = krf.limit_diagonal(X, y, alpha=alpha, depth=depth, backend=backend)
    fitted = X @ np.linalg.lstsq(X, y, rcond=None)[0]
    rest = np.sum((y - fitted) ** 2)
    for end in (flow, limit):
        assert np.all(np.isfinite(end.beta))
        assert end.status != Status.FAILED
        assert np.isclose(end.loss, np.sum((X @ end.beta - y) ** 2), rtol=1e-6, atol=1e-20)
        if end.status == Status.STATIONARY:
            assert rest > 1e-12 * (y @ y)
            assert np.linalg.norm(X @ end.beta - fitted) < 1e-5 * np.linalg.norm(y)
        if end.status == Status.CONVERGED:
            assert end.loss <= 1.01e-12 * (y @ y)
    size = np.linalg.norm(limit.beta)
    assert np.linalg.norm(flow.beta - limit.beta) < 1e-3 * size
    times = np.linspace(0.0, min(float(flow.t), 2.0), 4)[1:]
    if times[0] > 0.0:
        start = [np.full(X.shape[1], alpha)] * 2
        with np.errstate(all="ignore"):  # trial steps of DOP853 may overflow; its result does not
            expected = weight_space_flow(X, y, *start, depth, times)
        path = krf.flow_diagonal(X, y, alpha=alpha, depth=depth, t_eval=times, backend=backend)
        assert relative(path.beta, expected).max() < 1e-5


def real_designs():
    """Data that ship with scikit-learn: raw, standardised, with categories beside an intercept."""
    data = pytest.importorskip("sklearn.datasets")
    for name in ("diabetes", "wine", "iris", "breast_cancer", "linnerud"):
        load = getattr(data, f"load_{name}")
        X, y = load(return_X_y=True, **({"scaled": False} if name == "diabetes" else {}))
        y = np.asarray(y, dtype=np.float64).reshape(len(X), -1)[:, 0]
        standard = (X - X.mean(axis=0)) / X.std(axis=0)
        group = np.digitize(X[:, 0], np.quantile(X[:, 0], [0.25, 0.5, 0.75]))
        hot = np.hstack([np.ones((len(X), 1)), np.eye(4)[group], standard[:, 1:]])
        yield from ((f"{name} raw", X, y), (f"{name} standardised", standard, y),
                    (f"{name} one-hot", hot, y))  # fmt: skip


@pytest.mark.parametrize("depth", [2, 3])
def test_real_data_end_at_least_squares(backend, depth):
    for name, X, y in real_designs():
        y = y - y.mean() if "standardised" in name else y
        # Columns of length one keep the reference's own digits.
        lengths = np.linalg.norm(X, axis=0)
        fitted = X @ (np.linalg.lstsq(X / lengths, y, rcond=None)[0] / lengths)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", krf.ConvergenceWarning)
            limit = krf.limit_diagonal(X, y, alpha=0.3, depth=depth, backend=backend)
            flow = krf.flow_diagonal(
                X, y, alpha=0.3, depth=depth, backend=backend, max_steps=20_000
            )
        for end in (limit, flow):
            assert end.status in (Status.STATIONARY, Status.MAX_STEPS, Status.FAILED), name
            if end.status == Status.STATIONARY:
                assert np.linalg.norm(X @ end.beta - fitted) < 1e-6 * np.linalg.norm(y), name
        assert limit.status == Status.STATIONARY, name
        if "raw" not in name:
            assert kkt_violation(X, limit.beta, 0.3, depth) < 1e-6, name
            assert flow.status == Status.STATIONARY, name
