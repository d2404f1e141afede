"""Times that gradient descent of networks does not stop at."""

from __future__ import annotations

import numpy as np
import pytest

import kernelrich_fast as krf

STEP = 0.1


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        ([0.001, 0.1, 0.101, 0.2], [1, 1, 2, 2]),
        ([0.0, 0.05, 0.12, 0.13], [0, 1, 2, 2]),
        # 3 * 0.1 is not 0.3, and 17 * 0.1 is not 1.7: these are times of steps all the same.
        ([0.25, 0.3, 1.65, 1.7], [3, 3, 17, 17]),
        ([0.15, 10 * STEP - 1e-16, 1.05], [2, 10, 11]),
    ],
)
def test_a_row_has_the_time_of_its_step(backend, asked, steps):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((5, 3)), rng.standard_normal(5)
    first, second = 0.4 * rng.standard_normal((6, 3)), 0.4 * rng.standard_normal((1, 6))
    flow = krf.flow_mlp(
        X, y, weights0=[first, second], method="gradient_descent", step_size=STEP,
        t_eval=asked, backend=backend,
    )  # fmt: skip
    losses = []
    for _ in range(max(steps) + 1):
        z = X @ first.T
        hidden = np.maximum(z, 0.0)
        pull = 2.0 * (y - hidden @ second[0])
        losses.append(0.25 * np.sum(pull**2))
        inner = (pull[:, None] * second * (z > 0.0)).T @ X
        first, second = first + STEP * inner, second + STEP * (pull @ hidden)
    assert np.allclose(flow.loss, np.array(losses)[steps], rtol=1e-12)
    assert flow.n_steps == steps[-1]
    own = np.abs(np.array(asked) - STEP * np.array(steps)) < 1e-12
    assert np.array_equal(flow.t[own], np.array(asked)[own])
    assert np.allclose(flow.t, STEP * np.array(steps), rtol=1e-15, atol=0.0)
