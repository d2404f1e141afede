"""Hypothesis: what must hold on every problem."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import relative
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import kernelrich_fast as krf

SETTINGS = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
problems = st.tuples(
    st.integers(1, 6),
    st.integers(0, 8),
    st.integers(0, 10_000),
    st.sampled_from([2, 2.25, 2.5, 3, 3.5, 4, 7]),
)
scales = st.floats(-2.0, 1.0).map(lambda e: 10.0**e)


def make(problem):
    n, extra, seed, depth = problem
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n + extra))
    y = rng.standard_normal(n)
    values = np.linalg.svd(X, compute_uv=False)
    assume(values[-1] > 0.05 * values[0])
    return X, y, depth


@SETTINGS
@given(problems, scales)
def test_conserved_quantities(backend, problem, alpha):
    X, y, depth = make(problem)
    scale = alpha ** (2 / depth)
    flow = krf.flow_diagonal(X, y, alpha=scale, depth=depth, backend=backend)
    if depth == 2:
        assert np.allclose(flow.w_plus * flow.w_minus, scale**2, rtol=1e-9)
    else:
        power = 2.0 - depth
        total = flow.w_plus**power + flow.w_minus**power
        assert np.allclose(total, 2 * scale**power, rtol=1e-9)


@SETTINGS
@given(problems, scales)
def test_loss_never_increases(backend, problem, alpha):
    X, y, depth = make(problem)
    options = dict(alpha=alpha ** (2 / depth), depth=depth, backend=backend)
    end = float(krf.flow_diagonal(X, y, **options).t)
    flow = krf.flow_diagonal(X, y, **options, t_eval=np.linspace(0, end, 40))
    assert np.all(np.diff(flow.loss) <= 1e-5 * (y @ y))


@pytest.mark.usefixtures("compiled")
@pytest.mark.filterwarnings("ignore::kernelrich_fast.ConvergenceWarning")
@pytest.mark.parametrize("method", ["auto", "radau5"])
def test_loss_falls_from_step_to_step_at_any_tolerance(method):
    """At times within these steps it rises a thousandfold, in beta a third of rtol."""
    X, y = np.array([[-0.2377, 0.2149], [-1.6942, 1.512]]), np.array([-0.3906, 0.3079])
    options = dict(alpha=0.733, depth=4, t_max=240.0, stop_loss=0.0, rtol=1e-2, method=method)
    ends = [krf.flow_diagonal(X, y, max_steps=k, **options) for k in range(1, 45)]
    assert ends[-1].status == krf.Status.T_END
    loss = np.array([float(flow.loss) for flow in ends])
    assert np.all(np.diff(loss) <= 1e-15 * (y @ y))
    assert loss[-1] < 1e-6 * loss[0]


@SETTINGS
@given(problems, scales, st.integers(0, 1000))
def test_permutations_and_sign_flips(backend, problem, alpha, seed):
    X, y, depth = make(problem)
    rng = np.random.default_rng(seed)
    options = dict(alpha=alpha ** (2 / depth), depth=depth, backend=backend)
    expected = krf.limit_diagonal(X, y, **options).beta
    features, samples = rng.permutation(X.shape[1]), rng.permutation(len(y))
    signs, flips = rng.choice([-1.0, 1.0], X.shape[1]), rng.choice([-1.0, 1.0], len(y))
    X2 = (X * signs)[:, features][samples] * flips[:, None]
    got = krf.limit_diagonal(X2, y[samples] * flips, **options).beta
    assert relative(got, (expected * signs)[features]) < 1e-7
    path = krf.flow_diagonal(X, y, **options, t_eval=[0.02, 0.2]).beta
    turned = krf.flow_diagonal(X2, y[samples] * flips, **options, t_eval=[0.02, 0.2]).beta
    assert relative(turned, (path * signs)[:, features]).max() < 2e-5


@SETTINGS
@given(problems, scales, st.floats(0.2, 5.0))
def test_scaling_law(backend, problem, alpha, c):
    X, y, depth = make(problem)
    scale = alpha ** (2 / depth)
    times = np.array([0.01, 0.1])
    a = krf.flow_diagonal(X, y, alpha=scale, depth=depth, backend=backend, t_eval=times)
    b = krf.flow_diagonal(
        X, c**depth * y, alpha=c * scale, depth=depth, backend=backend,
        t_eval=c ** (2.0 - 2 * depth) * times,
    )  # fmt: skip
    assert relative(b.beta, c**depth * a.beta).max() < 2e-5


@SETTINGS
@given(problems, scales)
def test_flow_ends_at_the_limit_and_kkt_holds(backend, problem, alpha):
    X, y, depth = make(problem)
    options = dict(alpha=alpha ** (2 / depth), depth=depth, backend=backend)
    flow = krf.flow_diagonal(X, y, **options, stop_loss=1e-20)
    limit = krf.limit_diagonal(X, y, **options)
    assert flow.status == limit.status == krf.Status.CONVERGED
    assert relative(flow.beta, limit.beta) < 1e-5
    z = X.T @ limit.dual
    unit = limit.beta / options["alpha"] ** depth
    s = krf.theory.inverse_mirror_map(unit, depth)
    factor = 8.0 if depth == 2 else 2 * depth * (depth - 2) * options["alpha"] ** (depth - 2)
    assert np.allclose(s, factor * z, rtol=1e-6, atol=1e-7)


@SETTINGS
@given(problems, scales)
def test_theorem_two(backend, problem, alpha):
    X, y, _ = make(problem)
    assume(X.shape[1] > 1)
    l1, l2 = krf.theory.min_l1(X, y), krf.theory.min_l2(X, y)
    eps = 0.5
    large = krf.theory.alpha_for_l2(eps, l2)
    at_large = krf.limit_diagonal(X, y, alpha=large, backend=backend).beta
    assert at_large @ at_large <= (1 + eps) * (l2 @ l2) * (1 + 1e-9)
    small = krf.theory.alpha_for_l1(eps, l1)
    assume(small > 1e-140)
    at_small = krf.limit_diagonal(X, y, alpha=small, backend=backend).beta
    assert np.abs(at_small).sum() <= (1 + eps) * np.abs(l1).sum() * (1 + 1e-9)
