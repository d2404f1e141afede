"""Figure 6d: a convolutional network, from the kernel to the rich regime.

PyTorch trains it, by the extra [torch]; this package integrates fully connected models. By default
it is a small network on the digits that ship with scikit-learn; with the folder of CIFAR-10 as
``data`` it is the paper's, which takes a GPU for days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from .. import plot
from .._bars import tqdm
from ..datasets import digits
from ..plot._axes import legend_for
from ..plot._data import spread_title
from .cifar import load_cifar10
from .convolution import Images, Layers, Trained, train
from .output import About, Expectation, Outcome, Panels, Settings, save, table
from .words import averaged

__all__ = ["ABOUT", "conv_data", "run"]

COLUMNS = ["network", "linearised", "last layer"]
MODELS = {"test_error": "network", "kernel_error": "kernel", "last_layer_error": "last_layer"}


@dataclass(frozen=True)
class Size:
    """How large a version is."""

    layers: Layers
    alphas: tuple[float, ...]
    n_train: int
    n_test: int
    seeds: int
    epochs: int
    goal: float  # mean cross-entropy at which training ends
    batch: int | None = None  # of stochastic descent, with its step
    step: float | None = None


DIGITS = Size((16, "M", 32, "M"), (0.5, 1.0, 1.5, 2.0, 3.0, 5.0), 200, 1500, 3, 2000, 1e-2)
QUICK = Size((8, "M", 8, "M"), (0.7, 4.0), 60, 500, 1, 400, 1e-1)
# The paper's network, scales, batch and step.
CIFAR = Size(
    (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    (0.75, 1.0, 1.25, 1.5, 1.75, 2.0), 50_000, 10_000, 1, 2000, 1e-3, 128, 1e-4,
)  # fmt: skip
QUICK_CIFAR = Size((8, "M", 8, "M"), (0.7, 3.0), 60, 100, 1, 60, 1e-1, 30, 1e-2)


def conv_data(images: Images, size: Size, seeds: tuple[int, ...], progress: bool) -> xr.Dataset:
    """Test errors of the network, of its linearisation, and of the last layer alone."""
    dims = ("alpha", "seed")
    shape = len(size.alphas), len(seeds)
    found: dict[str, np.ndarray] = {name: np.full(shape, np.nan) for name in MODELS}
    fits = np.zeros((*shape, len(MODELS)), dtype=np.int64)
    epochs = np.zeros((*shape, len(MODELS)), dtype=np.int64)
    bar = tqdm(total=fits.size, desc="fig6d", unit="run", disable=not progress)
    for i, alpha in enumerate(size.alphas):
        for j, seed in enumerate(seeds):
            for k, (name, model) in enumerate(MODELS.items()):
                one: Trained = train(
                    images, size.layers, alpha, seed, model=model, goal=size.goal,
                    epochs=size.epochs, batch=size.batch, step=size.step,
                )  # fmt: skip
                found[name][i, j] = one.test_error
                fits[i, j, k], epochs[i, j, k] = one.fits, one.epochs
                bar.update(1)
    bar.close()
    return xr.Dataset(
        {
            **{name: (dims, values) for name, values in found.items()},
            "fits": ((*dims, "model"), fits, {"long_name": "whether the loss was reached"}),
            "epochs": ((*dims, "model"), epochs, {"long_name": "epochs of the descent"}),
        },
        coords={"alpha": list(size.alphas), "seed": list(seeds), "model": list(MODELS.values())},
        attrs={
            "n_samples": len(images.y), "n_test": len(images.y_test), "goal": size.goal,
            "layers": "-".join(map(str, size.layers)), "batch": size.batch or 0,
        },
    )  # fmt: skip


def _rich_is_better(panels: Panels) -> bool:
    errors = panels[""].test_error.mean("seed")
    return bool(errors[0] < errors[-1])


def _near_the_kernel(panels: Panels) -> bool:
    last = panels[""].isel(alpha=-1)
    return bool(abs((last.test_error - last.kernel_error).mean("seed")) <= 0.05)


def _images(panels: Panels) -> str:
    attrs = panels[""].attrs
    return f"{attrs['data']}, {attrs['n_samples']} images"


def _selection(panels: Panels) -> str:
    return averaged("mean", panels[""].sizes["seed"], "seed")


def _training(panels: Panels) -> str:
    batch = panels[""].attrs["batch"]
    end = f"until the loss is {panels[''].attrs['goal']:g}"
    return f"SGD, batch {batch}, {end}" if batch else f"gradient descent {end}"


ABOUT = About(
    "Figure 6, panel d: a convolutional network",
    (
        ("data", "CIFAR10, 50,000 images", _images),
        (
            "network",
            "3 x 3 convolutions 64-M-128-M-256-256-M-512-512-M-512-512-M and a linear layer",
            lambda p: f"{p[''].attrs['layers']} and a linear layer",
        ),
        ("start", "He's uniform weights times alpha", "the same"),
        (
            "training",
            "SGD, batch 128, step 1e-4, 2000 epochs",
            _training,
        ),
        ("selection", "none", _selection),
    ),
    (
        Expectation("the test error is smaller at the rich end than at the other", _rich_is_better),
        Expectation(
            "at the kernel end it lies within 5 % of that of the linearised network",
            _near_the_kernel,
        ),
    ),
)


def _data(settings: Settings) -> tuple[Images, Size, str]:
    if settings.data is not None:
        size = QUICK_CIFAR if settings.quick else CIFAR
        images = load_cifar10(settings.data)
        return images.first(size.n_train, size.n_test), size, "CIFAR-10"
    size = QUICK if settings.quick else DIGITS
    data = digits(size.n_train, settings.seed)
    X, X_test = (a.reshape(-1, 1, 8, 8) for a in (data.X, data.X_test))
    images = Images(X, data.y, X_test, data.y_test)
    return images.first(size.n_train, size.n_test), size, "digits of scikit-learn"


def run(settings: Settings) -> Outcome:
    """Write the panel; returns the table."""
    from matplotlib.figure import Figure

    images, size, data_name = _data(settings)
    ds = conv_data(images, size, settings.seeds(size.seeds), settings.progress)
    ds.attrs["data"] = data_name
    figure = Figure(figsize=(4.5, 3.4), layout="constrained")
    axes = plot.class_errors(ds, figure.subplots())
    for line, name in zip(axes.get_lines(), COLUMNS, strict=True):
        line.set_label(name)
    legend_for(axes, spread_title(ds.test_error))
    axes.set_xticks(size.alphas, [f"{alpha:g}" for alpha in size.alphas])
    axes.minorticks_off()
    axes.set_title(
        f"$N={len(images.y)}$, {data_name}, {_selection({'': ds})}", loc="left", fontsize="medium"
    )
    save(settings, "fig6d", figure, {"": ds.drop_vars("model")})
    rows = [
        [float(a), *(100.0 * float(ds[column].sel(alpha=a).mean("seed")) for column in MODELS)]
        for a in ds.alpha
    ]
    unfit = int(np.sum(ds.fits.values == 0))
    text = "\n\n".join(
        [
            table(
                f"figure 6d: test error in per cent, {len(images.y)} of {data_name}",
                ["alpha", *COLUMNS],
                rows,
            ),
            f"{ds.fits.size} trainings, {unfit} of which did not reach the loss {size.goal:g}",
        ]
    )
    return Outcome(text, {"": ds})
