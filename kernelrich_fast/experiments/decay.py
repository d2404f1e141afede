"""Weight decay switches regimes: a kernel start that turns rich late, and decay switched off."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from .. import datasets
from ..diagonal import flow_diagonal, limit_diagonal
from ..plot._axes import line_style
from ..plot._labels import equations
from ..sweeps.diagonal import sweep_diagonal
from . import decay_schedules
from .output import About, Expectation, Outcome, Panels, Settings, rising, save, table

__all__ = ["ABOUT", "run"]

ALPHA = 2.0
DECAYS = (1e-4, 1e-3, 1e-2)
SHAPE, QUICK_SHAPE = (60, 200, 5), (20, 50, 3)
# How much of Lambda passes before decay is switched off.
SHRINKS = np.linspace(0.0, 4.0, 13)


def _late(settings: Settings, X: Any, y: Any, star: Any) -> xr.Dataset:
    """Population error along flows of constant decay, from the kernel regime."""
    times = np.geomspace(1e-3, 30.0 / DECAYS[0], 30 if settings.quick else 80)
    backend, progress, threads = settings.how
    return sweep_diagonal(
        X, y, alpha=ALPHA, weight_decay=[0.0, *DECAYS], beta_star=star, t_eval=times,
        backend=backend, progress=progress, num_threads=threads,
    )  # fmt: skip


def _switched(settings: Settings, X: Any, y: Any, star: Any) -> xr.Dataset:
    """Population error of the ends of flows whose decay is switched off at Lambda."""
    backend, _, threads = settings.how
    options: dict[str, Any] = {"backend": backend, "num_threads": threads}
    ends, limits = np.empty((len(DECAYS), len(SHRINKS))), np.empty(len(SHRINKS))

    for j, shrink in enumerate(SHRINKS):
        small = limit_diagonal(X, y, alpha=ALPHA * np.exp(-2.0 * shrink), **options).beta
        limits[j] = np.sum((small - star) ** 2)
        for i, lam in enumerate(DECAYS):
            schedule = [(0.0, lam), (max(shrink, 1e-9) / lam, 0.0)]
            flow = flow_diagonal(X, y, alpha=ALPHA, weight_decay=schedule, **options)
            ends[i, j] = np.sum((flow.beta - star) ** 2)
    return xr.Dataset(
        {
            "population_error": (("weight_decay", "shrink"), ends),
            "limit_error": ("shrink", limits),
        },
        coords={"weight_decay": list(DECAYS), "shrink": SHRINKS},
        attrs={"alpha": ALPHA},
    )


def _plateau(panels: Panels) -> bool:
    """At lambda t = 0.05 as without decay, within 10 %; at lambda t = 20 below a tenth of it."""
    ds = panels["_late"]
    plain = float(ds.population_error.sel(weight_decay=0.0).isel(time=-1))
    for lam in DECAYS:
        own = ds.population_error.sel(weight_decay=lam)
        early = float(own.sel(time=0.05 / lam, method="nearest"))
        late = float(own.sel(time=20.0 / lam, method="nearest"))
        if not (abs(early / plain - 1.0) < 0.1 and late < 0.1 * plain):
            return False
    return True


def _switching(panels: Panels) -> bool:
    ds = panels["_switched"]
    falls = rising(-ds.population_error, slack=0.02)
    ends = ds.population_error.isel(shrink=-1) < 0.1 * ds.population_error.isel(shrink=0)
    return falls and bool(ends.all())


ABOUT = About(
    "Weight decay switches regimes",
    (
        *decay_schedules.SETTINGS,
        (
            "data, below",
            "not a figure of the paper",
            lambda p: (
                f"sparse regression, N = {p['_late'].attrs['n_samples']}, "
                f"d = {p['_late'].attrs['n_features']}, seed {p['_late'].attrs['seed']}"
            ),
        ),
        (
            "alpha, below",
            "not a figure of the paper",
            lambda p: f"{p['_switched'].attrs['alpha']:g}",
        ),
        (
            "weight decay, below",
            "constant, and switched off (Jacobs, Zhou and Burkholz 2025)",
            lambda p: ", ".join(f"{lam:g}" for lam in p["_switched"].weight_decay.values),
        ),
    ),
    (
        *decay_schedules.EXPECTATIONS,
        Expectation(
            "a plateau at the kernel predictor's error up to t = 0.05 / lambda, and a tenth of it "
            "at t = 20 / lambda, for every lambda",
            _plateau,
        ),
        Expectation(
            "the longer decay lasts before it is switched off, the richer the end: the error falls "
            "with Lambda, to a tenth",
            _switching,
        ),
    ),
    panels=("_schedules", "_late", "_switched"),
)


def run(settings: Settings) -> Outcome:
    """Write errors over time and over Lambda; returns the tables."""
    from matplotlib.figure import Figure

    shape = QUICK_SHAPE if settings.quick else SHAPE
    X, y, star = datasets.sparse_regression(*shape, noise_variance=0.0, seed=settings.seed)
    panels = {
        "_schedules": decay_schedules.data(settings),
        "_late": _late(settings, X, y, star).assign_attrs(seed=settings.seed),
        "_switched": _switched(settings, X, y, star),
    }
    figure = Figure(figsize=(10.5, 8.2), layout="constrained")
    parts: Any = figure.subfigures(2, 1, hspace=0.06)
    upper, lower = parts
    decay_schedules.draw(upper.subplots(1, 2, sharey=True), panels["_schedules"])
    upper.suptitle(
        "setting of Jacobs and Burkholz 2024 (figures 1, 4 and 5)\n"
        r"the paper does not state its constants; those of $\lambda$ are ours"
    )
    _draw_late_and_switched(lower, panels)
    save(settings, "decay", figure, panels)
    return Outcome("\n\n".join(_tables(panels)), panels)


def _draw_late_and_switched(part: Any, panels: Panels) -> None:
    """Population error over time under constant decay, and over Lambda where it is switched off."""
    late, switched = panels["_late"], panels["_switched"]
    left, right = part.subplots(1, 2, sharey=True)
    for k, label in enumerate(equations(r"\lambda", late.weight_decay.values)):
        error = late.population_error.isel(weight_decay=k)
        left.plot(late.time, error, label=label, **line_style(k))
    left.set(xscale="log", yscale="log", xlabel="time $t$",
             ylabel=r"population error $\|\beta - \beta^\star\|_2^2$")  # fmt: skip
    left.set_title(
        f"$N={late.attrs['n_samples']}$, $d={late.attrs['n_features']}$, "
        rf"seed {late.attrs['seed']}, $\alpha={ALPHA:g}$, decay constant", loc="left",
        fontsize="medium",
    )  # fmt: skip
    for k, label in enumerate(equations(r"\lambda", DECAYS)):
        error = switched.population_error.isel(weight_decay=k)
        right.plot(SHRINKS, error, label=label, **line_style(k + 1))
    right.plot(SHRINKS, switched.limit_error, "k.", label=r"no decay, from $\alpha e^{-2\Lambda}$")
    right.set(xlabel=r"$\Lambda = \int \lambda\, dt$ when decay is switched off")
    right.set_title("decay switched off: the end", loc="left", fontsize="medium")
    for axis in (left, right):
        axis.legend(fontsize="small")


def _tables(panels: Panels) -> tuple[str, str]:
    small, late, switched = panels["_schedules"], panels["_late"], panels["_switched"]
    rows = []
    for lam in DECAYS:
        own = late.population_error.sel(weight_decay=lam)
        at = [float(own.sel(time=x / lam, method="nearest")) for x in (0.05, 1.0, 20.0)]
        rows.append([f"{lam:g}", *at, float(switched.population_error.sel(weight_decay=lam)[-1])])
    title = (
        f"decay: population error from alpha = {ALPHA:g} (without decay it ends at "
        f"{float(late.population_error.sel(weight_decay=0.0)[-1]):.3g})"
    )
    header = ["lambda", "lambda t = 0.05", "1", "20", f"switched off at Lambda = {SHRINKS[-1]:g}"]
    end = float(small.time[-1])
    above = (
        f"decay: |x - x*| from m^2 - w^2 = 1 with N = {small.attrs['n_samples']}, d = "
        f"{small.attrs['n_features']} (Jacobs and Burkholz 2024), the mean of "
        f"{small.sizes['seed']} starts; Lambda is the integral of the decay up to t = {end:g}"
    )
    columns = [
        "decay",
        "Lambda",
        "t = 10",
        "100",
        f"{end:g}",
        "std. deviation",
        "no decay, from e^(-2 Lambda)",
    ]
    return (
        table(above, columns, decay_schedules.rows(small)),
        table(title, header, rows),
    )
