"""A run that ends as STATIONARY is at rest: what still grows, and what rounding holds, is not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import lsq_linear

import kernelrich_fast as krf
from kernelrich_fast import Status

pytestmark = pytest.mark.usefixtures("compiled")


def ended(flow) -> list[str]:
    return [Status(int(status)).name for status in np.atleast_1d(flow.status)]


def logistic(start, t):
    """The weight m with m' = 4 m (1 - m)."""
    return 1.0 / (1.0 + (1.0 / start - 1.0) * np.exp(-4.0 * np.asarray(t)))


def opposite_signs(e, t):
    """The product u v of u' = 2 v and v' = 2 u, its flow while u v is far below 1, from e, -e/2."""
    return e**2 * ((0.25 * np.exp(2.0 * t)) ** 2 - (0.75 * np.exp(-2.0 * t)) ** 2)


# Factorisations: the norm of a small column or row falls at first, but a part of it grows.
@pytest.mark.parametrize("e", [1e-10, 1e-12, 1e-14, 1e-20])
@pytest.mark.parametrize("width", [1, 2])
def test_a_small_column_that_shrinks_first_grows_later(e, width):
    u = np.diag([1.0, e]) if width == 2 else np.array([[1.0], [e]])
    v = np.diag([1.0, -0.5 * e]) if width == 2 else np.array([[1.0], [-0.5 * e]])
    early = -0.5 * np.log(e) - 3.0
    flow = krf.flow_factorization(
        [1.0, 1.0], entries=([0, 1], [0, 1]), U0=u, V0=v, t_eval=[early, 100.0]
    )
    assert flow.M[0, 1, 1] == pytest.approx(opposite_signs(e, early), rel=1e-4)
    assert flow.M[1, 1, 1] == pytest.approx(1.0, abs=1e-5)
    assert Status.STATIONARY.name not in ended(flow)


@pytest.mark.parametrize("seed", range(12))
def test_the_second_mode_of_a_target_is_learned_from_tiny_starts(seed):
    q, p = (
        np.linalg.qr(np.random.default_rng(k + seed).standard_normal((4, 4)))[0] for k in (2, 52)
    )
    Y = np.outer(q[:, 0], p[:, 0]) + 1e-3 * np.outer(q[:, 1], p[:, 1])
    entries = np.nonzero(np.ones((4, 4)))
    flow = krf.flow_factorization(
        Y[entries], entries=entries, dims=(4, 4), alpha=1e-14, width=2, seed=2 + seed
    )
    assert ended(flow) == ["CONVERGED"]
    assert np.linalg.norm(flow.M - Y) <= 1e-5


def test_a_small_column_grows_under_a_margin_loss():
    X = np.zeros((3, 2, 2))
    X[0, 0, 0] = X[1, 0, 0] = X[2, 1, 1] = 1.0
    flow = krf.flow_factorization(
        [1, -1, 1], measurements=X, U0=[[1, 0], [0, 1e-13]], V0=[[0, 0], [0, -0.5e-13]],
        loss="logistic", t_eval=[50.0, 65.0, 1000.0],
    )  # fmt: skip
    # The logistic loss pulls at u and v by one half while the margin is small.
    growth = (0.25 * np.exp(0.5 * 50.0)) ** 2 * 1e-26
    assert flow.M[0, 1, 1] == pytest.approx(growth, rel=1e-4)
    assert flow.M[1, 1, 1] > 1.0
    assert ended(flow) == ["T_END"]


# Samples in different units: the weak one is fitted at its own pace.
@pytest.mark.parametrize(
    ("e", "rtol"), [(1e-4, 1e-9), (1e-5, 1e-6), (1e-7, 1e-6), (1e-8, 1e-6), (1e-3, 1e-10)]
)
def test_measurements_in_different_units(e, rtol):
    X = np.zeros((2, 2, 2))
    X[0, 0, 0], X[1, 1, 1] = 1.0, e
    times = np.array([0.1, 10.0])
    flow = krf.flow_factorization(
        [1.0, e], measurements=X, U0=0.5 * np.eye(2), V0=0.5 * np.eye(2), t_eval=times / e**2,
        rtol=rtol,
    )  # fmt: skip
    exact = logistic(0.25, times)
    assert np.abs(flow.M[:, 1, 1] - exact).max() <= 10 * rtol * np.sqrt(2.0)


@pytest.mark.parametrize(("start", "allowed"), [(1e-6, 10), (1e-15, 10), (1e-20, 10), (1e-60, 30)])
@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_one_entry_from_tiny_starts(start, allowed, rtol):
    """Around the time at which it grows to one half, log(1 / start^2) / 4."""
    times = 0.5 * np.log(1.0 / start) + np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    flow = krf.flow_factorization(
        [1.0], entries=([0], [0]), dims=(1, 1), U0=[[start]], V0=[[start]], t_eval=times, rtol=rtol
    )
    exact = logistic(start**2, times)
    assert np.max(np.abs(flow.M[:, 0, 0] - exact) / exact) <= allowed * rtol


# What only rounding holds is no stationary point.
@pytest.mark.parametrize("scale", [1e6, 1e7, 1e8, 1e10])
def test_factors_so_large_that_their_product_is_rounding(scale):
    """The residual may vanish by chance, in units of the rounding."""
    U0, V0 = scale * np.random.default_rng(0).standard_normal((2, 8, 3, 4))
    with pytest.warns(krf.ConvergenceWarning, match="MAX_STEPS"):
        flow = krf.flow_factorization([1.0, 2, -1], entries=([0, 1, 2], [0, 1, 1]), U0=U0, V0=V0)
    assert "STATIONARY" not in ended(flow)
    assert ended(flow).count("MAX_STEPS") >= 4
    assert np.all(flow.loss[flow.status == "CONVERGED"] <= 1e-11)


def test_a_symmetric_matrix_that_cannot_be_negative_ends_at_zero():
    flow = krf.flow_factorization([-1.0], entries=([0], [0]), dims=(1, 1), U0=[[1.0]],
                                  symmetric=True)  # fmt: skip
    assert ended(flow) == ["STATIONARY"]
    assert flow.M[0, 0] <= 1e-290
    late = krf.flow_factorization([-1.0], entries=([0], [0]), dims=(1, 1), U0=[[1.0]],
                                  symmetric=True, t_eval=[50.0, 100.0, 300.0])  # fmt: skip
    assert np.all(np.diff(late.M[:, 0, 0]) <= 0.0)


# Networks: a stiff direction is at rest while a small unit grows.
def two_units(u):
    return [np.array([[0.05, 0.0], [0.0, u]]), np.array([[1.0, u]])]


@pytest.mark.parametrize(("stiff", "rtol"), [(10.0, 1e-2), (10.0, 1e-4), (30.0, 1e-3)])
def test_a_small_unit_beside_a_thousand_samples(rtol, stiff):
    X = np.vstack([np.tile([[stiff, 0.0]], (1000, 1)), [[0.0, 1.0]]])
    flow = krf.flow_mlp(X, np.ones(1001), weights0=two_units(1e-4), rtol=rtol)
    assert ended(flow) == ["CONVERGED"]
    assert flow.predict(X)[-1] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("rtol", [1e-2, 1e-3, 1e-4])
def test_a_small_unit_beside_a_stiff_one_by_explicit_steps(rtol):
    X, u, times = np.diag([100.0, 1.0]), 1e-3, np.array([1.0, 4.0])
    flow = krf.flow_mlp(
        X, np.ones(2), weights0=[[[0.005, 0.0], [0.0, u]], [[1.0, u]]], method="dopri5", rtol=rtol,
        t_eval=times,
    )  # fmt: skip
    assert np.abs(flow.predict(X)[:, 1] - logistic(u**2, times)).max() <= 10 * rtol


def test_a_small_unit_beside_a_stiff_one_under_cross_entropy():
    """The second class's unit grows by half its gradient: from 1e-5 to order one at t = 34."""
    X, u = np.array([[100.0, 0.0], [100.0, 0.0], [0.0, 1.0]]), 1e-5
    weights = [np.array([[0.005, 0.0], [0.0, u]]), np.array([[0.5, u], [-0.2, -u]])]
    flow = krf.flow_mlp(X, [0, 1, 0], loss="cross_entropy", rtol=1e-2, t_eval=[34.5387764],
                        weights0=weights)  # fmt: skip
    assert flow.loss[0] == pytest.approx(1.39106, rel=1e-3)  # LSODA at 1e-11


@pytest.mark.parametrize(
    ("depth", "alpha", "good"),
    [(2, 1e3, True), (2, 1e4, True), (2, 1e6, False), (2, 1e8, False), (3, 1e3, True),
     (3, 1e5, False)],
)  # fmt: skip
def test_the_kernel_regime_ends_where_rounding_hides_the_data(depth, alpha, good):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 3)), rng.standard_normal(8)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if good else "ignore", krf.ConvergenceWarning)
        flow = krf.flow_mlp(X, y, depth=depth, alpha=alpha, antisymmetric=True, width=20)
    assert ended(flow) == ["CONVERGED" if good else "MAX_STEPS"]
    if good:
        assert np.linalg.norm(flow.predict(X) - y) <= 1e-5 * np.linalg.norm(y)


@pytest.mark.parametrize(
    ("depth", "weight"), [(2, 1e-170), (2, 1e-150), (4, 1e-60), (4, 1e-40), (8, 1e-25)]
)
def test_starts_whose_squares_underflow(depth, weight):
    flow = krf.flow_mlp([[1.0]], [1.0], weights0=[[[weight]]] * depth)
    assert ended(flow) == ["CONVERGED"]
    assert flow.predict([[1.0]]) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("method", ["auto", "dopri5", "exponential"])
@pytest.mark.parametrize("rtol", [1e-4, 1e-8])
@pytest.mark.parametrize("u", [1e-10, 1e-14, 1e-20])
def test_a_tiny_unit_beside_a_large_one_wakes_up_in_time(u, rtol, method):
    t = 0.5 * np.log(1.0 / u)
    flow = krf.flow_mlp(
        np.eye(2), [1.0, 1.0], weights0=[[[0.5, 0.0], [0.0, u]], [[0.5, u]]], t_eval=[t],
        rtol=rtol, method=method,
    )  # fmt: skip
    assert abs(flow.predict(np.eye(2))[0, 1] - logistic(u**2, t)) <= 10 * rtol * np.sqrt(2.0)


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-8])
def test_one_unit_slides_on_two_kinks(rtol):
    """As many as the network with a dead unit beside it, whose flow is the same."""
    X, y = np.array([[1.0, 0, 0], [0, 1, 0], [0.6, 0.6, 1]]), np.array([-3.0, -3, 3])
    options = dict(t_eval=[0.05, 0.2, 0.5, 1.0], rtol=rtol)
    alone = krf.flow_mlp(X, y, weights0=[[[0.3, 0.35, 1.0]], [[1.0]]], **options)
    beside = krf.flow_mlp(
        X, y, weights0=[[[0.3, 0.35, 1.0], [-1.0, -1.0, -1.0]], [[1.0, 0.0]]], **options
    )
    assert ended(alone) == ended(beside) == ["T_END"]
    assert np.array_equal(alone.predict(X), beside.predict(X))


def least_subgradient(flow, X, y):
    """The norm of the shortest subgradient of a two-layer network's loss, by bounded least squares:
    the ReLU's derivative is any number in [0, 1] where a unit is on the kink of a sample.
    """
    W, a = flow.weights
    Z, residual = X @ W.T, flow.predict(X) - y
    squares = float(np.sum((np.maximum(Z, 0.0).T @ residual) ** 2))
    for unit in range(W.shape[0]):
        terms = (a[0, unit] * residual)[:, None] * X
        kinks = np.abs(Z[:, unit]) < 1e-6
        fixed = terms[(Z[:, unit] > 0.0) & ~kinks].sum(axis=0)
        if kinks.any():
            fixed = lsq_linear(terms[kinks].T, -fixed, (0.0, 1.0), tol=1e-14).fun
        squares += float(fixed @ fixed)
    return 2.0 * np.sqrt(squares)


@pytest.mark.parametrize("method", ["auto", "exponential"])
@pytest.mark.parametrize("rtol", [1e-3, 1e-4, 1e-6])
@pytest.mark.parametrize(
    ("n", "d", "width", "seed"),
    [(12, 2, 3, 4), (40, 4, 2, 6), (12, 2, 2, 12), (12, 2, 3, 16), (40, 4, 2, 18), (40, 4, 3, 22),
     (9, 1, 5, 11), (9, 1, 5, 23), (20, 3, 3, 1), (20, 3, 2, 9)],
)  # fmt: skip
def test_networks_too_small_for_their_data_rest_at_a_minimum(n, d, width, seed, rtol, method):
    """Its units mostly slide on kinks there, and the residual stays; no long step may move them."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    flow = krf.flow_mlp(
        X, y, width=width, alpha=[0.1, 1.0][seed % 2], seed=seed, rtol=rtol, method=method
    )
    assert ended(flow) == ["STATIONARY"]
    size = np.linalg.norm(X) * np.linalg.norm(y)
    assert least_subgradient(flow, X, y) <= 1e-2 * rtol * size
    # The flow of a ReLU unit keeps |w|^2 - a^2, also on kinks.
    kept, kept0 = (np.sum(W**2, axis=1) - a[0] ** 2 for W, a in (flow.weights, flow.weights0))
    sizes = np.sum(flow.weights[0] ** 2, axis=1) + flow.weights[1][0] ** 2
    assert np.abs(kept - kept0).max() <= 20 * rtol * sizes.max()


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
@pytest.mark.parametrize("step", [0.3, 0.7, 0.1, 0.003])
def test_descent_ends_after_so_many_steps(step, backend):
    for k in (3, 7, 23, 114):
        flow = krf.flow_mlp(
            [[0.01]], [1.0], weights0=[[[0.5]], [[0.5]]], t_max=float(f"{k * step:.12g}"),
            stop_loss=0.0, method="gradient_descent", step_size=step, backend=backend,
        )  # fmt: skip
        assert flow.n_steps == k
