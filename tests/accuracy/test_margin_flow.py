"""Flows of margin losses: against the weights, exact limits, and what is known at their ends."""

import itertools

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import margin_weight_flow
from scipy.special import logsumexp

import kernelrich_fast as krf
from kernelrich_fast import Status
from kernelrich_fast.equations.margins import (
    log_loss_slopes,
    log_loss_values,
    loss_curvatures,
    margin_weight_field,
)

pytestmark = pytest.mark.usefixtures("compiled")
LOSSES = ("exponential", "logistic")
DEPTHS = (2, 2.5, 3, 5)


def separable(n=10, d=30, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    star = np.zeros(d)
    star[:3] = [1.0, -1.0, 0.5]
    return X, np.sign(X @ star)


def log_loss(loss, margins):
    return logsumexp(log_loss_values(loss, margins), axis=-1)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_against_the_weights_down_to_1e_300(depth, loss):
    X, y = separable()
    rng = np.random.default_rng(1)
    plus, minus = 0.3 + rng.random(30), 0.3 + rng.random(30)
    levels = np.array([0.0, -4.0, np.log(1e-6), -100.0, np.log(1e-300)])
    exact, _ = margin_weight_flow(X, y, 0.4 * plus, 0.4 * minus, depth, loss, levels)
    for rtol in (1e-4, 1e-7):
        flow = krf.flow_diagonal(
            X, y, alpha=0.4, w_plus0=plus, w_minus0=minus, depth=depth, loss=loss,
            log_loss_eval=levels, rtol=rtol,
        )  # fmt: skip
        assert flow.status == Status.CONVERGED
        error = np.linalg.norm(flow.beta - exact, axis=1) / np.linalg.norm(exact, axis=1)
        assert error.max() <= 10 * rtol
        np.testing.assert_allclose(flow.log_loss, levels, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(log_loss(loss, flow.margins), levels, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(
            flow.beta, flow.w_plus**depth - flow.w_minus**depth, rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_real_time(depth, loss):
    X, y = separable()
    levels = np.array([0.0, -3.0, np.log(1e-5)])
    start = np.full(30, 0.5)
    exact, times = margin_weight_flow(X, y, start, start, depth, loss, levels, real_time=True)
    flow = krf.flow_diagonal(X, y, alpha=0.5, depth=depth, loss=loss, t_eval=times, rtol=1e-8)
    np.testing.assert_allclose(flow.log_loss, levels, atol=1e-6)
    np.testing.assert_allclose(flow.t, times, rtol=1e-12)
    error = np.linalg.norm(flow.beta - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert error.max() <= 1e-6
    ends = krf.flow_diagonal(X, y, alpha=0.5, depth=depth, loss=loss, log_loss_eval=levels)
    np.testing.assert_allclose(ends.log_t, np.log(times), atol=1e-5)
    by_log = krf.flow_diagonal(
        X, y, alpha=0.5, depth=depth, loss=loss, log_t_eval=np.log(times), rtol=1e-8
    )
    np.testing.assert_allclose(by_log.beta, flow.beta, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("depth", [2, 4])
@pytest.mark.parametrize("alpha", [1e-2, 0.5])
def test_real_time_of_one_sample_is_an_integral(depth, alpha):
    x = np.array([1.0, -0.6, 0.3, 0.0])

    def margin(s):  # s is the integral of exp(-margin) over time, and the weights are known in it
        if depth == 2:
            return 2.0 * alpha**2 * x @ np.sinh(4.0 * s * x)
        rise = 8.0 * s * x * alpha**2
        return alpha**4 * x @ ((1.0 - rise) ** -2 - (1.0 + rise) ** -2)

    levels = np.array([0.5, 5.0, 50.0, 300.0])
    largest = 10.0 if depth == 2 else (1.0 - 1e-13) / (8.0 * alpha**2)
    expected = []
    for level in levels:
        end = scipy.optimize.brentq(lambda s, m=level: margin(s) - m, 0.0, largest, xtol=1e-300)
        edges = end * (1.0 - np.append(0.5 ** np.arange(45), 0.0))
        pieces = [
            scipy.integrate.quad(lambda s, m=level: np.exp(margin(s) - m), a, b, epsrel=1e-12)[0]
            for a, b in itertools.pairwise(edges)
        ]
        expected.append(level + np.log(np.sum(pieces)))
    for rtol in (1e-4, 1e-6, 1e-8):
        flow = krf.flow_diagonal(
            x[None], [1.0], alpha=alpha, depth=depth, loss="exponential", log_loss_eval=-levels,
            rtol=rtol,
        )  # fmt: skip
        error = np.abs(flow.log_t - expected) / np.maximum(1.0, levels)
        assert error.max() <= 10 * rtol


def test_field_of_the_weights_is_minus_the_gradient():
    X, y = separable(4, 5)
    Z, depth = y[:, None] * X, 3.0
    rng = np.random.default_rng(2)
    w = 0.5 + rng.random(10)
    for loss in LOSSES:

        def total(w, loss=loss):
            return np.exp(log_loss(loss, Z @ (w[:5] ** depth - w[5:] ** depth)))

        exact = np.array([(total(w + 1e-6 * e) - total(w - 1e-6 * e)) / 2e-6 for e in np.eye(10)])
        found = np.concatenate(margin_weight_field(Z, w[:5], w[5:], depth, loss))
        np.testing.assert_allclose(found, -exact, rtol=1e-7)


def test_logarithms_of_the_losses_keep_their_digits():
    import mpmath

    margins = np.array([-1e3, -40.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 20.0, 39.0, 41.0, 700.0, 1e6])
    with mpmath.workdps(50):
        for m in margins:
            x = mpmath.mpf(float(m))
            value = mpmath.log1p(mpmath.exp(-x)) if m < 1e5 else mpmath.exp(-x)
            for found, exact in (
                (log_loss_values("logistic", m), mpmath.log(value)),
                (log_loss_slopes("logistic", m), -mpmath.log1p(mpmath.exp(x))),
                (loss_curvatures("logistic", m), 1 / (1 + mpmath.exp(-x))),
            ):
                assert abs(found - exact) <= 1e-14 * abs(exact) + 1e-300


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("depth", "alpha"), [(2, 0.1), (2, 5.0), (2.5, 0.3), (3, 0.3), (4, 1.0)])
def test_far_below_every_double(depth, alpha, loss):
    """Down to exp(-1e12), where the solver's own tight tolerance is the only reference."""
    X, y = separable()
    levels = [-1e3, -1e5, -1e8, -1e12]
    options = {"alpha": alpha, "depth": depth, "loss": loss, "log_loss_eval": levels}
    exact = krf.flow_diagonal(X, y, rtol=1e-8, **options)
    for rtol in (1e-3, 1e-6):
        flow = krf.flow_diagonal(X, y, rtol=rtol, **options)
        assert flow.status == Status.CONVERGED
        assert np.all(np.isfinite(flow.log_t))
        error = np.linalg.norm(flow.beta - exact.beta, axis=1)
        assert np.max(error / np.linalg.norm(exact.beta, axis=1)) <= 10 * rtol
        np.testing.assert_allclose(flow.log_loss, levels, rtol=1e-9)
        # t is exp(-ln L) over what lies between a power of ln L and its inverse.
        assert np.all(np.abs(flow.log_t + flow.log_loss) < 10 * np.log(-flow.log_loss))


def test_the_l1_maximum_margin_sets_in_far_below_1e_300():
    """The closer the smaller the loss; at 10^-300 still far away (Moroshko et al.)."""
    X, y = separable()
    least = np.abs(krf.theory.max_margin(X, y, "l1")).sum()
    levels = [np.log(1e-300), -1e6, -1e9, -1e12]
    flow = krf.flow_diagonal(X, y, alpha=[0.1, 1.0], loss="exponential", log_loss_eval=levels)
    excess = np.abs(flow.direction).sum(axis=-1) / least - 1.0
    assert np.all(np.diff(excess, axis=1) < 0.0)
    assert excess[0, 0] > 0.01
    assert excess[1, 0] > 0.05
    assert np.all(excess[:, -1] < 1e-3)
    np.testing.assert_allclose(flow.direction @ (y[:, None] * X).T >= 1.0 - 1e-9, True)


@pytest.mark.parametrize("depth", [2, 3])
def test_the_joint_limit_of_scale_and_accuracy(depth):
    """Beta / ln(1/L) tends to argmin Q_mu at the rate alpha^-D (Moroshko et al.)."""
    X, y = separable()
    mu, alphas = 0.5, {2: np.array([10.0, 30.0, 100.0]), 3: np.array([5.0, 12.0, 30.0])}[depth]
    limit = krf.margin_limit(X, y, mu=mu, depth=depth).beta
    gaps = []
    for alpha in alphas:
        level = -(alpha**depth) / mu
        flow = krf.flow_diagonal(
            X, y, alpha=alpha, depth=depth, loss="exponential", stop_log_loss=level, rtol=1e-9
        )
        gaps.append(np.linalg.norm(flow.beta / -level - limit) / np.linalg.norm(limit))
    rates = np.diff(np.log(gaps)) / np.diff(np.log(alphas))
    np.testing.assert_allclose(rates, -depth, atol=0.3)


def test_theta_grows_and_the_loss_falls():
    X, y = separable()
    levels = np.linspace(1.0, -50.0, 40)
    flow = krf.flow_diagonal(X, y, alpha=0.5, loss="logistic", log_loss_eval=levels)
    assert np.all(flow.dual >= 0.0)
    assert np.all(np.diff(flow.dual, axis=0) >= -1e-9)
    assert np.all(np.diff(flow.log_t) > 0.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_classes_that_nothing_separates_end_at_the_minimum(loss):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, 5))
    y = np.where(rng.random(60) < 0.5, -1.0, 1.0)
    flow = krf.flow_diagonal(X, y, alpha=[0.1, 1.0], depth=[[2], [3]], loss=loss)
    assert np.all(flow.status == Status.STATIONARY)
    exact = scipy.optimize.minimize(
        lambda b: log_loss(loss, y * (X @ b)), np.zeros(5), method="BFGS", options={"gtol": 1e-10}
    )
    np.testing.assert_allclose(flow.beta, np.broadcast_to(exact.x, flow.beta.shape), atol=1e-6)
    gradient = X.T @ (y * np.exp(log_loss_slopes(loss, flow.margins[0, 0])))
    assert np.abs(gradient).max() <= 1e-9 * np.abs(X).sum()
    assert np.all(np.isnan(flow.direction))


def standardised(data):
    X, y = data.data, data.target
    return (X - X.mean(axis=0)) / X.std(axis=0), 2.0 * y - 1.0


def test_breast_cancer_with_and_without_a_column_of_ones():
    sklearn = pytest.importorskip("sklearn.datasets")
    from sklearn.linear_model import LogisticRegression

    X, y = standardised(sklearn.load_breast_cancer())
    flow = krf.flow_diagonal(X, y, alpha=1.0, loss="logistic")
    assert flow.status == Status.STATIONARY
    fit = LogisticRegression(
        C=np.inf, fit_intercept=False, tol=1e-10, max_iter=100_000, solver="newton-cholesky"
    ).fit(X, y)
    np.testing.assert_allclose(flow.beta, fit.coef_[0], rtol=1e-4, atol=1e-4)

    ones = np.hstack([X, np.ones((len(X), 1))])
    deep = krf.flow_diagonal(ones, y, alpha=1.0, loss="logistic", stop_log_loss=-1e6)
    assert deep.status == Status.CONVERGED
    least = np.abs(krf.theory.max_margin(ones, y, "l1")).sum()
    assert 1.0 <= np.abs(deep.direction).sum() / least < 1.1


def test_digits_in_the_kernel_regime_are_the_support_vector_machine():
    sklearn = pytest.importorskip("sklearn.datasets")
    from sklearn.svm import SVC

    digits = sklearn.load_digits()
    chosen = np.isin(digits.target, (3, 5))
    X, y = digits.data[chosen], np.where(digits.target[chosen] == 3, 1.0, -1.0)
    X = X[:, X.std(axis=0) > 0.0]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    machine = SVC(kernel="linear", C=1e8, tol=1e-8).fit(
        np.vstack([X, -X]),
        np.r_[y, -y],  # symmetric, so that its intercept is zero
    )
    level = -1e4
    flow = krf.flow_diagonal(X, y, alpha=1e4, loss="exponential", stop_log_loss=level)
    least = np.linalg.norm(krf.theory.max_margin(X, y, "l2"))
    np.testing.assert_allclose(np.linalg.norm(machine.coef_[0]), least, rtol=1e-4)
    assert 1.0 - 1e-9 <= np.linalg.norm(flow.direction) / least < 1.01


def test_a_run_of_100_by_1000_reaches_1e_300_in_few_steps():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 1000))
    y = np.sign(X[:, :5].sum(axis=1))
    flow = krf.flow_diagonal(
        X, y, alpha=[0.1, 1.0], loss="exponential", stop_log_loss=np.log(1e-300)
    )
    assert np.all(flow.status == Status.CONVERGED)
    assert np.all(flow.n_steps < 100)


@given(
    st.integers(1, 6), st.integers(1, 8), st.integers(0, 1000), st.sampled_from(DEPTHS),
    st.sampled_from(LOSSES), st.floats(0.05, 3.0), st.sampled_from(["", "twice", "one", "same"]),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_edges_of_separability(n, d, seed, depth, loss, alpha, kind):
    """One point, points that repeat, equal margins, one class: an end, and an honest one."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.ones(n) if kind == "one" else np.where(rng.random(n) < 0.5, -1.0, 1.0)
    if kind == "twice":
        X, y = np.vstack([X, X]), np.r_[y, y]
    if kind == "same":
        X = y[:, None] * np.ones((n, d))
    flow = krf.flow_diagonal(
        X, y, alpha=alpha, depth=depth, loss=loss, stop_log_loss=-200.0, rtol=1e-5
    )
    assert flow.status in (Status.CONVERGED, Status.STATIONARY)
    assert np.all(np.isfinite(flow.beta))
    np.testing.assert_allclose(log_loss(loss, flow.margins), flow.log_loss, rtol=1e-9, atol=1e-9)
    slopes = log_loss_slopes(loss, flow.margins)
    p = np.exp(slopes - logsumexp(slopes))
    if flow.status == Status.STATIONARY:
        assert np.abs(X.T @ (y * p)).max() <= 1e-8 * max(1.0, np.abs(X).max())
    else:
        assert flow.margins.min() > 0.0


@given(st.sampled_from(DEPTHS), st.floats(0.2, 5.0), st.integers(0, 100))
@settings(deadline=None, max_examples=20)
def test_scaling_laws(depth, c, seed):
    """Data c times as large and weights c^(-1/D) times: margins stay, and time is another."""
    X, y = separable(6, 12, seed)
    levels = [0.0, -10.0, -1000.0]
    one = krf.flow_diagonal(
        X, y, alpha=0.7, depth=depth, loss="exponential", log_loss_eval=levels, rtol=1e-9
    )
    other = krf.flow_diagonal(
        c * X, y, alpha=0.7 * c ** (-1.0 / depth), depth=depth, loss="exponential",
        log_loss_eval=levels, rtol=1e-9,
    )  # fmt: skip
    np.testing.assert_allclose(other.margins, one.margins, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other.log_t - one.log_t, -2.0 / depth * np.log(c), atol=1e-5)


def test_a_scaled_loss_and_products():
    X, y = separable()
    plain = krf.flow_diagonal(X, y, alpha=0.5, loss="logistic", t_eval=[0.5, 2.0])
    mean = krf.flow_diagonal(X, y, alpha=0.5, loss="logistic", loss_scale=0.1, t_eval=[5.0, 20.0])
    np.testing.assert_allclose(mean.beta, plain.beta, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(mean.loss, 0.1 * plain.loss, rtol=1e-5)
    product = krf.flow_diagonal(
        X, y, alpha=0.5, loss="logistic", model="two_products", t_eval=[1.0, 4.0]
    )
    np.testing.assert_allclose(product.beta, plain.beta, rtol=1e-5, atol=1e-8)


def test_a_run_goes_on_from_where_another_ended():
    X, y = separable()
    whole = krf.flow_diagonal(
        X, y, alpha=0.5, loss="exponential", log_loss_eval=[-5.0, -50.0], rtol=1e-8
    )
    first = krf.flow_diagonal(X, y, alpha=0.5, loss="exponential", stop_log_loss=-5.0, rtol=1e-8)
    second = krf.flow_diagonal(
        X, y, start=first, loss="exponential", stop_log_loss=-50.0, rtol=1e-8
    )
    np.testing.assert_allclose(second.beta, whole.beta[1], rtol=1e-6, atol=1e-9)


def test_weights_without_w_minus_stay_positive(compiled):
    X = np.abs(separable(5, 12)[0])
    flow = krf.flow_diagonal(
        X, np.ones(5), alpha=0.3, w_minus0=0.0, loss="exponential", stop_log_loss=-100.0
    )
    assert flow.status == Status.CONVERGED
    assert np.all(flow.beta >= 0.0)
    assert np.all(flow.w_minus == 0.0)
    with pytest.raises(krf.BackendUnavailableError, match="w_minus0"):
        krf.flow_diagonal(
            X, np.ones(5), alpha=0.3, w_minus0=0.0, loss="exponential", backend="numpy"
        )


def test_rows_that_are_passed_at_the_start_are_the_start():
    X, y = separable()
    flow = krf.flow_diagonal(X, y, alpha=0.5, loss="exponential", t_eval=[0.0, 1.0])
    assert flow.log_t[0] == -np.inf
    np.testing.assert_array_equal(flow.beta[0], 0.0)
    np.testing.assert_allclose(flow.log_loss[0], np.log(10))
    done = krf.flow_diagonal(X, y, alpha=0.5, loss="exponential", stop_log_loss=10.0)
    assert done.status == Status.CONVERGED
    assert done.n_steps == 0


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"stop_loss": 1e-3}, "stop_loss"),
        ({"t_max": 1.0}, "t_max"),
        ({"averaged": True}, "averaged"),
        ({"method": "dopri5"}, "method"),
        ({"log_loss_eval": [-2.0, -1.0]}, "log_loss_eval"),
        ({"log_t_eval": [2.0, 1.0]}, "log_t_eval"),
        ({"log_t_eval": [1.0], "t_eval": [1.0]}, "t_eval"),
        ({"log_loss_eval": [-1.0], "stop_log_loss": -2.0}, "stop_log_loss"),
        ({"stop_log_loss": -1e13}, "stop_log_loss"),
        ({"y": np.zeros(10)}, "y"),
    ],
)
def test_what_does_not_go_with_a_margin_loss_is_named(changes, name):
    X, y = separable()
    arguments = {"y": y, "alpha": 1.0, "loss": "exponential"} | changes
    with pytest.raises((ValueError, TypeError), match=name):
        krf.flow_diagonal(X, **arguments)


def test_options_of_margin_losses_do_not_go_with_the_squared_one():
    X, y = separable()
    with pytest.raises(ValueError, match="stop_log_loss"):
        krf.flow_diagonal(X, y, alpha=1.0, stop_log_loss=-5.0)
