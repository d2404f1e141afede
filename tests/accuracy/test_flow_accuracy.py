"""Along the flow: within 10 rtol of an independent weight-space integration."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import relative
from fallback_cases import fallback_takes
from oracles import single_coordinate_flow, weight_space_flow
from scipy.optimize import linprog

import kernelrich_fast as krf

CASES = [(2, 1.0), (2, 0.1), (2, 0.01), (3, 1.0), (3, 0.1), (4, 0.3), (7, 0.6)]
CASES += [(2.0 + 1e-9, 0.1), (2.1, 0.3), (2.5, 0.1), (2.9, 1.0), (3.5, 0.3)]


def _profiles(kind: str, d: int) -> dict[str, np.ndarray]:
    ramp = np.linspace(0.7, 1.4, d)
    if kind == "plain":
        return {}
    if kind == "shaped":
        return {"w0": ramp}
    return {"w_plus0": ramp, "w_minus0": ramp[::-1]}


def _starts(profiles: dict[str, np.ndarray], alpha: float, d: int):
    common = profiles.get("w0", np.ones(d))
    return [alpha * profiles.get(k, common) for k in ("w_plus0", "w_minus0")]


@fallback_takes(
    {"depth": 2, "alpha": 0.01}, {"depth": 3, "alpha": 0.1, "kind": "biased"},
    *({"depth": depth, "kind": "biased"} for depth in (2.0 + 1e-9, 2.1, 2.5, 7)),
)  # fmt: skip
@pytest.mark.parametrize("kind", ["plain", "shaped", "biased"])
@pytest.mark.parametrize(("depth", "alpha"), CASES)
def test_path_matches_weight_space(small, backend_and_method, depth, alpha, kind):
    backend, method = backend_and_method
    X, y, _ = small
    profiles = _profiles(kind, X.shape[1])
    options = dict(alpha=alpha, depth=depth, backend=backend, **profiles)
    end = float(krf.flow_diagonal(X, y, **options, stop_loss=1e-8).t)
    times = end * np.concatenate([np.geomspace(1e-3, 0.1, 6), np.linspace(0.15, 1.0, 12)])
    expected = weight_space_flow(X, y, *_starts(profiles, alpha, X.shape[1]), depth, times)
    tolerances = (1e-3, 1e-6) if method == "dopri5" else (1e-3, 1e-6, 1e-9)
    for rtol in tolerances:
        flow = krf.flow_diagonal(X, y, **options, t_eval=times, rtol=rtol, method=method)
        assert relative(flow.beta, expected).max() < 10 * rtol
        assert np.all(flow.t == times)


@pytest.mark.parametrize("depth", [2, 3])
def test_more_samples_than_one_thread_block_takes(backend, depth):
    X, y, _ = krf.datasets.sparse_regression(131, 150, 3, seed=2)
    times = np.array([1e-3, 0.01, 0.1])
    expected = weight_space_flow(X, y, *[np.full(150, 0.3)] * 2, depth, times)
    for method in ("radau5", "auto"):
        flow = krf.flow_diagonal(
            X, y, alpha=0.3, depth=depth, t_eval=times, method=method, backend=backend
        )
        assert relative(flow.beta, expected).max() < 1e-5


@fallback_takes({"depth": 2, "alpha": 1e-2, "condition": 1e3}, {"depth": 3, "condition": 30.0})
@pytest.mark.parametrize("condition", [1.0, 30.0, 1e3])
@pytest.mark.parametrize(("depth", "alpha"), [(2, 0.3), (2, 1e-2), (3, 0.3), (5, 0.5)])
def test_rows_of_every_condition(backend, condition, depth, alpha):
    """Through solves by an inverse, through those by factors, and from one to the other."""
    rng = np.random.default_rng(4)
    U, _, V = np.linalg.svd(rng.standard_normal((24, 60)), full_matrices=False)
    X = 4.0 * (U * np.geomspace(1.0, 1.0 / condition, 24)) @ V
    y = X @ np.concatenate([[1.0, -1.0, 0.5], np.zeros(57)])
    end = float(krf.flow_diagonal(X, y, alpha=alpha, depth=depth, stop_loss=1e-4).t)
    times = end * np.geomspace(1e-2, 1.0, 9)
    expected = weight_space_flow(X, y, *[np.full(60, alpha)] * 2, depth, times)
    for rtol in (1e-3, 1e-6):
        flow = krf.flow_diagonal(
            X, y, alpha=alpha, depth=depth, t_eval=times, rtol=rtol, method="radau5",
            backend=backend,
        )  # fmt: skip
        assert relative(flow.beta, expected).max() < 10 * rtol


@pytest.mark.parametrize("method", ["auto", "radau5", "dopri5"])
@pytest.mark.parametrize(("depth", "alpha"), [(2, 0.3), (2.3, 0.3), (3, 0.3), (7, 0.6)])
def test_tight_tolerance(small, depth, alpha, method):
    X, y, _ = small
    end = float(krf.flow_diagonal(X, y, alpha=alpha, depth=depth, stop_loss=1e-6).t)
    times = end * np.concatenate([np.geomspace(1e-3, 0.1, 6), np.linspace(0.2, 1.0, 8)])
    expected = weight_space_flow(X, y, *[np.full(15, alpha)] * 2, depth, times)
    flow = krf.flow_diagonal(
        X, y, alpha=alpha, depth=depth, t_eval=times, rtol=1e-10, method=method
    )
    assert relative(flow.beta, expected).max() < 1e-9


def test_end_of_the_flow_is_the_limit(medium, backend):
    X, y, _ = medium
    for depth, alpha in ((2, 1e-3), (2, 1e-20), (2.5, 1e-4), (3, 1e-3), (4, 0.05), (8, 0.3)):
        flow = krf.flow_diagonal(X, y, alpha=alpha, depth=depth, stop_loss=1e-20, backend=backend)
        limit = krf.limit_diagonal(X, y, alpha=alpha, depth=depth, backend=backend)
        assert flow.status == krf.Status.CONVERGED
        assert relative(flow.beta, limit.beta) < 1e-5


def test_weights_loss_and_dual_are_consistent(medium, backend):
    X, y, _ = medium
    for depth in (2, 2.5, 3, 3.2, 5):
        flow = krf.flow_diagonal(X, y, alpha=0.2, depth=depth, backend=backend)
        beta = flow.w_plus**depth - flow.w_minus**depth
        assert np.allclose(beta, flow.beta, rtol=1e-9, atol=1e-12)
        assert np.isclose(flow.loss, np.sum((X @ beta - y) ** 2), rtol=1e-6, atol=1e-20)
        z = X.T @ flow.dual
        if depth == 2:
            assert np.allclose(0.2**2 * 2 * np.sinh(8 * z), beta, rtol=1e-9, atol=1e-13)
        else:
            speed = 2 * depth * (depth - 2)
            u = 0.2 ** (2 - depth) - speed * z
            assert np.allclose(u ** (-1 / (depth - 2)), flow.w_plus, rtol=1e-9)


@pytest.mark.parametrize(
    ("depth", "alpha", "rtol"),
    [
        (2.5, 1e-4, 1e-6),
        (3, 0.01, 1e-6),
        (4, 0.1, 1e-6),
        (5, 0.1, 1e-6),
        (5, 0.1, 1e-3),
        (8, 0.1, 1e-6),
    ],
)
def test_the_moment_of_activation(backend, depth, alpha, rtol):
    """After a plateau of 1 / alpha^(D-2), beta rises from 0.1 to 0.9 within a hundredth of it."""
    end = alpha ** (2.0 - depth) / (2 * depth * (depth - 2))
    near = np.array([-0.5, -0.1, 0.0, 0.05, 0.2])
    times = np.concatenate([[0.9 * end], end + near])
    exact = single_coordinate_flow(depth, alpha, tuple(times))
    # What one unit in the last place of t makes of beta.
    doubt = np.spacing(times) * np.gradient(exact, times, edge_order=2).max()
    for method in ("auto", "dopri5", "radau5") if backend != "numpy" else ("auto",):
        flow = krf.flow_diagonal(
            [[1.0]], [1.0], alpha=alpha, depth=depth, t_eval=times, rtol=rtol, method=method,
            backend=backend,
        )  # fmt: skip
        assert np.all(np.abs(flow.beta[:, 0] - exact) < 10.0 * rtol * exact + doubt)


def test_a_plateau_of_1e8_at_a_loose_tolerance(backend):
    """Depth 5 at alpha = 1e-3, where beta was 427 rtol off at the activation."""
    end = 1e9 / 30.0
    times = end + np.array([-0.2, -0.05, 0.0, 0.05])
    exact = single_coordinate_flow(5, 1e-3, tuple(times))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", krf.ConvergenceWarning)
        flow = krf.flow_diagonal(
            [[1.0]], [1.0], alpha=1e-3, depth=5, t_eval=times, rtol=1e-3, backend=backend
        )
    if backend == "numpy" and flow.status == krf.Status.FAILED:
        return  # the fallback says that it has too few digits
    assert np.all(np.abs(flow.beta[:, 0] / exact - 1.0) < 1e-2)


@pytest.mark.parametrize("method", ["auto", "radau5"])
def test_nearly_parallel_samples_of_length_500(method):
    X = np.array([[-531.010438825351, 537.8905119882307], [-20.830638340272554, 9.754680852032998]])
    y, alpha = np.array([-0.23714730005959347, -0.3570412855266213]), 2.4748062146253226e-05
    plus = np.array([0.32491431283795685, 2.5087073478529542])
    minus = np.array([0.4079829904218575, 3.1043517493391852])
    end = 0.13071040370106665
    expected = weight_space_flow(X, y, alpha * plus, alpha * minus, 2, np.array([end]))[0]
    flow = krf.flow_diagonal(
        X, y, alpha=alpha, w_plus0=plus, w_minus0=minus, t_max=end, stop_loss=0, method=method
    )
    assert relative(flow.beta, expected) < 1e-5


@pytest.mark.parametrize("seed", [411, 446, 488, 532])
def test_rows_within_explicit_steps(backend, seed):
    """From weights of many sizes; Shampine's quartic alone is 13 to 31 rtol off here."""
    rng = np.random.default_rng(seed)
    n, d = rng.integers(2, 12), rng.integers(3, 30)
    X = rng.normal(size=(n, d))
    y = X @ (rng.normal(size=d) * (rng.random(d) < 0.3)) + 0.1 * rng.normal(size=n)
    depth, alpha = rng.choice([2, 3, 4, 2.5, rng.uniform(2, 6)]), 10 ** rng.uniform(-2, 0.5)
    start = {name: 10 ** rng.uniform(-2, 1, d) for name in ("w_plus0", "w_minus0")}
    rtol = 10.0 ** -rng.integers(3, 9)
    rate = np.linalg.norm(X, 2) ** 2 * alpha ** (2 * depth - 2) + np.linalg.norm(y)
    times = np.geomspace(1e-4, 0.1, 151) / rate
    flow = krf.flow_diagonal(
        X, y, alpha=alpha, depth=depth, t_eval=times, rtol=rtol, method="dopri5",
        backend=backend, **start,
    )  # fmt: skip
    expected = weight_space_flow(X, y, *(alpha * w for w in start.values()), depth, times)
    largest = np.maximum.accumulate(np.linalg.norm(expected, axis=-1))
    error = np.linalg.norm(flow.beta - expected, axis=-1) / largest
    assert error.max() < 5 * rtol


@pytest.mark.parametrize(
    ("depth", "alpha"),
    [
        (2.5, 1e-60), (3, 1e-12), (3, 1e-20), (3, 1e-45), (4, 1e-18), (6, 1e-10), (8, 1e-8),
        (3, 1e-75), (4, 1e-40), (4, 1e-50), (5, 1e-30), (5, 1e-37), (8, 1e-21),
    ],
)  # fmt: skip
def test_saddles_from_starts_beyond_the_digits_of_time(compiled, depth, alpha):
    """A flow of 1e45 units of time rests at every saddle of the limit alpha to 0, and leaves it.

    Coefficients grow and vanish again along this path, which is computed without integration.
    """
    X, y, _ = krf.datasets.sparse_regression(10, 20, 2)
    path = krf.rich_path(X, y, depth=depth)
    edges = np.append(path.jump_times, 3.0 * path.jump_times[-1])
    times = 0.5 * (edges[1:] + edges[:-1]) * path.time_unit(alpha)
    assert np.any(path.active[:-1] & ~path.active[1:])
    for n_times in (1, len(times)):
        flow = krf.flow_diagonal(X, y, alpha=alpha, depth=depth, t_eval=times[-n_times:])
        assert flow.converged
        assert relative(flow.beta, path.beta[-n_times:]).max() < 1e-9
        assert flow.n_steps < 2500


@pytest.mark.parametrize(("depth", "alpha"), [(2.5, 1e-50), (3, 1e-25), (4, 1e-14), (6, 1e-7)])
@pytest.mark.parametrize("seed", range(4))
def test_flows_from_such_starts_end_at_the_least_l1_norm(compiled, seed, depth, alpha):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((8, 15)), rng.standard_normal(8)
    program = linprog(np.ones(30), A_eq=np.hstack([X, -X]), b_eq=y, method="highs")
    least = program.x[:15] - program.x[15:]
    flow = krf.flow_diagonal(X, y, alpha=alpha, depth=depth, stop_loss=1e-24)
    assert flow.converged
    assert relative(flow.beta, least) < 1e-9
