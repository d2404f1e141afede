"""ReLU networks against small-step gradient descent, SciPy, closed forms and invariants."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import kernelrich_fast as krf
from kernelrich_fast.initialization import he_layers

SLOW = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def gradient(layers, X, y):
    """-dL/dW of the sum of squares, layer by layer, in plain NumPy."""
    values = [X]
    for W in layers[:-1]:
        values.append(np.maximum(values[-1] @ W.T, 0.0))
    delta = 2.0 * (values[-1] @ layers[-1].T - y[:, None])
    out = []
    for i in reversed(range(len(layers))):
        out.insert(0, -delta.T @ values[i])
        if i:
            delta = (delta @ layers[i]) * (values[i] > 0)
    return out


def forward(layers, X):
    for W in layers[:-1]:
        X = np.maximum(X @ W.T, 0.0)
    return (X @ layers[-1].T)[:, 0]


def steps_of_descent(layers, X, y, end, steps):
    layers = [W.copy() for W in layers]
    for _ in range(steps):
        for W, G in zip(layers, gradient(layers, X, y), strict=True):
            W += end / steps * G
        yield layers


def descent(layers, X, y, times, steps):
    """Predictions of gradient descent with times[-1] / steps; times are equally spaced."""
    path, each = steps_of_descent(layers, X, y, times[-1], steps), steps // len(times)
    return np.array([forward(W, X) for k, W in enumerate(path, 1) if k % each == 0])


def promised(backend, rtol):
    """Relative error of predictions: the fallback sharpens nothing beyond 1e-3."""
    return max(10.0 * rtol, 1e-3) if backend == "numpy" else 10.0 * rtol


# Each of these slides for a while, by one unit or several, in the first layer or deeper.
CASES = [(2, 0.3, 0, 8.0), (2, 0.05, 2, 10.0), (3, 0.3, 1, 4.0), (5, 0.5, 1, 3.0)]


@pytest.mark.parametrize(("depth", "alpha", "seed", "end"), CASES)
def test_predictions_along_the_flow_against_gradient_descent(depth, alpha, seed, end, backend):
    data = krf.datasets.circle_teacher(10, seed=seed)
    start = [alpha * W for W in he_layers((2, *(depth - 1) * (30,), 1), "he_uniform", seed)]
    times = np.linspace(0.0, end, 5)[1:]
    coarse = descent(start, data.X, data.y, times, 8000)
    fine = descent(start, data.X, data.y, times, 16_000)
    reference = 2.0 * fine - coarse  # the step's first-order error cancels
    norm = np.linalg.norm(data.y)
    doubt = np.linalg.norm(fine - coarse, axis=1).max() / norm
    assert doubt < 3e-4
    methods = ("exponential", "dopri5") if backend != "numpy" else ("exponential",)
    for method in methods:
        for rtol in (1e-3, 1e-5):
            flow = krf.flow_mlp(
                data.X, data.y, depth=depth, alpha=alpha, seed=seed, t_eval=times, rtol=rtol,
                method=method, backend=backend,
            )  # fmt: skip
            error = np.linalg.norm(flow.predict(data.X) - reference, axis=1).max() / norm
            assert error < promised(backend, rtol) + doubt


@functools.cache
def narrow(depth, draw, begin, end):
    """A small random problem from ``begin`` on; what descent predicts at ``end``, and its doubt."""
    rng = np.random.default_rng([depth, draw])
    n, d, width = int(rng.integers(2, 8)), int(rng.integers(1, 4)), int(rng.integers(1, 6))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    start = he_layers((d, *(depth - 1) * (width,), 1), "he_uniform", draw)
    if begin:
        *_, start = steps_of_descent(start, X, y, begin, 8000)
    coarse, fine = (descent(start, X, y, np.array([end - begin]), k)[0] for k in (4000, 8000))
    return X, y, start, 2.0 * fine - coarse, np.linalg.norm(fine - coarse) / np.linalg.norm(y)


# Crossed and crossed back within a step: the first. Kinks of several samples that are one surface,
# because a single unit before them is active: the next two. The same, but that unit's neighbour is
# at its own kink, so that they are two surfaces: the fourth. Units that slide and whose inputs then
# all become zero: the others.
NARROW = [(2, 266, 0.5), (5, 90, 2.0), (5, 216, 0.3), (4, 7, 2.0), (4, 68, 0.3), (4, 91, 2.0),
          (5, 41, 0.5), (5, 54, 1.0)]  # fmt: skip
# Shortly before and after kinks of several units and samples: the fallback slides by tiny steps.
SHORT = {(5, 216): (0.1, 0.14), (4, 7): (1.34, 1.44)}


@pytest.mark.parametrize(("depth", "draw", "end"), NARROW)
def test_excursions_and_common_kinks_against_gradient_descent(depth, draw, end, backend):
    begin, end = SHORT.get((depth, draw), (0.0, end)) if backend == "numpy" else (0.0, end)
    X, y, start, reference, doubt = narrow(depth, draw, begin, end)
    assert doubt < 6e-4
    tolerances = (1e-4,) if backend == "numpy" else np.geomspace(1e-5, 1e-3, 9)
    methods = ("auto",) if backend == "numpy" else ("auto", "dopri5", "exponential")
    for rtol, method in itertools.product(tolerances, methods):
        flow = krf.flow_mlp(
            X, y, weights0=start, t_eval=[end - begin], rtol=rtol, method=method, backend=backend
        )
        error = np.linalg.norm(flow.predict(X)[0] - reference) / np.linalg.norm(y)
        assert error < promised(backend, rtol) + 2.0 * doubt, (rtol, method)


def check_smooth_flow(n, end, rtols, backend):
    """All units active on all samples: nothing to cross, every digit counts."""
    rng = np.random.default_rng(0)
    X, y = rng.uniform(0.5, 1.5, (n, 3)), rng.uniform(1.0, 2.0, n)
    layers = [rng.uniform(0.3, 0.6, (5, 3)), rng.uniform(0.2, 0.4, (4, 5)), np.full((1, 4), 0.1)]
    shapes = [W.shape for W in layers]
    cuts = np.cumsum([W.size for W in layers])[:-1]

    def field(_, flat):
        parts = [w.reshape(s) for w, s in zip(np.split(flat, cuts), shapes, strict=True)]
        return np.concatenate([G.ravel() for G in gradient(parts, X, y)])

    times = end * np.array([0.002, 0.04, 1.0])
    start = np.concatenate([W.ravel() for W in layers])
    exact = solve_ivp(
        field, (0, end), start, method="DOP853", rtol=1e-12, atol=1e-13, t_eval=times
    ).y.T
    for method in ("exponential", "dopri5"):
        for rtol in rtols:
            flow = krf.flow_mlp(
                X, y, weights0=layers, t_eval=times, rtol=rtol, method=method, backend=backend
            )
            flat = np.concatenate([W.reshape(3, -1) for W in flow.weights], axis=1)
            error = np.linalg.norm(flat - exact, axis=1) / np.linalg.norm(exact, axis=1)
            assert error.max() < promised(backend, rtol)


def test_smooth_flow_against_scipy(backend):
    check_smooth_flow(4, 0.5, (1e-4, 1e-7, 1e-10), backend)
    check_smooth_flow(40, 0.05, (1e-7, 1e-10), backend)


def test_smooth_flow_of_many_samples_against_scipy(backend):
    """From 150 samples on the CPU backend takes eigenvectors from LAPACK."""
    check_smooth_flow(160, 0.0125, (1e-4, 1e-7, 1e-10), backend)


def test_kernel_regime_against_the_linearised_flow(backend):
    """F(w0) = 0 and a large start: f(t) = (1 - exp(-2 K t)) y up to powers of 1 / alpha."""
    data = krf.datasets.circle_teacher(8, seed=4)
    for depth, alpha in ((2, 30.0), (3, 10.0)):
        flow = krf.flow_mlp(
            data.X, data.y, depth=depth, alpha=alpha, antisymmetric=True, stop_loss=1e-10,
            backend=backend,
        )  # fmt: skip
        assert flow.status == krf.Status.CONVERGED
        assert flow.n_steps < 150
        K = krf.theory.mlp_tangent_kernel(flow.weights0, data.X, antisymmetric=True)
        times = np.array([0.1, 1.0, 10.0]) / np.linalg.eigvalsh(K)[-1]
        path = krf.flow_mlp(
            data.X, data.y, depth=depth, alpha=alpha, antisymmetric=True, t_eval=times,
            backend=backend,
        )  # fmt: skip
        value, vector = np.linalg.eigh(K)
        decay = np.exp(-2.0 * times[:, None] * value)
        expected = data.y - (decay * (vector.T @ data.y)) @ vector.T
        assert np.allclose(path.predict(data.X), expected, atol=0.05 * np.abs(data.y).max())
        limit = krf.theory.mlp_kernel_predictor(
            flow.weights0, data.X, data.y, data.X_test, antisymmetric=True
        )
        assert np.allclose(flow.predict(data.X_test), limit, atol=0.05 * np.abs(data.y).max())


def test_a_sample_comes_alive_behind_dead_units(backend):
    """Every unit behind the first starts from zero when it wakes; DOP853 on either side."""
    X, y = np.array([[1.0, 0.0], [1.0, -1.0]]), np.array([1.0, 5.0])
    start = np.array([0.5, 0.6, 1.0, 1.0])  # two inputs, then one unit after the other
    end = 0.16431187248945803

    def field(_, w, alive):
        z = X @ w[:2]
        pull = 2.0 * (alive * z * w[2] * w[3] - y) * alive
        g = pull @ z
        return -np.concatenate([w[2] * w[3] * (pull @ X), [w[3] * g, w[2] * g]])

    def wakes(_, w, alive):
        return X[1] @ w[:2]

    wakes.terminal = True
    options = dict(method="DOP853", rtol=1e-12, atol=1e-13)
    before = solve_ivp(field, (0.0, end), start, events=wakes, args=(np.array([1, 0]),), **options)
    assert before.t[-1] == pytest.approx(0.114312, abs=1e-6)
    after = solve_ivp(
        field, (before.t[-1], end), before.y[:, -1], args=(np.array([1, 1]),), **options
    )
    w = after.y[:, -1]
    exact = X @ w[:2] * w[2] * w[3]
    for rtol in (1e-3, 1e-6):
        flow = krf.flow_mlp(
            X, y, weights0=[[start[:2]], [[1.0]], [[1.0]]], t_eval=[end], rtol=rtol,
            backend=backend,
        )  # fmt: skip
        error = np.linalg.norm(flow.predict(X)[0] - exact) / np.linalg.norm(y)
        assert error < promised(backend, rtol)


def test_the_minimum_behind_a_sample_that_comes_alive(backend):
    data = np.array([
        [-0.2955268232363118, 0.6615051956697343, -0.298015259727247],
        [-0.30951882938488, -0.7745811645172785, 1.1856951527455408],
        [0.27981292854175666, 0.7011813266746328, 0.2181567276747639],
        [0.8099071186337355, 2.2418688443423864, -1.1257662571597358],
        [-1.762745050680042, -0.8729242579596145, 1.3892344957218916],
    ])  # fmt: skip
    X, y = data[:, :2], data[:, 2]
    flow = krf.flow_mlp(X, y, depth=3, width=1, seed=78, backend=backend)
    layers = [W[None] if W.ndim == 1 else W for W in he_layers((2, 1, 1, 1), "he_uniform", 78)]
    # Small-step descent ends there too.
    for _ in range(40_000):
        for W, G in zip(layers, gradient(layers, X, y), strict=True):
            W += 2e-3 * G
    loss = np.sum((forward(layers, X) - y) ** 2)
    assert loss == pytest.approx(3.6306507, rel=1e-5)
    assert flow.status == krf.Status.STATIONARY
    assert flow.loss == pytest.approx(loss, rel=1e-5)


def test_a_small_unit_beside_large_ones(backend):
    """Two scalar flows f' = 4 f (1 - f), the second from 1e-12: half way at t = log(1e12) / 4."""
    for rtol in (1e-4, 1e-6):
        flow = krf.flow_mlp(
            np.eye(2), [1.0, 1.0], weights0=[[[0.5, 0.0], [0.0, 1e-6]], [[0.5, 1e-6]]],
            t_eval=[np.log(1e6) / 2], rtol=rtol, backend=backend,
        )  # fmt: skip
        error = np.abs(flow.predict(np.eye(2))[0] - [1.0, 0.5]).max()
        assert error < promised(backend, rtol)


@SLOW
@given(
    seed=st.integers(0, 10_000),
    depth=st.sampled_from([2, 3, 4]),
    alpha=st.sampled_from([0.1, 0.5, 1.5]),
    factor=st.sampled_from([0.1, 3.0]),
)
def test_homogeneity(seed, depth, alpha, factor):
    """(alpha, y) -> (c alpha, c^D y) maps f to c^D f with time scaled by c^(2 - 2D)."""
    data = krf.datasets.circle_teacher(6, seed=seed)
    times = np.array([0.05, 0.3, 1.0]) * alpha ** (2 - 2 * depth) * 0.05

    def run(scale, target, t):
        return krf.flow_mlp(
            data.X, target, depth=depth, width=8, alpha=scale, seed=seed, t_eval=t, rtol=1e-6
        ).predict(data.X)

    one = run(alpha, data.y, times)
    other = run(factor * alpha, factor**depth * data.y, times * factor ** (2 - 2 * depth))
    assert np.allclose(other / factor**depth, one, atol=2e-5 * np.linalg.norm(data.y))


@SLOW
@given(
    seed=st.integers(0, 10_000),
    depth=st.sampled_from([2, 3, 5]),
    alpha=st.sampled_from([0.1, 0.5, 2.0]),
)
def test_conservation_and_descent(seed, depth, alpha):
    """|incoming weights|^2 - |outgoing weights|^2 of every hidden unit, through all kinks."""
    data = krf.datasets.circle_teacher(7, seed=seed)
    flow = krf.flow_mlp(
        data.X, data.y, depth=depth, width=12, alpha=alpha, seed=seed, rtol=1e-6,
        t_eval=np.geomspace(1e-3, 3.0, 7) * alpha ** (2 - depth),
    )  # fmt: skip
    for i in range(depth - 1):
        before, after = (
            np.sum(W[i] ** 2, axis=-1) - np.sum(W[i + 1] ** 2, axis=-2)
            for W in (flow.weights0, flow.weights)
        )
        size = max(np.sum(flow.weights[i] ** 2, axis=(-2, -1)).max(), np.abs(before).max())
        assert np.abs(after - before).max() < 1e-5 * size
    assert np.all(np.diff(flow.loss) <= 1e-5 * np.sum(data.y**2))


def test_permuting_samples_permutes_predictions(backend):
    data = krf.datasets.circle_teacher(9, seed=3)
    order = np.random.default_rng(0).permutation(9)
    options = {"depth": 3, "width": 10, "alpha": 0.4, "t_eval": [0.5, 2.0], "backend": backend}
    one = krf.flow_mlp(data.X, data.y, **options)
    two = krf.flow_mlp(data.X[order], data.y[order], **options)
    assert np.allclose(one.predict(data.X_test), two.predict(data.X_test), atol=1e-5)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_the_whole_range_of_scales_reaches_interpolation(depth):
    """alpha^D from 1e-5 to 100, to a relative loss of 1e-9."""
    data = [krf.datasets.circle_teacher(10, seed=seed) for seed in range(4)]
    X, y = np.stack([d.X for d in data]), np.stack([d.y for d in data])
    alpha = np.logspace(-5, 2, 8)[:, None] ** (1.0 / depth)
    flow = krf.flow_mlp(
        X, y, depth=depth, alpha=alpha, seed=np.arange(4), stop_loss=1e-9, max_steps=20_000
    )
    # Small starts of depth 2 may end in local minima, which is not the integrator's fault.
    minima = flow.status == krf.Status.STATIONARY
    assert np.all(minima | (flow.status == krf.Status.CONVERGED))
    assert minima.mean() < 0.2
    assert np.all(flow.loss[minima] < 0.05 * np.broadcast_to(np.sum(y**2, axis=1), (8, 4))[minima])
    assert np.all((flow.loss <= 1e-9 * np.sum(y**2, axis=1)) | minima)


def test_cross_entropy_against_gradient_descent(backend):
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((8, 3)), np.array([0, 1, 2, 0, 1, 2, 1, 0])
    options = {"width": 6, "alpha": 0.7, "loss": "cross_entropy", "backend": backend}
    times = [0.5, 2.0]
    flow = krf.flow_mlp(X, y, t_eval=times, **options)
    runs = [
        krf.flow_mlp(
            X, y, t_eval=times, method="gradient_descent", step_size=h, backend="cpu",
            **{k: v for k, v in options.items() if k != "backend"},
        ).predict(X)
        for h in (1e-3, 5e-4)
    ]  # fmt: skip
    assert np.allclose(flow.predict(X), 2 * runs[1] - runs[0], atol=2e-3)
    scores = runs[1]
    shifted = scores - scores.max(axis=-1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(axis=-1)) - shifted[:, np.arange(8), y]
    assert np.allclose(flow.loss, loss.sum(axis=-1), atol=5e-3)
    # The fallback is explicit here, with steps as short as the last of them must be.
    stop_loss = 0.1 if backend == "numpy" else 1e-6
    end = krf.flow_mlp(X, y, stop_loss=stop_loss, rtol=1e-3, **options)
    assert end.status == krf.Status.CONVERGED
    assert np.array_equal(np.argmax(end.predict(X), axis=-1), y)


def test_gradient_descent_is_gradient_descent(backend):
    data = krf.datasets.circle_teacher(6, seed=2)
    layers = [0.5 * W for W in he_layers((2, 7, 7, 1), "he_normal", 1)]
    flow = krf.flow_mlp(
        data.X, data.y, weights0=layers, method="gradient_descent", step_size=0.01,
        t_eval=[0.5, 1.0], backend=backend,
    )  # fmt: skip
    expected = descent(layers, data.X, data.y, np.array([0.5, 1.0]), 100)
    assert np.allclose(flow.predict(data.X), expected, rtol=1e-11, atol=1e-12)
    assert flow.n_steps == 100


@pytest.mark.parametrize(("depth", "seed"), [(2, 2), (2, 4), (3, 0), (5, 0)])
def test_distances_do_not_depend_on_the_last_bit_where_units_slide(depth, seed, compiled):
    """A unit that ends at its kink leaves an input of rounding's size and of either sign."""
    data = krf.datasets.circle_teacher(10, seed=seed)
    end = krf.flow_mlp(
        data.X, data.y, depth=depth, width=20, alpha=0.3, seed=seed, stop_loss=1e-9, rtol=1e-4
    )
    start = krf.theory.mlp_tangent_kernel(end.weights0, data.X)

    def distances(weights):
        K = krf.theory.mlp_tangent_kernel(weights, data.X)
        cosine = np.sum(K * start) / (np.linalg.norm(K) * np.linalg.norm(start))
        return krf.theory.mlp_feature_distance(end.weights0, weights, data.X), 1.0 - cosine

    inputs, z = data.X, []
    for W in end.weights[:-1]:
        z.append(inputs @ W.T)
        inputs = np.maximum(z[-1], 0.0)
    assert min(np.abs(layer[layer != 0.0]).min() for layer in z) < 1e-13  # one does slide
    rng = np.random.default_rng(1)
    for _ in range(4):
        ulp = [W * (1.0 + 2.0**-52 * rng.integers(-1, 2, W.shape)) for W in end.weights]
        np.testing.assert_allclose(distances(ulp), distances(end.weights), rtol=0, atol=1e-12)


def test_a_unit_at_its_kink_is_inactive():
    """And one that is not, however small, is active."""
    cancelled = [[[1.0, -1.0], [1.0, 0.0]], [[3.0, 1.0]]]
    X = [[1.0 + 2.0**-50, 1.0], [1.0 + 2.0**-30, 1.0]]
    K = krf.theory.mlp_tangent_kernel(cancelled, X)
    small = X[1][0] - 1.0
    first = X[0][0] ** 2 + 0.0 + (X[0][0] ** 2 + 1.0)  # the second unit's output, and its weights
    assert K[0, 0] == pytest.approx(first, rel=1e-14)
    second = small**2 + X[1][0] ** 2 + (9.0 + 1.0) * (X[1][0] ** 2 + 1.0)
    assert K[1, 1] == pytest.approx(second, rel=1e-14)
    tiny = [[[1e-200, 0.0]], [[1e-100]]]
    assert krf.theory.mlp_tangent_kernel(tiny, [[1.0, 0.0]])[0, 0] == pytest.approx(1e-200)
