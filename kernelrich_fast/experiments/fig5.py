"""Figure 5: matrix completion over scale and width."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .. import plot
from ..datasets import low_rank_completion
from ..sweeps import sweep_factorization
from .output import About, Expectation, Outcome, Panels, Settings, rising, save, table
from .words import averaged, ended, listed

__all__ = ["ABOUT", "completion_data", "run"]

SIZE, RANK, N_OBSERVED = 10, 1, 60
ALPHA2 = (1e-2, 2.5e-3, 1e-4, 1e-6, 1e-8)
WIDTHS = (10, 50, 100, 250, 500, 1000, 5000, 10_000, 50_000, 100_000, 500_000)
SEEDS = (0, 1, 2)
STOP_LOSS = 1e-10
TABLE_WIDTHS = (10, 100, 1000, 10_000, 500_000)


def completion_data(
    widths: tuple[int, ...],
    seeds: tuple[int, ...],
    backend: str,
    progress: bool,
    num_threads: int | None = None,
) -> xr.Dataset:
    """The paper's grid: a rank-one truth, 60 observed entries and weights per seed."""
    truths = [low_rank_completion(SIZE, SIZE, RANK, N_OBSERVED, s).Y_star for s in seeds]
    return sweep_factorization(
        np.stack(truths),
        alpha=np.sqrt(ALPHA2),
        width=widths,
        seeds=seeds,
        n_observed=N_OBSERVED,
        stop_loss=STOP_LOSS,
        backend=backend,
        progress=progress,
        num_threads=num_threads,
    )


def _cells(panels: Panels, name: str, low: float, high: float) -> xr.DataArray:
    """A variable, mean over seeds, where alpha^2 k lies between two bounds."""
    ds = panels[""]
    size = ds.alpha**2 * ds.width
    return ds[name].mean("seed").where((size >= low) & (size <= high))


ABOUT = About(
    "Figure 5: matrix completion over scale and width",
    (
        ("truth", "u v^T with u, v ~ N(0, I), 10 x 10", "the same"),
        ("observed", "60 random entries", lambda p: f"{p[''].attrs['n_observed']} random entries"),
        ("start", "U, V with i.i.d. N(0, alpha^2) entries, 10 x k", "the same"),
        ("training", "gradient descent with step 1e-5", "gradient flow"),
        ("stopping", "not stated", lambda p: f"relative loss {p[''].attrs['stop_loss']:g}"),
        ("alpha^2", "1e-2 to 1e-8", lambda p: listed(p[""].alpha.values ** 2)),
        ("width k", "10 to 500,000", lambda p: listed(p[""].width)),
        ("seeds", "not stated", lambda p: averaged("mean", p[""].sizes["seed"], "seed")),
    ),
    (
        Expectation(
            "rich side, alpha^2 k below 0.01: nuclear norm at most 0.5 above that of the truth",
            lambda p: bool(_cells(p, "excess_nuclear_norm", 0.0, 0.01).max() < 0.5),
        ),
        Expectation(
            "kernel side, alpha^2 k above 50: unobserved entries move by less than 0.5",
            lambda p: bool(_cells(p, "unobserved_movement", 50.0, np.inf).max() < 0.5),
        ),
        Expectation(
            "the transition lies near alpha^2 k = 1: at width 1000 movement falls with alpha",
            lambda p: rising(
                p[""].unobserved_movement.mean("seed").sel(width=1000).sortby("alpha", False), 0.05
            ),
        ),
    ),
)


def run(settings: Settings) -> Outcome:
    """Write both heat maps; returns the table."""
    from matplotlib.figure import Figure

    widths = TABLE_WIDTHS if settings.quick else WIDTHS
    seeds = settings.seeds(1 if settings.quick else len(SEEDS))
    ds = completion_data(widths, seeds, *settings.how)
    figure = Figure(figsize=(10.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.factorization_heatmap(ds, "excess_nuclear_norm", left, clip=10.0)
    plot.factorization_heatmap(ds, "unobserved_movement", right, log=False)
    for axis, panel in ((left, "a"), (right, "b")):
        drawn = f"seed {settings.seed}" if len(seeds) == 1 else f"{len(seeds)} seeds"
        axis.set_title(
            rf"{panel}  ${SIZE} \times {SIZE}$, {N_OBSERVED} entries observed, {drawn}", loc="left"
        )
    save(settings, "fig5", figure, {"": ds})
    header = ["alpha^2", *(f"k={k}" for k in TABLE_WIDTHS)]
    tables = []
    for variable in ("excess_nuclear_norm", "unobserved_movement"):
        mean = ds[variable].mean("seed")
        rows = [
            [a2, *(float(mean.sel(width=k)[i]) for k in TABLE_WIDTHS)]
            for i, a2 in enumerate(ALPHA2)
        ]
        title = f"figure 5: {variable}, {averaged('mean', len(seeds), 'seed')}"
        tables.append(table(title, header, rows))
    text = "\n\n".join([*tables, ended(ds.status)])
    return Outcome(text, {"": ds})
