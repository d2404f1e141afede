"""ReLU networks: shapes, ends, errors, sweeps, theory."""

from __future__ import annotations

import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast.initialization import he_layers

DATA = krf.datasets.circle_teacher(5, seed=1)
X, Y = DATA.X, DATA.y
LAYERS = he_layers((2, 3, 1), "he_normal", 0)
FAST = {"rtol": 1e-3, "stop_loss": 1e-6}


def test_broadcasting_shapes(backend):
    flow = krf.flow_mlp(
        X, np.stack([Y, 2 * Y])[:, None, None], depth=3, width=4, alpha=[0.5, 1.0],
        seed=[[0], [1], [2]], t_eval=[0.0, 0.1], backend=backend,
    )  # fmt: skip
    assert [W.shape for W in flow.weights] == [
        (2, 3, 2, 2, 4, 2), (2, 3, 2, 2, 4, 4), (2, 3, 2, 2, 1, 4),
    ]  # fmt: skip
    assert flow.biases is None
    assert flow.loss.shape == flow.t.shape == (2, 3, 2, 2)
    assert flow.status.shape == flow.n_steps.shape == flow.n_rhs.shape == (2, 3, 2)
    assert flow.predict(DATA.X_test).shape == (2, 3, 2, 2, 1000)
    assert np.array_equal(flow.weights[1][..., 0, :, :], flow.weights0[1])
    assert flow.backend == backend
    one = krf.flow_mlp(X, Y, width=3, bias=True, antisymmetric=True, backend=backend, **FAST)
    assert [W.shape for W in one.weights] == [(2, 3, 2), (2, 1, 3)]
    assert [b.shape for b in one.biases] == [(2, 3), (2, 1)]
    assert one.predict(X).shape == (5,)
    assert one.loss == pytest.approx(np.sum((one.predict(X) - Y) ** 2), rel=1e-9, abs=1e-18)
    classes = krf.flow_mlp(
        X, [0, 1, 2, 1, 0], loss="cross_entropy", width=4, alpha=[1.0, 2.0], t_max=0.1,
        n_classes=4, backend=backend,
    )  # fmt: skip
    assert classes.predict(X).shape == (2, 5, 4)


def test_the_start_is_what_was_asked_for(backend):
    layers = he_layers((2, 3, 1), "he_uniform", 0)
    drawn = krf.flow_mlp(X, Y, width=3, alpha=0.5, seed=0, t_eval=[0.0], backend=backend)
    assert np.array_equal(drawn.weights[0][0], 0.5 * layers[0])
    given = krf.flow_mlp(
        X, Y, weights0=layers, biases0=[[1.0, 2.0, 3.0], [4.0]], bias=True, alpha=2.0,
        layer_scales=[3.0, 0.5], t_eval=[0.0], backend=backend,
    )  # fmt: skip
    assert np.array_equal(given.weights[0][0], 6.0 * layers[0])
    assert np.array_equal(given.biases[1][0], [4.0])
    assert np.array_equal(given.biases0[0], [6.0, 12.0, 18.0])
    unbiased = krf.flow_mlp(X, Y, antisymmetric=True, t_eval=[0.0], backend=backend)
    assert np.array_equal(unbiased.predict(X), np.zeros((1, 5)))
    for kind, variance in (("he_uniform", 2 / 400), ("he_normal", 2 / 400)):
        W = he_layers((400, 500, 1), kind, 3)[0]
        assert np.var(W) == pytest.approx(variance, rel=0.02)
        assert (np.abs(W).max() <= np.sqrt(6 / 400)) == (kind == "he_uniform")


def test_ends(backend):
    late = krf.flow_mlp(X, Y, alpha=0.5, t_max=[1e-3, 1e-2], backend=backend, **FAST)
    assert np.all(late.status == krf.Status.T_END)
    assert np.allclose(late.t, [1e-3, 1e-2])
    with pytest.warns(krf.ConvergenceWarning, match="1 MAX_STEPS"):
        cut = krf.flow_mlp(X, Y, alpha=0.1, max_steps=5, backend=backend)
    assert cut.status == krf.Status.MAX_STEPS
    exact = krf.flow_mlp(X, Y, t_eval=[0.0, 0.3, 7.0], t_max=1.0, backend=backend)
    assert exact.t.tolist() == [0.0, 0.3, 1.0]


def test_what_cannot_be_fitted_is_stationary(backend):
    # No living unit: nothing will ever move.
    dead = krf.flow_mlp([[1.0], [2.0]], [1.0, 1.0], weights0=[[[-1.0]], [[1.0]]], backend=backend)
    assert dead.status == krf.Status.STATIONARY
    assert dead.loss == 2.0
    zero = krf.flow_mlp([[1.0]], [1.0], weights0=[[[0.0]], [[0.0]]], backend=backend)
    assert zero.status == krf.Status.STATIONARY
    # Two targets for one input: the mean, and no further.
    torn = krf.flow_mlp(
        [[1.0], [1.0]], [0.0, 2.0], weights0=[[[1.0]], [[1.5]]], rtol=1e-4, backend=backend
    )
    assert torn.status == krf.Status.STATIONARY
    assert np.allclose(torn.predict([[1.0]]), 1.0, atol=1e-6)
    # A negative target that a positive unit runs away from: it dies at its kink, exactly there.
    gone = krf.flow_mlp(
        [[1.0, 0.0], [0.0, 1.0]], [-1.0, 1.0], weights0=[[[0.5, 1.0]], [[1.0]]], rtol=1e-6,
        t_eval=[20.0], backend=backend,
    )  # fmt: skip
    assert np.allclose(gone.predict([[1.0, 0.0], [0.0, 1.0]])[0], [0.0, 1.0], atol=1e-4)


def test_already_fitted_and_zero_targets(backend):
    layers = he_layers((2, 4, 1), "he_uniform", 1)
    y = krf.theory.mlp_predict(layers, X)
    flow = krf.flow_mlp(X, y, weights0=layers, backend=backend)
    assert flow.status == krf.Status.CONVERGED
    assert flow.n_steps == 0
    shrink = krf.flow_mlp(X, np.zeros(5), width=4, t_max=1e3, rtol=1e-4, backend=backend)
    assert shrink.loss < 1e-6
    assert np.isfinite(shrink.weights[0]).all()


BAD = [
    ("depth", {"depth": 1}, ValueError),
    ("depth", {"depth": 9}, ValueError),
    ("depth", {"depth": [2, 3]}, TypeError),
    ("width", {"width": 0}, ValueError),
    ("width", {"width": 20_000}, ValueError),
    ("width", {"width": 2.5}, TypeError),
    ("alpha", {"alpha": 0.0}, ValueError),
    ("alpha", {"alpha": [1.0, np.nan]}, ValueError),
    ("seed", {"seed": -1}, ValueError),
    ("seed", {"seed": "one"}, TypeError),
    ("X", {"X": np.ones(5)}, ValueError),
    ("X", {"X": np.ones((5, 2), dtype=complex)}, TypeError),
    ("y", {"y": np.ones(4)}, ValueError),
    ("y", {"y": [0.5] * 5, "loss": "cross_entropy"}, ValueError),
    ("y", {"y": [-1, 0, 0, 0, 0], "loss": "cross_entropy"}, ValueError),
    ("n_classes", {"y": [0, 1, 2, 0, 0], "loss": "cross_entropy", "n_classes": 2}, ValueError),
    ("loss", {"loss": "hinge"}, ValueError),
    ("init", {"init": "zeros"}, ValueError),
    ("bias", {"bias": 1}, TypeError),
    ("antisymmetric", {"antisymmetric": "yes"}, TypeError),
    ("method", {"method": "radau5"}, ValueError),
    (
        "method",
        {"y": [0, 1, 0, 1, 0], "loss": "cross_entropy", "method": "exponential"},
        ValueError,
    ),
    ("step_size", {"method": "gradient_descent"}, ValueError),
    ("step_size", {"step_size": 0.1}, ValueError),
    ("step_size", {"method": "gradient_descent", "step_size": -0.1}, ValueError),
    ("weights0", {"weights0": [np.ones((3, 2))]}, ValueError),
    ("weights0", {"weights0": [np.ones((3, 4)), np.ones((1, 3))]}, ValueError),
    ("weights0[1]", {"weights0": [np.ones((3, 2)), np.ones((1, 4))]}, ValueError),
    ("weights0", {"weights0": [np.ones((2, 3, 2)), np.ones((3, 1, 3))]}, ValueError),
    ("biases0", {"biases0": [np.ones(3), np.ones(1)]}, ValueError),
    ("biases0", {"weights0": [np.ones((3, 2)), np.ones((1, 3))], "biases0": [[1.0]]}, ValueError),
    (
        "biases0[0]",
        {
            "weights0": [np.ones((3, 2)), np.ones((1, 3))],
            "biases0": [np.ones(2), np.ones(1)],
            "bias": True,
        },
        ValueError,
    ),
    ("layer_scales", {"layer_scales": [1.0, 2.0, 3.0]}, ValueError),
    ("layer_scales", {"layer_scales": [1.0, -2.0]}, ValueError),
    ("t_eval", {"t_eval": [1.0, 0.5]}, ValueError),
    ("rtol", {"rtol": 1.0}, ValueError),
    ("backend", {"backend": "tpu"}, ValueError),
    ("seed", {"alpha": [1.0, 2.0], "seed": [1, 2, 3]}, ValueError),
]


@pytest.mark.parametrize(("name", "change", "kind"), BAD)
def test_bad_arguments_are_named(name, change, kind):
    arguments = {"X": X, "y": Y, **change}
    with pytest.raises(kind) as error:
        krf.flow_mlp(arguments.pop("X"), arguments.pop("y"), **arguments)
    assert str(error.value).startswith(name)


def test_sweep(tmp_path):
    data = [krf.datasets.circle_teacher(5, seed=s) for s in (0, 1)]
    arrays = [np.stack(a) for a in zip(*data, strict=True)]
    options = {"X_test": arrays[2], "y_test": arrays[3], "width": 6, **FAST}
    ds = krf.sweep_mlp(
        arrays[0], arrays[1], depth=[2, 3], alpha=[[0.5, 1.0, 2.0], [0.6, 1.1, 2.1]], seeds=[0, 1],
        keep=("norms", "predictions", "kernel_predictors"), **options,
    )  # fmt: skip
    assert dict(ds.sizes) == {"depth": 2, "alpha": 3, "seed": 2, "test": 1000}
    assert ds.scale.dims == ("depth", "alpha")
    one = krf.flow_mlp(data[1].X, data[1].y, depth=3, alpha=1.1, seed=1, width=6, **FAST)
    assert np.allclose(ds.prediction[1, 1, 1], one.predict(data[1].X_test), atol=1e-12)
    rmse = np.sqrt(np.mean((one.predict(data[1].X_test) - data[1].y_test) ** 2))
    assert float(ds.test_rmse[1, 1, 1]) == pytest.approx(rmse)
    K0, K1 = (krf.theory.mlp_tangent_kernel(w, data[1].X) for w in (one.weights0, one.weights))
    assert float(ds.kernel_distance[1, 1, 1]) == pytest.approx(
        float(krf.theory.kernel_distance(K0, K1)), rel=1e-6
    )
    norm = np.sqrt(sum(np.sum(W**2) for W in one.weights))
    assert float(ds.weight_norm[1, 1, 1]) == pytest.approx(norm)
    single = krf.sweep_mlp(X, Y, alpha=1.0, width=6, **FAST)
    assert dict(single.sizes) == {}
    assert {"loss", "t", "status", "n_steps", "kernel_distance"} <= set(single.data_vars)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("X", {"X": np.ones((3, 5, 2))}),
        ("alpha", {"alpha": np.ones((3, 2))}),
        ("alpha", {"alpha": np.ones((2, 2, 2))}),
        ("keep", {"keep": "beta"}),
        ("X_test", {"X_test": X}),
        ("X_test", {"keep": "predictions"}),
        ("X_test", {"X_test": np.ones((3, 3)), "y_test": np.ones(3)}),
        ("y_test", {"X_test": np.ones((3, 2)), "y_test": np.ones((4, 3))}),
        ("t_eval", {"t_eval": [1.0, 0.5]}),
        ("depth", {"depth": [1, 2]}),
    ],
)
def test_bad_sweeps_are_named(name, change):
    arguments = {"X": X, "y": Y, "alpha": 1.0, "seeds": [0, 1], "depth": [2, 3], **change}
    with pytest.raises((ValueError, TypeError)) as error:
        krf.sweep_mlp(arguments.pop("X"), arguments.pop("y"), **arguments)
    assert str(error.value).startswith(name)


def numerical_jacobian(layers, biases, points):
    flat = [*layers, *biases]
    rows = []
    for part in flat:
        for index in np.ndindex(part.shape):
            h, old = 1e-6, part[index]
            values = []
            for sign in (1, -1):
                part[index] = old + sign * h
                values.append(krf.theory.mlp_predict(layers, points, biases=biases).ravel())
            part[index] = old
            rows.append((values[0] - values[1]) / (2 * h))
    return np.array(rows).T


@pytest.mark.parametrize("outputs", [1, 3])
def test_tangent_kernel_against_differences(outputs):
    rng = np.random.default_rng(outputs)
    layers = [rng.standard_normal(s) for s in ((4, 2), (5, 4), (outputs, 5))]
    biases = [rng.standard_normal(n) for n in (4, 5, outputs)]
    J = numerical_jacobian(layers, biases, X)
    K = krf.theory.mlp_tangent_kernel(layers, X, biases=biases)
    assert np.allclose(K, J @ J.T, atol=1e-6 * np.abs(K).max())
    new = krf.theory.mlp_tangent_kernel(layers, X, X[:2], biases=biases)
    assert np.allclose(new, K[: 2 * outputs])
    moved = [W + 0.3 * rng.standard_normal(W.shape) for W in layers]
    J1 = numerical_jacobian(moved, biases, X)
    cosine = np.sum(J * J1) / (np.linalg.norm(J) * np.linalg.norm(J1))
    distance = krf.theory.mlp_feature_distance(layers, moved, X, biases0=biases, biases1=biases)
    assert float(distance) == pytest.approx(1 - cosine, abs=1e-6)
    # The linearised model's least-norm fit, and that of the last layer alone.
    y = rng.standard_normal((5, outputs)).squeeze()
    f = krf.theory.mlp_predict(layers, X, biases=biases)
    Jn = numerical_jacobian(layers, biases, DATA.X_test[:4])
    fn = krf.theory.mlp_predict(layers, DATA.X_test[:4], biases=biases)
    last = slice(8 + 20, 8 + 20 + 5 * outputs)
    columns = np.r_[np.arange(last.start, last.stop), np.arange(J.shape[1] - outputs, J.shape[1])]
    for used, predictor in (
        (np.arange(J.shape[1]), krf.theory.mlp_kernel_predictor),
        (columns, krf.theory.last_layer_predictor),
    ):
        dw = np.linalg.lstsq(J[:, used], (y - f).ravel(), rcond=1e-8)[0]
        expected = fn + (Jn[:, used] @ dw).reshape(fn.shape)
        found = predictor(layers, X, y, DATA.X_test[:4], biases=biases)
        assert np.allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_antisymmetric_theory():
    layers = he_layers((2, 6, 1), "he_uniform", 0)
    twice = [np.stack([W, W]) for W in layers]
    K = krf.theory.mlp_tangent_kernel(twice, X, antisymmetric=True)
    assert np.allclose(K, 2 * krf.theory.mlp_tangent_kernel(layers, X))
    assert np.array_equal(krf.theory.mlp_predict(twice, X, antisymmetric=True), np.zeros(5))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("weights", lambda: krf.theory.mlp_predict([np.ones((1, 2))], X)),
        ("weights[1]", lambda: krf.theory.mlp_predict([np.ones((3, 2)), np.ones((1, 2))], X)),
        ("biases", lambda: krf.theory.mlp_predict(LAYERS, X, biases=[[0]])),
        ("y", lambda: krf.theory.mlp_kernel_predictor(LAYERS, X, Y[:2], X)),
        ("y", lambda: krf.theory.last_layer_predictor(LAYERS, X, Y[:2], X)),
    ],
)  # fmt: skip
def test_bad_theory_arguments_are_named(name, call):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(name)


def test_real_data_loaders(tmp_path):
    pytest.importorskip("sklearn")
    from kernelrich_fast.experiments import reproduce
    from kernelrich_fast.experiments.fig6c import load_npz

    digits = krf.datasets.digits(30, seed=2)
    assert digits.X.shape == (30, 64)
    assert digits.X_test.shape == (1767, 64)
    assert 0 <= digits.X.min() <= digits.X.max() <= 1
    file = tmp_path / "mnist.npz"
    # Classes that are told apart by a stripe each are learned at once.
    labels = np.arange(40) % 3
    pixels = np.random.default_rng(0).integers(0, 60, (40, 4, 4))
    pixels[np.arange(40), labels] += 190
    np.savez(file, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    assert load_npz(file, 25).X.shape == (25, 16)
    text = reproduce("fig6c", tmp_path, quick=True, data=file)
    assert "test error" in text
    np.savez(file, x_train=pixels)
    with pytest.raises(ValueError, match="y_train"):
        load_npz(file, 25)
    with pytest.raises(ValueError, match="data"):
        reproduce("fig2", tmp_path, data=file)


def test_a_sweep_survives_a_net_without_living_units():
    ds = krf.sweep_mlp([[1.0]], [-1.0], alpha=0.3, seeds=np.arange(6), width=1, bias=False, **FAST)
    assert np.isfinite(ds.feature_distance).all()
    dead = ds.weight_norm.notnull() & (ds.status == krf.Status.STATIONARY)
    assert dead.any()
    assert np.isnan(ds.kernel_distance[dead]).any()
