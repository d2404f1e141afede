"""What every backend owes factorisations under a margin loss."""

import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast import Status

RNG = np.random.default_rng(0)
MASK = RNG.random((4, 5)) < 0.7
Y = np.sign(RNG.standard_normal((4, 1)) @ RNG.standard_normal((1, 5)))[MASK]
RUNS = {"entries": MASK, "alpha": [0.01, 1.0], "width": [[2], [40]]}
LEVELS = [0.0, -13.8, -600.0]


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_backends_agree(backend, loss):
    """Each within its promise of a tight run."""
    call = {"loss": loss, "log_loss_eval": LEVELS, **RUNS}
    exact = krf.flow_factorization(Y, rtol=1e-9, **call)
    flow = krf.flow_factorization(Y, rtol=1e-5, backend=backend, **call)
    assert flow.backend == backend
    assert np.all(flow.status == Status.CONVERGED)
    size = np.linalg.norm(exact.M, axis=(-2, -1))
    assert np.all(np.linalg.norm(flow.M - exact.M, axis=(-2, -1)) <= 1e-4 * size)
    np.testing.assert_allclose(
        flow.log_loss, np.broadcast_to(LEVELS, flow.log_loss.shape), atol=1e-6
    )
    np.testing.assert_allclose(flow.log_t, exact.log_t, atol=2e-3)
    timed = krf.flow_factorization(
        Y, rtol=1e-5, loss=loss, t_eval=[0.0, 1.0, 100.0], backend=backend, **RUNS
    )
    best = krf.flow_factorization(Y, rtol=1e-9, loss=loss, t_eval=[0.0, 1.0, 100.0], **RUNS)
    np.testing.assert_allclose(timed.log_loss, best.log_loss, atol=2e-3)
    assert np.all(timed.status == Status.T_END)


def test_fields_shapes_and_units(backend):
    flow = krf.flow_factorization(Y, loss="exponential", backend=backend, **RUNS)
    assert isinstance(flow, krf.FactorizationMarginFlow)
    assert flow.M.shape == (2, 2, 4, 5)
    assert flow.margins.shape == (2, 2, len(Y))
    np.testing.assert_allclose(flow.loss, 1e-12, rtol=1e-6)
    np.testing.assert_allclose(flow.margins, Y * flow.M[..., MASK], rtol=1e-12)
    assert np.all(Y * flow.direction[..., MASK] >= 1.0 - 1e-12)
    data = flow.to_dataset(["width", "alpha"])
    assert {"log_loss", "log_t", "margins", "direction"} <= set(data)
    assert isinstance(flow[0], krf.FactorizationMarginFlow)
    assert flow[0, 1].M.shape == (4, 5)


def test_a_run_does_not_depend_on_its_batch(backend):
    call = {"loss": "logistic", "log_loss_eval": LEVELS[:2], "backend": backend}
    flow = krf.flow_factorization(Y, **RUNS, **call)
    alone = krf.flow_factorization(Y, **RUNS | {"alpha": 1.0, "width": 2}, **call, num_threads=1)
    np.testing.assert_array_equal(alone.M, flow.M[0, 1])
    np.testing.assert_array_equal(alone.log_t, flow.log_t[0, 1])


def test_entries_and_labels_of_their_own(backend):
    """Every run with its entries, and labels that the same entries as measurements confirm."""
    rows, columns = [[0, 1, 2], [3, 0, 1]], [[1, 1, 0], [2, 2, 3]]
    labels = [[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]]
    call = {"alpha": 0.1, "width": 3, "loss": "logistic", "backend": backend}
    flow = krf.flow_factorization(labels, entries=(rows, columns), dims=(4, 5), **call)
    for b in range(2):
        X = np.zeros((3, 4, 5))
        X[np.arange(3), rows[b], columns[b]] = 1.0
        one = krf.flow_factorization(labels[b], measurements=X, **call)
        np.testing.assert_allclose(flow.margins[b], one.margins, rtol=1e-4)
        np.testing.assert_allclose(flow.M[b], one.M, atol=1e-4 * np.abs(one.M).max())


def test_too_few_steps_are_said(backend):
    with pytest.warns(krf.ConvergenceWarning):
        flow = krf.flow_factorization(
            Y, loss="exponential", max_steps=3, backend=backend, **RUNS | {"alpha": 1.0, "width": 2}
        )
    assert flow.status == Status.MAX_STEPS
    assert flow.log_loss > np.log(1e-12)
    np.testing.assert_allclose(np.log(np.exp(-flow.margins).sum()), flow.log_loss, rtol=1e-9)


def test_nothing_to_move_is_stationary(backend):
    """All weights zero: a saddle that the flow never leaves."""
    flow = krf.flow_factorization(
        Y, entries=MASK, U0=np.zeros((4, 2)), V0=np.zeros((5, 2)), loss="logistic", backend=backend
    )
    assert flow.status == Status.STATIONARY
    np.testing.assert_array_equal(flow.M, 0.0)
    np.testing.assert_allclose(flow.loss, len(Y) * np.log(2.0), rtol=1e-12)


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_one_label_at_a_loss_of_one_sample(backend, loss):
    """At M = 0 the loss is that of a margin of zero, to its last bit."""
    zero = krf.flow_factorization(
        [1.0], entries=([0], [0]), U0=np.zeros((2, 1)), V0=np.zeros((2, 1)), loss=loss,
        backend=backend,
    )  # fmt: skip
    assert zero.status == Status.STATIONARY
    shrinks = krf.flow_factorization(
        [-1.0], entries=([0], [0]), dims=(2, 2), symmetric=True, alpha=0.1, width=3, loss=loss,
        backend=backend,
    )  # fmt: skip
    assert shrinks.status == Status.STATIONARY
    assert abs(shrinks.M[0, 0]) < 1e-12
