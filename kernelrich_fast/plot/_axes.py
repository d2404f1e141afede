"""Axes, colours and lines that all pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ._data import mean_and_error
from ._labels import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "COLOURS",
    "STYLES",
    "UNFINISHED",
    "axes_of",
    "draw_mean",
    "legend_below",
    "legend_for",
    "line_style",
    "log_ticks",
    "mark_unfinished",
]

# Okabe-Ito: told apart without colour vision; line styles keep them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1)), (0, (5, 1)))
# What legends say of points that are one such run, and of means over some of them.
UNFINISHED = (
    "not converged\n(MAX_STEPS or FAILED)",
    "some runs not converged\n(MAX_STEPS or FAILED)",
)


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


def legend_below(ax: Axes, gap: float = 34.0, **options: Any) -> None:
    """A legend under the axes, for curves that leave no room within them.

    It begins ``gap`` points below, under the label of the axis.
    """
    from matplotlib.transforms import ScaledTranslation

    # In points, whatever the height of the axes, so that the layout can make room for it.
    below = ScaledTranslation(0.0, -gap / 72.0, ax.figure.dpi_scale_trans)
    # Given, they may be none beside a title.
    handles = options.pop("handles", None) or _handles(ax)
    if any(handle.get_label() in UNFINISHED for handle in handles):
        options |= {"columnspacing": 1.0, "handlelength": 1.4}  # room for the longest entry
    ax.legend(
        handles=handles, fontsize="small", title_fontsize="small", ncols=2, loc="upper center",
        bbox_to_anchor=(0.5, 0.0), bbox_transform=ax.transAxes + below, **options,
    )  # fmt: skip


def legend_for(ax: Axes, title: str | None) -> None:
    """A legend within the axes or, if a title or a long entry takes more room, below them."""
    handles = _handles(ax)
    if title or any(handle.get_label() in UNFINISHED for handle in handles):
        legend_below(ax, title=title)
    elif handles:
        ax.legend()


def _handles(ax: Axes) -> list[Any]:
    """What the legend names, first the curves."""
    handles = ax.get_legend_handles_labels()[0]
    return sorted(handles, key=lambda handle: handle.get_label() in UNFINISHED)


def draw_mean(
    ax: Axes, x: Any, values: xr.DataArray, label: str, index: int,
    unfinished: NDArray[np.bool_] | None = None, **options: Any,
) -> None:  # fmt: skip
    """A curve; where there are problems or seeds, their mean with a band of one standard error.

    A curve of one point has a bar in place of the band, beside those of other curves. The title of
    the legend says what both are (`spread_title`). Points where ``unfinished`` are hollow.
    """
    mean, error = mean_and_error(values)
    look = {**line_style(index), **options}
    several = values.size > mean.size
    if mean.size == 1:
        spread = np.zeros(1) if error is None else np.ravel(error)
        hollow = unfinished is not None and bool(unfinished.all())
        _draw_point(ax, np.ravel(x), np.ravel(mean), spread, label, 6.0 * index, look, hollow)
        if hollow:
            _name_unfinished(ax, several, look)
        return
    ax.plot(x, mean, label=label or None, **look)
    mark_unfinished(ax, x, mean, unfinished, several, look)
    if error is not None:
        ax.fill_between(
            x, mean - error, mean + error, color=look["color"], alpha=0.2, linewidth=0.0
        )


def mark_unfinished(
    ax: Axes, x: Any, y: Any, where: Any, several: bool, look: dict[str, Any]
) -> None:
    """Draw points of a curve of that look hollow, and name them in the legend.

    ``several`` says that a point is a mean over runs.
    """
    if where is None or not np.any(where):
        return
    ax.plot(
        np.asarray(x)[where], np.asarray(y)[where], linestyle="none", color=look["color"],
        zorder=2.5, **_hollow(look),
    )  # fmt: skip
    _name_unfinished(ax, several, look)


def _hollow(look: dict[str, Any]) -> dict[str, Any]:
    """The marker of a run that did not converge; a cross where hollow means something else."""
    marker = "x" if "fillstyle" in look else look.get("marker", "o")
    size = look.get("markersize", 3) + 2.5
    return {"marker": marker, "markersize": size, "markerfacecolor": "white"}


def _name_unfinished(ax: Axes, several: bool, look: dict[str, Any]) -> None:
    """The one entry of the legend for such points: a line without any."""
    label = UNFINISHED[several]
    if label not in [line.get_label() for line in ax.lines]:
        ax.plot(
            [], [], linestyle="none", color="0.2", label=label,
            **_hollow({**look, "marker": "o"}),
        )  # fmt: skip


def _draw_point(
    ax: Axes, x: Any, mean: Any, error: Any, label: str, aside: float, look: dict[str, Any],
    hollow: bool,
) -> None:  # fmt: skip
    from matplotlib.transforms import ScaledTranslation

    # Matplotlib takes no limits from points that it draws elsewhere than at their coordinates.
    ends = mean + np.nan_to_num(error) * [[-1.0], [1.0]]
    ax.update_datalim(np.stack(np.broadcast_arrays(x, ends), axis=-1).reshape(-1, 2))
    look = {"marker": "o", **look}
    if hollow:
        look |= _hollow(look)
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
