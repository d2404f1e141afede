"""Completing a photograph from 30 % of its pixels, between the kernel and the rich regime."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .. import datasets, plot
from .._types import FloatArray
from ..plot._axes import legend_below
from ..plot._labels import equations
from ..sweeps import sweep_factorization
from ..theory import min_nuclear_norm
from .output import About, Expectation, Outcome, Panels, Settings, save, table
from .words import ended, listed

__all__ = ["ABOUT", "image_data", "run"]

NAME, CORNER = "china", (100, 240)
SIZES, QUICK_SIZES = (64, 160), (32,)
SHARE = 0.3
ALPHAS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
STOP_LOSS = 1e-6
SEED = 0
_NOT = "not a figure of the paper"


def image_data(
    size: int,
    alphas: tuple[float, ...],
    widths: tuple[int, ...],
    seed: int,
    backend: str,
    progress: bool,
    num_threads: int | None = None,
) -> xr.Dataset:
    """Sweep over the crop; grey values less the mean of the observed ones.

    Beside the sweep's variables: the truth, what is observed (NaN elsewhere), the minimum nuclear
    norm completion and its error.
    """
    picture = datasets.image(NAME, size, CORNER)
    count = round(SHARE * size * size)
    entries = datasets.observed_entries(size, size, count, seed)
    mean = float(np.mean(picture[entries]))
    truth = picture - mean
    ds = sweep_factorization(
        truth,
        alpha=alphas,
        width=widths,
        seeds=seed,
        n_observed=count,
        stop_loss=STOP_LOSS,
        keep=("norms", "M"),
        backend=backend,
        progress=progress,
        num_threads=num_threads,
    )
    least = min_nuclear_norm(truth[entries], entries=entries, dims=(size, size), tol=1e-4)
    hidden = np.ones((size, size), dtype=bool)
    hidden[entries] = False
    observed = np.where(hidden, np.nan, truth)
    dims = ("row", "column")
    ds = ds.assign(
        M=ds.M + mean,
        truth=(dims, picture),
        observed=(dims, observed + mean),
        min_nuclear_norm=(dims, least + mean),
        min_nuclear_rmse=float(np.sqrt(np.mean((least - truth)[hidden] ** 2))),
        mean_rmse=float(np.sqrt(np.mean(truth[hidden] ** 2))),
    )
    return ds


def _recovers(panels: Panels) -> bool:
    return all(
        bool(ds.test_rmse.isel(alpha=0).min() < 1.1 * ds.min_nuclear_rmse) for ds in panels.values()
    )


def _needs_small_scale(panels: Panels) -> bool:
    return all(
        bool(np.all(ds.test_rmse.isel(alpha=0) < ds.test_rmse.isel(alpha=-1)))
        for ds in panels.values()
    )


def _truth(panels: Panels) -> str:
    wide = " and ".join(str(ds.sizes["row"]) for ds in panels.values())
    return f"crops of a photograph that ships with scikit-learn, {wide} pixels wide"


def _observed(panels: Panels) -> str:
    counts = [ds.attrs["n_observed"] / ds.truth.size for ds in panels.values()]
    return " and ".join(f"{100.0 * share:.0f} %" for share in counts) + " of the pixels"


def _start(panels: Panels) -> str:
    """The same scales for all crops, and widths of each."""
    widths = "; ".join(listed(ds.width) for ds in panels.values())
    scales = listed(next(iter(panels.values())).alpha)
    return f"i.i.d. Gaussian factors of widths {widths}, alpha = {scales}"


def _stopping(panels: Panels) -> str:
    return f"relative loss {next(iter(panels.values())).attrs['stop_loss']:g}"


ABOUT = About(
    "Completing a photograph (not in the paper)",
    (
        ("truth", _NOT, _truth),
        ("observed", _NOT, _observed),
        ("start", _NOT, _start),
        ("stopping", _NOT, _stopping),
    ),
    (
        Expectation(
            "at the smallest scale some width errs at most 10 % more than the minimum nuclear norm",
            _recovers,
        ),
        Expectation(
            "for every width unobserved pixels are worse at the largest scale", _needs_small_scale
        ),
    ),
    panels=tuple(f"-{size}" for size in SIZES),
    quick_panels=tuple(f"-{size}" for size in QUICK_SIZES),
)


def run(settings: Settings) -> Outcome:
    """Write errors and pictures of every crop; returns the tables."""
    from matplotlib.figure import Figure

    quick = settings.quick
    sizes = QUICK_SIZES if quick else SIZES
    panels, tables = {}, []
    figure = Figure(figsize=(15.0, 3.2 * len(sizes)), layout="constrained")
    axes = figure.subplots(len(sizes), 5, squeeze=False)
    for size, row in zip(sizes, axes, strict=True):
        widths = (size // 4, 2 * size, 100 * size)
        alphas = ALPHAS[1::2] if quick else ALPHAS
        ds = image_data(size, alphas, widths, SEED + settings.seed, *settings.how)
        panels[f"-{size}"] = ds
        plot.factorization_error(ds, row[0])
        least = float(ds.min_nuclear_rmse)
        row[0].axhline(least, color="0.4", linewidth=0.8, label="minimum nuclear norm")
        legend_below(row[0])
        row[0].set_title(
            rf"${size} \times {size}$, $N={ds.attrs['n_observed']}$, seed {SEED + settings.seed}",
            loc="left",
        )
        wide = ds.M.sel(width=widths[1])
        scales = equations(r"\alpha", ds.alpha.values)
        shown: list[tuple[str, FloatArray]] = [
            ("observed", ds.observed.values),
            (f"{scales[-1]}, $k={widths[1]}$", wide.values[-1]),
            (f"{scales[0]}, $k={widths[1]}$", wide.values[0]),
            ("minimum nuclear norm", ds.min_nuclear_norm.values),
        ]
        for ax, (title, pixels) in zip(row[1:], shown, strict=True):
            plot.grey_image(pixels, ax).set_title(title)
        rows = [[a, *ds.test_rmse.sel(alpha=a).values.tolist()] for a in ds.alpha.values]
        title = (
            f"{size} x {size}, {ds.attrs['n_observed']} pixels: RMSE of the others "
            f"(minimum nuclear norm {float(ds.min_nuclear_rmse):.4f}, mean value "
            f"{float(ds.mean_rmse):.4f}; {ended(ds.status)})"
        )
        tables.append(table(title, ["alpha", *(f"k={k}" for k in widths)], rows))
    save(settings, "image", figure, panels)
    return Outcome("\n\n".join(tables), panels)
