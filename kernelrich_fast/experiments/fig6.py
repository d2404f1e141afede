"""Figure 6a and 6b: small ReLU networks on the circle."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .. import plot
from ..datasets import CircleTeacher, circle_teacher
from ..sweeps import sweep_mlp
from .output import About, Expectation, Outcome, Panels, Settings, save, table
from .words import averaged, ended, listed

__all__ = ["ABOUT", "circle_data", "run", "scaled_teacher"]

DEPTHS = (2, 3, 5)
# The paper's grids, 16 scales of each.
ALPHAS = (
    (0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0, 1.5, 2.0, 3.0, 5.0),
    (0.05, 0.075, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0),
    (0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0, 2.2, 2.4, 2.6, 2.8),
)
WIDTH, N_SAMPLES, N_TEACHER = 30, 10, 3
ZERO_RMSE = 0.287  # of the paper's zero predictor, which fixes the scale of its teacher
# The paper's start, "uniform He", is taken to be PyTorch's default for linear layers, uniform on
# +-1 / sqrt(fan_in): with He's +-sqrt(6 / fan_in) all curves lie at scales too small by sqrt(6).
LAYER_SCALE = 1.0 / np.sqrt(6.0)
STOP_LOSS = 1e-9
RTOL = 1e-4
TABLE_COLUMNS = (0, 4, 8, 11, 13, 15)


def scaled_teacher(seed: int) -> CircleTeacher:
    """A teacher whose test values have the paper's root mean square."""
    X, y, X_test, y_test = circle_teacher(N_SAMPLES, N_TEACHER, seed=seed)
    scale = ZERO_RMSE / np.sqrt(np.mean(y_test**2))
    return CircleTeacher(X, scale * y, X_test, scale * y_test)


def circle_data(
    columns: slice,
    seeds: tuple[int, ...],
    backend: str,
    progress: bool,
    num_threads: int | None = None,
) -> xr.Dataset:
    """Teacher, inputs and start drawn anew for every seed."""
    data = [scaled_teacher(seed) for seed in seeds]
    X, y, X_test, y_test = (np.stack(arrays) for arrays in zip(*data, strict=True))
    return sweep_mlp(
        X,
        y,
        depth=DEPTHS,
        alpha=np.array(ALPHAS)[:, columns],
        seeds=seeds,
        X_test=X_test,
        y_test=y_test,
        keep=("norms", "kernel_predictors"),
        width=WIDTH,
        layer_scales=LAYER_SCALE,
        stop_loss=STOP_LOSS,
        rtol=RTOL,
        backend=backend,
        progress=progress,
        num_threads=num_threads,
    )


def _ends(ds: xr.Dataset, name: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Means over seeds at the smallest and at the largest scale, per depth."""
    mean = ds[name].mean("seed")
    return mean.isel(alpha=0), mean.isel(alpha=-1)


def _error_grows(panels: Panels) -> bool:
    rich, kernel = _ends(panels[""], "test_rmse")
    return bool(np.all(kernel > 2.0 * rich))


def _moves_less(panels: Panels) -> bool:
    rich, kernel = _ends(panels[""], "feature_distance")
    return bool(np.all(kernel < 0.25 * rich))


def _scales(panels: Panels) -> str:
    scale = panels[""].scale
    return "; ".join(f"D = {float(D):g}: {listed(scale.sel(depth=D))}" for D in scale.depth)


def _training(panels: Panels) -> str:
    return f"gradient flow to relative loss {panels[''].attrs['stop_loss']:g}"


def _repetitions(panels: Panels) -> str:
    return "none, " + averaged("mean", panels[""].sizes["seed"], "draw") + " of data and start"


ABOUT = About(
    "Figure 6, panels a and b: small ReLU networks on the circle",
    (
        ("data", "10 inputs uniform on the unit circle, teacher of 3 ReLU units", "the same"),
        ("network", "depth 2, 3, 5, 30 units a layer, uniform He start times alpha", "the same"),
        (
            "start's distribution",
            "not stated",
            "uniform on +-1 / sqrt(fan_in), which fits best",
        ),
        ("training", "descent with step 0.01 to loss 1e-9", _training),
        ("scales alpha", "16 for each depth", _scales),
        ("biases, repetitions", "not stated", _repetitions),
        ("zero predictor", "test RMSE 0.287", "teachers scaled to it"),
    ),
    (
        Expectation(
            "a: from the smallest to the largest scale the test error at least doubles",
            _error_grows,
        ),
        Expectation(
            "b: the distance of tangent features falls to less than a quarter of that when rich",
            _moves_less,
        ),
    ),
)


def run(settings: Settings) -> Outcome:
    """Write both panels; returns the table."""
    from matplotlib.figure import Figure

    columns = slice(2, None, 6) if settings.quick else slice(None)
    seeds = settings.seeds(2 if settings.quick else 10)
    ds = circle_data(columns, seeds, *settings.how)
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.network_curves(ds, "test_rmse", left, zero=ZERO_RMSE)
    plot.network_curves(ds, "feature_distance", right)
    for axis, panel in ((left, "a"), (right, "b")):
        axis.set_title(f"{panel}  $N={N_SAMPLES}$, width {WIDTH}, {len(seeds)} seeds", loc="left")
    save(settings, "fig6", figure, {"": ds})
    shown = range(ds.sizes["alpha"]) if settings.quick else TABLE_COLUMNS
    tables = []
    for variable in ("test_rmse", "feature_distance", "kernel_rmse", "last_layer_rmse"):
        rows = []
        for D in DEPTHS:
            one = ds.sel(depth=D)
            mean, error = one[variable].mean("seed"), one[variable].std("seed", ddof=1)
            rows.append([f"D={D} alpha", *(float(one.scale[i]) for i in shown)])
            rows.append(["mean", *(float(mean[i]) for i in shown)])
            rows.append(["+-", *(float(error[i] / np.sqrt(len(seeds))) for i in shown)])
        header = ["", *([""] * len(shown))]
        tables.append(table(f"figure 6: {variable}, {len(seeds)} seeds", header, rows))
    text = "\n\n".join([*tables, ended(ds.status)])
    return Outcome(text, {"": ds})
