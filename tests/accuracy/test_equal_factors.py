"""U(0) = V(0) and a symmetric target: U = V for ever, and M never has a negative eigenvalue.

Rounding would break the symmetry, and what it leaves of U - V would grow into a fit.
"""

from __future__ import annotations

import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast.status import without_convergence_warnings

TIMES = np.array([0.5, 2.0, 8.0, 50.0])


def symmetric(seed, n=4):
    A = np.random.default_rng(seed).standard_normal((n, n))
    return 0.5 * (A + A.T)


def from_identity(Y, m0, times):
    """M(t) from m0 I: every eigenvalue m obeys m' = 4 m (l - m), l that of Y."""
    values, vectors = np.linalg.eigh(Y)
    decay = np.exp(-4.0 * np.abs(values) * times[:, None])
    up = m0 * values / (m0 + (values - m0) * decay)
    down = m0 * values * decay / (m0 * decay + (values - m0))
    return np.einsum("ij,tj,kj->tik", vectors, np.where(values > 0.0, up, down), vectors)


def relative(M, exact):
    return np.linalg.norm(M - exact, axis=(-2, -1)) / np.linalg.norm(exact, axis=(-2, -1))


def both_sides(mask):
    """What observes the same entries, for the symmetric model."""
    row, column = np.nonzero(mask)
    X = np.zeros((len(row), *mask.shape))
    X[np.arange(len(row)), row, column] += 0.5
    X[np.arange(len(row)), column, row] += 0.5
    return X


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_the_end_from_the_identity(host, seed, alpha):
    Y, start = symmetric(seed), alpha * np.eye(4)
    flow = krf.flow_factorization(
        Y.ravel(), entries=np.ones((4, 4), bool), U0=start, V0=start, backend=host
    )
    values, vectors = np.linalg.eigh(Y)
    best = vectors @ np.diag(np.maximum(values, 0.0)) @ vectors.T
    assert flow.status == ("STATIONARY" if values[0] < 0.0 else "CONVERGED")
    assert np.linalg.norm(flow.M - best) <= 1e-5 * np.linalg.norm(best)
    np.testing.assert_allclose(flow.loss, np.sum(np.minimum(values, 0.0) ** 2), rtol=1e-6)


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-8])
@pytest.mark.parametrize("seed", range(4))
def test_a_linear_network_from_the_identity(backend, seed, rtol):
    """The initialisation of linear residual networks, by samples and by moments."""
    Y, eye = symmetric(seed), np.eye(4)
    # A mode that grows, or all of M vanishes.
    Y += (1.0 - np.linalg.eigvalsh(Y)[-1]) * eye
    for alpha in (0.1, 1.0):
        start = {"W1": alpha * eye, "W2": alpha * eye, "t_eval": TIMES, "rtol": rtol}
        exact = from_identity(Y, alpha**2, TIMES)
        for data in ({"X": eye, "Y": Y}, {"S": eye, "C": Y}):
            flow = krf.flow_linear(**data, **start, backend=backend)
            assert relative(flow.M, exact).max() <= 10 * rtol


@pytest.mark.parametrize("observed", ["all", "some", "products"])
@pytest.mark.parametrize("width", [1, 4, 12])
def test_any_equal_start_is_the_symmetric_model(observed, width, compiled):
    """Which moves twice as fast."""
    rng = np.random.default_rng(width)
    for seed in range(4):
        Y, U = symmetric(seed), 0.3 * rng.standard_normal((4, width))
        mask = np.ones((4, 4), bool)
        if observed == "some":
            mask = rng.random((4, 4)) < 0.6
            mask |= mask.T
        how = {"entries": mask}
        X = both_sides(mask)
        if observed == "products":
            X = rng.standard_normal((12, 4, 4))
            X = X + np.swapaxes(X, 1, 2)
            how = {"measurements": X}
        y = Y[mask] if observed != "products" else np.tensordot(X, Y, 2)
        times = TIMES[:3]
        flow = krf.flow_factorization(y, U0=U, V0=U, t_eval=times, **how)
        peer = krf.flow_factorization(
            y, measurements=X, U0=U, symmetric=True, t_eval=times / 2.0, rtol=1e-9
        )
        assert relative(flow.M, peer.M).max() <= 1e-5


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_labels_that_no_such_matrix_fits(loss, compiled):
    """The fit with a negative eigenvalue, to which rounding leads, is not reached."""
    labels = np.array([[-1, 1], [1, -1]])
    with without_convergence_warnings():  # the least loss may lie at infinity
        flow = krf.flow_factorization(
            labels.ravel(), entries=np.ones((2, 2), bool), U0=0.1 * np.eye(2), V0=0.1 * np.eye(2),
            loss=loss, max_steps=2000, t_eval=[0.1, 1.0, 10.0, 1e3],
        )  # fmt: skip
    np.testing.assert_allclose(flow.M, np.swapaxes(flow.M, 1, 2), atol=1e-12 * np.abs(flow.M).max())
    assert np.linalg.eigvalsh(flow.M).min() >= -1e-9 * np.abs(flow.M).max()


@pytest.mark.parametrize("change", ["start", "target", "entries"])
def test_without_the_symmetry_everything_is_fitted(host, change):
    """One number more, and the flow leaves the symmetric matrices."""
    Y, U, V, mask = symmetric(0, 3), 0.5 * np.eye(3), 0.5 * np.eye(3), np.ones((3, 3), bool)
    if change == "start":
        V = V + 1e-3 * np.diag([1.0, -1.0, 0.5])
    elif change == "target":
        Y = Y + 1e-3 * np.arange(9.0).reshape(3, 3)
    else:
        mask[0, 1] = False
    flow = krf.flow_factorization(Y[mask], entries=mask, U0=U, V0=V, backend=host)
    if change != "entries":
        assert flow.status == "CONVERGED"
    assert flow.loss <= 1e-2 * np.sum(np.minimum(np.linalg.eigvalsh(Y), 0.0) ** 2)
