"""Pictures of matrix factorisations over scale and width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .. import _validate as check
from ._axes import UNFINISHED, axes_of, draw_mean, legend_below, log_ticks
from ._data import (
    counts_of,
    one_value_of,
    over_scale,
    spread_title,
    unfinished,
    with_variable,
    with_variables,
)
from ._labels import label_of, numbers, power_of_ten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["factorization_error", "factorization_heatmap"]

# Points from a heat map to what comes below its widths, which are written aslant.
_UNDER_WIDTHS = 52.0


def factorization_heatmap(
    ds: xr.Dataset,
    variable: str,
    ax: Axes | None = None,
    *,
    clip: float | None = None,
    log: bool | None = None,
) -> Axes:
    r"""A variable over scale and width as a heat map (figure 5 of the paper).

    Parameters
    ----------
    ds : xarray.Dataset
        From `sweep_factorization` over width and alpha; seeds are averaged.
    variable : str
        Name of the variable, "excess_nuclear_norm" or "unobserved_movement", say.
    ax : matplotlib.axes.Axes, optional
        Axes to draw in.
    clip : float, optional
        Upper end of the colour scale.
    log : bool, optional
        Whether the colour scale is logarithmic; values of 0 and below are then grey. By default it
        is if all values are positive and span more than two decades and ``clip`` is not given.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with rows sorted by scale, the largest at the top, and columns by width. The
        linear colour scale starts at 0, or at the least value if that is negative. Cells of which a
        run ended as MAX_STEPS or FAILED are hatched.

    Raises
    ------
    ValueError
        If ds lacks the variable or its alpha and width, or the variable has other dimensions or no
        value that can be drawn, or ``clip`` is not positive.
    TypeError
        If ds is not a Dataset, ``variable`` is not a string, ``clip`` is not a number, ``log`` is
        not True or False, or ax is not Axes.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.low_rank_completion(4, 4, 1, 10)
    >>> ds = krf.sweep_factorization(
    ...     data.Y_star, alpha=[0.01, 0.1], width=[4, 100], n_observed=10
    ... )
    >>> krf.plot.factorization_heatmap(ds, "excess_nuclear_norm").get_xlabel()
    'width $k$'
    """
    values = with_variable(ds, variable, "alpha", "width")
    one_value_of(values, "alpha", "width", "seed")
    if clip is not None:
        clip = check.scalar("clip", clip, low=0.0)
    if log is not None:
        check.flag("log", log)
    label = label_of(variable, ds)
    several = values.sizes.get("seed", 1) > 1
    if several:
        label += f"\nmean of {counts_of(['seed'], values)} seeds"
    values = values.mean("seed") if "seed" in values.dims else values
    values = _in_order(values)
    shown, options, extend = _colours(values, clip, log)
    marked = _in_order(unfinished(ds, "alpha", "width").broadcast_like(values))
    ax = axes_of(ax, (4.0, 3.8) if bool(marked.any()) else (4.0, 3.0))
    image = ax.imshow(shown, aspect="auto", **options)
    ax.set_xticks(range(shown.shape[1]), [_short(k) for k in values.width.values], rotation=60)
    squares = numbers(values.alpha.values**2, power_of_ten)
    ax.set_yticks(range(shown.shape[0]), [f"${text}$" for text in squares])
    ax.set_xlabel("width $k$")
    ax.set_ylabel(r"$\alpha^2$")
    ax.figure.colorbar(image, ax=ax, label=label, extend=extend)
    _hatch(ax, image, marked.values, several)
    return ax


def _in_order(values: xr.DataArray) -> xr.DataArray:
    return values.transpose("alpha", "width").sortby("alpha", ascending=False).sortby("width")


def _hatch(ax: Axes, image: Any, where: NDArray[np.bool_], several: bool) -> None:
    """Hatch the cells of runs that did not converge, and say so under the axes."""
    from matplotlib.patches import Patch, Rectangle

    colours = image.cmap(image.norm(np.ma.masked_invalid(image.get_array())))
    for row, column in np.argwhere(where):
        dark = colours[row, column, :3] @ [0.2126, 0.7152, 0.0722] < 0.5
        ax.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5), 1.0, 1.0, fill=False, linewidth=0.0, hatch="////",
                edgecolor="white" if dark else "black",
            )
        )  # fmt: skip
    if where.any():
        entry = Patch(facecolor="0.85", edgecolor="black", hatch="////", label=UNFINISHED[several])
        legend_below(ax, gap=_UNDER_WIDTHS, handles=[entry])


def _colours(
    values: xr.DataArray, clip: float | None, log: bool | None
) -> tuple[Any, dict[str, Any], str]:
    """What to draw, its colours, and the ends of the colour bar beyond which there are values."""
    import matplotlib
    from matplotlib.colors import LogNorm

    low, high = float(values.min()), float(values.max())
    wide = low > 0.0 and high > 100.0 * low
    above = clip is not None and high > clip
    top = high if clip is None else clip
    colours = matplotlib.colormaps["viridis"]
    if not (wide and clip is None if log is None else log):
        options = {"cmap": colours, "vmin": min(low, 0.0), "vmax": clip}
        return values, options, "max" if above else "neither"
    positive = values.where(values > 0.0)
    bottom = float(positive.min())
    if not bottom < top:
        raise ValueError(
            f"log: expected different positive values of {values.name}"
            f"{'' if clip is None else ', some below clip'}, got values from {low:.3g} to "
            f"{high:.3g}; use log=False"
        )
    # Under the scale, where the colour is grey; NaN stays blank.
    shown = values.where(~(values <= 0.0), 0.5 * bottom)
    options = {"cmap": colours.with_extremes(under="0.75"), "norm": LogNorm(bottom, top)}
    ends = {(True, True): "both", (True, False): "min", (False, True): "max"}
    return shown, options, ends.get((low <= 0.0, above), "neither")


def factorization_error(ds: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Error on unobserved entries against the scale, a curve per width.

    Parameters
    ----------
    ds : xarray.Dataset
        From `sweep_factorization` over width and alpha; of several seeds the mean is drawn, with a
        band of one standard error.
    ax : matplotlib.axes.Axes, optional
        Axes to draw in.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If ds lacks test_rmse, alpha or width, or has other dimensions, or all entries are observed.
    TypeError
        If ds is not a Dataset, or ax is not Axes.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.low_rank_completion(4, 4, 1, 10)
    >>> ds = krf.sweep_factorization(
    ...     data.Y_star, alpha=[0.01, 0.1], width=[4, 100], n_observed=10
    ... )
    >>> len(krf.plot.factorization_error(ds).lines)
    2
    """
    with_variables(ds, "alpha", "width", "test_rmse")
    if bool(ds.test_rmse.isnull().all()):
        raise ValueError(
            "ds: expected entries that are not observed, got test_rmse NaN everywhere; give the "
            "sweep a smaller n_observed="
        )
    curves = over_scale(ds, "test_rmse", "width")
    ax = axes_of(ax, (4.0, 3.8))
    for index, curve in enumerate(curves):
        draw_mean(
            ax, curve.scale, curve.values, f"$k={_short(int(curve.at))}$", index,
            curve.unfinished, marker="o", markersize=3,
        )  # fmt: skip
    ax.set_xlabel(r"$\alpha$")
    ax.set_ylabel("RMSE, unobserved entries")
    log_ticks(ax, "x")
    log_ticks(ax, "y")
    legend_below(ax, title=spread_title(ds.test_rmse))
    return ax


def _short(count: int) -> str:
    return f"{count // 1000}k" if count >= 1000 and count % 1000 == 0 else str(count)
