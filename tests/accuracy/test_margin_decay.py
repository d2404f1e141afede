"""Margin losses under weight decay: flows against the weights, ends against KKT conditions."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import relative
from fallback_cases import fallback_takes
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import weight_decay_flow
from scipy.special import expit, logsumexp
from sklearn.linear_model import LogisticRegression

import kernelrich_fast as krf
from kernelrich_fast import Status

LOSSES = ("exponential", "logistic")
SCHEDULES = {
    "constant": (0.05, lambda t: 0.05, ()),
    "falling": (krf.schedules.exponential(0.5, 1.0), lambda t: 0.5 * np.exp(-t), ()),
    "pieces": (
        [(0.02, 2.0), (0.5, 0.0), (1.5, 0.3)],
        lambda t: 0.0 if t < 0.02 else 2.0 if t < 0.5 else 0.0 if t < 1.5 else 0.3,
        (0.02, 0.5, 1.5),
    ),
}
TIMES = np.array([0.05, 0.3, 1.0, 3.0])


def labelled(n=8, d=20, seed=7, noise=0.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.sign(X[:, 0] - X[:, 1] + noise * rng.standard_normal(n))


def slopes(loss, m):
    """-l'(m)."""
    return np.exp(-m) if loss == "exponential" else expit(-m)


def log_loss(loss, m):
    return logsumexp(-m if loss == "exponential" else np.log(np.logaddexp(0.0, -m)), axis=-1)


def force(X, y, beta, loss):
    """Minus the gradient of L by beta."""
    return X.T @ (y * slopes(loss, y * (X @ beta)))


def polished(X, y, beta, lam, loss):
    """The minimum of L + lam |beta|_1 with the signs of beta, by Newton; its KKT conditions."""
    on = np.abs(beta) > 1e-4 * np.abs(beta).max() + 1e-9
    sign, exact, Z = np.sign(beta[on]), np.where(on, beta, 0.0), y[:, None] * X[:, on]
    for _ in range(20):
        p = slopes(loss, y * (X @ exact))
        curvature = p if loss == "exponential" else p * (1.0 - p)
        hessian = (Z.T * curvature) @ Z
        exact[on] += np.linalg.lstsq(hessian, Z.T @ p - lam * sign, rcond=None)[0]
    p = slopes(loss, y * (X @ exact))
    rounding = 1e-13 * (np.abs(X).T @ p)
    pull = force(X, y, exact, loss)
    assert np.all(np.abs(pull) <= lam * (1.0 + 1e-9) + rounding)
    assert np.all(np.abs(pull[on] - lam * sign) <= 1e-9 * lam + rounding[on])
    return exact


@fallback_takes(
    {"depth": 2, "alpha": 0.01, "loss": "logistic"}, {"depth": 3, "alpha": 0.1, "kind": "pieces"},
    {"depth": 6.5, "loss": "exponential"},
)  # fmt: skip
@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("depth", "alpha"), [(2, 0.5), (2, 0.01), (2.3, 0.3), (3, 0.5), (3, 0.1), (4, 0.5), (6.5, 0.5)]
)
def test_the_flow_on_the_weights(backend, depth, alpha, loss, kind):
    X, y = labelled()
    decay, function, breaks = SCHEDULES[kind]
    start = np.full(20, alpha)
    expected = weight_decay_flow(X, y, start, depth, function, breaks, TIMES, loss=loss)
    flow = krf.flow_diagonal(
        X, y, alpha=alpha, depth=depth, loss=loss, weight_decay=decay, t_eval=TIMES, rtol=1e-7,
        backend=backend,
    )  # fmt: skip
    assert relative(flow.beta, expected[0]).max() < 1e-6
    np.testing.assert_allclose(flow.w_plus, expected[1], rtol=1e-6)
    np.testing.assert_allclose(flow.w_minus, expected[2], rtol=1e-6)
    np.testing.assert_allclose(flow.penalty, (flow.w_plus**2 + flow.w_minus**2).sum(-1))
    np.testing.assert_allclose(flow.margins, y * (flow.beta @ X.T), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(flow.log_loss, log_loss(loss, flow.margins), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(flow.t, TIMES)
    if backend == "numpy":  # whose dual has fewer digits than what follows asks for
        return
    # What the documentation says of the dual.
    schedule = decay if kind == "falling" else krf.schedules.piecewise(
        [(0.0, decay)] if kind == "constant" else decay
    )  # fmt: skip
    shrunk = np.exp(-2.0 * schedule.integral(TIMES))[:, None]
    z = (y * flow.dual) @ X
    if depth == 2:
        w_plus = alpha * np.exp(4.0 * z)
    else:
        speed = 2.0 * depth * (depth - 2.0)
        w_plus = (alpha ** (2.0 - depth) - speed * z) ** (-1.0 / (depth - 2.0))
    np.testing.assert_allclose(shrunk * w_plus, flow.w_plus, rtol=2e-5)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("seed", range(12))
def test_random_problems_at_many_tolerances(seed):
    """Starts, depths, noise and decay drawn at random; classes that overlap among them."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 12)), int(rng.integers(2, 12))
    X, y = rng.standard_normal((n, d)), np.where(rng.random(n) < 0.5, -1.0, 1.0)
    depth = float(rng.choice([2.0, rng.uniform(2.0, 3.0), rng.uniform(3.0, 8.0)]))
    lam, loss = 10.0 ** rng.uniform(-3.0, 0.0), LOSSES[seed % 2]
    w0 = rng.uniform(0.3, 1.0, d)
    times = np.array([0.05, 0.5, 2.0, 10.0])
    expected = weight_decay_flow(X, y, w0, depth, lambda t: lam, (), times, loss=loss)
    for rtol in (1e-3, 1e-6, 1e-9):
        flow = krf.flow_diagonal(
            X, y, alpha=1.0, w0=w0, depth=depth, loss=loss, weight_decay=lam, t_eval=times,
            rtol=rtol,
        )  # fmt: skip
        assert relative(flow.beta, expected[0]).max() < 10.0 * rtol


@fallback_takes(
    {"alpha": 1e-3, "lam": 1e-6, "noise": 0.0}, {"alpha": 0.5, "lam": 1e-3, "noise": 2.0},
    {"alpha": 1e-3, "lam": 0.1, "noise": 2.0}, {"alpha": 0.5, "lam": 30.0, "noise": 0.0},
)  # fmt: skip
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize("lam", [1e-6, 1e-3, 0.1, 30.0])
@pytest.mark.parametrize("alpha", [0.5, 1e-3])
def test_depth_two_ends_at_the_l1_penalised_minimum(backend, alpha, lam, noise, loss):
    """Convex, so the KKT conditions of what Newton makes of the end certify it."""
    X, y = labelled(30, 10, noise=noise)
    flow = krf.flow_diagonal(
        X, y, alpha=alpha, loss=loss, weight_decay=lam, rtol=1e-7, backend=backend
    )
    assert flow.status == Status.STATIONARY
    exact = polished(X, y, flow.beta, lam, loss)
    assert exact.any() == (np.max(np.abs(force(X, y, np.zeros(10), loss))) > lam)
    assert np.linalg.norm(flow.beta - exact) <= 1e-6 * np.linalg.norm(exact) + 1e-12


def test_logistic_regression_by_scikit_learn(backend):
    """The same minimum by coordinate descent."""
    X, y = labelled(60, 8, noise=2.0)
    for lam in (0.5, 5.0):
        expected = LogisticRegression(
            C=1.0 / lam, l1_ratio=1.0, solver="liblinear", fit_intercept=False, tol=1e-10,
            max_iter=100_000,
        ).fit(X, y).coef_[0]  # fmt: skip
        flow = krf.flow_diagonal(
            X, y, alpha=0.1, loss="logistic", weight_decay=lam, rtol=1e-7, backend=backend
        )
        np.testing.assert_allclose(flow.beta, expected, atol=1e-5)
        assert np.count_nonzero(np.abs(flow.beta) > 1e-6) == np.count_nonzero(expected)


@fallback_takes({"depth": 2.5, "lam": 1e-3}, {"depth": 8, "lam": 0.1})
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("depth", [2.5, 3, 4, 8])
@pytest.mark.parametrize("lam", [1e-3, 0.1])
def test_deeper_ends_are_stationary(backend, depth, lam, loss):
    X, y = labelled(30, 10, noise=1.0)
    flow = krf.flow_diagonal(
        X, y, alpha=0.6, depth=depth, loss=loss, weight_decay=lam, rtol=1e-7, backend=backend
    )
    assert flow.status == Status.STATIONARY
    on = np.abs(flow.beta) > 1e-3
    assert on.any()
    beta = flow.beta[on]
    slope = lam * (2.0 / depth) * np.sign(beta) * np.abs(beta) ** (2.0 / depth - 1.0)
    np.testing.assert_allclose(force(X, y, flow.beta, loss)[on], slope, rtol=2e-3)


@pytest.mark.parametrize("depth", [2, 3])
def test_decay_that_is_over_is_a_new_start(backend, depth):
    """After that, ln L falls as without decay, to the value that is asked for."""
    X, y = labelled()
    decay = [(0.0, 0.5), (1.0, 0.0)]
    options = dict(depth=depth, loss="exponential", rtol=1e-8, backend=backend)
    first = krf.flow_diagonal(X, y, alpha=0.5, weight_decay=decay, t_eval=[1.0, 50.0], **options)
    begun = krf.flow_diagonal(
        X, y, alpha=1.0, w_plus0=first.w_plus[0], w_minus0=first.w_minus[0], t_eval=[49.0],
        **options,
    )  # fmt: skip
    np.testing.assert_allclose(begun.beta[0], first.beta[1], rtol=1e-6, atol=1e-9)
    ended = krf.flow_diagonal(X, y, alpha=0.5, weight_decay=decay, stop_log_loss=-20.0, **options)
    assert ended.status == Status.CONVERGED
    assert ended.log_loss <= -20.0


@pytest.mark.parametrize("loss", LOSSES)
def test_rest_is_the_state_of_all_later_times(backend, loss):
    X, y = labelled(30, 10, noise=1.0)
    flow = krf.flow_diagonal(
        X, y, alpha=0.5, loss=loss, weight_decay=1.0, t_eval=[1.0, 1e3, 1e6], backend=backend
    )
    np.testing.assert_array_equal(flow.t, [1.0, 1e3, 1e6])
    np.testing.assert_allclose(flow.beta[1], flow.beta[2], rtol=1e-4, atol=1e-6)
    gained = flow.dual[2] - flow.dual[1]
    np.testing.assert_allclose(gained, 0.5 * slopes(loss, flow.margins[2]) * (1e6 - 1e3), rtol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 6), d=st.integers(1, 6), depth=st.sampled_from([2.0, 2.5, 3.0, 5.0]),
    log_lam=st.floats(-4.0, 1.0), seed=st.integers(0, 10**6), loss=st.sampled_from(LOSSES),
    one_sign=st.booleans(), alike=st.booleans(),
)  # fmt: skip
@pytest.mark.usefixtures("compiled")
def test_every_run_ends_at_a_stationary_point(n, d, depth, log_lam, seed, loss, one_sign, alike):
    """Duplicated samples, one class, overlap, one sign: L + lambda |w|^2 has a least value."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), np.where(rng.random(n) < 0.5, -1.0, 1.0)
    if alike:
        X[:] = X[0]
    lam = 10.0**log_lam
    flow = krf.flow_diagonal(
        X, y, alpha=0.7, depth=depth, loss=loss, weight_decay=lam, rtol=1e-9,
        w_minus0=np.zeros(d) if one_sign else None,
    )  # fmt: skip
    assert flow.status == Status.STATIONARY
    pull = force(X, y, flow.beta, loss)
    share = slopes(loss, flow.margins)
    # What 10 rtol of beta may make of it.
    known = 1e-8 * depth * np.abs(X).T @ (share * (np.abs(X) @ np.abs(flow.beta)))
    for w, sign in ((flow.w_plus, 1.0), (flow.w_minus, -1.0)):
        rate = sign * depth * pull * w ** (depth - 2.0) - 2.0 * lam  # of ln w
        there = w > 0.0
        unknown = known * w ** (depth - 2.0)
        assert np.all((rate <= 1e-4 * lam + unknown)[there])
        left = (np.abs(rate) - unknown) * w * w
        assert np.all(left <= 1e-4 * (lam * flow.penalty + flow.loss))


def test_what_does_not_go_together():
    X, y = labelled()
    options = dict(alpha=1.0, loss="logistic", weight_decay=0.1)
    with pytest.raises(ValueError, match="log_loss_eval: expected none with weight_decay"):
        krf.flow_diagonal(X, y, log_loss_eval=[-1.0], **options)
    with pytest.raises(ValueError, match="stop_log_loss: expected values between -690 and 690"):
        krf.flow_diagonal(X, y, stop_log_loss=-1e4, **options)
    with pytest.raises(ValueError, match="averaged: expected False"):
        krf.flow_diagonal(X, y, averaged=True, **options)
