"""Factorisations under margin losses: against the weights, closed forms, and their known ends."""

import mpmath
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import factor_margin_flow
from scipy.special import expi, logsumexp

import kernelrich_fast as krf
from kernelrich_fast import Status
from kernelrich_fast.equations.margins import log_loss_values

pytestmark = pytest.mark.usefixtures("compiled")
LOSSES = ("exponential", "logistic")
SMALLEST = -690.0  # about the logarithm of the smallest normal double


def completion(d1=6, d2=5, rank=2, share=0.6, seed=0):
    """Signs of a matrix of low rank at some entries: a mask, and the labels."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((d1, rank)) @ rng.standard_normal((rank, d2))
    mask = rng.random((d1, d2)) < share
    return mask, np.sign(truth)[mask]


def measured(mask):
    """The observed entries as matrices X_i."""
    X = np.zeros((mask.sum(), *mask.shape))
    X[np.arange(len(X)), *np.nonzero(mask)] = 1.0
    return X


def starts(d1, d2, width, alpha, seed=1):
    rng = np.random.default_rng(seed)
    return alpha * rng.standard_normal((d1, width)), alpha * rng.standard_normal((d2, width))


def log_loss(loss, margins):
    return logsumexp(log_loss_values(loss, margins), axis=-1)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["entries", "measurements", "symmetric"])
@pytest.mark.parametrize("alpha", [1e-3, 1.0])
def test_against_the_weights_down_to_the_smallest_double(kind, loss, alpha):
    mask, y = completion()
    levels = np.array([0.5, -4.0, np.log(1e-12), -100.0, SMALLEST])
    U0, V0 = starts(6, 5, 3, alpha)
    X, given = measured(mask), {"entries": mask}
    if kind != "entries":
        rng = np.random.default_rng(3)
        X = rng.standard_normal((12, 6, 6 if kind == "symmetric" else 5))
        if kind == "symmetric":
            X, V0 = X + np.swapaxes(X, 1, 2), None
        y = np.sign(X.sum(axis=(1, 2)))
        given = {"measurements": X}
    passed = levels < log_loss(loss, y * _predictions(X, U0, V0))
    levels = levels[passed]
    exact, log_t = factor_margin_flow(X, y, U0, V0, loss, levels)
    for rtol in (1e-4, 1e-7):
        flow = krf.flow_factorization(
            y, **given, U0=U0, V0=V0, symmetric=V0 is None, loss=loss, log_loss_eval=levels,
            rtol=rtol,
        )  # fmt: skip
        assert flow.status == Status.CONVERGED
        error = np.linalg.norm(flow.M - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))
        assert error.max() <= 10 * rtol
        np.testing.assert_allclose(flow.log_loss, levels, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(log_loss(loss, flow.margins), levels, rtol=1e-10, atol=1e-9)
        assert np.all(np.abs(flow.log_t - log_t) <= 100 * rtol * np.maximum(1.0, -levels))


def _predictions(X, U, V):
    return np.einsum("nij,ij->n", X, U @ (U if V is None else V).T)


@pytest.mark.parametrize("loss", LOSSES)
def test_times_are_those_of_the_losses(loss):
    """The same flow asked for at ln L, at ln t and at t."""
    mask, y = completion()
    call = {"entries": mask, "alpha": [0.01, 0.5], "width": 4, "loss": loss, "rtol": 1e-8}
    levels = np.array([0.0, -3.0, -12.0])
    by_loss = krf.flow_factorization(y, **call, log_loss_eval=levels)
    for b in range(2):
        one = call | {"alpha": call["alpha"][b]}
        times = by_loss.t[b]
        by_time = krf.flow_factorization(y, **one, t_eval=times)
        np.testing.assert_allclose(by_time.t, times, rtol=1e-12)
        np.testing.assert_allclose(by_time.log_loss, levels, atol=1e-6)
        by_log = krf.flow_factorization(y, **one, log_t_eval=np.log(times))
        np.testing.assert_allclose(by_log.M, by_time.M, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(by_time.M, by_loss.M[b], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("w0", [1e-3, 0.5])
def test_one_weight_is_an_exponential_integral(w0):
    """M = w^2 under exp(-M): with u = w^2, 4 t = Ei(u) - Ei(u0)."""
    levels = np.array([-0.5, -3.0, -50.0, -600.0])
    t = 0.25 * (expi(-levels) - expi(w0**2))
    for rtol in (1e-4, 1e-6, 1e-8):
        flow = krf.flow_factorization(
            [1.0], measurements=[[[1.0]]], symmetric=True, U0=[[w0]], loss="exponential",
            log_loss_eval=levels, rtol=rtol,
        )  # fmt: skip
        np.testing.assert_allclose(flow.M[:, 0, 0], -levels, rtol=1e-10)
        assert np.all(np.abs(flow.log_t - np.log(t)) <= 100 * rtol * np.maximum(1.0, -levels))


def test_far_below_every_double():
    """The time of a single weight is known there too: Ei(u) = e^u / u (1 + 1 / u + ...)."""
    flow = krf.flow_factorization(
        [1.0], measurements=[[[1.0]]], symmetric=True, U0=[[0.1]], loss="exponential",
        log_loss_eval=[-1e6, -1e9], rtol=1e-8,
    )  # fmt: skip
    assert flow.status == Status.CONVERGED
    for u, log_t in zip((1e6, 1e9), flow.log_t, strict=True):
        expected = mpmath.mpf(u) - mpmath.log(4 * u) + mpmath.log1p(1 / mpmath.mpf(u))
        assert abs(log_t - float(expected)) <= 1e-6 * u
    assert flow.loss.tolist() == [0.0, 0.0]
    assert np.isinf(flow.t).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", [0, 2])
def test_a_wide_factorisation_ends_at_the_maximum_margin_in_the_nuclear_norm(seed, loss):
    """No M with all margins at least one has a nuclear norm below sum(theta) / |S|, for any theta
    >= 0, S = sum_i theta_i y_i X_i and its spectral norm; the direction comes close to it.
    """
    mask, y = completion(6, 7, 2, 0.6, seed)
    flow = krf.flow_factorization(
        y, entries=mask, alpha=1e-3, width=20, loss=loss, stop_log_loss=-1e9, rtol=1e-8
    )
    assert flow.status == Status.CONVERGED
    direction = flow.direction
    np.testing.assert_allclose((y * direction[mask]).min(), 1.0, rtol=1e-12)
    U, s, Vt = np.linalg.svd(direction)
    kept = s > 1e-2 * s[0]
    U1, V1 = U[:, : len(s)][:, kept], Vt[: len(s)][kept].T
    X = measured(mask) * y[:, None, None]
    # At the minimiser S V1 = U1 and S^T U1 = V1.
    images = [X @ V1, np.swapaxes(X, 1, 2) @ U1]
    left = np.concatenate([each.reshape(len(X), -1) for each in images], axis=1)
    theta, _ = scipy.optimize.nnls(left.T, np.concatenate([U1.ravel(), V1.ravel()]))
    bound = theta.sum() / np.linalg.norm(np.einsum("n,nij->ij", theta, X), 2)
    assert bound <= s.sum() <= (1.0 + 1e-4) * bound


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("alpha", [1e-3, 1.0])
def test_labels_that_no_matrix_fits_end_at_the_minimum(loss, alpha):
    """The loss is convex in M, and factors as wide as M see all of it."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((60, 3, 4)), np.sign(rng.standard_normal(60))
    flow = krf.flow_factorization(
        y, measurements=X, alpha=alpha, width=7, loss=loss, stop_log_loss=-50.0, rtol=1e-8
    )
    assert flow.status == Status.STATIONARY
    rows = y[:, None] * X.reshape(60, -1)

    def value(m):
        margins = rows @ m
        if loss == "exponential":
            return np.exp(-margins).sum(), -np.exp(-margins) @ rows
        return np.logaddexp(0.0, -margins).sum(), -1.0 / (1.0 + np.exp(margins)) @ rows

    best = scipy.optimize.minimize(value, np.zeros(12), jac=True, method="BFGS", tol=1e-10)
    np.testing.assert_allclose(flow.M.ravel(), best.x, atol=1e-5)
    assert flow.loss == pytest.approx(best.fun, rel=1e-10)
    later = krf.flow_factorization(
        y, measurements=X, alpha=alpha, width=7, loss=loss, t_eval=[1.0, 1e6], rtol=1e-8
    )
    np.testing.assert_allclose(later.M[-1].ravel(), best.x, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_a_loss_that_falls_towards_infinity_is_not_at_rest(alpha):
    """One label is met by M22 -> infinity, the other by M11 = 0: its row shrinks for ever."""
    times = [0.0, 5.0, 10.0, 20.0, 100.0]
    call = {"symmetric": True, "loss": "exponential", "log_t_eval": times}
    w = alpha * np.array([[1.0, 0.3], [0.2, 0.9]])
    both = krf.flow_factorization([-1.0, 1.0], entries=([0, 1], [0, 1]), U0=w, **call)
    alone = krf.flow_factorization([1.0], entries=([1], [1]), U0=w, **call)
    assert both.status == Status.T_END
    np.testing.assert_allclose(both.M[:, 1, 1], alone.M[:, 1, 1], rtol=1e-5)


def test_a_state_does_not_depend_on_the_times_beside_it():
    """Labels that width 1 cannot fit: M grows for ever, and the loss falls towards its infimum."""
    ones = np.ones((2, 2), dtype=bool)
    call = {"entries": ones, "alpha": 0.1, "width": 1, "loss": "exponential"}
    found = [
        krf.flow_factorization([1, 1, 1, -1], **call, log_t_eval=times).M[-1]
        for times in ([26.0], [10.0, 24.0, 26.0], [10.0, 15.0, 18.0, 20.0, 22.0, 24.0, 26.0])
    ]
    exact = krf.flow_factorization([1, 1, 1, -1], **call, log_t_eval=[26.0], rtol=1e-9).M[-1]
    for M in found:
        assert np.linalg.norm(M - exact) <= 1e-5 * np.linalg.norm(exact)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("share", [1e-4, 1e-8, 1e-11])
def test_a_saddle_is_left(share, loss):
    """The growing direction is neither a row nor a column, and a small share of the only column."""
    blocks = [np.diag([0.0, 1.0])] * 3 + [np.diag([1.0, 0.0])] * 5
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))[0]
    X, y = np.array([Q @ A @ Q.T for A in blocks]), [1, 1, -1, 1, 1, 1, 1, -1]
    flow = krf.flow_factorization(
        y, measurements=X, symmetric=True, U0=Q @ np.array([[share], [1.0]]), loss=loss
    )
    assert flow.status == Status.STATIONARY
    # Two of three, and four of five, labels agree: each block ends at its own best.
    one = (lambda m: np.exp(-m)) if loss == "exponential" else (lambda m: np.logaddexp(0.0, -m))
    best = sum(
        scipy.optimize.minimize_scalar(
            lambda m, wrong=wrong, right=right: right * one(m) + wrong * one(-m)
        ).fun
        for right, wrong in ((2, 1), (4, 1))
    )
    assert flow.loss == pytest.approx(best, rel=1e-9)


def test_margins_that_rounding_hides_end_a_run_at_once():
    mask, y = completion()
    with pytest.warns(krf.ConvergenceWarning):
        flow = krf.flow_factorization(y, entries=mask, alpha=1e9, width=3, loss="logistic")
    assert flow.status == Status.MAX_STEPS
    assert flow.n_steps < 10


def test_times_long_before_the_first_step():
    mask, y = completion()
    asked = [-500.0, -100.0, -50.0, -33.0, 0.0]
    flow = krf.flow_factorization(
        y, entries=mask, alpha=0.1, width=2, loss="logistic", log_t_eval=asked
    )
    np.testing.assert_allclose(flow.log_t, asked, atol=1e-6)


@given(
    st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 10**6),
    st.sampled_from(LOSSES), st.floats(-4.0, 0.5),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_symmetries_and_a_falling_loss(d1, d2, width, seed, loss, log_alpha):
    """Turned factors, other signs, other orders of samples, and M^T: the same flow."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, d1 * d2 + 1))
    X = rng.standard_normal((n, d1, d2))
    star = rng.standard_normal((d1, width)) @ rng.standard_normal((width, d2))
    y = np.where(np.einsum("nij,ij->n", X, star) < 0.0, -1.0, 1.0)
    U0, V0 = starts(d1, d2, width, 10.0**log_alpha, seed)
    call = {"loss": loss, "log_t_eval": [-2.0, 0.0, 2.0, 5.0], "rtol": 1e-8}
    flow = krf.flow_factorization(y, measurements=X, U0=U0, V0=V0, **call)
    assert np.all(np.isfinite(flow.M))
    assert np.all(np.diff(flow.log_loss) <= 1e-9)
    Q = np.linalg.qr(rng.standard_normal((width, width)))[0]
    order = rng.permutation(n)
    size = np.abs(flow.M).max(axis=(1, 2), keepdims=True)

    def same(M):
        assert np.all(np.abs(M - flow.M) <= 1e-6 * size)

    same(krf.flow_factorization(y, measurements=X, U0=U0 @ Q, V0=V0 @ Q, **call).M)
    same(-krf.flow_factorization(-y, measurements=X, U0=-U0, V0=V0, **call).M)
    same(krf.flow_factorization(y[order], measurements=X[order], U0=U0, V0=V0, **call).M)
    turned = np.swapaxes(X, 1, 2)
    other = krf.flow_factorization(y, measurements=turned, U0=V0, V0=U0, **call)
    same(np.swapaxes(other.M, 1, 2))


def test_the_imbalance_is_conserved_at_every_loss():
    mask, y = completion()
    U0, V0 = starts(6, 5, 4, 0.3)
    flow = krf.flow_factorization(
        y, entries=mask, U0=U0, V0=V0, loss="logistic", log_loss_eval=[0.0, -20.0, -690.0]
    )
    balance = np.swapaxes(flow.U, -1, -2) @ flow.U - np.swapaxes(flow.V, -1, -2) @ flow.V
    size = np.linalg.norm(flow.gram, axis=(-2, -1)).max()
    np.testing.assert_allclose(
        balance, np.broadcast_to(U0.T @ U0 - V0.T @ V0, balance.shape), atol=1e-12 * size
    )


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"stop_loss": 1e-3}, "stop_loss"),
        ({"t_max": 1.0}, "t_max"),
        ({"method": "dopri5"}, "method"),
        ({"log_loss_eval": [-2.0, -1.0]}, "log_loss_eval"),
        ({"log_t_eval": [1.0], "t_eval": [1.0]}, "t_eval"),
        ({"log_loss_eval": [-1.0], "stop_log_loss": -2.0}, "stop_log_loss"),
        ({"stop_log_loss": -1e13}, "stop_log_loss"),
        ({"y": np.zeros(18)}, "y"),
        ({"loss": "hinge"}, "loss"),
        ({"loss": "squared", "stop_log_loss": -1.0}, "stop_log_loss"),
    ],
)
def test_what_does_not_go_together_is_named(changes, name):
    mask, y = completion()
    arguments = {"y": y[:18], "loss": "exponential"} | changes
    mask = mask & (np.cumsum(mask).reshape(mask.shape) <= 18)
    with pytest.raises((ValueError, TypeError), match=name):
        krf.flow_factorization(entries=mask, alpha=1.0, width=2, **arguments)


def test_too_many_samples_are_refused_before_any_work():
    with pytest.raises(ValueError, match="4096"):
        krf.flow_factorization(
            np.ones(4097), entries=np.divmod(np.arange(4097), 100), dims=(41, 100), alpha=1.0,
            width=1, loss="logistic",
        )  # fmt: skip
