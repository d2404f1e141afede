"""The shared equations: derivatives against differences, digits against mpmath, other arrays."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast.backends.mlp_batch import MLPLayout
from kernelrich_fast.backends.reference.diagonal import DualFlow, RowSpace
from kernelrich_fast.backends.reference.factorization import FactorFlow
from kernelrich_fast.backends.reference.networks import Network
from kernelrich_fast.equations import diagonal, factorization, networks
from kernelrich_fast.equations.factorization import Sensing

RNG = np.random.default_rng(7)


def derivative(function, at, h=1e-6):
    """Jacobian of a function of a vector, by central differences."""
    columns = []
    for i in range(len(at)):
        step = np.zeros(len(at))
        step[i] = h * max(1.0, abs(at[i]))
        difference = np.asarray(function(at + step)) - np.asarray(function(at - step))
        columns.append(difference / (2.0 * step[i]))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("depth", [2, 2.0 + 1e-9, 2.1, 2.5, 3, 4, 8])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("bias", [1.0, 1.7])
def test_mirror_maps_keep_their_digits(depth, alpha, bias):
    """Both weights by their own flow, in 60 digits; in the kernel regime they nearly agree."""
    plus, minus = np.full(5, alpha), np.full(5, alpha / bias)
    reach = 0.125  # and where that leaves the domain, most of it
    if depth > 2:
        end = alpha ** (2.0 - depth) / (2 * depth * (depth - 2))
        reach = 0.9 * end if depth >= 2.5 else min(reach, 0.5 * end)
    z = reach * np.array([0.0, 1e-14, -1e-6, 0.3, -1.0])
    map_ = diagonal.mirror_map(np, plus, minus, depth)
    at, weights = map_.at(z), map_.weights(z)
    moved = map_.moved(0.4 * z)
    again = moved.at(z - 0.4 * z)
    with mpmath.workdps(60):
        D = mpmath.mpf(depth)
        for i, zi in enumerate(map(float, z)):
            w = []
            for sign, w0 in ((1, float(plus[i])), (-1, float(minus[i]))):
                if depth == 2:
                    w.append(w0 * mpmath.exp(4 * sign * mpmath.mpf(zi)))
                else:
                    u = mpmath.mpf(w0) ** (2 - D) - sign * 2 * D * (D - 2) * mpmath.mpf(zi)
                    w.append(u ** (1 / (2 - D)))
            exact = (w[0] ** D - w[1] ** D, 2 * D**2 * sum(x ** (2 * D - 2) for x in w))
            # A biased start cancels where beta changes its sign, in any arithmetic.
            size = max(abs(exact[0]), 0.05 * (w[0] ** D if bias > 1 else 0))
            for value in (at, again):
                assert abs(value.beta[i] - exact[0]) <= 2e-13 * size
                assert abs(value.slope[i] / exact[1] - 1) < 1e-12
            for found, x in zip(weights, w, strict=True):
                assert abs(found[i] / x - 1) < 1e-13


def test_mirror_maps_and_weight_fields_are_one_flow():
    """dw/dt by the field is dw/dz dz/dt by the map."""
    X, y = RNG.standard_normal((3, 5)), RNG.standard_normal(3)
    for depth in (2, 3, 5):
        plus, minus = 0.5 + RNG.random((2, 5))
        beta = diagonal.predictor(plus, minus, depth)
        fields = diagonal.weight_field(X, y, plus, minus, depth)
        map_ = diagonal.mirror_map(np, plus, minus, depth)
        velocity = X.T @ (y - X @ beta)
        h = 1e-7
        for field, ahead, back in zip(
            fields, map_.weights(h * velocity), map_.weights(-h * velocity), strict=True
        ):
            assert np.allclose((ahead - back) / (2 * h), field, rtol=1e-6)
        slope = map_.at(np.zeros(5)).slope
        assert np.allclose(slope, 2.0 * diagonal.tangent_weights(plus, minus, depth), rtol=1e-13)

        def loss(w, depth=depth):
            return np.sum((X @ diagonal.predictor(w[:5], w[5:], depth) - y) ** 2)

        down = -derivative(loss, np.concatenate([plus, minus]))
        assert np.allclose(np.concatenate(fields), down, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_jacobian_of_the_dual_flow(depth):
    """Rows of very different size, dependent ones among them: the basis is not that of X."""
    X = RNG.standard_normal((5, 8)) * np.array([1.0, 10.0, 0.1, 3.0, 1.0])[:, None]
    X[4] = X[0] + X[1]
    flow = DualFlow(
        RowSpace(X, X @ np.ones(8)), np.full(8, 0.7), np.linspace(0.5, 0.9, 8), depth, 0.0
    )
    m = 1e-3 * RNG.standard_normal(len(flow.start))
    assert len(m) == 4
    found, wanted = flow.jacobian(0.0, m), derivative(lambda v: flow.field(0.0, v), m, 1e-7)
    assert np.allclose(found, wanted, atol=1e-6 * np.abs(wanted).max())


def sensings():
    entries = np.array([0, 0, 1, 2, 2]), np.array([1, 2, 1, 0, 2])
    dense = RNG.standard_normal((5, 3, 3))
    none = np.empty(0, dtype=np.int64)
    upper = np.array([0, 0, 1, 1, 2]), np.array([1, 2, 1, 2, 2])
    yield Sensing((3, 3), False, *entries, None)
    yield Sensing((3, 3), True, *upper, None)
    yield Sensing((3, 3), False, none, none, dense)
    yield Sensing((3, 3), True, none, none, dense + np.swapaxes(dense, 1, 2))


@pytest.mark.parametrize("sensing", list(sensings()))
def test_equations_of_a_factorisation(sensing):
    W, y = RNG.standard_normal((sensing.n, 2)), RNG.standard_normal(sensing.n_samples)
    left, right = W[: sensing.dims[0]], W[sensing.c0 :]
    assert np.allclose(sensing.predictions(W), sensing.observe(left @ right.T))
    assert np.allclose(sensing.observe(left @ right.T), sensing.matrix() @ (left @ right.T).ravel())
    flow = FactorFlow(sensing, y, W)
    shape = W.shape

    def predictions(w):
        return sensing.predictions(w.reshape(shape))

    J = sensing.jacobian(W).reshape(len(y), -1)
    assert np.allclose(J, derivative(predictions, W.ravel()), atol=1e-6)
    assert np.allclose(sensing.tangent_kernel(W @ W.T), J @ J.T)
    down = -derivative(lambda w: np.sum((predictions(w) - y) ** 2), W.ravel())
    assert np.allclose(flow.field(0.0, W.ravel()), down, atol=1e-5)
    wanted = derivative(lambda w: flow.field(0.0, w), W.ravel())
    assert np.allclose(flow.jacobian(0.0, W.ravel()), wanted, atol=1e-5)
    R = sensing.adjoint(predictions(W.ravel()) - y)
    if not sensing.symmetric:
        fields = factorization.factor_field(left, right, R)
        assert np.allclose(np.concatenate(fields).ravel(), down, atol=1e-5)
        moved = np.concatenate(fields) @ W.T
        assert np.allclose(factorization.gram_field(np, W @ W.T, R), moved + moved.T)


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_gradients_of_a_network(loss, copies, bias):
    outputs = 3 if loss == "cross_entropy" else 1
    layout = MLPLayout((2, 4, 3, outputs), copies, bias)
    X = RNG.standard_normal((5, 2))
    y = np.array([0.0, 1.0, 2.0, 1.0, 0.0]) if outputs > 1 else RNG.standard_normal(5)
    network = Network(layout, X, y, loss)
    w = RNG.standard_normal(layout.n_weights)
    point = network.point(w)
    slope = derivative(lambda v: network.loss(v), w)
    assert np.allclose(network.gradient(w), slope, atol=1e-5)
    assert np.allclose(point.slope @ point.jacobian, slope, atol=1e-5)
    J = derivative(lambda v: network.outputs(v).ravel(), w)
    assert np.allclose(point.jacobian, J, atol=1e-5)
    weights, biases = network.layers(w)
    if copies == 1:
        K = krf.theory.mlp_tangent_kernel(
            [W[0] for W in weights], X, biases=None if biases is None else [b[0] for b in biases]
        )
        assert np.allclose(K, J @ J.T, atol=1e-5)


@pytest.mark.parametrize("name", ["jax.numpy", "torch"])
def test_other_arrays_give_the_same(name):
    xp = pytest.importorskip(name)
    if name == "jax.numpy":
        import jax

        jax.config.update("jax_enable_x64", True)
    X, y = RNG.standard_normal((3, 5)), RNG.standard_normal(3)
    plus, minus, z = 0.5 + RNG.random(5), 0.5 + RNG.random(5), 0.01 * RNG.standard_normal(5)
    layers = [RNG.standard_normal((4, 5)), RNG.standard_normal((1, 4))]
    G, R = X[:2, :4].T @ X[:2, :4], RNG.standard_normal((2, 2))

    def results(xp, as_array):
        a = [as_array(v) for v in (X, y, plus, minus, z, G, R)]
        net = [as_array(W) for W in layers]
        inputs, f = networks.forward(net, a[0])
        deltas = networks.backward(net, inputs, 2.0 * (f - a[1].reshape(-1, 1)))
        return [
            *diagonal.weight_field(*a[:4], 3),
            *(v for D in (2, 3) for v in diagonal.mirror_map(xp, a[2], a[3], D).at(a[4])),
            factorization.gram_field(xp, a[5], a[6]),
            *networks.gradient(inputs, deltas),
        ]

    for other, ours in zip(results(xp, xp.asarray), results(np, np.asarray), strict=True):
        assert np.allclose(np.asarray(other), ours, rtol=1e-12, atol=1e-14)
