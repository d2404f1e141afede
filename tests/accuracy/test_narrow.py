"""Factorisations and linear networks narrower than the rank of their targets: they end at rest, at
the best approximation of their rank (Eckart and Young), and never at a saddle that is still left.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import kernelrich_fast as krf
from kernelrich_fast import Status

pytestmark = pytest.mark.usefixtures("compiled")


def least_loss(Y, width):
    return float(np.sum(scipy.linalg.svdvals(Y)[width:] ** 2))


def least_linear_loss(X, Y, width):
    """Of |X M' - Y|^2 over M of this rank: what the inputs reach of Y, and what they do not."""
    basis = scipy.linalg.orth(X)
    reached = basis @ (basis.T @ Y)
    return float(np.sum((Y - reached) ** 2)) + least_loss(reached, width)


def random_problem(seed):
    n, d, outputs = [(6, 3, 2), (8, 4, 6), (12, 5, 5)][seed % 3]
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((n, outputs))


def rests_at(flow, loss, most_steps, rel):
    assert Status(int(flow.status)) is Status.STATIONARY
    assert flow.loss == pytest.approx(loss, rel=rel)
    assert flow.n_steps <= most_steps


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("seed", [*range(6), 7, 9, 10])
def test_narrow_linear_networks_rest_at_the_best_approximation(seed, alpha, rtol):
    X, Y = random_problem(seed)
    for width in range(1, min(3, X.shape[1] - 1, Y.shape[1] - 1) + 1):
        flow = krf.flow_linear(
            X, Y, width=width, alpha=alpha, seed=seed, rtol=rtol, max_steps=10_000
        )
        rests_at(flow, least_linear_loss(X, Y, width), 2500, 1e-8)


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(8, 6), (4, 4), (5, 3)])
def test_narrow_factorisations_rest_at_the_best_approximation(shape, alpha, rtol):
    entries = np.nonzero(np.ones(shape))
    for seed in range(4):
        Y = np.random.default_rng(seed).standard_normal(shape)
        for width in (1, 2):
            flow = krf.flow_factorization(
                Y[entries], entries=entries, dims=shape, width=width, alpha=alpha, seed=seed,
                rtol=rtol, max_steps=10_000,
            )  # fmt: skip
            rests_at(flow, least_loss(Y, width), 2500, 1e-8)


def turned(values, seed):
    """A square matrix with these singular values, and its singular vectors."""
    rng = np.random.default_rng(seed)
    q, p = np.linalg.qr(rng.standard_normal((2, len(values), len(values))))[0]
    return q @ np.diag(values) @ p.T, q, p


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("e", [1e-6, 1e-10, 1e-13])
@pytest.mark.parametrize("second", [0.9, 0.5])
def test_a_better_mode_inside_the_only_column_grows(second, e, rtol):
    """From the saddle of the second mode; what grows is hidden in a column of order one."""
    for seed in range(3):
        Y, q, p = turned([1.0, second, 0.3, 0.1], seed)
        u, v = (side[:, [1]] * np.sqrt(second) + e * side[:, [0]] for side in (q, p))
        flow = krf.flow_linear(np.eye(4), Y.T, W1=v.T, W2=u, rtol=rtol)
        rests_at(flow, least_loss(Y, 1), 2500, 1e-8)
        entries = np.nonzero(np.ones((4, 4)))
        flow = krf.flow_factorization(Y[entries], entries=entries, U0=u, V0=v, rtol=rtol)
        assert flow.loss == pytest.approx(least_loss(Y, 1), rel=1e-6)


@pytest.mark.parametrize("unit", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_an_input_in_a_smaller_unit_is_learned_before_the_end(unit, rtol):
    """Two columns: the first learns a target that one column does not fit, in its own units; the
    second waits for the other input, whose pace is that of its unit.
    """
    X = np.diag([1.0, 1.0, unit])
    Y = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.7]])
    W2, W1 = np.zeros((3, 2)), np.zeros((2, 3))
    W2[0, 0] = W1[0, 0] = 0.9
    W2[2, 1] = W1[1, 2] = 1e-3
    flow = krf.flow_linear(X, Y, W1=W1, W2=W2, rtol=rtol)
    assert flow.loss == pytest.approx(0.25, rel=1e-6)
    assert (flow.W2 @ flow.W1)[2, 2] * unit == pytest.approx(0.7, rel=1e-4)
