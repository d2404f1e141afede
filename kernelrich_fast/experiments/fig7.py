"""Figure 7: wide univariate ReLU networks, from splines to kernels."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline

from .. import plot
from .._types import FloatArray
from ..mlp import flow_mlp
from .output import About, Expectation, Outcome, Panels, Settings, save, table
from .words import ended, listed

__all__ = ["ABOUT", "run", "univariate_data"]

WIDTH, QUICK_WIDTH = 10_000, 300
ALPHAS = (1e-4, 1e-2, 0.1, 1.0, 10.0)
X = np.linspace(-np.sqrt(3.0), np.sqrt(3.0), 9)
Y = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
# Factors of (w1, b1) and of w2, as powers of the width: the output stays, the balance moves.
PANELS = {"a": 0.0, "b": 0.5, "c": 0.25}
STOP_LOSS = 1e-8
RTOL = 1e-3


def univariate_data(
    width: int,
    points: int,
    backend: str,
    progress: bool,
    num_threads: int | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Trained functions of the three panels, with both splines."""
    rng = np.random.default_rng(seed)
    w1, b1 = rng.standard_normal((width, 1)), rng.standard_normal(width)
    w2 = np.sqrt(2.0 / width) * rng.standard_normal((1, width))
    x = np.linspace(X[0], X[-1], points)
    predictions: list[FloatArray] = []
    losses, statuses, steps = [], [], []
    for power in PANELS.values():
        flow = flow_mlp(
            X[:, None], Y, weights0=[w1, w2], biases0=[b1, np.zeros(1)], bias=True,
            antisymmetric=True, layer_scales=[width**-power, width**power],
            alpha=ALPHAS, rtol=RTOL, stop_loss=STOP_LOSS, backend=backend, progress=progress,
            num_threads=num_threads,
        )  # fmt: skip
        predictions.append(flow.predict(x[:, None]))
        losses.append(flow.loss)
        statuses.append(flow.status)
        steps.append(flow.n_steps)
    linear = np.interp(x, X, Y)
    prediction = np.stack(predictions)
    off = prediction - linear
    return xr.Dataset(
        {
            "prediction": (("panel", "alpha", "x"), prediction),
            "linear_spline": ("x", linear),
            "cubic_spline": ("x", CubicSpline(X, Y, bc_type="natural")(x)),
            "spline_rmse": (("panel", "alpha"), np.sqrt(np.mean(off**2, axis=-1))),
            "spline_max_error": (("panel", "alpha"), np.abs(off).max(axis=-1)),
            "loss": (("panel", "alpha"), np.stack(losses)),
            "status": (("panel", "alpha"), np.stack(statuses)),
            "n_steps": (("panel", "alpha"), np.stack(steps)),
            "y": ("sample", Y),
            "X": ("sample", X),
        },
        coords={"panel": list(PANELS), "alpha": list(ALPHAS), "x": x},
        attrs={"width": width},
    )


def _splines(panels: Panels) -> bool:
    return bool(np.all(panels[""].spline_rmse.isel(alpha=0) < 0.05))


def _overshoot(panels: Panels) -> bool:
    top = panels[""].prediction.max("x")
    balanced, *shaped = (top.sel(panel=panel, alpha=ALPHAS[-1]) for panel in PANELS)
    return bool(balanced > 1.05) and all(bool(balanced > other) for other in shaped)


ABOUT = About(
    "Figure 7: wide univariate ReLU networks",
    (
        (
            "network",
            "w2 relu(w1 x + b1) + b2, 10,000 units, unbiased start",
            lambda p: f"the same with {p[''].attrs['width']:,} units",
        ),
        ("start", "w1, b1 ~ N(0, 1), w2 ~ N(0, 2 / k) times alpha", "the same"),
        ("panels", "a: as is; b, c: (w1, b1) by k^-1/2, k^-1/4 and w2 by the inverse", "the same"),
        ("data", "9 points, x from -sqrt 3 to sqrt 3, y = 0 0 0 1 1 1 0 0 0", "the same"),
        ("alpha", "1e-4 .01 .1 1 10 (b: from .01)", lambda p: listed(p[""].alpha)),
        ("optimiser, stopping", "not stated", "gradient flow, relative loss 1e-8"),
    ),
    (
        Expectation(
            "alpha = 1e-4: the linear spline whatever the shape (RMS distance below 0.05)", _splines
        ),
        Expectation(
            "alpha = 10: panel a overshoots like a cubic spline, and more than b and c", _overshoot
        ),
    ),
)


def run(settings: Settings) -> Outcome:
    """Write the three panels; returns the table."""
    from matplotlib.figure import Figure

    width = QUICK_WIDTH if settings.quick else WIDTH
    points = 201 if settings.quick else 1001
    ds = univariate_data(width, points, *settings.how, seed=settings.seed)
    figure = Figure(figsize=(12.0, 4.4), layout="constrained")
    for axis, panel in zip(figure.subplots(1, 3), PANELS, strict=True):
        plot.univariate_functions(ds.sel(panel=panel), axis)
        axis.set_title(_title(panel), loc="left", fontsize="medium")
    figure.suptitle(f"$N={len(X)}$, width $k={width}$, seed {settings.seed}")
    # Names are no numbers: NetCDF 3 keeps panels by position.
    save(settings, "fig7", figure, {"": ds.assign_coords(panel=np.arange(len(PANELS)))})
    header = ["panel", "(w1, b1) times", "w2 times", *(f"alpha={a:g}" for a in ALPHAS)]
    tables = [
        table(
            f"figure 7: {what}, width k = {width}",
            header,
            [
                [p, *_factors(power), *(float(v) for v in ds[name].sel(panel=p))]
                for p, power in PANELS.items()
            ],
        )
        for what, name in (
            ("root mean square distance from the linear spline", "spline_rmse"),
            ("largest distance from the linear spline", "spline_max_error"),
        )
    ]
    text = "\n\n".join([*tables, ended(ds.status)])
    return Outcome(text, {"": ds})


def _factors(power: float) -> tuple[str, str]:
    """Of the table: of (w1, b1) and of w2, in powers of the width k."""
    return (
        ("1", "1")
        if power == 0.0
        else (
            f"k^-1/{round(1 / power)}",
            f"k^1/{round(1 / power)}",
        )
    )


def _title(panel: str) -> str:
    """What differs between the panels."""
    power = PANELS[panel]
    if power == 0.0:
        return f"{panel}  $(w_1, b_1)$ and $w_2$ as drawn"
    factors = f"k^{{-1/{round(1 / power)}}}", f"k^{{1/{round(1 / power)}}}"
    return rf"{panel}  ${factors[0]}\,(w_1, b_1)$ and ${factors[1]}\,w_2$"
