"""Figure 6c: classes of digits, from the kernel to the rich regime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from .. import plot
from ..datasets import Digits, digits
from ..sweeps import sweep_mlp
from .output import About, Expectation, Outcome, Panels, Settings, save, table
from .words import averaged, ended, listed

__all__ = ["ABOUT", "class_data", "load_npz", "run"]

ALPHAS = (0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0)
QUICK_ALPHAS = (0.3, 3.0)
# Far more weights than samples times classes: near equality linear baselines are at their worst.
WIDTH, QUICK_WIDTH = 256, 64
N_TRAIN, QUICK_TRAIN = 300, 60
N_TEST = 10_000
STOP_LOSS = 1e-4
RTOL = 1e-2


def load_npz(path: Path, n_train: int) -> Digits:
    """MNIST as Keras distributes it: x_train, y_train, x_test, y_test, pixels up to 255."""
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        with open(path, "rb") as file, np.load(file) as data:
            missing = set(names) - set(data.files)
            arrays = {} if missing else {name: np.asarray(data[name]) for name in names}
    except FileNotFoundError:
        raise ValueError(f"data: there is no file {path}") from None
    except Exception as error:  # cut short, another format, objects
        raise ValueError(f"data: {path} cannot be read as .npz ({error})") from None
    if missing:
        raise ValueError(f"data: expected {', '.join(sorted(missing))} in {path}")
    for kind in ("train", "test"):
        x, labels = arrays[f"x_{kind}"], arrays[f"y_{kind}"]
        if x.ndim < 2 or labels.shape != x.shape[:1] or len(x) == 0 or x.dtype.kind not in "iuf":
            raise ValueError(
                f"data: expected x_{kind} (n, ...) of numbers and y_{kind} (n,) in {path}, got "
                f"{x.dtype} of shape {x.shape} and {labels.shape}"
            )
    if np.prod(arrays["x_train"].shape[1:]) != np.prod(arrays["x_test"].shape[1:]):
        raise ValueError(f"data: expected images of one size in {path}")
    X, X_test = (arrays[k].reshape(len(arrays[k]), -1) / 255.0 for k in ("x_train", "x_test"))
    y, y_test = (arrays[k].astype(np.int64) for k in ("y_train", "y_test"))
    return Digits(X[:n_train], y[:n_train], X_test[:N_TEST], y_test[:N_TEST])


def class_data(
    data: Digits,
    alphas: tuple[float, ...],
    width: int,
    seeds: tuple[int, ...],
    backend: str,
    progress: bool,
    num_threads: int | None = None,
) -> xr.Dataset:
    """Test errors of the flow and of the linearised baselines."""
    return sweep_mlp(
        data.X, data.y, depth=2, alpha=alphas, seeds=seeds, X_test=data.X_test,
        y_test=data.y_test, keep=("norms", "kernel_predictors"), width=width, init="he_normal",
        loss="cross_entropy", stop_loss=STOP_LOSS, rtol=RTOL, backend=backend, progress=progress,
        num_threads=num_threads,
    )  # fmt: skip


def _rich_is_better(panels: Panels) -> bool:
    ds = panels[""].mean("seed")
    return bool(ds.test_error[0] < ds.test_error[-1])


def _near_baselines(panels: Panels) -> bool:
    last = panels[""].mean("seed").isel(alpha=-1)
    low = min(float(last.kernel_error), float(last.last_layer_error))
    high = max(float(last.kernel_error), float(last.last_layer_error))
    return low - 0.05 <= float(last.test_error) <= high + 0.05


def _digits(panels: Panels) -> str:
    attrs = panels[""].attrs
    return f"{attrs['n_samples']} digits of {attrs['data']}"


def _selection(panels: Panels) -> str:
    return "none; " + averaged("mean", panels[""].sizes["seed"], "seed")


ABOUT = About(
    "Figure 6, panel c: classes of digits",
    (
        ("data", "MNIST, 60,000 digits", _digits),
        (
            "network",
            "one hidden layer of 5000 ReLU units, He start times alpha",
            lambda p: f"{int(p[''].width)} units",
        ),
        (
            "loss",
            "cross-entropy below 1e-5, all training digits right",
            lambda p: f"relative loss {p[''].attrs['stop_loss']:g}",
        ),
        ("alpha", "0.1 to 500, from the figure", lambda p: listed(p[""].alpha)),
        ("training", "SGD, batch 256, the best of a grid of steps", "gradient flow"),
        ("selection", "the best-generalising step per alpha", _selection),
    ),
    (
        Expectation("the test error is smaller at the rich end than at the other", _rich_is_better),
        Expectation(
            "at the kernel end it lies within 5 % of the linearised networks' errors",
            _near_baselines,
        ),
    ),
)


def run(settings: Settings) -> Outcome:
    """Write the panel; returns the table."""
    from matplotlib.figure import Figure

    quick = settings.quick
    n_train = QUICK_TRAIN if quick else N_TRAIN
    if settings.data is None:
        data = digits(n_train, settings.seed)
    else:
        data = load_npz(settings.data, n_train)
    alphas, seeds = QUICK_ALPHAS if quick else ALPHAS, settings.seeds(1 if quick else 2)
    width = QUICK_WIDTH if quick else WIDTH
    ds = class_data(data, alphas, width, seeds, *settings.how)
    ds.attrs["data"] = "scikit-learn" if settings.data is None else settings.data.name
    figure = Figure(figsize=(4.5, 3.4), layout="constrained")
    axes = plot.class_errors(ds, figure.subplots())
    drawn = averaged("mean", len(seeds), "seed")
    axes.set_title(f"$N={n_train}$, width {width}, {drawn}", loc="left", fontsize="medium")
    save(settings, "fig6c", figure, {"": ds})
    rows = [
        [float(a), *(100.0 * float(ds[name].sel(alpha=a).mean("seed")) for name in _COLUMNS)]
        for a in ds.alpha
    ]
    title = f"figure 6c: test error in per cent, {n_train} digits, width {width}, {drawn}"
    text = "\n\n".join(
        [
            table(title, ["alpha", "flow", "kernel", "last layer"], rows),
            ended(ds.status),
        ]
    )
    return Outcome(text, {"": ds})


_COLUMNS = ("test_error", "kernel_error", "last_layer_error")
