"""Weight decay: along the flow against the weights by SciPy, at its end against KKT conditions."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from conftest import relative
from fallback_cases import fallback_takes
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import piecewise_log_weights, weight_decay_flow
from scipy.integrate import simpson

import kernelrich_fast as krf

SCHEDULES = {
    "constant": (0.3, lambda t: 0.3, ()),
    "falling": (krf.schedules.exponential(0.5, 1.0), lambda t: 0.5 * np.exp(-t), ()),
    "pieces": (
        [(0.02, 2.0), (0.5, 0.0), (1.5, 0.7)],
        lambda t: 0.0 if t < 0.02 else 2.0 if t < 0.5 else 0.0 if t < 1.5 else 0.7,
        (0.02, 0.5, 1.5),
    ),
}
TIMES = np.array([0.05, 0.3, 1.0, 3.0])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(7)
    X = rng.standard_normal((8, 20))
    return X, X[:, 0] - X[:, 1] + 0.5 * X[:, 2] + 0.1 * rng.standard_normal(8)


def lasso(X, y, lam):
    """Argmin |X beta - y|^2 + lam |beta|_1 by coordinate descent."""
    Q, beta = X.T @ X, np.zeros(X.shape[1])
    for _ in range(200_000):
        before = beta.copy()
        for i in range(len(beta)):
            pull = X[:, i] @ (y - X @ beta) + Q[i, i] * beta[i]
            beta[i] = np.sign(pull) * max(abs(pull) - lam / 2.0, 0.0) / Q[i, i]
        if np.max(np.abs(beta - before)) < 1e-15:
            break
    return beta


@fallback_takes({"depth": 2, "alpha": 0.01}, {"depth": 3, "alpha": 0.1}, {"depth": 6.5})
@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize(
    ("depth", "alpha"), [(2, 0.5), (2, 0.01), (2.3, 0.3), (3, 0.5), (3, 0.1), (4, 0.5), (6.5, 0.5)]
)
def test_the_flow_on_the_weights(data, backend_and_method, depth, alpha, kind):
    X, y = data
    backend, method = backend_and_method
    decay, function, breaks = SCHEDULES[kind]
    expected = weight_decay_flow(X, y, np.full(20, alpha), depth, function, breaks, TIMES)
    flow = krf.flow_diagonal(
        X, y, alpha=alpha, depth=depth, weight_decay=decay, t_eval=TIMES, rtol=1e-7, method=method,
        backend=backend,
    )  # fmt: skip
    assert relative(flow.beta, expected[0]).max() < 1e-6
    assert np.allclose(flow.w_plus, expected[1], rtol=1e-6, atol=0.0)
    assert np.allclose(flow.w_minus, expected[2], rtol=1e-6, atol=0.0)
    assert np.allclose(flow.penalty, (expected[1] ** 2 + expected[2] ** 2).sum(-1), rtol=1e-6)
    assert np.allclose(flow.loss, ((flow.beta @ X.T - y) ** 2).sum(-1), rtol=1e-9)
    if backend == "numpy":  # whose dual has fewer digits than what follows asks for
        return
    # What the documentation says of the dual.
    schedule = decay if kind == "falling" else krf.schedules.piecewise(
        [(0.0, 0.3)] if kind == "constant" else decay
    )  # fmt: skip
    shrunk = np.exp(-2.0 * schedule.integral(TIMES))[:, None]
    z = flow.dual @ X
    if depth == 2:
        w_plus = alpha * np.exp(4.0 * z)
    else:
        speed = 2.0 * depth * (depth - 2.0)
        w_plus = (alpha ** (2.0 - depth) - speed * z) ** (-1.0 / (depth - 2.0))
    assert np.allclose(shrunk * w_plus, flow.w_plus, rtol=2e-5)


@pytest.mark.parametrize("seed", range(6))
def test_random_starts_at_tight_tolerances(seed):
    """Starts, depths between 2 and 8 and decay drawn at random; ten digits."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((5, 12)), rng.standard_normal(5)
    depth, lam = rng.uniform(2.0, 8.0), rng.uniform(0.0, 0.5)
    w0 = rng.uniform(0.5, 1.0, 12)
    times = np.array([0.05, 0.5, 2.0])
    expected = weight_decay_flow(X, y, w0, depth, lambda t: lam, (), times)
    for method in ("auto", "radau5"):
        flow = krf.flow_diagonal(
            X, y, alpha=1.0, w0=w0, depth=depth, weight_decay=lam, t_eval=times, rtol=1e-10,
            method=method,
        )  # fmt: skip
        assert relative(flow.beta, expected[0]).max() < 1e-9
        assert np.allclose(flow.w_plus, expected[1], rtol=1e-9, atol=0.0)


# The first three were off by up to 23 rtol: of coordinates that fit alike, few remain, and which
# does is decided slowly, while others are already at rest.
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("seed", [27, 118, 287, *range(20)])
def test_coordinates_that_compete(seed, loss):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 3)), int(rng.integers(2, 8))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    depth = 2.0 if seed % 2 else float(rng.uniform(2.0, 3.0))
    lam = 10.0 ** rng.uniform(-3.0, 0.0)
    w0 = 10.0 ** rng.uniform(-2.0, 0.0) * rng.uniform(0.3, 1.0, d)
    times = np.array([0.3, 3.0, 30.0, 300.0]) / lam
    y = np.sign(y) if loss == "logistic" else y
    exact = piecewise_log_weights(X, y, w0, depth, [(0.0, lam)], times, loss)
    for rtol in (1e-4, 1e-6):
        flow = krf.flow_diagonal(
            X, y, alpha=1.0, w0=w0, depth=depth, weight_decay=lam, loss=loss, t_eval=times,
            rtol=rtol,
        )  # fmt: skip
        error = np.linalg.norm(flow.beta - exact, axis=-1)
        assert np.all(error <= 10.0 * rtol * np.linalg.norm(exact, axis=-1))  # some are zero


@fallback_takes(
    {"lam": 1e-3, "alpha": 1e-30}, {"lam": 0.3, "alpha": 1e-3}, {"lam": 3.0, "alpha": 0.5},
    {"lam": 50.0, "alpha": 0.5},
)  # fmt: skip
@pytest.mark.parametrize("lam", [1e-3, 0.3, 3.0, 50.0])
@pytest.mark.parametrize("alpha", [0.5, 1e-3, 1e-30])
def test_depth_two_ends_at_the_lasso(data, backend, lam, alpha):
    X, y = data
    expected = lasso(X, y, lam)
    flow = krf.flow_diagonal(X, y, alpha=alpha, weight_decay=lam, backend=backend)
    assert flow.status == krf.Status.STATIONARY
    assert np.linalg.norm(flow.beta - expected) < 1e-5 * np.linalg.norm(expected) + 1e-12
    limit = krf.limit_diagonal(X, y, alpha=alpha, weight_decay=lam, backend=backend)
    assert limit.status == krf.Status.STATIONARY
    assert np.linalg.norm(limit.beta - expected) <= 1e-12 * np.linalg.norm(expected)
    assert np.max(np.abs(X.T @ limit.dual)) <= 1.0 + 1e-9


@pytest.mark.parametrize("model", ["difference", "product", "two_products"])
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_the_lasso_of_every_model_and_loss_scale(data, model, scale):
    """The minimum of c |X beta - y|^2 + lambda |beta|_1; for products with 2 lambda."""
    X, y = data
    lam, factor = 0.3, 1.0 if model == "difference" else 2.0
    limit = krf.limit_diagonal(X, y, alpha=0.5, weight_decay=lam, model=model, loss_scale=scale)
    expected = lasso(X, y, factor * lam / scale)
    assert np.linalg.norm(limit.beta - expected) <= 1e-12 * np.linalg.norm(expected)
    dual = 2.0 * scale * (y - X @ limit.beta) / (factor * lam)
    np.testing.assert_allclose(limit.dual, dual, rtol=1e-9, atol=1e-12)
    # The objective holds the penalty of the weights, which at the end is |beta|_1.
    np.testing.assert_allclose(limit.penalty, factor * np.abs(limit.beta).sum(), rtol=1e-9)
    assert limit.to_dataset().penalty == limit.penalty


@fallback_takes({"depth": 2.5, "lam": 1e-3}, {"depth": 8, "lam": 0.3})
@pytest.mark.parametrize("depth", [2.5, 3, 4, 8])
@pytest.mark.parametrize("lam", [1e-3, 0.3])
def test_deeper_ends_satisfy_kkt(data, backend, depth, lam):
    X, y = data
    alpha = np.array([0.5, 0.8])
    options = dict(alpha=alpha, depth=depth, weight_decay=lam, backend=backend)
    flows, limits = krf.flow_diagonal(X, y, **options), krf.limit_diagonal(X, y, **options)
    for flow, limit in zip(flows, limits, strict=True):
        beta = limit.beta
        on = beta != 0.0
        assert flow.status == limit.status == krf.Status.STATIONARY
        assert on.any()
        # Where the flow went, and to its last digits.
        assert np.linalg.norm(flow.beta - beta) < 2e-5 * np.linalg.norm(beta)
        pull = 2.0 * X[:, on].T @ (y - X @ beta)
        slope = lam * (2.0 / depth) * np.sign(beta[on]) * np.abs(beta[on]) ** (2.0 / depth - 1.0)
        assert np.allclose(pull, slope, rtol=1e-9, atol=1e-12)


def test_a_small_weight_that_grows_is_no_rest(data):
    """Saddles are left: the lasso is reached from 1e-100, where every step looks like an end."""
    X, y = data
    flow = krf.flow_diagonal(X, y, alpha=1e-100, weight_decay=0.3, rtol=1e-3)
    expected = lasso(X, y, 0.3)
    assert np.linalg.norm(flow.beta - expected) < 1e-2 * np.linalg.norm(expected)


@pytest.mark.parametrize("depth", [2, 3])
def test_decay_that_is_switched_off_is_a_new_start(data, backend, depth):
    """Then the limit of what is left of the weights."""
    X, y = data
    options = dict(depth=depth, backend=backend)
    flow = krf.flow_diagonal(
        X, y, alpha=0.5, weight_decay=[(0.0, 0.4), (0.7, 0.0)], stop_loss=1e-20, rtol=1e-8,
        **options,
    )  # fmt: skip
    at = krf.flow_diagonal(X, y, alpha=0.5, weight_decay=0.4, t_eval=[0.7], rtol=1e-9, **options)
    limit = krf.limit_diagonal(
        X, y, alpha=1.0, w_plus0=at.w_plus[0], w_minus0=at.w_minus[0], **options
    )
    assert flow.status == krf.Status.CONVERGED
    assert relative(flow.beta, limit.beta) < 1e-6
    # A decay that falls fast enough is one of its integral, at once.
    fast = krf.schedules.exponential(3e5, 1e6)
    sudden = krf.flow_diagonal(X, y, alpha=0.5, weight_decay=fast, stop_loss=1e-20, **options)
    shrunk = krf.limit_diagonal(X, y, alpha=0.5 * np.exp(-0.6), **options)
    assert relative(sudden.beta, shrunk.beta) < 1e-4


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000), depth=st.sampled_from([2, 2.5, 3, 5]), c=st.floats(0.3, 3.0),
    lam=st.floats(0.01, 3.0),
)  # fmt: skip
def test_weights_and_decay_scale_together(seed, depth, c, lam):
    """W -> c w, y -> c^D y, t -> c^(2-2D) t, lambda -> c^(2D-2) lambda."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((4, 7)), rng.standard_normal(4)
    times = np.array([0.1, 1.0])
    a = krf.flow_diagonal(X, y, alpha=0.6, depth=depth, weight_decay=lam, t_eval=times)
    b = krf.flow_diagonal(
        X, c**depth * y, alpha=0.6 * c, depth=depth, weight_decay=lam * c ** (2 * depth - 2),
        t_eval=times * c ** (2 - 2 * depth),
    )  # fmt: skip
    assert relative(b.beta, c**depth * a.beta).max() < 2e-5
    assert np.allclose(b.penalty, c**2 * a.penalty, rtol=2e-5)


def test_no_decay_changes_no_bit(data, backend):
    X, y = data
    options = dict(alpha=[0.1, 1.0], backend=backend)
    plain = krf.flow_diagonal(X, y, **options)
    for none in (0.0, 0, np.zeros(2), [(0.0, 0.0)], krf.schedules.exponential(0.0, 1.0)):
        flow = krf.flow_diagonal(X, y, weight_decay=none, **options)
        assert np.array_equal(flow.beta, plain.beta)
    mixed = krf.flow_diagonal(X, y, weight_decay=[[0.0], [0.2]], **options)
    assert mixed.status.shape == (2, 2)
    assert relative(mixed.beta[0], plain.beta).max() < 1e-6


@pytest.mark.parametrize("depth", [2, 3])
def test_tall_data_keep_their_dual(depth, backend):
    """Its part that no beta reaches is an integral of its own."""
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((30, 6)), rng.standard_normal(30)
    schedule = krf.schedules.exponential(1.0, 2.0)
    times = np.linspace(0.0, 1.0, 2001)
    flow = krf.flow_diagonal(
        X, y, alpha=0.5, depth=depth, weight_decay=schedule, t_eval=times, rtol=1e-8,
        backend=backend,
    )  # fmt: skip
    share = np.exp(-2.0 * (depth - 2.0) * schedule.integral(times))[:, None]
    field = share * (y - flow.beta @ X.T)
    assert relative(flow.dual[-1], simpson(field, x=times, axis=0)) < 1e-6


def test_sweeps_take_decay_as_a_dimension(data, tmp_path):
    X, y = data
    options = dict(alpha=[0.1, 1.0], depth=[2, 3], progress=False, keep=("norms", "beta"))
    decays = [0.0, 0.1, 1.0]
    ds = krf.sweep_diagonal(X, y, weight_decay=decays, store=tmp_path / "s", **options)
    assert dict(ds.sizes) == {"depth": 2, "weight_decay": 3, "alpha": 2, "feature": 20}
    for i, depth in enumerate((2, 3)):
        for j, lam in enumerate(decays):
            one = krf.flow_diagonal(X, y, alpha=[0.1, 1.0], depth=depth, weight_decay=lam)
            assert np.array_equal(ds.beta.values[i, j], one.beta)
            assert np.allclose(ds.penalty.values[i, j], one.penalty, rtol=1e-6)
    with pytest.raises(ValueError, match="weight_decay"):
        krf.sweep_diagonal(X, y, weight_decay=[0.0, 0.1, 2.0], store=tmp_path / "s", **options)
    limits = krf.sweep_diagonal(X, y, weight_decay=0.1, limit=True, **options)
    assert float(limits.weight_decay) == 0.1
    scheduled = krf.sweep_diagonal(X, y, weight_decay=[(0.0, 0.5), (1.0, 0.0)], **options)
    assert scheduled.attrs["weight_decay"] == [0.0, 1.0, 0.5, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("depth", [2, 3])
def test_a_predictor_that_dies_away_keeps_its_digits(data, backend, depth):
    """More decay than the lasso needs to be zero: at every time within 10 rtol of its own size."""
    X, y = data
    times = np.array([0.05, 0.2, 0.5])
    lam = 40.0 + 2.0 * np.max(np.abs(X.T @ y))
    expected = weight_decay_flow(X, y, np.full(20, 0.5), depth, lambda t: lam, (), times)[0]
    options = {"alpha": 0.5, "depth": depth, "weight_decay": lam, "backend": backend}
    flow = krf.flow_diagonal(X, y, t_eval=times, rtol=1e-5, **options)
    size = np.linalg.norm(expected, axis=-1)
    assert size[-1] < 1e-12 * size[0]
    assert np.all(np.linalg.norm(flow.beta - expected, axis=-1) < 1e-4 * size + 1e-27)
    assert krf.flow_diagonal(X, y, **options).status == krf.Status.STATIONARY


def drawn_with_decay(seed):
    """Tall, wide, sparse, with copies and features of different size; decay from 1e-14 on."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 25)), int(rng.integers(1, 40))
    X = rng.standard_normal((n, d)) * 10.0 ** (rng.uniform(-3, 3, d) if seed % 5 == 1 else 0.0)
    X = X[:, rng.integers(0, d, d)] if seed % 5 == 2 else np.round(X) if seed % 5 == 3 else X
    X[0, 0] = 1.0
    planted = seed % 3 == 0 and seed % 5 != 3  # then the others have no pull but rounding
    y = X[:, 0].copy() if planted else rng.standard_normal(n)
    y *= 10.0 ** rng.uniform(-2, 5) / np.linalg.norm(y)
    depth = float(rng.choice([2, 2, 2.5, 3, 4]))
    w = (np.linalg.norm(y) / np.linalg.norm(X, axis=0).max()) ** (1.0 / depth)
    lam = depth * w ** (depth - 2.0) * np.max(np.abs(X.T @ y))
    lam *= 10.0 ** rng.uniform(-8 if planted else -14, 0.2)
    return X, y, {"alpha": w * 10.0 ** rng.uniform(-2, 0.5), "depth": depth, "weight_decay": lam}


# Where the pull was that of y - X beta, which is rounding, coordinates that stay were lost.
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("seed", range(100))
def test_ends_down_to_the_least_decay(seed):
    """Where the flow went, and stationary: the dual is that of the residual, and KKT hold."""
    X, y, options = drawn_with_decay(seed)
    depth, lam = options["depth"], options["weight_decay"]
    flow = krf.flow_diagonal(X, y, rtol=1e-8, **options)
    limit = krf.limit_diagonal(X, y, **options)
    assert flow.status == limit.status == krf.Status.STATIONARY
    left, weight = y - X @ limit.beta, np.linalg.norm(y)
    rounding = 1e-15 * (weight + np.linalg.norm(np.abs(X) @ np.abs(limit.beta)))
    assert np.linalg.norm(X @ (flow.beta - limit.beta)) < 1e-6 * weight
    assert np.linalg.norm(left - 0.5 * lam * limit.dual) < 1e-9 * np.linalg.norm(left) + rounding
    # The flow is at rest to 1e-8: by chance its loss may be the smaller.
    assert np.linalg.norm(left) < 1.5 * np.linalg.norm(y - X @ flow.beta) + 1e-8 * weight
    # X^T dual is rounded where the dual is long, outside the range of X.
    long = 4e-15 * np.linalg.norm(X, axis=0) * np.linalg.norm(limit.dual)
    pull, slope = X.T @ limit.dual, 0.5 * depth * np.abs(limit.beta) ** (1.0 - 2.0 / depth)
    slack, on = 1e-8 + slope * long, limit.beta != 0.0
    assert np.all(np.abs(slope * pull * np.sign(limit.beta) - 1.0)[on] < slack[on])
    assert depth > 2.0 or np.all(np.abs(pull) < 1.0 + slack)
    assert depth > 2.0 or on.any() == (lam < 2.0 * np.max(np.abs(X.T @ y)))


def stationary_point(X, y, beta, depth, lam):
    """The weights that stay, and the dual, in forty digits."""
    on, k = beta != 0.0, int(np.count_nonzero(beta))
    A, aim = mpmath.matrix((X[:, on] * np.sign(beta[on])).tolist()), mpmath.matrix(y.tolist())

    def field(*v):
        fit = aim - A * mpmath.matrix([a**depth for a in v[:k]]) - lam / 2 * mpmath.matrix(v[k:])
        z = A.T * mpmath.matrix(v[k:])
        return [*fit, *(depth / 2 * v[i] ** (depth - 2) * z[i] - 1 for i in range(k))]

    start = [*np.abs(beta[on]) ** (1.0 / depth), *(2.0 / lam * (y - X @ beta))]
    with mpmath.workdps(40):
        found = np.array(mpmath.findroot(field, start).tolist(), dtype=float)[:, 0]
    return found[:k], found[k:]


# Wide data take it long under the least decay.
@fallback_takes(
    {"shape": (5, 2)}, {"lam": 1e-14, "depth": 2}, {"lam": 1e-14, "depth": 4},
    {"lam": 1e-4, "depth": 2.5},
)  # fmt: skip
@pytest.mark.parametrize("depth", [2, 2.5, 3, 4])
@pytest.mark.parametrize("lam", [1e-14, 1e-9, 1e-4])
@pytest.mark.parametrize("shape", [(3, 6), (5, 2)])
def test_ends_in_forty_digits(backend, shape, lam, depth):
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal(shape), 3.0 * rng.standard_normal(shape[0])
    limit = krf.limit_diagonal(X, y, alpha=0.5, depth=depth, weight_decay=lam, backend=backend)
    weights, dual = stationary_point(X, y, limit.beta, depth, lam)
    assert relative((limit.w_plus + limit.w_minus)[limit.beta != 0.0], weights) < 1e-13
    assert relative(limit.dual, dual) < 1e-10


@fallback_takes({"lam": 1e-14})
@pytest.mark.parametrize("lam", [1e-14, 1e-13, 1e-10])
def test_as_decay_vanishes(backend, lam):
    """The least l1 norm of those that fit, or least squares; at depth 4 what fits large targets."""
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((6, 18)), rng.standard_normal(6)
    options = {"alpha": 0.1, "weight_decay": lam, "backend": backend}
    assert relative(krf.limit_diagonal(X, y, **options).beta, krf.theory.min_l1(X, y)) < 1e-8
    X, y = np.array([[1.0, 2.0], [3.0, 1.0], [1.0, 1.0]]), np.array([-2.9, 0.9, -0.95])
    least = np.linalg.lstsq(X, y)[0]
    assert relative(krf.limit_diagonal(X, y, **options).beta, least) < 1e-9
    X, y = np.array([[1.0, 2.0, 0.5], [3.0, 1.0, -1.0]]), np.array([1e4, -2e4])
    large = krf.limit_diagonal(X, y, depth=4, **options | {"weight_decay": 0.01})
    assert np.allclose(large.beta, [-1e4, 1e4, 0.0], rtol=1e-6)


@fallback_takes(
    {"depth": 2, "scale": 1.0}, {"depth": 2.5, "scale": 1.3}, {"depth": "product", "scale": 1.3},
    {"depth": "two_products", "scale": 1.3},
)  # fmt: skip
@pytest.mark.parametrize("depth", [2, 2.5, 4, "product", "two_products"])
@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_the_dual_of_tall_data_holds_what_no_beta_reaches(backend, depth, scale):
    depth, model = (2, depth) if isinstance(depth, str) else (depth, "difference")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 5))
    X[:, 4] = X[:, 0] + X[:, 1]
    y = X @ [1.0, 0.0, -2.0, 0.0, 0.5] + 0.3 * rng.standard_normal((2, 12))
    options = {"depth": depth, "model": model, "loss_scale": scale, "backend": backend}
    limit = krf.limit_diagonal(X, y, alpha=0.5, weight_decay=[[0.7], [0.1]], **options)
    lam = np.array([0.7, 0.1])[:, None, None] * (1.0 if model == "difference" else 2.0)
    assert relative(limit.dual, 2.0 * scale * (y - limit.beta @ X.T) / lam).max() < 1e-12
