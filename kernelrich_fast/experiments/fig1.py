"""Figure 1: sparse regression from the kernel to the rich regime.

Settings of the paper where it states them; d = 1000, N = 100 (a, b) and sparsity 5 are inferred
from its curves and from later work of its authors.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from .. import datasets, plot
from ..sweeps import sweep_diagonal
from ..theory.critical import median_critical_alpha
from .output import About, Expectation, Outcome, Panels, Settings, rising, save, table
from .sample_complexity import critical_alpha_data
from .words import averaged, listed, spanned

__all__ = ["ABOUT", "run"]

ALPHA_A = 0.003 * np.exp(np.arange(17) / 3.0)
ALPHA_B = np.geomspace(0.010, 0.57, 17)
SPARSITY = 5
N_SAMPLES = (52, 53, 55, 57, 59, 61, 65, 70, 80, 90, 100, 125, 250, 500)


def _median(panels: Panels) -> xr.DataArray:
    return median_critical_alpha(panels["c"].critical_alpha)


def _sizes(panels: Panels) -> str:
    size = panels["a"].attrs
    chosen = " (from the curves)" if size["n_features"] == 1000 else ""
    return f"{size['n_features']}, {SPARSITY}, {size['n_samples']}{chosen}"


def _sizes_c(panels: Panels) -> str:
    return f"{panels['c'].attrs['n_features']}; {listed(panels['c'].n_samples)}"


def _scales(panels: Panels) -> str:
    return "; ".join(f"{panel}: {spanned(panels[panel].alpha.values)}" for panel in "ab")


def _seeds(panels: Panels) -> str:
    return f"a, b: one; c: {averaged('median', panels['c'].sizes['seed'], 'nested draw')}"


ABOUT = About(
    "Figure 1: sparse regression with the depth-2 diagonal network",
    (
        ("model", "w_plus^2 - w_minus^2, w0 = 1, gradient flow", "its end, as argmin Q"),
        ("data", "x ~ N(0, I), noise of variance 0.01, r* entries 1/sqrt(r*)", "the same"),
        ("d, r*, N of panels a and b", "not stated", _sizes),
        ("d and N of panel c", "not stated", _sizes_c),
        ("alpha", "a: 17 values from 0.003 by e^(1/3); b: 0.010 to 0.57", _scales),
        (
            "threshold of panel c",
            "population error 0.025",
            lambda p: f"population error {p['c'].attrs['threshold']:g}",
        ),
        ("seeds", "not stated", _seeds),
    ),
    (
        Expectation(
            "a: the population error grows with alpha, at least fivefold from end to end",
            lambda p: (
                rising(p["a"].population_error, 0.02)
                and bool(p["a"].population_error[-1] > 5.0 * p["a"].population_error[0])
            ),
        ),
        Expectation(
            "b: with alpha the excess l1 norm rises while the excess l2 norm falls",
            lambda p: rising(p["b"].excess_l1, 0.01) and rising(-p["b"].excess_l2, 0.01),
        ),
        Expectation(
            "c: the largest usable alpha collapses as N nears what the minimum-l1 solution needs",
            lambda p: rising(_median(p), 0.02) and bool(_median(p).max() > 10.0 * _median(p).min()),
        ),
    ),
    panels=("a", "b", "c"),
)


def run(settings: Settings) -> Outcome:
    """Write all panels; returns the table."""
    from matplotlib.figure import Figure

    quick = settings.quick
    size = (40, 100) if quick else (100, 1000)
    data = datasets.sparse_regression(*size, sparsity=SPARSITY, seed=settings.seed)
    sweeps = {
        panel: sweep_diagonal(
            data.X,
            data.y,
            alpha=alpha,
            limit=True,
            beta_star=data.beta_star,
            progress=settings.progress,
            backend=settings.backend,
            num_threads=settings.jobs,
        )
        for panel, alpha in (("a", ALPHA_A), ("b", ALPHA_B))
    }
    critical = critical_alpha_data(
        depths=(2,),
        n_samples=(60, 100, 200) if quick else N_SAMPLES,
        n_features=300 if quick else 1000,
        sparsity=SPARSITY,
        seeds=settings.seeds(1 if quick else 3),
        backend=settings.backend,
        progress=settings.progress,
        num_threads=settings.jobs,
    )
    figure = Figure(figsize=(12.0, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    plot.population_error(sweeps["a"], axes[0])
    plot.excess_norms(sweeps["b"], axes[1])
    plot.critical_alpha(critical, axes[2])
    drawn = f"$N={size[0]}$, $d={size[1]}$, seed {settings.seed}"
    titles = (f"a  generalisation, {drawn}", f"b  norms, {drawn}", "c  critical scale")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, loc="left", fontsize="medium")
    panels = {**sweeps, "c": critical}
    save(settings, "fig1", figure, panels)
    tables = [
        _sweep_table("figure 1a: population error", sweeps["a"], ["population_error"]),
        _sweep_table("figure 1b: excess norms", sweeps["b"], ["excess_l1", "excess_l2"]),
        critical_table("figure 1c", critical),
    ]
    return Outcome("\n\n".join(tables), panels)


def _sweep_table(title: str, ds: xr.Dataset, names: list[str]) -> str:
    rows = [
        [float(a), *(float(ds[name].sel(alpha=a)) for name in names)] for a in ds.alpha.values[::2]
    ]
    return table(title, ["alpha", *names], rows)


def critical_table(name: str, ds: xr.Dataset) -> str:
    """Median log10 of critical alpha^D, and how many seeds have none, per number of samples."""
    median = median_critical_alpha(ds.critical_alpha)
    failed = (ds.critical_alpha == 0).sum("seed")
    rows = []
    for n in ds.n_samples.values:
        row: list[object] = [int(n)]
        for D in ds.depth.values:
            at = {"n_samples": n, "depth": D}
            row += [_power(float(median.sel(at)), float(D)), int(failed.sel(at))]
        rows.append(row)
    line = ", ".join(f"{x:.0f}" for x in ds.n_samples_l1.values)
    title = (
        f"{name}: log10 of critical alpha^D, {averaged('median', ds.sizes['seed'], 'seed')} "
        f"(minimum l1 needs N = {line})\n"
        "failed: seeds for which no scale generalises, counted as alpha = 0; none: the median seed "
        "is one of them"
    )
    header = ["N"]
    for D in ds.depth.values:
        header += [f"D={float(D):g}", "failed"]
    return table(title, header, rows)


def _power(alpha: float, depth: float) -> float | str:
    """log10 of alpha^depth, or in words."""
    if alpha == 0.0:
        return "none"
    return float(depth * np.log10(alpha)) if np.isfinite(alpha) else "all"
