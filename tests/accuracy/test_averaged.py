"""The mean of the predictor along a flow, and the lasso path that it follows for a while."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import relative
from scipy.integrate import simpson

import kernelrich_fast as krf
from kernelrich_fast.experiments.lasso_monotone import instance, monotone


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(7)
    X = rng.standard_normal((8, 20))
    return X, X[:, 0] - X[:, 1] + 0.5 * X[:, 2] + 0.1 * rng.standard_normal(8)


@pytest.mark.parametrize("decay", [0.0, 0.3, [(0.0, 0.2), (0.7, 0.0)]])
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
