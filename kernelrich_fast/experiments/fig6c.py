"""Figure 6c: classes of digits, from the kernel to the rich regime.

The paper's panel d trains a VGG-like convolutional network on CIFAR10 for thousands of epochs; this
package integrates small fully connected models, and leaves that to deep-learning frameworks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from .. import plot
from ..datasets import Digits, digits
from ..sweeps import sweep_mlp
from .output import Settings, save, table

__all__ = ["class_data", "load_npz", "run"]

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
    with np.load(path) as data:
        missing = {"x_train", "y_train", "x_test", "y_test"} - set(data.files)
        if missing:
            raise ValueError(f"data: expected {', '.join(sorted(missing))} in {path}")
        X, X_test = (
            data[name].reshape(len(data[name]), -1) / 255.0 for name in ("x_train", "x_test")
        )
        y, y_test = (data[name].astype(np.int64) for name in ("y_train", "y_test"))
    return Digits(X[:n_train], y[:n_train], X_test[:N_TEST], y_test[:N_TEST])


def class_data(
    data: Digits,
    alphas: tuple[float, ...],
    width: int,
    seeds: tuple[int, ...],
    backend: str,
    progress: bool,
) -> xr.Dataset:
    """Test errors of the flow and of the linearised baselines."""
    return sweep_mlp(
        data.X, data.y, depth=2, alpha=alphas, seeds=seeds, X_test=data.X_test,
        y_test=data.y_test, keep=("norms", "kernel_predictors"), width=width, init="he_normal",
        loss="cross_entropy", stop_loss=STOP_LOSS, rtol=RTOL, backend=backend, progress=progress,
    )  # fmt: skip


def run(settings: Settings) -> str:
    """Write the panel; returns the table."""
    from matplotlib.figure import Figure

    quick = settings.quick
    n_train = QUICK_TRAIN if quick else N_TRAIN
    data = digits(n_train) if settings.data is None else load_npz(settings.data, n_train)
    alphas, seeds = (QUICK_ALPHAS, (0,)) if quick else (ALPHAS, (0, 1))
    width = QUICK_WIDTH if quick else WIDTH
    ds = class_data(data, alphas, width, seeds, settings.backend, settings.progress)
    figure = Figure(figsize=(4.5, 3.4), layout="constrained")
    plot.class_errors(ds, figure.subplots())
    save(settings, "fig6c", figure, {"": ds})
    rows = [
        [float(a), *(100.0 * float(ds[name].sel(alpha=a).mean("seed")) for name in _COLUMNS)]
        for a in ds.alpha
    ]
    unfinished = int(np.sum(ds.status.values != 0))
    title = f"figure 6c: test error in per cent, {n_train} digits, width {width}"
    return "\n\n".join(
        [
            table(title, ["alpha", "flow", "kernel", "last layer"], rows),
            f"{ds.status.size} runs, {unfinished} not converged",
        ]
    )


_COLUMNS = ("test_error", "kernel_error", "last_layer_error")
