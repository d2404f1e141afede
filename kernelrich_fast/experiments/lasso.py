"""The mean of the predictor along a rich flow, beside the lasso path."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from .. import datasets
from .._types import FloatArray
from ..diagonal import flow_diagonal, limit_diagonal
from ..plot._axes import COLOURS, STYLES
from ..saddle_path import RichPath, rich_path
from .output import About, Expectation, Outcome, Panels, Settings, save, table

__all__ = ["ABOUT", "run"]

ALPHA = 1e-60
RTOL = 1e-8
SHAPE, QUICK_SHAPE = (15, 40, 4), (10, 30, 3)
POINTS, QUICK_POINTS = 120, 40


def first_leave(path: RichPath) -> float:
    """The jump time, in units of T0, at which a coefficient first falls back to zero."""
    left = np.any(path.active[:-1] & ~path.active[1:], axis=-1)
    return float(path.jump_times[np.argmax(left)]) if left.any() else np.inf


def lasso_path(X: FloatArray, y: FloatArray, lam: FloatArray, **options: Any) -> FloatArray:
    """Argmin |X beta - y|^2 / 2 + lam |beta|_1, a row for each lam."""
    return limit_diagonal(X, y, alpha=1.0, weight_decay=2.0 * lam, **options).beta


def _data(settings: Settings) -> tuple[xr.Dataset, RichPath]:
    quick = settings.quick
    X, y, _ = datasets.sparse_regression(*(QUICK_SHAPE if quick else SHAPE), seed=settings.seed)
    options: dict[str, Any] = {"backend": settings.backend, "num_threads": settings.jobs}
    path = rich_path(X, y)
    unit = float(path.time_unit(ALPHA))
    count = QUICK_POINTS if quick else POINTS
    s = np.geomspace(0.5 * path.jump_times[0], 4.0 * path.jump_times[-1], count)
    flow = flow_diagonal(X, y, alpha=ALPHA, t_eval=s * unit, averaged=True, rtol=RTOL, **options)
    mean = flow.beta_mean
    if mean is None:  # asked for above
        raise AssertionError
    lasso = lasso_path(X, y, 1.0 / s, **options)
    size = np.linalg.norm(lasso, axis=-1).max()
    ds = xr.Dataset(
        {
            "beta_mean": (("time", "feature"), mean),
            "beta": (("time", "feature"), flow.beta),
            "lasso": (("time", "feature"), lasso),
            "gap": ("time", np.linalg.norm(mean - lasso, axis=-1) / size),
            "residual": (
                "time",
                np.linalg.norm(y - mean @ X.T - flow.dual / flow.t[:, None], axis=-1)
                / np.linalg.norm(y),
            ),
        },
        coords={"time": s, "feature": np.arange(X.shape[1])},
        attrs={
            "n_samples": X.shape[0], "n_features": X.shape[1], "seed": settings.seed,
            "alpha": ALPHA, "rtol": RTOL, "first_leave": first_leave(path),
        },
    )  # fmt: skip
    return ds, path


def _parts(ds: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """The gap while all coefficients stay, and after the first has left."""
    leaves = ds.attrs["first_leave"]
    return ds.gap[ds.time < 0.98 * leaves], ds.gap[ds.time > leaves]


def _before(panels: Panels) -> bool:
    gap = _parts(panels[""])[0]
    return bool(gap.size and float(gap.max()) < 0.05)


def _after(panels: Panels) -> bool:
    before, after = _parts(panels[""])
    if not np.isfinite(panels[""].attrs["first_leave"]):
        return True
    return bool(float(after.max()) > 2.0 * float(before.max()))


ABOUT = About(
    "The averaged path and the lasso path",
    (
        (
            "data",
            "not a figure of the paper",
            lambda p: (
                f"sparse regression, N = {p[''].attrs['n_samples']}, "
                f"d = {p[''].attrs['n_features']}, seed {p[''].attrs['seed']}"
            ),
        ),
        ("alpha", "to 0 (Berthier 2025)", lambda p: f"{p[''].attrs['alpha']:g}"),
        ("lambda", "T0 / t", "T0 / t, T0 = log(1 / alpha^2) / 8"),
    ),
    (
        Expectation(
            "while no coefficient has left the support, the mean is the lasso path: a gap below "
            "5 % of its end",
            _before,
        ),
        Expectation("after that it is not: more than twice that gap", _after),
        Expectation(
            "y - X mean(beta) = nu / t at all times",
            lambda p: bool(float(p[""].residual.max()) < 1e-5),
        ),
    ),
)


def run(settings: Settings) -> Outcome:
    """Write coefficients and gap over time; returns the table."""
    from matplotlib.figure import Figure

    ds, path = _data(settings)
    figure = Figure(figsize=(10.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    chosen = np.argsort(-np.abs(ds.lasso.values).max(axis=0))[: len(COLOURS)]
    for k, feature in enumerate(np.sort(chosen)):
        colour = COLOURS[k]
        for name, style in (("beta_mean", STYLES[0]), ("lasso", STYLES[1])):
            label = {"beta_mean": "mean of the flow", "lasso": "lasso"}[name] if k == 0 else None
            left.plot(ds.time, ds[name].sel(feature=feature), color=colour, linestyle=style,
                      label=label)  # fmt: skip
    left.set(ylabel="coefficients, the six largest of the lasso")
    right.plot(ds.time, ds.gap, color=COLOURS[0], label="mean of the flow")
    distance = r"$\|\bar\beta - \beta_{\mathrm{lasso}}\|_2$, relative"
    right.set(yscale="log", ylim=(1e-4, 1.0), ylabel=distance)
    right.set_title("distance relative to the end of the lasso path", loc="left")
    for axis in (left, right):
        leave = ds.attrs["first_leave"]
        if np.isfinite(leave):
            axis.axvline(leave, color="0.5", linestyle=":", label="a coefficient leaves")
        axis.set(xscale="log", xlabel=r"time $t / T_0 = 1 / \lambda$")
        axis.legend(fontsize="small")
    left.set_title(
        f"$N={ds.attrs['n_samples']}$, $d={ds.attrs['n_features']}$, seed {settings.seed}, "
        rf"$\alpha=10^{{{np.log10(ALPHA):.0f}}}$", loc="left",
    )  # fmt: skip
    save(settings, "lasso", figure, {"": ds})
    before, after = _parts(ds)
    rows = [
        ["before a coefficient leaves", before.size, float(before.median()), float(before.max())],
        ["after", after.size, float(after.median()) if after.size else np.nan,
         float(after.max()) if after.size else np.nan],
    ]  # fmt: skip
    title = (
        f"lasso: mean of the flow at alpha = {ALPHA:g} against the lasso at lambda = T0 / t; "
        f"{len(path.jump_times)} jumps, the first leave at t = {ds.attrs['first_leave']:.3g} T0"
    )
    return Outcome(table(title, ["", "times", "median gap", "largest gap"], rows), {"": ds})
