"""What every backend owes flows of margin losses."""

import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast import Status

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 12))
Y = np.sign(X[:, 0] - X[:, 1])
RUNS = {"alpha": [0.2, 3.0], "depth": [[2], [2.5], [4]]}
LEVELS = [0.0, -13.8, -600.0]


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_backends_agree(backend, loss):
    """Each within its promise of a tight run."""
    exact = krf.flow_diagonal(X, Y, loss=loss, log_loss_eval=LEVELS, rtol=1e-9, **RUNS)
    flow = krf.flow_diagonal(
        X, Y, loss=loss, log_loss_eval=LEVELS, rtol=1e-5, backend=backend, **RUNS
    )
    assert flow.backend == backend
    assert np.all(flow.status == Status.CONVERGED)
    error = np.linalg.norm(flow.beta - exact.beta, axis=-1) / np.linalg.norm(exact.beta, axis=-1)
    assert error.max() <= 1e-4
    np.testing.assert_allclose(
        flow.log_loss, np.broadcast_to(LEVELS, flow.log_loss.shape), atol=1e-6
    )
    np.testing.assert_allclose(flow.log_t, exact.log_t, atol=2e-3)
    timed = krf.flow_diagonal(
        X, Y, loss=loss, t_eval=[0.0, 1.0, 100.0], rtol=1e-5, backend=backend, **RUNS
    )
    best = krf.flow_diagonal(X, Y, loss=loss, t_eval=[0.0, 1.0, 100.0], rtol=1e-9, **RUNS)
    np.testing.assert_allclose(timed.log_loss, best.log_loss, atol=2e-3)
    assert np.all(timed.status == Status.T_END)


def test_fields_shapes_and_units(backend):
    flow = krf.flow_diagonal(X, Y, loss="exponential", backend=backend, **RUNS)
    assert flow.beta.shape == (3, 2, 12)
    assert flow.margins.shape == flow.dual.shape == (3, 2, 6)
    np.testing.assert_allclose(flow.loss, 1e-12, rtol=1e-6)
    np.testing.assert_allclose(flow.margins, flow.beta @ (Y[:, None] * X).T, rtol=1e-12)
    np.testing.assert_allclose(flow.direction @ (Y[:, None] * X).T >= 1.0 - 1e-12, True)
    data = flow.to_dataset(["depth", "alpha"])
    assert {"log_loss", "log_t", "margins", "direction"} <= set(data)
    assert isinstance(flow[0], krf.MarginFlow)
    assert flow[0, 1].beta.shape == (12,)


def test_a_run_does_not_depend_on_its_batch(backend):
    options = {"loss": "logistic", "log_loss_eval": LEVELS[:2], "backend": backend}
    flow = krf.flow_diagonal(X, Y, **RUNS, **options)
    alone = krf.flow_diagonal(X, Y, alpha=3.0, depth=2.5, num_threads=1, **options)
    np.testing.assert_array_equal(alone.beta, flow.beta[1, 1])
    np.testing.assert_array_equal(alone.log_t, flow.log_t[1, 1])


def test_problems_of_one_batch(backend):
    """Data and labels of their own, more samples than features, classes that overlap."""
    tall, labels = RNG.standard_normal((2, 30, 3)), np.where(RNG.random((2, 30)) < 0.5, -1.0, 1.0)
    labels[1] = np.sign(tall[1, :, 0])
    flow = krf.flow_diagonal(tall, labels, alpha=0.5, loss="logistic", backend=backend)
    assert list(flow.status) == [Status.STATIONARY, Status.CONVERGED]
    np.testing.assert_allclose(
        flow.margins, labels * np.einsum("bnd,bd->bn", tall, flow.beta), rtol=1e-10
    )


def test_too_few_steps_are_said(backend):
    with pytest.warns(krf.ConvergenceWarning):
        flow = krf.flow_diagonal(X, Y, alpha=1.0, loss="exponential", max_steps=3, backend=backend)
    assert flow.status == Status.MAX_STEPS
    assert flow.log_loss > np.log(1e-12)
    np.testing.assert_allclose(np.log(np.exp(-flow.margins).sum()), flow.log_loss, rtol=1e-9)


def test_inputs_are_left_alone(backend):
    data, labels = X.copy(), Y.copy()
    data.setflags(write=False)
    labels.setflags(write=False)
    krf.flow_diagonal(data, labels, alpha=1.0, loss="exponential", backend=backend)
    np.testing.assert_array_equal(data, X)
