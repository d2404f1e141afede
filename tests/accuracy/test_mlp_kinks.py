"""Kinks of ReLU networks that a flow has stayed on: which way it leaves them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_mlp_accuracy import descent

import kernelrich_fast as krf
from kernelrich_fast.initialization import he_layers

METHODS = ["auto", "exponential", "dopri5"]


def check(start, X, y, end, steps, known, rtols, method, most_steps):
    """Predictions against extrapolated descent, which must be ``known`` to so much of y."""
    coarse, fine = (descent(start, X, y, np.array([end]), count)[0] for count in (steps, 2 * steps))
    reference, norm = 2.0 * fine - coarse, np.linalg.norm(y)
    doubt = np.linalg.norm(fine - coarse) / norm
    assert doubt < known
    for rtol in rtols:
        flow = krf.flow_mlp(X, y, weights0=start, t_eval=[end], rtol=rtol, method=method)
        error = np.linalg.norm(flow.predict(X)[0] - reference) / norm
        assert error < 10.0 * rtol + doubt, rtol
        assert flow.n_steps < most_steps, rtol


@pytest.mark.parametrize("method", METHODS)
def test_a_kink_is_left_to_the_side_that_turned_away_first(method, compiled):
    """Soon after it the other side turns away too: at the end of a long step both have."""
    data = krf.datasets.circle_teacher(8, seed=326)
    start = he_layers((2, 5, 5, 1), "he_uniform", 326)
    check(start, data.X, data.y, 2.0, 2000, 3e-5, (1e-3, 3e-4, 1e-4, 1e-5), method, 500)


@pytest.mark.parametrize("method", METHODS)
def test_kinks_of_two_layers_that_hold_each_other(method, compiled):
    """Units come back before their crossing has counted, and hold those of the layer before."""
    rng = np.random.default_rng([3, 48, 77])
    n, d, width = int(rng.integers(2, 11)), int(rng.integers(1, 4)), int(rng.integers(2, 21))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    start = he_layers((d, width, width, 1), "he_uniform", 48)
    # How many steps that takes hangs on rounding: 60 to 700 of them have been seen.
    check(start, X, y, 2.4, 2000, 3e-5, (1e-2, 5e-3, 3e-3, 1e-3, 1e-4), method, 2000)


def parity(bits):
    X = np.array(list(itertools.product([-1.0, 1.0], repeat=bits)))
    return X, X.prod(axis=1)


@pytest.mark.parametrize(
    ("bits", "depth", "seed", "most_steps"),
    [(3, 3, 0, 500), (3, 3, 2, 500), (3, 4, 0, 1500), (3, 4, 1, 1500), (4, 3, 0, 2000)],
)
def test_parities_are_learned_whose_units_slide_by_the_dozen(
    bits, depth, seed, most_steps, compiled
):
    """With room for 48 sliding kinks, every crossing of another one ended a step."""
    X, y = parity(bits)
    flow = krf.flow_mlp(X, y, depth=depth, width=20, alpha=0.1, seed=seed, rtol=1e-4)
    assert flow.status == "CONVERGED"
    assert flow.n_steps < most_steps


@pytest.mark.parametrize(("seed", "end"), [(0, 5.0), (1, 4.5)])
def test_parities_against_gradient_descent(seed, end, compiled):
    X, y = parity(3)
    start = krf.flow_mlp(X, y, depth=3, width=20, alpha=0.1, seed=seed, t_eval=[0.0]).weights0
    check(start, X, y, end, 20000, 5e-3, (1e-3,), "auto", 500)


def test_a_step_that_overflows_does_not_spoil_those_after_it(compiled):
    """At rest steps are long; one of them ends in NaN, and a shorter one follows."""
    angle = np.arange(1, 13) / 12.0 * 3.0 * np.pi
    arm = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / 6.0
    X, y = np.concatenate([arm, -arm]), np.repeat([1.0, -1.0], 12)
    flow = krf.flow_mlp(X, y, depth=4, width=20, alpha=0.1, seed=1, rtol=1e-4)
    assert flow.status == "STATIONARY"
