"""Flows of margin losses whose classes overlap: the loss has a minimum that is soon reached."""

import numpy as np
import pytest
import scipy.integrate
from numpy.typing import NDArray

import kernelrich_fast as krf
from kernelrich_fast import Status

pytestmark = pytest.mark.usefixtures("compiled")
Array = NDArray[np.float64]


def exact(X: Array, y: Array, alpha: float, times: Array, method: str) -> Array:
    """Beta at the times, by SciPy on the weights of a logistic model of depth 2."""
    Z, d = y[:, None] * X, X.shape[1]

    def field(_: float, w: Array) -> Array:
        pull = 2.0 * Z.T @ np.exp(-np.logaddexp(0.0, Z @ (w[:d] ** 2 - w[d:] ** 2)))
        return np.r_[pull * w[:d], -pull * w[d:]]

    span, start = (0.0, times[-1]), np.full(2 * d, alpha)
    w = scipy.integrate.solve_ivp(
        field, span, start, method=method, rtol=1e-11, atol=1e-14, t_eval=times
    ).y
    return (w[:d] ** 2 - w[d:] ** 2).T


def rises(X: Array, flow: krf.DiagonalFlow) -> Array:
    """The changes of ln L from one row to the next, from the start on."""
    return np.diff(np.r_[np.log(len(X) * np.log(2.0)), flow.log_loss])


@pytest.mark.parametrize("rtol", [1e-3, 1e-4, 1e-6])
@pytest.mark.parametrize("shape", [(10, 1), (100, 1), (100, 2)])
def test_against_the_weights(shape, rtol):
    times = np.array([0.1, 0.3, 1.0, 3.0, 10.0])
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal(shape), rng.choice([-1.0, 1.0], shape[0])
        flow = krf.flow_diagonal(X, y, alpha=0.1, loss="logistic", t_eval=times, rtol=rtol)
        beta = exact(X, y, 0.1, times, "DOP853")
        error = np.linalg.norm(flow.beta - beta, axis=1) / np.linalg.norm(beta, axis=1)
        assert error.max() <= 10 * rtol
        assert rises(X, flow).max() <= rtol


@pytest.mark.filterwarnings("ignore::kernelrich_fast.errors.ConvergenceWarning")
@pytest.mark.parametrize("rtol", [1e-3, 1e-4, 1e-6])
def test_the_loss_never_rises(rtol):
    times = np.geomspace(0.1, 1e3, 9)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((10, 1)), rng.choice([-1.0, 1.0], 10)
        for limits in ({}, {"max_steps": 1}, {"max_steps": 3}, {"max_steps": 9}):
            flow = krf.flow_diagonal(
                X, y, alpha=0.1, loss="logistic", t_eval=times, rtol=rtol, **limits
            )
            assert rises(X, flow).max() <= rtol


def test_a_gradient_that_nearly_cancels_asks_for_no_step_beyond_the_minimum():
    X, y = np.array([[1.0], [0.999]]), np.array([1.0, -1.0])
    times = np.array([1.0, 10.0, 100.0, 2e4])
    beta = exact(X, y, 0.5, times, "Radau")
    flow = krf.flow_diagonal(X, y, alpha=0.5, loss="logistic", t_eval=times)
    assert flow.status == Status.STATIONARY
    np.testing.assert_allclose(flow.beta, beta, rtol=1e-5)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
@pytest.mark.parametrize("n", [10, 24])
def test_as_many_samples_of_each_class_beside_an_intercept(n, rtol):
    """The pull on the intercept cancels at the start, so that slopes in a first step overflow."""
    times = np.array([1.0, 10.0, 100.0])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = np.c_[0.3 * rng.standard_normal(n), np.ones(n)]
        y = rng.permutation(np.repeat([-1.0, 1.0], n // 2))
        flow = krf.flow_diagonal(X, y, alpha=0.05, loss="logistic", t_eval=times, rtol=rtol)
        assert flow.status in (Status.T_END, Status.STATIONARY)
        beta = exact(X, y, 0.05, times, "DOP853")
        error = np.linalg.norm(flow.beta - beta, axis=1) / np.linalg.norm(beta, axis=1)
        assert error.max() <= 10 * rtol
