"""The picture of the largest scale that generalises, against the number of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from .. import _validate as check
from .._types import FloatArray
from ..theory.critical import median_critical_alpha
from ._axes import axes_of, line_style, log_ticks
from ._data import expanded, one_value_of, with_variables
from ._labels import equations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["critical_alpha"]


def critical_alpha(ds: xr.Dataset, ax: Axes | None = None, *, power: bool = False) -> Axes:
    r"""Largest scale that generalises against the number of samples (figures 1c and 3c).

    Parameters
    ----------
    ds : xarray.Dataset
        ``critical_alpha`` (depth, seed, n_samples), 0 where no scale generalises; ``n_samples_l1``
        (seed). The legend shows the attribute ``n_features`` if there is one.
    ax : matplotlib.axes.Axes, optional
        Axes to draw in.
    power : bool
        Show alpha^D instead of alpha.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; the median over seeds, with error bars from the smallest to the largest seed. A
        seed for which no scale generalises counts as 0: its bar leaves the axes at the bottom, and
        a triangle there is filled where the median seed has no such scale, hollow where only
        others have none. Triangles at the top are seeds for which every scale generalises. The
        dashed line is at the number of samples that the minimum-l1 interpolant needs (median).
        Curves of several depths stand 1 % of N apart, so that their bars do not cover each other.

    Raises
    ------
    ValueError
        If ds lacks a variable or dimension that is named above, or ``critical_alpha`` has another
        one or only NaN.
    TypeError
        If ds is not a Dataset, ax is not Axes, or power is not True or False.

    Examples
    --------
    >>> import xarray as xr
    >>> import kernelrich_fast as krf
    >>> ds = xr.Dataset(
    ...     {"critical_alpha": (("depth", "seed", "n_samples"), [[[1e-3, 1e-2]]]),
    ...      "n_samples_l1": ("seed", [51.0])},
    ...     coords={"depth": [2], "n_samples": [60, 100]})
    >>> krf.plot.critical_alpha(ds).get_yscale()
    'log'
    """
    with_variables(ds, "critical_alpha", "n_samples_l1", "depth", "seed", "n_samples")
    check.flag("power", power)
    dims = ("depth", "seed", "n_samples")
    one_value_of(ds.critical_alpha, *dims)
    ax = axes_of(ax)
    every = expanded(ds.critical_alpha, *dims)
    depths, seeds = every.depth.values, every.sizes["seed"]
    for index, label in enumerate(equations("D", depths)):
        values = every.isel(depth=index) ** (float(depths[index]) if power else 1)
        median = median_critical_alpha(values)
        n = values.n_samples.values * 1.01 ** (index - 0.5 * (len(depths) - 1))
        _draw_order_statistics(ax, n, values, median, label, index)
        _mark_edges(ax, n, values, median, index)
    needed = float(np.sort(np.ravel(ds.n_samples_l1))[seeds // 2])
    if np.isfinite(needed):
        label = rf"minimum $\ell_1$ needs $N={needed:g}$"
        ax.axvline(needed, color="0.4", linestyle="--", linewidth=1, label=label)
    ylabel = r"critical $\alpha^D$" if power else r"critical $\alpha$"
    ax.set(xlabel="number of samples $N$", ylabel=ylabel)
    if bool((ds.critical_alpha > 0).any()):
        ax.set_yscale("log", nonpositive="clip")
        ax.margins(y=0.05 + 0.05 * len(depths) * bool((ds.critical_alpha == 0).any()))
    log_ticks(ax, "x")
    size = f"$d={ds.attrs['n_features']}$, " if "n_features" in ds.attrs else ""
    title = f"{size}median and range of {seeds} seeds" if seeds > 1 else f"{size}one seed"
    ax.legend(title=title, fontsize="small", title_fontsize="small")
    return ax


def _draw_order_statistics(
    ax: Axes, n: FloatArray, values: xr.DataArray, median: xr.DataArray, label: str, index: int
) -> None:
    """The curve of medians, and a bar from the smallest to the largest seed wherever there is one.

    A failed seed is 0, below every scale; the logarithmic axis clips its bar at the lower edge.
    """
    low, high = values.min("seed"), values.where(np.isfinite(values)).max("seed")
    middle = median.where((median > 0) & np.isfinite(median))
    style = line_style(index)
    several = values.sizes["seed"] > 1
    ax.errorbar(
        n, middle, yerr=_bars(middle, low, high) if several else None, label=label,
        marker="o", markersize=3, capsize=2, **style,
    )  # fmt: skip
    ends = high.where((median == 0) & (high > 0))
    if bool(ends.notnull().any()):
        ax.errorbar(
            n, ends, yerr=_bars(ends, low, ends), fmt="none", capsize=2, ecolor=style["color"]
        )


def _bars(at: xr.DataArray, low: xr.DataArray, high: xr.DataArray) -> FloatArray:
    """Lengths below and above, 0 where there is nothing to draw."""
    lengths = np.nan_to_num(np.stack([at - low, high - at]), posinf=0.0, neginf=0.0)
    return np.asarray(np.maximum(lengths, 0.0))


def _mark_edges(
    ax: Axes, n: FloatArray, values: xr.DataArray, median: xr.DataArray, index: int
) -> None:
    """Triangles at an edge, a row a curve, where seeds have no critical scale or no bound on it."""
    none, all_scales = (values == 0).any("seed"), (values == np.inf).any("seed")
    colour, unbounded = line_style(index)["color"], median == np.inf
    kinds = (
        (median == 0, colour, "v", "no scale generalises: median seed"),
        (none & (median > 0), "none", "v", "no scale generalises: some seeds"),
        (unbounded, colour, "^", "every scale generalises: median seed"),
        (all_scales & ~unbounded, "none", "^", "every scale generalises: some seeds"),
    )
    for where, face, marker, label in kinds:
        at = n[where.values]
        named = label in [line.get_label() for line in ax.lines]
        height = 0.03 + 0.04 * index
        if at.size:
            ax.plot(
                at, np.full(at.shape, height if marker == "v" else 1.0 - height), linestyle="none",
                marker=marker, markersize=5, color=colour, markerfacecolor=face,
                transform=ax.get_xaxis_transform(), label=None if named else label,
            )  # fmt: skip
