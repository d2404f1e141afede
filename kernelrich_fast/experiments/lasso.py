"""The mean of the predictor along a rich flow, beside the lasso path."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from .. import datasets
from ..diagonal import flow_diagonal
from ..plot._axes import COLOURS, STYLES
from ..saddle_path import RichPath, rich_path
from . import lasso_monotone
from .lasso_monotone import lasso_path, leaves
from .output import About, Expectation, Outcome, Panels, Settings, save, table

__all__ = ["ABOUT", "run"]

ALPHA = 1e-60
RTOL = 1e-8
SHAPE, QUICK_SHAPE = (15, 40, 4), (10, 30, 3)
POINTS, QUICK_POINTS = 120, 40


def first_leave(path: RichPath) -> float:
    """The jump time, in units of T0, at which a coefficient first falls back to zero."""
    left = leaves(path)
    return float(path.jump_times[np.argmax(left)]) if left.any() else np.inf


def _data(settings: Settings) -> xr.Dataset:
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
    return xr.Dataset(
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
            "n_jumps": len(path.jump_times),
        },
    )  # fmt: skip


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
        *lasso_monotone.SETTINGS,
        (
            "data, below",
            "not a figure of the paper",
            lambda p: (
                f"sparse regression, N = {p[''].attrs['n_samples']}, "
                f"d = {p[''].attrs['n_features']}, seed {p[''].attrs['seed']}"
            ),
        ),
        ("alpha, below", "to 0 (Berthier 2025, theorem)", lambda p: f"{p[''].attrs['alpha']:g}"),
        ("lambda, below", "T0 / t", "T0 / t, T0 = log(1 / alpha^2) / 8"),
    ),
    (
        *lasso_monotone.EXPECTATIONS,
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
    panels=("_monotone", ""),
)


def run(settings: Settings) -> Outcome:
    """Write coefficients and gaps over time; returns the tables."""
    from matplotlib.figure import Figure

    panels = {"_monotone": lasso_monotone.data(settings), "": _data(settings)}
    figure = Figure(figsize=(13.0, 9.8), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.45, 1.0), hspace=0.06)
    upper, lower = parts
    _draw_monotone(upper, panels["_monotone"])
    _draw_limit(lower, panels[""])
    save(settings, "lasso", figure, panels)
    return Outcome("\n\n".join(_tables(panels)), panels)


def _draw_monotone(part: Any, ds: xr.Dataset) -> None:
    """Instances of the paper in its own setting, with one legend for all panels."""
    from matplotlib.lines import Line2D

    lasso_monotone.draw(part.subplots(2, 4), ds)
    part.suptitle(
        f"$N={ds.attrs['n_samples']}$, $d={ds.attrs['n_features']}$, $X$ and $y$ Gaussian, "
        rf"$u=\sqrt{{\epsilon}}$ and $v=0$ at the start, "
        rf"$\epsilon=10^{{{np.log10(ds.attrs['eps']):.0f}}}$ (setting of Berthier 2025, figure 1)"
    )
    lines = [
        Line2D([], [], color="0.2", linestyle=STYLES[0], label="mean of the flow"),
        Line2D([], [], color="0.2", linestyle=STYLES[1], label="lasso"),
        Line2D([], [], color="0.4", linestyle="-.", linewidth=1.0,
               label=f"gap {lasso_monotone.BOUND:g}"),
        Line2D([], [], color="0.5", linestyle=":", label="the lasso path ceases to be monotone"),
    ]  # fmt: skip
    part.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize="small")


def _draw_limit(part: Any, ds: xr.Dataset) -> None:
    """Coefficients and distance near the limit alpha -> 0."""
    left, right = part.subplots(1, 2)
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
    right.set_title("distance relative to the end of the lasso path", loc="left", fontsize="medium")
    for axis in (left, right):
        leave = ds.attrs["first_leave"]
        if np.isfinite(leave):
            axis.axvline(leave, color="0.5", linestyle=":", label="a coefficient leaves")
        axis.set(xscale="log", xlabel=r"time $t / T_0 = 1 / \lambda$")
        axis.legend(fontsize="small")
    left.set_title(
        f"$N={ds.attrs['n_samples']}$, $d={ds.attrs['n_features']}$, seed {ds.attrs['seed']}, "
        rf"$\alpha=10^{{{np.log10(ALPHA):.0f}}}$", loc="left",
        fontsize="medium",
    )  # fmt: skip


def _tables(panels: Panels) -> tuple[str, str]:
    small, ds = panels["_monotone"], panels[""]
    before, after = _parts(ds)
    rows = [
        ["before a coefficient leaves", before.size, float(before.median()), float(before.max())],
        ["after", after.size, float(after.median()) if after.size else np.nan,
         float(after.max()) if after.size else np.nan],
    ]  # fmt: skip
    title = (
        f"lasso: mean of the flow at alpha = {ALPHA:g} against the lasso at lambda = T0 / t; "
        f"{ds.attrs['n_jumps']} jumps, the first leave at t = {ds.attrs['first_leave']:.3g} T0"
    )
    share = float(small.monotone.mean())
    above = (
        f"lasso: N = 3, d = 4, eps = {small.attrs['eps']:g} (Berthier 2025, figure 1: gaps below "
        f"{lasso_monotone.BOUND:g}); {share:.3g} of {small.sizes['draw']} lasso paths are monotone "
        f"(there {lasso_monotone.PROBABILITY:g})"
    )
    header = ["instance", "monotone", "largest gap", "gap at the end"]
    return (
        table(above, header, lasso_monotone.rows(small)),
        table(title, ["", "times", "median gap", "largest gap"], rows),
    )
