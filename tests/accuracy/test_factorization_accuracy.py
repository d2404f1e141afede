"""Flows of matrix factorisation against weight-space integration, closed forms and Theorem 4."""

from __future__ import annotations

import numpy as np
import pytest
from fallback_cases import fallback_takes
from oracles import factor_space_flow
from scipy.optimize import brentq

import kernelrich_fast as krf
from kernelrich_fast import Status
from kernelrich_fast.initialization import gaussian_factor

D1, D2 = 4, 5
N = D1 + D2


def frobenius(a, b):
    """Distance of matrices on the last two axes, relative to b."""
    return np.linalg.norm(a - b, axis=(-2, -1)) / np.linalg.norm(b, axis=(-2, -1))


def completion(seed=0, n_observed=12):
    data = krf.datasets.low_rank_completion(D1, D2, 1, n_observed, seed)

    def adjoint(r):
        R = np.zeros((D1, D2))
        R[data.entries] = r
        return R

    return data, (lambda M: M[data.entries]), adjoint


def sensing(symmetric=False, seed=0):
    rng = np.random.default_rng(seed)
    shape = (D1, D1) if symmetric else (D1, D2)
    A = rng.standard_normal((7, *shape))
    y = np.tensordot(A, np.outer(*(rng.standard_normal(d) for d in shape)), 2)
    if symmetric:
        v = rng.standard_normal(D1)
        y = np.tensordot(A, np.outer(v, v), 2)
    return A, y, (lambda M: np.tensordot(A, M, 2)), (lambda r: np.tensordot(r, A, 1))


def times_for(alpha):
    return np.array([0.02, 0.1, 0.5, 2.0]) if alpha > 0.5 else np.array([0.05, 0.4, 1.5, 6.0])


@pytest.mark.parametrize("width", [1, 3, 9, 40, 500])
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0])
def test_completion_against_the_weights(backend, width, alpha):
    data, observe, adjoint = completion()
    rng = np.random.default_rng(width)
    U0, V0 = (alpha * rng.standard_normal((d, width)) for d in (D1, D2))
    times = times_for(alpha) / max(1.0, alpha**2 * width)
    U, V = factor_space_flow(observe, adjoint, data.y, U0, V0, times)
    expected = U @ np.swapaxes(V, -1, -2)
    flow = krf.flow_factorization(
        data.y, entries=data.entries, U0=U0, V0=V0, t_eval=times, rtol=1e-6, backend=backend
    )
    assert flow.backend == backend
    assert np.all(frobenius(flow.M, expected) < 1e-5)
    W = np.concatenate([U, V], axis=1)
    assert np.all(frobenius(flow.gram, W @ np.swapaxes(W, -1, -2)) < 1e-5)
    if backend == "numpy":  # the compiled backends put the imbalance back to its start
        return
    before = U0.T @ U0 - V0.T @ V0
    if width <= N:
        assert np.all(frobenius(flow.U, U) < 1e-5)
        assert np.all(frobenius(flow.V, V) < 1e-5)
        after = np.swapaxes(flow.U, -1, -2) @ flow.U - np.swapaxes(flow.V, -1, -2) @ flow.V
        assert np.all(np.abs(after - before) <= 1e-5 * np.abs(before).max())
    else:
        assert flow.U is None
        assert flow.V is None
    # Traces of (J G)^p are those of (U^T U - V^T V)^p.
    JG = np.concatenate([flow.gram[:, :D1], -flow.gram[:, D1:]], axis=1)
    for p in (1, 2):
        trace = np.trace(np.linalg.matrix_power(JG, p), axis1=1, axis2=2)
        size = np.linalg.norm(before, 2) ** p
        rounding = 1e-15 * np.linalg.norm(flow.gram, axis=(1, 2)).max() ** p
        expected = np.trace(np.linalg.matrix_power(before, p))
        assert np.allclose(trace, expected, atol=1e-5 * size + rounding)


@fallback_takes(
    {"method": "auto"}, {"method": "dopri5", "rtol": 1e-8}, {"method": "radau5", "rtol": 1e-4}
)
@pytest.mark.parametrize("method", ["dopri5", "radau5", "auto"])
@pytest.mark.parametrize("rtol", [1e-4, 1e-8, 1e-10])
@pytest.mark.parametrize("alpha", [1e-3, 1.0])
def test_rtol_is_honoured(backend, method, rtol, alpha):
    data, observe, adjoint = completion(seed=1)
    rng = np.random.default_rng(1)
    U0, V0 = (alpha * rng.standard_normal((d, 6)) for d in (D1, D2))
    times = times_for(alpha)
    U, V = factor_space_flow(observe, adjoint, data.y, U0, V0, times)
    flow = krf.flow_factorization(
        data.y, entries=data.entries, U0=U0, V0=V0, t_eval=times, rtol=rtol, method=method,
        backend=backend,
    )  # fmt: skip
    assert np.all(frobenius(flow.M, U @ np.swapaxes(V, -1, -2)) < 10 * rtol)


@pytest.mark.parametrize("method", ["dopri5", "radau5"])
@pytest.mark.parametrize("width", [2, 30])
def test_sensing_against_the_weights(backend, method, width):
    A, y, observe, adjoint = sensing()
    rng = np.random.default_rng(2)
    U0, V0 = (0.2 * rng.standard_normal((d, width)) for d in (D1, D2))
    times = np.array([0.01, 0.05, 0.3])
    U, V = factor_space_flow(observe, adjoint, y, U0, V0, times)
    flow = krf.flow_factorization(
        y, measurements=A, U0=U0, V0=V0, t_eval=times, method=method, backend=backend
    )
    assert np.all(frobenius(flow.M, U @ np.swapaxes(V, -1, -2)) < 1e-5)


@pytest.mark.parametrize("method", ["dopri5", "radau5"])
@pytest.mark.parametrize("width", [2, 20])
def test_symmetric_against_the_weights(backend, method, width):
    A, y, observe, adjoint = sensing(symmetric=True)
    W0 = 0.2 * np.random.default_rng(3).standard_normal((D1, width))
    times = np.array([0.01, 0.05, 0.3])
    W, _ = factor_space_flow(observe, adjoint, y, W0, None, times)
    flow = krf.flow_factorization(
        y, measurements=A, symmetric=True, U0=W0, t_eval=times, method=method, backend=backend
    )
    assert np.all(frobenius(flow.M, W @ np.swapaxes(W, -1, -2)) < 1e-5)
    assert np.array_equal(flow.M, flow.gram)
    # The same entries (diagonal ones among them) observed one by one or as measurements.
    entries = (np.array([0, 0, 1, 2, 3]), np.array([0, 2, 1, 3, 3]))
    units = np.zeros((5, D1, D1))
    units[np.arange(5), entries[0], entries[1]] = 1.0
    options = dict(symmetric=True, U0=W0, t_eval=times, method=method, backend=backend)
    one = krf.flow_factorization(y[:5], entries=entries, **options)
    other = krf.flow_factorization(y[:5], measurements=units, **options)
    assert np.all(frobenius(one.M, other.M) < 1e-5)


def test_scalar_flow_in_closed_form(backend):
    """One entry, d1 = d2 = 1: delta = u.v grows as kappa sinh(phi + 2 integral of the residual)."""
    rng = np.random.default_rng(4)
    U0, V0 = rng.standard_normal((2, 1, 3))
    flow = krf.flow_factorization([3.0], entries=([0], [0]), U0=U0, V0=V0, backend=backend)
    assert flow.status == Status.CONVERGED
    # (|u|^2 + |v|^2)^2 / 4 - (u.v)^2 is conserved.
    kappa2 = (np.sum(U0**2) + np.sum(V0**2)) ** 2 / 4 - np.sum(U0 * V0) ** 2
    trace = np.trace(flow.gram)
    assert np.isclose(trace**2 / 4, kappa2 + flow.M[0, 0] ** 2, rtol=1e-6)
    assert np.isclose(flow.M[0, 0], 3.0, rtol=1e-5)


@pytest.mark.parametrize("alpha", [1e-5, 1e-4, 5e-4, 2e-3])
def test_commuting_measurements_reach_theorem_4(backend, alpha):
    """Diagonal measurements at k = 1e6: argmin of Q_mu with 2 mu^2 = alpha^2 k."""
    rng = np.random.default_rng(5)
    d, n, width = 6, 3, 10**6
    X = rng.standard_normal((n, d))
    y = X @ np.where(np.arange(d) < 2, 1.0, 0.0)
    A = np.zeros((n, d, d))
    A[:, np.arange(d), np.arange(d)] = X
    flow = krf.flow_factorization(y, measurements=A, alpha=alpha, width=width, backend=backend)
    assert flow.status == Status.CONVERGED
    mu = np.sqrt(0.5 * alpha**2 * width)
    expected = np.diag(krf.limit_diagonal(X, y, alpha=mu, backend="numpy").beta)
    # At finite width M(0) is not zero, and the flow not quite diagonal: of size k^(-1/2).
    start = d * alpha**2 * np.sqrt(width)
    assert np.linalg.norm(flow.M - expected) < 2e-3 * np.linalg.norm(expected) + 2.0 * start
    least = krf.theory.schatten_potential(expected, mu)
    assert abs(krf.theory.schatten_potential(flow.M, mu) - least) < 1e-3 * least
    # The test can tell: another scale or the nuclear norm would not do.
    if alpha == 5e-4:
        other = np.diag(krf.limit_diagonal(X, y, alpha=2 * mu, backend="numpy").beta)
        assert np.linalg.norm(flow.M - other) > 5e-3


def test_sleeping_directions_keep_their_digits(backend):
    """A second direction at 1e-30 beside a first of size one wakes at the right time."""
    y, (a, b) = np.array([4.0, 1.0]), (1e-3, 1e-30)
    start = np.diag([np.sqrt(a), np.sqrt(b)])
    # Unit entries (0, 0) and (1, 1): two scalar flows m' = 4 m (y - m), logistic.
    flow = krf.flow_factorization(y, entries=([0, 1], [0, 1]), U0=start, V0=start, backend=backend)

    def log_odds(m, top):
        return np.log(m / (top - m))

    assert flow.status == Status.CONVERGED
    times = np.array([10.0, 17.0, 18.0])
    dense = krf.flow_factorization(
        y, entries=([0, 1], [0, 1]), U0=start, V0=start, t_eval=times, backend=backend
    )
    for t, M in zip(times, dense.M, strict=True):
        odds = log_odds(b, 1.0) + 4.0 * t
        expected = brentq(lambda m, odds=odds: log_odds(m, 1.0) - odds, 1e-31, 1 - 1e-15)
        assert np.isclose(M[1, 1], expected, rtol=1e-4)


@pytest.mark.parametrize("alpha2", [1e-2, 1e-8])
def test_figure_5_cells_against_a_tight_explicit_run(alpha2):
    data = krf.datasets.low_rank_completion(10, 10, 1, 60, seed=0)
    options = dict(
        entries=data.entries, dims=(10, 10), alpha=np.sqrt(alpha2), width=[10, 500_000], seed=0
    )
    end = krf.flow_factorization(data.y, **options, stop_loss=1e-10, backend="cpu")
    assert np.all(end.status == Status.CONVERGED)
    times = np.minimum(end.t.max(), 300.0) * np.array([0.03, 0.3, 1.0])
    flow = krf.flow_factorization(data.y, **options, t_eval=times, backend="cpu")
    tight = krf.flow_factorization(
        data.y, **options, t_eval=times, backend="cpu", rtol=1e-11, method="dopri5",
        max_steps=10**7,
    )  # fmt: skip
    assert np.all(frobenius(flow.M, tight.M) < 1e-5)


def test_rows_of_one_column_of_very_different_size(backend):
    """Two logistic flows m' = 4 m (1 - m) in one column, one from 1 and one from b."""
    for a, b, times in ((1.0, 1e-14, [0.0, 10.0, 20.0, 1000.0]), (0.5, 1e-9, [0.5 * np.log(1e9)])):
        start = np.array([[a], [b]])
        flow = krf.flow_factorization(
            [1.0, 1.0], entries=([0, 1], [0, 1]), U0=start, V0=start, t_eval=times, backend=backend
        )
        odds = np.log(b**2 / (1.0 - b**2)) + 4.0 * np.array(times)
        assert np.allclose(flow.M[:, 1, 1], 1.0 / (1.0 + np.exp(-odds)), rtol=1e-5)


def entry_adjoint(entries, dims):
    def adjoint(r):
        R = np.zeros(dims)
        R[entries] = r
        return R

    return adjoint


ROWS = [
    # (y, entries, dims, U0, V0, times, rtol), whose rows grow one after the other
    (
        [10.0, 1.0], ([0, 1], [0, 1]), (2, 2), 1e-4 * gaussian_factor(4, 1, 2)[:2],
        1e-4 * gaussian_factor(4, 1, 2)[2:], [1.0, 4.0, 5.5, 7.0], 1e-6,
    ),
    (
        [0.07, 1.47, 2.99], ([0, 1, 2], [1, 2, 2]), (3, 3), np.array([[0.062], [-0.037], [0.009]]),
        None, [0.1, 0.3, 0.5, 0.8], 1e-3,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", ROWS, ids=["one column", "symmetric"])
def test_rows_that_grow_one_after_the_other(backend, case):
    y, entries, dims, U0, V0, times, rtol = case
    entries, y, times = tuple(map(np.array, entries)), np.array(y), np.array(times)
    U, V = factor_space_flow(lambda M: M[entries], entry_adjoint(entries, dims), y, U0, V0, times)
    expected = U @ np.swapaxes(U if V is None else V, 1, 2)
    for method in ("auto", "dopri5", "radau5"):
        flow = krf.flow_factorization(
            y, entries=entries, dims=dims, symmetric=V is None, U0=U0, V0=V0, t_eval=times,
            rtol=rtol, method=method, backend=backend,
        )  # fmt: skip
        assert np.all(frobenius(flow.M, expected) < 10.0 * rtol)


@pytest.mark.parametrize("seed", range(24))
def test_random_completions_with_small_rows_and_columns(backend, seed):
    rng = np.random.default_rng(seed)
    d1, d2 = rng.integers(2, 5, 2)
    k, alpha = int(rng.integers(1, 4)), 10.0 ** rng.uniform(-4.0, 0.0)
    mask = rng.random((d1, d2)) < 0.6
    mask[0, 0] = True
    entries = np.nonzero(mask)
    y = rng.standard_normal(len(entries[0]))
    U0, V0 = alpha * rng.standard_normal((d1, k)), alpha * rng.standard_normal((d2, k))
    if seed % 3 == 0:
        U0[0] *= 1e-5
    if seed % 3 == 1:
        V0[:, 0] *= 1e-4
        V0[-1] *= 1e-3
    times = np.array([0.5, 2.0, 5.0, 10.0])
    U, V = factor_space_flow(
        lambda M: M[entries], entry_adjoint(entries, (d1, d2)), y, U0, V0, times
    )
    rtol = (1e-3, 1e-6)[seed % 2]
    flow = krf.flow_factorization(
        y, entries=entries, U0=U0, V0=V0, t_eval=times, rtol=rtol, backend=backend
    )
    assert np.all(frobenius(flow.M, U @ np.swapaxes(V, 1, 2)) < 10.0 * rtol)
