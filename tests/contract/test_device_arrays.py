"""Data that a device holds: results stay there, and nothing but numbers per run travels."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from stand_in_device import DeviceArray, on_device

import kernelrich_fast as krf
from kernelrich_fast.initialization import he_layers


class Tensor:
    """Another package's array on the device: DLPack is all that it speaks."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, **options):
        raise AssertionError("CuPy takes it")


def largest_move():
    return max(x.size for x in sys.modules["cupy"].moved)


def expect_same(got, expected, names):
    for name in names:
        there, here = getattr(got, name), getattr(expected, name)
        for a, b in zip(*((x if isinstance(x, list) else [x]) for x in (there, here)), strict=True):
            assert type(a) is DeviceArray, name
            assert a.dtype == b.dtype
            assert np.allclose(np.asarray(a), b, rtol=1e-9, atol=1e-18), name


@pytest.mark.parametrize("package", [on_device, lambda a: Tensor(np.array(a))])
@pytest.mark.parametrize("tall", [False, True])
def test_diagonal_data_on_the_device_stay_there(stand_in, package, tall):
    stand_in(most_runs=4)
    rng = np.random.default_rng(0)
    n, d = (40, 9) if tall else (9, 40)
    X, y = rng.standard_normal((n, d)), rng.standard_normal((2, 1, n))
    w0 = rng.uniform(0.5, 1.0, d)
    options = dict(alpha=np.array([0.1, 0.5, 1.0]), depth=2)
    # The stand-in knows nothing of the loss that more samples than features leave.
    known = ("beta", "w_plus", "dual", "t") + (() if tall else ("loss", "status", "n_steps"))
    for times in [[0.1, 0.3]] if tall else [None, [0.1, 0.3]]:
        expected = krf.flow_diagonal(X, y, **options, w0=w0, t_eval=times, backend="cpu")
        moved = sys.modules["cupy"].moved
        moved.clear()
        got = krf.flow_diagonal(package(X), package(y), **options, w0=package(w0), t_eval=times)
        assert got.backend == "cuda"
        expect_same(got, expected, known)
        assert largest_move() <= 6  # numbers per run
    # One of them is enough, and numbers per run may be there as well.
    options["alpha"] = package(options["alpha"])
    limit = krf.limit_diagonal(package(X), y, **options, tol=1e-12)
    here = krf.limit_diagonal(X, y, alpha=[0.1, 0.5, 1.0], tol=1e-12, backend="cpu")
    expect_same(limit, here, () if tall else ("beta", "loss", "status", "n_iterations"))
    assert type(limit.dual) is DeviceArray
    with pytest.raises(TypeError, match="backend: expected 'cuda' or 'auto' for arrays on a CUDA"):
        krf.flow_diagonal(package(X), y, alpha=1.0, backend="cpu")


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("width", [3, 30])
def test_factorization_data_on_the_device_stay_there(stand_in, dense, width):
    stand_in(most_runs=3)
    data = krf.datasets.low_rank_completion(4, 3, 1, 8)
    rng = np.random.default_rng(0)
    A = rng.standard_normal((8, 4, 3))
    where = dict(measurements=A) if dense else dict(entries=data.entries)
    there = dict(measurements=on_device(A)) if dense else where
    y = np.tensordot(A, data.Y_star, 2) if dense else data.y
    U0, V0 = rng.standard_normal((2, 4, width)), rng.standard_normal((3, width))
    options = dict(t_eval=[0.1, 0.5], rtol=[[1e-6], [1e-8]])
    expected = krf.flow_factorization(y, **where, U0=U0, V0=V0, **options, backend="cpu")
    sys.modules["cupy"].moved.clear()
    got = krf.flow_factorization(
        on_device(y), **there, U0=on_device(U0), V0=on_device(V0), **options
    )
    assert got.backend == "cuda"
    factors = ("U", "V") if width == 3 else ()
    expect_same(got, expected, ("M", "gram", *factors, "loss", "t", "status"))
    assert largest_move() <= 8  # the entries
    # Data there and a start that is drawn here.
    drawn = dict(alpha=0.5, width=width, dims=(4, 3), **options)
    got = krf.flow_factorization(on_device(y), **there, **drawn)
    expect_same(got, krf.flow_factorization(y, **where, **drawn, backend="cpu"), ("M", "loss"))


@pytest.mark.parametrize("moments", [False, True])
@pytest.mark.parametrize("width", [3, 30])
def test_linear_data_on_the_device_stay_there(stand_in, moments, width):
    stand_in(most_runs=3)
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((6, 4)), rng.standard_normal((6, 3))
    data = dict(S=X.T @ X, C=Y.T @ X) if moments else dict(X=X, Y=Y)
    W1, W2 = rng.standard_normal((2, width, 4)), rng.standard_normal((3, width))
    options = dict(t_eval=[0.1, 0.5], rtol=[[1e-6], [1e-8]])
    expected = krf.flow_linear(**data, W1=W1, W2=W2, **options, backend="cpu")
    sys.modules["cupy"].moved.clear()
    there = {name: on_device(array) for name, array in data.items()}
    got = krf.flow_linear(**there, W1=on_device(W1), W2=on_device(W2), **options)
    assert got.backend == "cuda"
    layers = ("W1", "W2") if width == 3 else ()
    expect_same(got, expected, ("M", "gram", *layers, "loss", "t", "status"))
    assert largest_move() <= 6  # numbers per run
    # Data there and a start that is drawn here.
    drawn = dict(alpha=0.5, width=width, **options)
    got = krf.flow_linear(**there, **drawn)
    expect_same(got, krf.flow_linear(**data, **drawn, backend="cpu"), ("M", "loss"))


@pytest.mark.parametrize("bias", [False, True])
def test_network_data_on_the_device_stay_there(stand_in, bias):
    stand_in(most_runs=2)
    data = krf.datasets.circle_teacher(6, seed=2)
    layers = he_layers((2, 5, 1), "he_uniform", 3)
    biases = dict(bias=True, biases0=[np.ones((2, 5)), np.zeros(1)]) if bias else {}
    options = dict(alpha=[[0.3], [1.0]], t_eval=[0.1, 0.5], method="dopri5")
    given = dict(weights0=[on_device(W) for W in layers], layer_scales=[1.0, 0.5])
    expected = krf.flow_mlp(
        data.X, data.y, weights0=layers, layer_scales=[1.0, 0.5], **biases, **options, backend="cpu"
    )
    if bias:
        biases["biases0"] = [on_device(b) for b in biases["biases0"]]
    sys.modules["cupy"].moved.clear()
    got = krf.flow_mlp(on_device(data.X), on_device(data.y), **given, **biases, **options)
    fields = ("biases", "biases0") if bias else ()
    expect_same(got, expected, ("weights", "weights0", *fields, "loss", "t", "status", "n_rhs"))
    assert largest_move() <= 4
    assert np.allclose(got.predict(data.X), expected.predict(data.X), rtol=1e-12)


def test_what_is_said_of_device_arrays_that_do_not_fit(stand_in, monkeypatch):
    stand_in()
    X = on_device(np.ones((2, 3)))
    with pytest.raises(ValueError, match="X: expected finite values"):
        krf.flow_diagonal(on_device([[np.nan, 1.0]]), [1.0], alpha=1.0)
    with pytest.raises(TypeError, match="X: expected real numbers, got dtype complex128"):
        krf.flow_diagonal(on_device(np.ones((1, 2)) * 1j), [1.0], alpha=1.0)
    with pytest.raises(ValueError, match="y: expected 2 samples"):
        krf.flow_diagonal(X, [1.0], alpha=1.0)
    cp = sys.modules["cupy"]

    def refuse(array):
        raise BufferError("it wants gradients")

    monkeypatch.setattr(cp, "from_dlpack", refuse)
    with pytest.raises(TypeError, match=r"X: .* DLPack can export \(it wants gradients\)"):
        krf.flow_diagonal(Tensor(np.ones((1, 2))), [1.0], alpha=1.0)
    # Functions that are no flows take a copy.
    assert type(krf.theory.effective_rank(on_device(np.eye(2)))) is not DeviceArray
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(TypeError, match=r"X: .* CuPy is missing"):
        krf.flow_diagonal(Tensor(np.ones((1, 2))), [1.0], alpha=1.0)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "product", "balance": 0.5, "loss_scale": 0.1},
        {"model": "product", "balance": [0.5, -0.2], "w0": on_device(np.linspace(0.5, 2.0, 12))},
        {"model": "two_products", "balance": [0.5, -0.2]},
        {"weight_decay": [(0.0, 0.3), (0.2, 0.1)]},
        {"weight_decay": [0.1, 0.2], "depth": 2.5, "averaged": True},
        {"w_minus0": 0.0},
    ],
)
def test_options_of_diagonal_networks_take_data_on_the_device(stand_in, options):
    stand_in(most_runs=4)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((5, 12)), rng.standard_normal(5)
    call = dict(alpha=[0.2, 0.4], t_eval=[0.1, 0.5], **options)
    host = {name: np.asarray(v) if isinstance(v, DeviceArray) else v for name, v in call.items()}
    expected = krf.flow_diagonal(X, y, **host, backend="cpu")
    got = krf.flow_diagonal(on_device(X), on_device(y), **call)
    assert got.backend == "cuda"
    names = ("beta", "w_plus", "w_minus", "dual", "loss", "t", "status", "penalty")
    expect_same(got, expected, (*names, *(("beta_mean",) if "averaged" in options else ())))
    # And go on from there.
    on = {k: v for k, v in options.items() if k in ("depth", "loss_scale")}
    if "w_minus0" not in options:
        more = krf.limit_diagonal(on_device(X), on_device(y), start=got, tol=1e-12, **on)
        here = krf.limit_diagonal(X, y, start=expected, tol=1e-12, **on, backend="cpu")
        expect_same(more, here, ("beta", "w_plus", "loss"))


@pytest.mark.parametrize("depth", [2, 3])
def test_limits_under_decay_take_data_on_the_device(stand_in, depth):
    stand_in(most_runs=4)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((5, 12)), rng.standard_normal(5)
    call = dict(alpha=[0.2, 0.4], depth=depth, weight_decay=0.1)
    expected = krf.limit_diagonal(X, y, **call, backend="cpu")
    got = krf.limit_diagonal(on_device(X), on_device(y), **call)
    assert got.backend == "cuda"
    names = ("beta", "w_plus", "w_minus", "dual", "loss", "status", "n_iterations")
    expect_same(got, expected, names)


@pytest.mark.parametrize("loss", ["logistic", "exponential"])
@pytest.mark.parametrize(
    "evaluations",
    [
        {"stop_log_loss": -6.0},
        {"log_loss_eval": [-1.0, -4.0]},
        {"t_eval": [0.5, 2.0]},
        {"weight_decay": 0.1},
        {"weight_decay": [(0.0, 1.0), (0.7, 0.0)], "t_eval": [0.5, 2.0]},
    ],
)
def test_margin_losses_take_data_on_the_device(stand_in, loss, evaluations):
    stand_in(most_runs=4)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 5, 12)), np.sign(rng.standard_normal((2, 5)))
    call = dict(alpha=[0.2, 0.4], loss=loss, **evaluations)
    expected = krf.flow_diagonal(X, y, **call, backend="cpu")
    got = krf.flow_diagonal(on_device(X), on_device(y), **call)
    assert got.backend == "cuda"
    names = ("beta", "w_plus", "w_minus", "dual", "log_loss", "log_t", "margins", "status")
    expect_same(got, expected, names)


@pytest.mark.parametrize("dense", [False, True])
def test_factorizations_with_margins_take_data_on_the_device(stand_in, dense):
    stand_in(most_runs=3)
    data = krf.datasets.low_rank_completion(4, 3, 1, 8)
    A = np.random.default_rng(0).standard_normal((8, 4, 3))
    y = np.sign(np.tensordot(A, data.Y_star, 2) if dense else data.y)
    call = dict(alpha=[0.2, 0.4], width=3, dims=(4, 3), loss="logistic", log_loss_eval=[0.0, -9.0])
    where = dict(measurements=A) if dense else dict(entries=data.entries)
    there = dict(measurements=on_device(A)) if dense else where
    expected = krf.flow_factorization(y, **where, **call, backend="cpu")
    got = krf.flow_factorization(on_device(y), **there, **call)
    assert got.backend == "cuda"
    expect_same(got, expected, ("M", "U", "V", "log_loss", "log_t", "margins", "status"))
