"""Figure 6d: the convolutional network in PyTorch, and the files of CIFAR-10."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import xarray as xr

from kernelrich_fast.__main__ import main
from kernelrich_fast.experiments import fig6d, reproduce
from kernelrich_fast.experiments.cifar import load_cifar10
from kernelrich_fast.experiments.convolution import Images, _Network, train

# PyTorch's own, when it differentiates forwards for the first time.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def cifar(folder, kind, n=20):
    """A folder of CIFAR-10 with few images, each of one grey that tells its class."""
    rng = np.random.default_rng(0)
    for name in BATCHES:
        classes = rng.integers(0, 10, n)
        pixels = np.clip(25 * classes[:, None] + rng.integers(0, 9, (n, 3072)), 0, 255)
        pixels = pixels.astype(np.uint8)
        if kind == "bin":
            records = np.column_stack([classes.astype(np.uint8), pixels])
            (folder / f"{name}.bin").write_bytes(records.tobytes())
        else:
            batch = {b"data": pixels, b"labels": classes.tolist()}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin", "cifar-10-batches-py"])
def test_both_versions_of_cifar_are_read(tmp_path, inner):
    folder = tmp_path / inner
    folder.mkdir(exist_ok=True)
    cifar(folder, "py" if inner.endswith("py") else "bin")
    images = load_cifar10(tmp_path)
    assert images.X.shape == (100, 3, 32, 32)
    assert images.X_test.shape == (20, 3, 32, 32)
    assert np.array_equal(np.round(images.X[:, 0, 0, 0] * 255.0 // 25).clip(0, 9), images.y)


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="data: expected a folder"):
        load_cifar10(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"data: there is no file .*data_batch_1"):
        load_cifar10(tmp_path)
    for kind, name, content, said in (
        ("bin", "data_batch_2.bin", b"short", "expected records of 3073 bytes"),
        ("bin", "data_batch_2.bin", bytes([11] * 3073), "expected classes 0 to 9"),
        ("py", "data_batch_3", b"nonsense", "cannot be read as a batch"),
        ("py", "data_batch_3", pickle.dumps({b"data": np.zeros((2, 5)), b"labels": [0, 1]}),
         "expected images of 32 x 32 pixels"),
    ):  # fmt: skip
        folder = tmp_path / f"{kind}-{len(content)}"
        folder.mkdir()
        cifar(folder, kind)
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"data: .*{said}"):
            load_cifar10(folder)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (tmp_path.joinpath("harm").touch, ())

    cifar(tmp_path, "py")
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": Malicious(), b"labels": []}))
    with pytest.raises(ValueError, match="cannot be read as a batch"):
        load_cifar10(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_without_pytorch_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    class Blocker:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "torch":
                raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Blocker, *sys.meta_path])
    assert main(["reproduce", "fig6d", "--quick", "--out", str(tmp_path)]) == 1
    assert "fig6d: needs PyTorch" in capsys.readouterr().err
    assert main(["reproduce", "fig1", "--data", "x", "--out", str(tmp_path)]) == 1
    assert "data: expected only for fig6c and fig6d" in capsys.readouterr().err


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.slow
def test_a_start_times_alpha_is_the_network_times_alpha_to_the_depth(torch):
    network = _Network(torch, (4, "M", 6), (2, 8, 8))
    X = torch.rand((5, 2, 8, 8), generator=torch.Generator().manual_seed(0))
    one, other = (network.outputs(network.start(alpha, 3), X) for alpha in (1.0, 2.0))
    assert one.shape == (5, 10)
    assert torch.allclose(other, 8.0 * one, rtol=1e-5)
    with pytest.raises(ValueError, match="layers: expected images large enough"):
        _Network(torch, ("M", "M", "M", 4, "M"), (1, 8, 8))


@pytest.mark.slow
def test_the_linearised_network_is_the_first_order(torch):
    torch.set_default_dtype(torch.float64)
    try:
        network = _Network(torch, (4, "M", 6), (2, 8, 8))
        X = torch.rand((5, 2, 8, 8), generator=torch.Generator().manual_seed(0))
        at, along = network.start(1.0, 3), network.start(1.0, 4)
        linear = network.tangent(at)
        assert torch.allclose(linear(at, X), network.outputs(at, X))
        errors = []
        for eps in (1e-5, 5e-6):
            near = tuple(w + eps * v for w, v in zip(at, along, strict=True))
            errors.append(float((linear(near, X) - network.outputs(near, X)).abs().max()))
        assert errors[1] == pytest.approx(errors[0] / 4.0, rel=0.1)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.slow
def test_descent_of_the_last_layer_is_logistic_regression(torch):
    """Its loss is convex: the features rest, and an independent solver finds the same loss."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    X, y = rng.random((40, 1, 4, 4)), rng.integers(0, 10, 40)
    images = Images(X, y, X, y)
    ended = train(images, (3,), 1.0, 0, model="last_layer", goal=0.0, epochs=3000)
    network = _Network(torch, (3,), (1, 4, 4))
    kernels = network.start(1.0, 0)[0]
    features = torch.nn.functional.conv2d(
        torch.as_tensor(X, dtype=torch.float32), kernels, padding=1
    )
    features = features.relu().flatten(1).numpy().astype(np.float64)
    exact = linear_model.LogisticRegression(C=1e8, fit_intercept=False, max_iter=10_000, tol=1e-10)
    chances = exact.fit(features, y).predict_log_proba(features)
    column = {label: i for i, label in enumerate(exact.classes_)}
    least = -np.mean([row[column[label]] for row, label in zip(chances, y, strict=True)])
    assert least <= ended.loss + 1e-6
    assert ended.loss < 1.0


@pytest.mark.slow
def test_the_figure(torch, tmp_path):
    text = reproduce("fig6d", tmp_path, quick=True)
    assert text.startswith("figure 6d: test error in per cent, 60 of digits of scikit-learn")
    assert {p.name for p in tmp_path.iterdir()} == {"fig6d.png", "fig6d.pdf", "fig6d.nc"}
    with xr.open_dataset(tmp_path / "fig6d.nc", engine="scipy") as ds:
        panels = {"": ds.load()}
    assert all(expectation.holds(panels) for expectation in fig6d.ABOUT.expectations)
    said = fig6d.ABOUT.compared(panels)
    assert ("data", "CIFAR10, 50,000 images", "digits of scikit-learn, 60 images") in said
    other = {"": panels[""].map(lambda v: v.copy(data=np.flip(v.values)))}
    assert not all(expectation.holds(other) for expectation in fig6d.ABOUT.expectations)
    again = tmp_path / "again"
    assert reproduce("fig6d", again, quick=True) == text


@pytest.mark.slow
def test_the_figure_on_a_folder_of_images(torch, tmp_path):
    cifar(tmp_path, "bin")
    out = tmp_path / "out"
    assert main(["reproduce", "fig6d", "--quick", "--data", str(tmp_path), "--out", str(out)]) == 0
    with xr.open_dataset(out / "fig6d.nc", engine="scipy") as ds:
        assert ds.attrs["data"] == "CIFAR-10"
        assert ds.test_error.shape == (2, 1)
        assert float(ds.test_error[0, 0]) < 0.9  # chance
