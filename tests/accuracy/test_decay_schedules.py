"""Weight decay that changes: rest is judged within one piece, and what follows a break is right."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import piecewise_log_weights
from scipy.optimize import nnls

import kernelrich_fast as krf

pytestmark = pytest.mark.usefixtures("compiled")


def relative(beta, exact):
    return np.linalg.norm(beta - exact) / np.linalg.norm(exact)


# The last coefficient b at which minus the derivative of the loss is lambda: 4 (2 - 2 b) for the
# squared loss, 2 / (1 + exp(2 b)) and 2 exp(-2 b) for the others.
@pytest.mark.parametrize(
    ("loss", "target", "last"),
    [
        ("squared", 2.0, 1.0 - 0.1 / 8.0), ("logistic", 1.0, 0.5 * np.log(2.0 / 0.1 - 1.0)),
        ("exponential", 1.0, 0.5 * np.log(2.0 / 0.1)),
    ],
)  # fmt: skip
def test_an_end_is_that_of_the_last_piece(loss, target, last):
    """At depth 2 the end does not depend on the way; a step ends at every break."""
    X, y, end = [[1.0, 2.0]], [target], np.array([0.0, last])
    for start in np.linspace(2.0, 60.0, 59):
        schedule = [(0.0, 0.5), (float(start), 0.1)]
        flow = krf.flow_diagonal(X, y, alpha=1.0, loss=loss, weight_decay=schedule)
        assert flow.status == krf.Status.STATIONARY
        assert relative(flow.beta, end) < 1e-5


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_a_predictor_that_has_died_grows_again(loss):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 20)), rng.standard_normal(8)
    y = y if loss == "squared" else np.sign(y)
    critical = np.abs(X.T @ y).max() * (2.0 if loss == "squared" else 0.5)
    lam = 0.5 * critical
    for start in np.geomspace(0.01, 3.0, 40):
        schedule = [(0.0, 4.0 * critical), (float(start), lam)]
        beta = krf.flow_diagonal(X, y, alpha=0.1, loss=loss, weight_decay=schedule).beta
        # The KKT conditions of L + lambda |beta|_1.
        f = X @ beta
        pull = X.T @ (2.0 * (y - f) if loss == "squared" else y / (1.0 + np.exp(y * f)))
        on = np.abs(beta) > 1e-4
        assert on.any()
        assert np.all(np.abs(pull) <= lam * (1.0 + 1e-4))
        np.testing.assert_allclose(pull[on], lam * np.sign(beta[on]), rtol=1e-4)


@pytest.mark.parametrize("depth", [2, 3])
def test_decay_that_ends_leaves_a_network_without_w_minus_on_its_way(depth):
    """It was called at rest where decay had let it rest; the plateau behind it is no end either."""
    rng = np.random.default_rng(6)
    X = rng.standard_normal((12, 5))
    y = X @ rng.uniform(0.3, 1.0, 5)
    y += 0.3 * rng.standard_normal(12)
    expected = nnls(X, y)[0]
    for start in np.linspace(4.0, 24.0, 9):
        decay = [(0.0, 1.0), (float(start), 0.0)]
        flow = krf.flow_diagonal(X, y, alpha=0.4, depth=depth, w_minus0=0.0, weight_decay=decay)
        assert flow.t > 2.0 * start
        assert relative(flow.beta, expected) < 1e-5


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
@pytest.mark.parametrize("kind", ["no fit", "one sign", "decay that fades"])
def test_the_dual_goes_on_where_the_residual_rests(kind, backend):
    """At rest d nu / dt is the residual, and nothing where that is rounding."""
    rng = np.random.default_rng(1)
    tall, labels = rng.standard_normal((40, 6)), np.sign(rng.standard_normal(40))
    times = [1e4, 1e8]
    X, y, options = {
        "no fit": (np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([1.0, 2.0]), {}),
        "one sign": (np.array([[1.0, 2.0]]), np.array([-1.0]), {"w_minus0": 0.0}),
        "decay that fades": (
            tall, labels,
            {"loss": "logistic", "weight_decay": krf.schedules.exponential(0.5, 1.0)},
        ),
    }[kind]  # fmt: skip
    flow = krf.flow_diagonal(X, y, alpha=0.5, t_eval=times, backend=backend, **options)
    assert flow.status == krf.Status.STATIONARY
    pull = y - X @ flow.beta[-1]
    if "loss" in options:
        pull = 0.5 / (1.0 + np.exp(y * (X @ flow.beta[-1])))
    gain = (flow.dual[1] - flow.dual[0]) / (times[1] - times[0])
    np.testing.assert_allclose(gain, pull, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
@pytest.mark.parametrize("decay", [0.0, krf.schedules.exponential(0.5, 1.0)])
def test_the_dual_of_a_fit_stays(decay, backend):
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((8, 20)), rng.standard_normal(8)
    flow = krf.flow_diagonal(
        X, y, alpha=0.5, weight_decay=decay, t_eval=[1e3, 1e12], backend=backend
    )
    np.testing.assert_allclose(flow.dual[0], flow.dual[1], rtol=1e-6)


# 1855: the first Newton correction after a break moved margins by 8, the next by little, because
# the matrix was that of margins far below zero; beta came out as 150 in place of 1.4.
@pytest.mark.parametrize("seed", [1855, 261, 1456, *range(40)])
def test_schedules_drawn_at_random(seed):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    X = rng.standard_normal((n, d))
    loss = ["logistic", "exponential", "squared"][seed % 3]
    y = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    depth, w0 = float(rng.choice([2.0, 2.4, 3.0, 5.0])), rng.uniform(0.1, 1.0, d)
    count = int(rng.integers(0, 4))
    starts = np.r_[0.0, np.cumsum(10 ** rng.uniform(-1.5, 1.3, count))]
    decays = np.where(rng.random(count + 1) < 0.25, 0.0, 10 ** rng.uniform(-2.0, 0.7, count + 1))
    pairs = list(zip(starts.tolist(), decays.tolist(), strict=True))
    times = np.sort(10 ** rng.uniform(-2.0, 1.8, 6))
    exact = piecewise_log_weights(X, y, w0, depth, pairs, times, loss)
    size = np.linalg.norm(exact, axis=-1)
    # What has fallen by more keeps the relative error that it had, and adds to it.
    left = size / np.maximum.accumulate(size)
    most, bounded = np.where(left > 0.01, 10.0, 30.0), left > 1e-10
    for rtol in (1e-2, 1e-4, 1e-6):
        flow = krf.flow_diagonal(
            X, y, alpha=1.0, w0=w0, depth=depth, loss=loss, weight_decay=pairs, t_eval=times,
            rtol=rtol,
        )  # fmt: skip
        error = np.linalg.norm(flow.beta - exact, axis=-1)
        assert np.all((error <= most * rtol * size)[bounded])


def test_a_loss_of_exp_minus_680_is_reached_after_decay():
    """Steps of 1e165 and more, whose matrices have entries whose squares underflow."""
    flow = krf.flow_diagonal(
        [[1.0, 2.0]], [1.0], alpha=0.5, weight_decay=[(0.0, 0.1), (1.0, 0.0)], loss="logistic",
        stop_log_loss=-680.0,
    )  # fmt: skip
    assert flow.status == krf.Status.CONVERGED
    assert flow.log_loss <= -680.0
    assert flow.n_steps < 10_000


def test_times_too_small_for_logarithms_are_refused():
    options = dict(alpha=0.5, loss="logistic", weight_decay=0.1)
    with pytest.raises(ValueError, match=r"^t_eval: "):
        krf.flow_diagonal([[1.0, 2.0]], [1.0], t_eval=[1e-320, 1.0], **options)
    flow = krf.flow_diagonal([[1.0, 2.0]], [1.0], t_eval=[0.0, 1e-299, 1.0], **options)
    assert flow.status == krf.Status.T_END


@pytest.mark.parametrize(
    "value", [np.zeros(3), [0.0, 0.0, 0.0], krf.schedules.exponential([0.0] * 3, 1)]
)
def test_decay_of_zero_has_its_shape(value):
    X, y = [[1.0, 2.0]], [1.0]
    assert krf.flow_diagonal(X, y, alpha=0.5, weight_decay=value).status.shape == (3,)
    assert krf.limit_diagonal(X, y, alpha=0.5, weight_decay=value).status.shape == (3,)
    flow = krf.flow_diagonal(
        X, y, alpha=0.5, weight_decay=value, loss="logistic", log_loss_eval=[-1.0, -9.0]
    )
    assert flow.beta.shape == (3, 2, 2)


@pytest.mark.parametrize("limit", [True, False])
def test_sweeps_keep_the_axis_of_a_decay_of_zero(limit):
    X, y = [[1.0, 2.0]], [2.0]
    ds = krf.sweep_diagonal(X, y, alpha=[0.5, 1.0], weight_decay=[0.0], limit=limit)
    assert dict(ds.sizes) == {"weight_decay": 1, "alpha": 2}
    with pytest.raises(ValueError, match="weight_decay"):
        krf.sweep_diagonal(X, y, alpha=0.5, weight_decay=[0.0, 0.0], limit=limit)


def test_a_kernel_of_zeros_has_no_distance():
    """Decay above the largest at which anything grows leaves no weight."""
    ds = krf.sweep_diagonal([[1.0, 2.0]], [2.0], alpha=1.0, weight_decay=[0.1, 10.0], limit=True)
    assert ds.l1_norm[1] == 0.0
    np.testing.assert_array_equal(np.isnan(ds.kernel_distance), [False, True])


@pytest.mark.parametrize(
    ("start", "decay", "rate", "named"),
    [
        ([0.0, 1.0], [0.1, -0.5], [0.0, 0.0], "decay"), ([0.0], [np.nan], [0.0], "decay"),
        ([0.0], [0.1], [-1.0], "rate"), ([0.0, 2.0, 1.0], [0.1] * 3, [0.0] * 3, "start"),
        ([1.0], [0.1], [0.0], "start"), ([0.0], [0.1, 0.2], [0.0], "start"),
    ],
)  # fmt: skip
def test_schedules_are_checked(start, decay, rate, named):
    with pytest.raises(ValueError, match=f"^{named}: "):
        krf.schedules.Schedule(start, decay, rate)


def test_schedules_take_lists_and_integers():
    schedule = krf.schedules.Schedule([0, 1], [1, 0], [0, 0])
    assert schedule.at([0.5, 2.0]).tolist() == [1.0, 0.0]
    flow = krf.flow_diagonal([[1.0, 2.0]], [2.0], alpha=0.5, weight_decay=schedule)
    assert flow.status == krf.Status.CONVERGED


def test_weights_that_decay_has_left_are_no_start():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((8, 20)), rng.standard_normal(8)
    for options in ({}, {"loss": "logistic"}):
        end = krf.flow_diagonal(X, np.sign(y), alpha=0.5, weight_decay=0.1, **options)
        with pytest.raises(ValueError, match=r"^start: "):
            krf.flow_diagonal(X, np.sign(y), start=end, **options)


def test_pictures_over_the_scale_want_one_decay():
    ds = krf.sweep_diagonal(
        [[1.0, 2.0]], [2.0], alpha=[0.1, 1.0], weight_decay=[0.1, 1.0], limit=True,
        beta_star=[0.0, 1.0],
    )  # fmt: skip
    for draw in (krf.plot.excess_norms, krf.plot.population_error):
        with pytest.raises(ValueError, match="weight_decay"):
            draw(ds)
        draw(ds.isel(weight_decay=0))
