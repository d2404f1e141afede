"""Arrays that a real device holds, CuPy's and those of packages that speak DLPack.

What does not need a device about them is in test_device_arrays.py.
"""

from __future__ import annotations

import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast.backends import available_backends


def cupy_array(array):
    import cupy

    return cupy.asarray(array)


def torch_array(array):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    return torch.from_numpy(np.array(array)).cuda()


def jax_array(array):
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("this JAX has no CUDA")
    jax.config.update("jax_enable_x64", True)
    return jax.numpy.asarray(array)


@pytest.fixture(params=[cupy_array, torch_array, jax_array], ids=["cupy", "torch", "jax"])
def on_cuda(request):
    reason = available_backends()["cuda"]
    if reason is not None:
        pytest.skip(f"cuda: {reason}")
    return request.param


def expect_same(got, expected, names):
    import cupy

    for name in names:
        there, here = getattr(got, name), getattr(expected, name)
        assert isinstance(there, cupy.ndarray), name
        assert there.dtype == here.dtype, name
        error = np.linalg.norm(cupy.asnumpy(there) - here)
        assert error <= 1e-5 * np.linalg.norm(here), name


@pytest.mark.parametrize("shape", [(9, 21), (21, 9)])
def test_diagonal_data(on_cuda, shape):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal(shape), rng.standard_normal((2, 1, shape[0]))
    options = dict(alpha=[0.1, 0.5, 1.0], t_eval=[0.1, 0.3])
    got = krf.flow_diagonal(on_cuda(X), on_cuda(y), **options)
    assert got.backend == "cuda"
    expect_same(got, krf.flow_diagonal(X, y, **options, backend="cpu"), ("beta", "loss", "t"))
    got = krf.limit_diagonal(on_cuda(X), y, alpha=0.5)
    expect_same(got, krf.limit_diagonal(X, y, alpha=0.5, backend="cpu"), ("beta",))


def test_data_that_are_not_contiguous_or_not_double(on_cuda):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((8, 9)), rng.standard_normal(4)
    options = dict(alpha=[0.3, 1.0], t_eval=[0.2])
    expected = krf.flow_diagonal(X[::2], y, **options, backend="cpu")
    expect_same(krf.flow_diagonal(on_cuda(X)[::2], y, **options), expected, ("beta",))
    small = X[::2].astype(np.float32)
    expected = krf.flow_diagonal(small, y, **options, backend="cpu")
    expect_same(krf.flow_diagonal(on_cuda(small), y, **options), expected, ("beta",))


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
@pytest.mark.parametrize(
    "how", [{"log_loss_eval": [-1.0, -50.0]}, {"weight_decay": 0.5, "t_eval": [0.1, 0.3]}]
)
def test_diagonal_data_with_labels(on_cuda, loss, how):
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((9, 21)), np.sign(rng.standard_normal((2, 1, 9)))
    options = dict(alpha=[0.1, 0.5, 1.0], depth=2.5, loss=loss, **how)
    got = krf.flow_diagonal(on_cuda(X), on_cuda(y), **options)
    assert got.backend == "cuda"
    expected = krf.flow_diagonal(X, y, **options, backend="cpu")
    expect_same(got, expected, ("beta", "dual", "margins", "log_loss", "t"))


def test_diagonal_data_under_weight_decay(on_cuda):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((9, 21)), rng.standard_normal((2, 1, 9))
    options = dict(alpha=[0.1, 0.5, 1.0], weight_decay=[(0.0, 0.5), (0.2, 0.0)], averaged=True)
    got = krf.flow_diagonal(on_cuda(X), on_cuda(y), **options, t_eval=[0.1, 0.3])
    assert got.backend == "cuda"
    expected = krf.flow_diagonal(X, y, **options, t_eval=[0.1, 0.3], backend="cpu")
    expect_same(got, expected, ("beta", "beta_mean", "dual", "loss"))


def test_limits_under_weight_decay(on_cuda):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((9, 21)), rng.standard_normal((2, 1, 9))
    options = dict(alpha=[0.1, 0.5, 1.0], depth=3, weight_decay=0.1)
    got = krf.limit_diagonal(on_cuda(X), on_cuda(y), **options)
    assert got.backend == "cuda"
    expect_same(got, krf.limit_diagonal(X, y, **options, backend="cpu"), ("beta", "loss", "dual"))


def test_a_profile_of_products(on_cuda):
    rng = np.random.default_rng(5)
    X, y, w0 = rng.standard_normal((9, 21)), rng.standard_normal(9), rng.uniform(0.5, 2.0, 21)
    options = dict(alpha=[0.1, 0.5], model="product", balance=[0.5, -0.2], t_eval=[0.1, 0.3])
    got = krf.flow_diagonal(on_cuda(X), y, **options, w0=on_cuda(w0))
    expect_same(got, krf.flow_diagonal(X, y, **options, w0=w0, backend="cpu"), ("beta", "loss"))


@pytest.mark.parametrize(
    "how", [{"t_eval": [0.1, 0.5]}, {"loss": "logistic", "log_loss_eval": [-1.0, -50.0]}]
)
def test_factorization_data(on_cuda, how):
    data = krf.datasets.low_rank_completion(4, 3, 1, 8)
    y = np.sign(data.y) if "loss" in how else data.y
    options = dict(entries=data.entries, dims=(4, 3), alpha=[0.5, 1.0], width=3, **how)
    got = krf.flow_factorization(on_cuda(y), **options)
    expected = krf.flow_factorization(y, **options, backend="cpu")
    expect_same(got, expected, ("M", "loss", *(["margins", "log_loss"] if "loss" in how else [])))


def test_linear_data(on_cuda):
    rng = np.random.default_rng(4)
    X, Y = rng.standard_normal((8, 5)), rng.standard_normal((8, 2))
    options = dict(alpha=[0.1, 1.0], width=[[3], [50]], t_eval=[0.1, 1.0])
    got = krf.flow_linear(on_cuda(X), on_cuda(Y), **options)
    assert got.backend == "cuda"
    expect_same(got, krf.flow_linear(X, Y, **options, backend="cpu"), ("M", "loss"))


def test_network_data(on_cuda):
    data = krf.datasets.circle_teacher(6, seed=2)
    options = dict(width=5, alpha=[0.3, 1.0], t_eval=[0.1, 0.5])
    got = krf.flow_mlp(on_cuda(data.X), on_cuda(data.y), **options)
    expected = krf.flow_mlp(data.X, data.y, **options, backend="cpu")
    expect_same(got, expected, ("loss", "t"))
    assert np.allclose(got.predict(data.X), expected.predict(data.X), rtol=1e-5, atol=1e-6)


def test_tensors_that_want_gradients_are_refused(on_cuda):
    if on_cuda is not torch_array:
        pytest.skip("PyTorch's alone have gradients")
    X = torch_array(np.ones((1, 2))).requires_grad_()
    with pytest.raises(TypeError, match="X: "):
        krf.flow_diagonal(X, [1.0], alpha=1.0)
