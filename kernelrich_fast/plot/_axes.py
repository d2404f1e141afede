"""Axes, colours and lines that all pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ._data import mean_and_error
from ._labels import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "COLOURS",
    "STYLES",
    "axes_of",
    "draw_mean",
    "legend_below",
    "legend_for",
    "line_style",
    "log_ticks",
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
        axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
        axis.set_minor_formatter(NullFormatter())


def _tick(value: float) -> str:
    text = f"{value:g}"
    return f"${number(value)}$" if "e" in text else text


def legend_below(ax: Axes, **options: Any) -> None:
    """A legend under the axes, for curves that leave no room within them."""
    from matplotlib.transforms import ScaledTranslation

    # In points, whatever the height of the axes, so that the layout can make room for it.
    below = ScaledTranslation(0.0, -34.0 / 72.0, ax.figure.dpi_scale_trans)
    # Given, they may be none beside a title.
    handles = options.pop("handles", None) or ax.get_legend_handles_labels()[0]
    ax.legend(
        handles=handles, fontsize="small", title_fontsize="small", ncols=2, loc="upper center",
        bbox_to_anchor=(0.5, 0.0), bbox_transform=ax.transAxes + below, **options,
    )  # fmt: skip


def legend_for(ax: Axes, title: str | None) -> None:
    """A legend within the axes or, if it has a title and so takes more room, below them."""
    if title:
        legend_below(ax, title=title)
    elif ax.get_legend_handles_labels()[0]:
        ax.legend()


def draw_mean(
    ax: Axes, x: Any, values: xr.DataArray, label: str, index: int, **options: Any
) -> None:
    """A curve; where there are problems or seeds, their mean with a band of one standard error.

    A curve of one point has a bar in place of the band, beside those of other curves. The title of
    the legend says what both are (`spread_title`).
    """
    mean, error = mean_and_error(values)
    look = {**line_style(index), **options}
    if mean.size == 1:
        spread = np.zeros(1) if error is None else np.ravel(error)
        _draw_point(ax, np.ravel(x), np.ravel(mean), spread, label, 6.0 * index, look)
        return
    ax.plot(x, mean, label=label or None, **look)
    if error is not None:
        ax.fill_between(
            x, mean - error, mean + error, color=look["color"], alpha=0.2, linewidth=0.0
        )


def _draw_point(
    ax: Axes, x: Any, mean: Any, error: Any, label: str, aside: float, look: dict[str, Any]
) -> None:
    from matplotlib.transforms import ScaledTranslation

    # Matplotlib takes no limits from points that it draws elsewhere than at their coordinates.
    ends = mean + np.nan_to_num(error) * [[-1.0], [1.0]]
    ax.update_datalim(np.stack(np.broadcast_arrays(x, ends), axis=-1).reshape(-1, 2))
    look = {"marker": "o", **look}
    look["transform"] = ax.transData + ScaledTranslation(
        aside / 72.0, 0.0, ax.figure.dpi_scale_trans
    )
    ax.errorbar(x, mean, error, label=label or None, capsize=2, **look)
    ax.autoscale_view()


def line_style(index: int) -> dict[str, Any]:
    """A colour and a style; both together are another one for each of 36 curves."""
    again = index // len(COLOURS)
    return {
        "color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[(index + again) % len(STYLES)]
    }  # fmt: skip
