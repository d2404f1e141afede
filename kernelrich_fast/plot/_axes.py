"""Axes, colours and lines that all pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ..backends import MARGIN_LOSSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "COLOURS",
    "STYLES",
    "axes_of",
    "draw_mean",
    "label_of",
    "legend_below",
    "line_style",
    "log_ticks",
    "with_variable",
    "with_variables",
]

# Okabe-Ito: told apart without colour vision; line styles keep them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1)), (0, (5, 1)))


def axes_of(ax: Axes | None, figsize: tuple[float, float] = (4.0, 3.0)) -> Axes:
    """The axes given, or those of a new figure, which pyplot shows and keeps."""
    from matplotlib import pyplot
    from matplotlib.axes import Axes

    if isinstance(ax, Axes):
        return ax
    if ax is not None:
        raise TypeError(f"ax: expected matplotlib.axes.Axes, got {ax!r}")
    axes: Axes = pyplot.subplots(figsize=figsize, layout="constrained")[1]
    return axes


def with_variables(ds: xr.Dataset, *names: str) -> None:
    """Refuse what is not a Dataset with these variables, coordinates or dimensions."""
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"ds: expected an xarray.Dataset, got {ds!r}")
    missing = [name for name in names if name not in ds.variables and name not in ds.dims]
    if missing:
        there = ", ".join(sorted(map(str, ds.variables)))
        raise ValueError(f"ds: expected a Dataset with {', '.join(missing)}, got one with {there}")


def with_variable(ds: xr.Dataset, variable: str, *dims: str) -> xr.DataArray:
    """The variable of that name; an error names it if it is missing or lacks one of ``dims``."""
    with_variables(ds, *dims)
    if not isinstance(variable, str):
        raise TypeError(f"variable: expected a name, got {variable!r}")
    if variable not in ds.data_vars:
        there = ", ".join(map(str, ds.data_vars))
        raise ValueError(f"variable: expected one of {there}, got {variable!r}")
    values = ds[variable]
    if not set(dims) <= set(values.dims):
        raise ValueError(
            f"variable: expected one with dimensions {', '.join(dims)}, got {values.dims}"
        )
    return values


# Variables of sweeps in the symbols of the field.
_LABELS = {
    "beta": r"coefficients $\beta_i$",
    "excess_l1": r"$\|\beta\|_1 - \|\beta_{\ell_1}\|_1$",
    "excess_l2": r"$\|\beta\|_2 - \|\beta_{\ell_2}\|_2$",
    "excess_nuclear_norm": r"$\|M\|_* - \|Y^\star\|_*$",
    "feature_distance": r"gradient distance $1 - \cos(\Phi_0, \Phi_T)$",
    "kernel_distance": r"kernel distance $1 - \cos(K_0, K_T)$",
    "kernel_rmse": "RMSE of the kernel predictor",
    "l1_norm": r"$\|\beta\|_1$",
    "l2_norm": r"$\|\beta\|_2$",
    "loss": "loss $L$",
    "nuclear_norm": r"$\|M\|_*$",
    "population_error": r"population error $\|\beta - \beta^\star\|_2^2$",
    "test_rmse": "test RMSE",
    "unobserved_movement": r"$\|M - M(0)\|_F$, unobserved entries",
    "unobserved_rms": "RMS of $M - M(0)$, unobserved entries",
}


# Under a margin loss these are of the direction, beta over its least margin.
_OF_MARGINS = {
    "excess_l1": r"$\|\beta\|_1 / \min\|\beta\|_1 - 1$, margins $\geq 1$",
    "excess_l2": r"$\|\beta\|_2 / \min\|\beta\|_2 - 1$, margins $\geq 1$",
    "l1_norm": r"$\|\beta\|_1 / \min_n m_n$",
    "l2_norm": r"$\|\beta\|_2 / \min_n m_n$",
    "population_error": r"population error $\|\beta/\|\beta\| - \beta^\star\|_2^2$",
}


def label_of(variable: str, ds: xr.Dataset | None = None) -> str:
    """How a variable, of that sweep, is written on an axis."""
    of_margins = ds is not None and ds.attrs.get("loss") in MARGIN_LOSSES
    own = _OF_MARGINS if of_margins else {}
    return own.get(variable) or _LABELS.get(variable, variable.replace("_", " "))


def log_ticks(ax: Axes, which: str) -> None:
    """Make the x or y axis logarithmic; over less than two decades ticks are at 1, 2 and 5.

    The labels that matplotlib writes there, such as 3 x 10^-1 and 4 x 10^-1, overlap.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    set_scale, axis = {"x": (ax.set_xscale, ax.xaxis), "y": (ax.set_yscale, ax.yaxis)}[which]
    set_scale("log")
    low, high = axis.get_view_interval()
    if high < 100.0 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def legend_below(ax: Axes, **options: Any) -> None:
    """A legend under the axes, for curves that leave no room within them."""
    ax.legend(
        fontsize="small", title_fontsize="small", ncols=2, loc="upper center",
        bbox_to_anchor=(0.5, -0.2), **options,
    )  # fmt: skip


def draw_mean(
    ax: Axes, x: Any, values: xr.DataArray, label: str, index: int, **options: Any
) -> None:
    """A curve; where there are problems or seeds, their mean with a band of one standard error.

    The legend names the band, once for all curves of the axes.
    """
    over = [dim for dim in ("problem", "seed") if dim in values.dims]
    mean = values.mean(over) if over else values
    style = line_style(index)
    ax.plot(x, mean, label=label or None, **style, **options)
    count = int(np.prod([values.sizes[dim] for dim in over], dtype=np.int64))
    if count > 1:
        error = values.std(over, ddof=1) / np.sqrt(count)
        names = " and ".join(f"{values.sizes[dim]} {dim}s" for dim in over)
        text = f"standard error, {names}"
        named = text in [other.get_label() for other in ax.collections]
        ax.fill_between(
            x, mean - error, mean + error, color=style["color"], alpha=0.2, linewidth=0.0,
            label=None if named else text,
        )  # fmt: skip
    if label or count > 1:
        ax.legend(fontsize="small" if count > 1 else None)


def line_style(index: int) -> dict[str, Any]:
    """A colour and a style; both together are another one for each of 36 curves."""
    again = index // len(COLOURS)
    return {
        "color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[(index + again) % len(STYLES)]
    }  # fmt: skip
