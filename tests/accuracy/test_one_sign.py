"""Networks without w_minus, beta = w_plus^D >= 0."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import relative
from oracles import weight_decay_flow
from scipy.optimize import nnls

import kernelrich_fast as krf

TIMES = np.array([0.05, 0.5, 3.0])


@pytest.fixture(scope="module")
def wide():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((8, 20))
    return X, X[:, :3] @ np.array([1.0, 0.5, 0.7])


@pytest.fixture(scope="module")
def tall():
    rng = np.random.default_rng(6)
    return rng.standard_normal((30, 20)), rng.standard_normal(30)


def alone(X, y, alpha, depth, decay):
    """W_plus along the flow of |X w^D - y|^2."""
    start = np.full(X.shape[1], alpha)
    return weight_decay_flow(X, y, start, depth, lambda t: decay, (), TIMES, one_sign=True)[1]


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("depth", [2, 2.5, 3, 5])
def test_the_flow_on_the_weights(wide, tall, backend_and_method, depth, decay):
    backend, method = backend_and_method
    for X, y in (wide, tall):
        w = alone(X, y, 0.4, depth, decay)
        flow = krf.flow_diagonal(
            X, y, alpha=0.4, depth=depth, w_minus0=0.0, weight_decay=decay, t_eval=TIMES,
            rtol=1e-7, backend=backend, method=method,
        )  # fmt: skip
        assert relative(flow.beta, w**depth).max() < 1e-6
        assert np.all(flow.w_minus == 0.0)
        assert np.allclose(flow.w_plus, w, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("depth", [2, 2.5, 3, 5])
def test_ends(wide, tall, backend, depth):
    """A fit where there is one, non-negative least squares where there is none."""
    options = dict(alpha=[0.4, 1e-2], depth=depth, w_minus0=0.0, backend=backend)
    fits = krf.flow_diagonal(*wide, **options)
    assert np.all(fits.status == krf.Status.CONVERGED)
    assert np.all(fits.beta >= 0.0)
    ends = krf.flow_diagonal(*tall, **options)
    assert np.all(ends.status == krf.Status.STATIONARY)
    expected = nnls(*tall)[0]
    assert relative(ends.beta, expected).max() < 1e-5


def test_some_features_may_have_both_signs(wide, backend):
    X, y = wide
    minus = np.where(np.arange(20) < 10, 0.0, 1.0)
    flow = krf.flow_diagonal(
        X, -y, alpha=0.4, w_minus0=minus, stop_loss=1e-16, rtol=1e-8, backend=backend
    )
    assert flow.status == krf.Status.CONVERGED
    assert np.all(flow.beta[:10] >= 0.0)
    assert np.all(flow.w_minus[:10] == 0.0)
    # The same, with the first ten features at the tiniest weights that never matter.
    tiny = np.where(minus > 0.0, minus, 1e-140)
    close = krf.flow_diagonal(X, -y, alpha=0.4, w_minus0=tiny, t_eval=[0.1, 0.5], rtol=1e-8)
    same = krf.flow_diagonal(
        X, -y, alpha=0.4, w_minus0=minus, t_eval=[0.1, 0.5], rtol=1e-8, backend=backend
    )
    assert relative(same.beta, close.beta).max() < 1e-7


def test_a_batch_of_both_is_its_runs_one_by_one(wide, backend):
    X, y = wide
    minus = np.stack([np.zeros(20), np.ones(20)])
    both = krf.flow_diagonal(X, y, alpha=0.3, w_minus0=minus, backend=backend)
    for i in range(2):
        one = krf.flow_diagonal(X, y, alpha=0.3, w_minus0=minus[i], backend=backend)
        assert np.array_equal(both.beta[i], one.beta)


def test_limits_and_w_plus_of_zero_are_refused(wide):
    X, y = wide
    with pytest.raises(ValueError, match="w_minus0: expected positive values for a limit"):
        krf.limit_diagonal(X, y, alpha=0.4, w_minus0=0.0)
    for name in ("w0", "w_plus0"):
        with pytest.raises(ValueError, match=f"{name}: expected positive"):
            krf.flow_diagonal(X, y, alpha=0.4, **{name: 0.0})
