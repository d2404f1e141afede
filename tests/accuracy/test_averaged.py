"""The mean of the predictor along a flow, and the lasso path that it follows for a while."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import relative
from fallback_cases import fallback_takes
from scipy.integrate import simpson, solve_ivp

import kernelrich_fast as krf
from kernelrich_fast.experiments.lasso_monotone import instance, monotone


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(7)
    X = rng.standard_normal((8, 20))
    return X, X[:, 0] - X[:, 1] + 0.5 * X[:, 2] + 0.1 * rng.standard_normal(8)


DECAYS = [0.0, 0.3, [(0.0, 0.2), (0.7, 0.0)]]


@fallback_takes(*({"depth": d, "decay": each} for d, each in zip((2, 2.5, 4), DECAYS, strict=True)))
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("depth", [2, 2.5, 4])
def test_against_quadrature(data, backend, depth, decay):
    X, y = data
    options = dict(alpha=0.5, depth=depth, weight_decay=decay)
    fine = np.linspace(0.0, 0.7, 1401), np.linspace(0.7, 2.0, 2601)
    path = [krf.flow_diagonal(X, y, t_eval=t, rtol=1e-9, **options).beta for t in fine]
    expected = sum(simpson(b, x=t, axis=0) for b, t in zip(path, fine, strict=True)) / 2.0
    flow = krf.flow_diagonal(
        X, y, t_eval=[0.0, 0.1, 2.0, 1e3], averaged=True, rtol=1e-7, backend=backend, **options
    )
    assert relative(flow.beta_mean[2], expected) < 1e-6
    assert np.array_equal(flow.beta_mean[0], flow.beta[0])
    if depth == 2 or not np.any(decay):
        residual = y - flow.beta_mean[1:] @ X.T
        t = flow.t[1:, None]
        assert np.max(np.abs(residual - flow.dual[1:] / t)) < 1e-6 * np.linalg.norm(y)


FALLING = krf.schedules.exponential(0.3, 0.05)
THREE = [[1.0, -0.4, 0.3], [0.2, 0.9, -1.1]], [1.0, -0.6]


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize(
    ("X", "y", "alpha", "depth", "decay"),
    [
        ([[1.0]], [1.0], 0.3, 3, 0.1),
        (*THREE, 0.6, 2.2, 0.3),
        (*THREE, 0.7, 4, 0.2),
        (*THREE, 0.9, 6, 0.1),
        (*THREE, 0.7, 4, FALLING),
        (*THREE, 0.05, 2, 0.2),
    ],
)
def test_means_under_decay_against_dop853(compiled, X, y, alpha, depth, decay, rtol):
    X, y, d = np.array(X), np.array(y), np.shape(X)[1]

    def field(t, state):
        plus, minus = state[:d], state[d : 2 * d]
        beta = plus**depth - minus**depth
        pull = 2.0 * depth * X.T @ (y - X @ beta)
        shrink = 0.6 * np.exp(-0.05 * t) if decay is FALLING else 2.0 * decay
        moves = pull * plus ** (depth - 1) - shrink * plus, -pull * minus ** (depth - 1)
        return np.concatenate([moves[0], moves[1] - shrink * minus, beta])

    times = [1.0, 10.0, 40.0, 100.0]
    flow = krf.flow_diagonal(
        X, y, alpha=alpha, depth=depth, weight_decay=decay, t_eval=times, averaged=True, rtol=rtol
    )
    expect_means(flow, field, np.repeat([alpha, 0.0], [2 * d, d]), rtol)


@pytest.mark.parametrize("balance", [0.05, -1.0])
def test_means_of_products_under_decay_against_dop853(compiled, balance):
    X, y = np.array([[0.1, -0.2, -2.0]]), np.array([0.4])
    flow = krf.flow_diagonal(
        X, y, alpha=0.36, balance=balance, model="product", weight_decay=0.02,
        t_eval=[0.0, 1.0, 10.0, 40.0], averaged=True, rtol=1e-6,
    )  # fmt: skip

    def field(_, state):
        u, v = state[:3], state[3:6]
        pull = 2.0 * X.T @ (y - X @ (u * v))
        return np.concatenate([pull * v - 0.04 * u, pull * u - 0.04 * v, u * v])

    plus, minus = flow.w_plus[0], flow.w_minus[0]
    start = np.concatenate([plus + minus, plus - minus, np.zeros(3)])
    expect_means(flow, field, start, 1e-6)


def expect_means(flow, field, start, rtol):
    """Of a flow whose predictor's integral ends the state of ``field``; seen: 0.3 rtol."""
    span, d = (0.0, flow.t[-1]), flow.beta.shape[-1]
    exact = solve_ivp(field, span, start, "DOP853", flow.t, rtol=1e-12, atol=1e-15).y[-d:].T
    exact = np.divide(exact, flow.t[:, None], where=flow.t[:, None] > 0.0, out=exact)
    largest = np.linalg.norm(exact, axis=-1).max()
    late = flow.t > 0.0
    assert np.linalg.norm((flow.beta_mean - exact)[late], axis=-1).max() < rtol * largest


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_at_the_smallest_times_the_mean_is_the_start(data, backend, decay):
    times = [0.0, 1e-322, 1e-305]
    for t_eval in (times[:2], times):
        flow = krf.flow_diagonal(
            *data, alpha=0.3, balance=0.5, model="product", weight_decay=decay, t_eval=t_eval,
            averaged=True, backend=backend,
        )  # fmt: skip
        assert flow.status == krf.Status.T_END
        assert np.array_equal(flow.t, t_eval)
        assert np.array_equal(flow.beta_mean, np.repeat(flow.beta[:1], len(t_eval), axis=0))
        assert np.any(flow.beta_mean != 0.0)


def test_one_row_at_the_end(data, backend):
    X, y = data
    flow = krf.flow_diagonal(X, y, alpha=[0.5, 1e-3], averaged=True, backend=backend)
    residual = y - flow.beta_mean @ X.T
    assert np.max(np.abs(residual - flow.dual / flow.t[:, None])) < 1e-5 * np.linalg.norm(y)
    assert flow.to_dataset(["alpha"]).beta_mean.dims == ("alpha", "feature")
    assert np.array_equal(flow[0].beta_mean, flow.beta_mean[0])
    assert krf.flow_diagonal(X, y, alpha=0.5).beta_mean is None


def test_a_model_of_its_own_time(data):
    X, y = data
    options = dict(alpha=0.5, averaged=True, rtol=1e-8)
    one = krf.flow_diagonal(X, y, t_eval=[1.0], **options)
    other = krf.flow_diagonal(X, y, t_eval=[4.0], loss_scale=0.25, **options)
    assert relative(other.beta_mean, one.beta_mean).max() < 1e-7


def test_sweeps_have_it(data):
    X, y = data
    times = [0.1, 1.0]
    ds = krf.sweep_diagonal(X, y, alpha=[0.1, 0.5], t_eval=times, averaged=True, progress=False)
    flow = krf.flow_diagonal(X, y, alpha=[0.1, 0.5], t_eval=times, averaged=True)
    assert ds.beta_mean.dims == ("alpha", "time", "feature")
    assert np.array_equal(ds.beta_mean.values, flow.beta_mean)


def test_an_explicit_method_is_refused(data):
    with pytest.raises(ValueError, match="method: expected 'auto' or 'radau5'"):
        krf.flow_diagonal(*data, alpha=0.5, averaged=True, method="dopri5")


def lasso(X, y, lam):
    """Argmin |X beta - y|^2 / 2 + lam |beta|_1, from limits under weight decay."""
    return krf.limit_diagonal(X, y, alpha=1.0, weight_decay=2.0 * lam).beta


@pytest.mark.parametrize("alpha", [1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-8])
def test_errors_are_those_of_the_largest_mean(alpha, rtol):
    """From a small start, as a coefficient rises within a step; seen: 0.25 rtol."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3, 4)), rng.standard_normal(3)
    path = krf.rich_path(X, y)
    s = np.geomspace(0.3 * path.jump_times[0], 5.0 * path.jump_times[-1], 30)
    options = {"alpha": alpha, "t_eval": s * float(path.time_unit(alpha)), "averaged": True}
    exact, mean = (
        krf.flow_diagonal(X, y, rtol=each, **options).beta_mean for each in (1e-12, rtol)
    )
    largest = np.linalg.norm(exact, axis=-1).max()
    assert np.linalg.norm(mean - exact, axis=-1).max() < rtol * largest


def test_the_mean_is_the_lasso_path_until_a_coefficient_leaves():
    """At lam = T0 / t, for alpha -> 0; and not after."""
    rng = np.random.default_rng(11)
    X = rng.standard_normal((10, 30))
    y = X[:, :4] @ np.array([1.0, -1.0, 0.7, -0.4])
    path = krf.rich_path(X, y)
    sizes = path.active.sum(axis=-1)
    leaves = next(j for j in range(1, len(sizes)) if np.any(path.active[j - 1] & ~path.active[j]))
    alpha = 1e-60
    unit = float(path.time_unit(alpha))
    before, after = 0.95 * path.jump_times[leaves - 1], path.jump_times[-1] * 1.5
    times = unit * np.array([0.7 * path.jump_times[leaves - 1], before, after])
    flow = krf.flow_diagonal(X, y, alpha=alpha, t_eval=times, averaged=True, rtol=1e-8)
    gaps = [
        np.linalg.norm(mean - lasso(X, y, unit / t)) / np.linalg.norm(mean)
        for mean, t in zip(flow.beta_mean, times, strict=True)
    ]
    assert max(gaps[:2]) < 2e-2
    assert gaps[2] > 5e-2


def lasso_pieces(X, y):
    """The lasso path as pieces: ascending intervals of mu = 1 / lambda, slope and start of mu x.

    On a support A with signs s, mu x = G^-1 (mu X_A^T y - s), which is the lasso where its signs
    are s and |x_j^T (mu y - X mu x)| <= 1. These are bounds on mu, tried for all A and s.
    """
    d, found = X.shape[1], []
    for size in range(X.shape[0] + 1):
        for support in map(list, itertools.combinations(range(d), size)):
            A = X[:, support]
            inverse = np.linalg.inv(A.T @ A)
            for signs in map(np.array, itertools.product((-1.0, 1.0), repeat=size)):
                slope, start = np.zeros((2, d))
                slope[support] = inverse @ (A.T @ y)
                start[support] = -inverse @ signs
                # a + b mu >= 0: the signs, and both bounds of the features outside the support.
                out = np.setdiff1d(np.arange(d), support)
                moves, rests = X.T @ (y - X @ slope), -X.T @ (X @ start)
                a = np.concatenate([signs * start[support], 1.0 - rests[out], 1.0 + rests[out]])
                b = np.concatenate([signs * slope[support], -moves[out], moves[out]])
                b = np.where(np.abs(b) < 1e-9, 0.0, b)  # of fits that leave no residual
                if np.any((b == 0.0) & (a < 0.0)):
                    continue
                low = max([0.0, *(-a[b > 0.0] / b[b > 0.0])])
                high = min([np.inf, *(-a[b < 0.0] / b[b < 0.0])])
                if low < high:
                    found.append((low, high, slope, start))
    return sorted(found, key=lambda piece: piece[0])


def test_monotone_lasso_paths_are_those_whose_rich_path_loses_no_feature():
    """On the kinks of mu x(mu), which is linear between them."""
    kinds = []
    for seed in range(80):
        X, y = instance(seed)
        pieces = lasso_pieces(X, y)
        lows, highs = np.array([piece[:2] for piece in pieces]).T
        assert lows[0] == 0.0
        assert highs[-1] == np.inf
        assert np.allclose(highs[:-1], lows[1:], rtol=1e-9)  # they cover every mu, once
        kinks = np.append(lows, 2.0 * lows[-1])
        at = zip(kinks, [*pieces, pieces[-1]], strict=True)
        values = np.stack([start + mu * slope for mu, (*_, slope, start) in at])
        steps = np.diff(values, axis=0)
        kind = np.all((steps >= -1e-9).all(axis=0) | (steps <= 1e-9).all(axis=0))
        path = krf.rich_path(X, y)
        assert monotone(path) == kind, seed
        if kind:  # then the kinks are the jumps of the rich path
            assert np.allclose(path.jump_times, lows[1:], rtol=1e-9)
        kinds.append(kind)
        inside = np.sqrt(lows[1:] * np.minimum(highs[1:], 4.0 * lows[1:]))
        if seed < 15:
            for mu, (*_, slope, start) in zip(inside, pieces[1:], strict=True):
                assert np.allclose(lasso(X, y, 1.0 / mu), start / mu + slope, atol=1e-7), seed
    assert 5 < np.sum(kinds) < 75
