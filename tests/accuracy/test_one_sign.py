"""Networks without w_minus, beta = w_plus^D >= 0."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from conftest import relative
from fallback_cases import fallback_takes
from oracles import weight_decay_flow
from scipy.linalg import solve_triangular
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


@fallback_takes({"depth": 2}, {"depth": 2.5})
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


# A weight that is still asleep, or falls slowly, beside others that have settled, is no rest.
@pytest.mark.parametrize(
    ("alpha", "X", "y"),
    [
        (0.023, [[-5.5, 1.25, 1.54, 0.39], [-0.07, 0.02, -1.21, -6.74]], [-1.73, 0.68]),
        (0.2, [[-0.639, -0.137, -0.175, -0.04], [-1.58, 0.112, 0.032, 0.252]], [-0.101, -0.268]),
        (0.5, [[-0.639, -0.137, -0.175, -0.04], [-1.58, 0.112, 0.032, 0.252]], [-0.858, -2.197]),
    ],
)
def test_slow_weights_beside_those_at_rest(backend, alpha, X, y):
    X, y = np.array(X), np.array(y)
    options = dict(alpha=alpha, depth=3, w_minus0=0.0, rtol=1e-3, backend=backend)
    flow = krf.flow_diagonal(X, y, **options)
    least = X @ nnls(X, y)[0]
    assert flow.status in (krf.Status.STATIONARY, krf.Status.CONVERGED)
    assert np.linalg.norm(X @ flow.beta - least) < 1e-2 * np.linalg.norm(y)
    late = krf.flow_diagonal(X, y, t_eval=[1e3, 1e5, 1e7], **options)
    assert np.linalg.norm(X @ late.beta[-1] - least) < 1e-2 * np.linalg.norm(y)


def test_weights_that_have_fallen_below_the_doubles(backend):
    """Least squares over beta >= 0, where exp(-1e3) and less is all that is left of a weight."""
    X, y = np.array([[2.3, -0.7], [-2.2, -0.3], [-0.4, 0.9]]), np.array([-0.35, 0.5, -0.07])
    flow = krf.flow_diagonal(X, y, alpha=0.05, w_minus0=0.0, max_steps=2000, backend=backend)
    assert flow.status == krf.Status.STATIONARY
    assert relative(flow.beta, nnls(X, y)[0]) < 1e-5


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("depth", "rtol"), [(2, 1e-6), (2.5, 1e-6), (3, 1e-3), (5, 1e-6)])
def test_ends_of_badly_scaled_features(depth, rtol):
    for seed in range(60):
        rng = np.random.default_rng([seed, 15])
        n, d = rng.integers(1, 7, 2)
        X, y = (
            rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-1.5, 1.5, d),
            rng.standard_normal(n),
        )
        flow = krf.flow_diagonal(X, y, alpha=0.05, depth=depth, w_minus0=0.0, rtol=rtol)
        assert flow.status in (krf.Status.STATIONARY, krf.Status.CONVERGED)
        off = np.linalg.norm(X @ (flow.beta - nnls(X, y)[0]))
        assert off < max(10.0 * rtol, 1e-4) * np.linalg.norm(y)


def lasso_of_one_sign(X, y, lam):
    """The least |X beta - y|^2 + lam sum(beta) over beta >= 0, and its beta: all supports."""
    best = (y @ y, np.zeros(X.shape[1]))
    for on in map(list, chain.from_iterable(combinations(range(X.shape[1]), k) for k in (1, 2, 3))):
        q, r = np.linalg.qr(X[:, on])
        beta = np.zeros(X.shape[1])
        beta[on] = solve_triangular(
            r, q.T @ y - 0.5 * lam * solve_triangular(r, np.ones(len(on)), trans=1)
        )
        if np.all(beta >= 0.0):
            best = min(
                best, (np.sum((X @ beta - y) ** 2) + lam * beta.sum(), beta), key=lambda b: b[0]
            )
    return best[1]


@pytest.mark.parametrize("solve", [krf.flow_diagonal, krf.limit_diagonal])
def test_decay_leaves_no_weight_asleep_below_the_doubles(backend, solve):
    X = np.array(
        [[-2.7, -62.6, 0.0035, -9.31], [2.9, 4.6, 0.0101, -143.7], [-11.1, -4.76, -0.0044, -132.4]]
    )
    y, lam = np.array([1.4, -0.097, 0.126]), 0.0019
    end = solve(X, y, alpha=0.065, w_minus0=0.0, weight_decay=lam, backend=backend)
    assert end.status == krf.Status.STATIONARY
    expected = lasso_of_one_sign(X, y, lam)
    assert np.allclose(expected, [0.0, 0.0, 18.18918, 1.6129e-5], rtol=1e-4)
    assert np.allclose(end.beta, expected, rtol=1e-5, atol=1e-12)
