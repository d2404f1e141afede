"""The fallback: right in its range, and outside it says so.

That it does what every backend does is shown by the tests that take the fixture ``backend``.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import relative
from oracles import weight_space_flow

import kernelrich_fast as krf
from kernelrich_fast import Status
from kernelrich_fast.backends.reference import scipy_flow


@pytest.mark.parametrize("method", ["radau5", "dopri5"])
def test_other_methods_of_scipy(small, method):
    X, y, _ = small
    times = np.array([0.01, 0.1, 0.4])
    for depth in (2, 3):
        expected = weight_space_flow(X, y, *[np.full(15, 0.3)] * 2, depth, times)
        flow = krf.flow_diagonal(
            X, y, alpha=0.3, depth=depth, t_eval=times, method=method, backend="numpy"
        )
        assert relative(flow.beta, expected).max() < 1e-5


def test_too_few_digits_are_not_a_result():
    """Depth 5 at alpha = 1e-3: u = alpha^-3 loses nine digits where a coordinate is active."""
    X, y, _ = krf.datasets.sparse_regression(5, 12, 1, noise_variance=0.0, seed=4)
    with pytest.warns(krf.ConvergenceWarning, match="1 FAILED"):
        flow = krf.flow_diagonal(X, y, alpha=1e-3, depth=5, backend="numpy")
    assert flow.status == Status.FAILED
    assert np.all(np.isfinite(flow.beta))
    # A factor that grows by ten orders has lost what was small in it.
    data = krf.datasets.low_rank_completion(4, 4, 2, 12)
    with pytest.warns(krf.ConvergenceWarning, match="1 FAILED"):
        lost = krf.flow_factorization(
            data.y, entries=data.entries, dims=(4, 4), alpha=1e-10, width=3, backend="numpy"
        )
    assert lost.status == Status.FAILED


def test_a_solver_that_fails_is_a_failed_run(small, monkeypatch):
    """NaN and a failure of the solver end as FAILED, never as a result."""

    class Broken:
        def __init__(self, field, t, state, end, **options):
            self.t, self.y, self.nfev, self.status = 1.0, np.full(len(state), np.nan), 1, "running"

        def step(self):
            pass

    class Stuck(Broken):
        def step(self):
            self.status = "failed"

    X, y, _ = small
    for kind in (Broken, Stuck):
        monkeypatch.setitem(scipy_flow.SOLVERS, "auto", kind)
        with pytest.warns(krf.ConvergenceWarning, match="1 FAILED"):
            flow = krf.flow_diagonal(X, y, alpha=0.5, backend="numpy")
        assert flow.status == Status.FAILED
        assert np.all(np.isfinite(flow.beta))


def test_a_limit_is_stationary_only_where_nothing_fits(host):
    """Rows and columns of any size, of full row rank: the least-squares solution fits."""
    ends, stationary = [], 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 7))
        X = rng.integers(-3, 4, (n, n + int(rng.integers(4)))).astype(float)
        row, column = (10.0 ** rng.uniform(-3.0, 3.0, size) for size in X.shape)
        if np.linalg.matrix_rank(X) < n or np.linalg.cond(X * row[:, None] * column) > 1e13:
            continue
        X = X * row[:, None] * column
        y = rng.standard_normal(n) * row if seed % 2 else rng.standard_normal(n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", krf.ConvergenceWarning)
            limit = krf.limit_diagonal(X, y, alpha=1.0, depth=int(rng.integers(2, 5)), backend=host)
            contradicted = krf.limit_diagonal(
                np.vstack([X, X[:1]]), np.append(y, y[0] + row.max()), alpha=1.0, backend=host
            )
        ends.append(int(limit.status))
        assert limit.status != Status.STATIONARY, seed
        if limit.status == Status.CONVERGED:
            assert np.linalg.norm(X @ limit.beta - y) <= 1.1e-10 * np.linalg.norm(y)
        assert contradicted.status != Status.CONVERGED, seed
        stationary += int(contradicted.status == Status.STATIONARY)
    assert np.mean(np.array(ends) == Status.CONVERGED) > 0.85
    assert stationary > 0.85 * len(ends)


def test_targets_of_zero_are_reached_to_rounding():
    """A loss of exactly zero is asked for: what is at rest away from it ends without an error."""
    X, start = [[1.0, 2.0]], dict(alpha=1.0, w_plus0=[1.0, 2.0], w_minus0=[1.0, 1.0])
    for depth in (2, 3):
        with pytest.warns(krf.ConvergenceWarning, match="1 MAX_STEPS"):
            flow = krf.flow_diagonal(X, [0.0], depth=depth, backend="numpy", **start)
        assert abs(X @ flow.beta) < 1e-9
        limit = krf.limit_diagonal(X, [0.0], depth=depth, backend="numpy", **start)
        assert limit.status == Status.CONVERGED
        assert np.allclose(flow.beta, limit.beta, rtol=1e-6)
