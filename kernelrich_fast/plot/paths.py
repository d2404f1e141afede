"""Pictures of what happens along training, and of matrices as images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .. import _validate as check
from .._types import ArrayLike, FloatArray
from ._axes import (
    COLOURS,
    STYLES,
    UNFINISHED,
    axes_of,
    draw_mean,
    legend_below,
    mark_unfinished,
)
from ._data import (
    expanded,
    one_value_of,
    scales_of,
    spread_title,
    unfinished,
    with_variable,
    with_variables,
)
from ._labels import equations, label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["grey_image", "paths"]

# Clocks along which a path is drawn, how positions are made of them, and what the axis says.
_AXES: dict[str, tuple[float, str]] = {
    "time": (1.0, "time $t$"),
    "log_t": (1.0, r"$\ln t$"),
    "log_loss": (-1.0, r"$-\ln L$"),
}


def paths(
    ds: xr.Dataset,
    variable: str = "loss",
    ax: Axes | None = None,
    *,
    beta_star: ArrayLike | None = None,
) -> Axes:
    r"""A variable along training, a curve per scale; the coefficients "beta", a curve per feature.

    Parameters
    ----------
    ds : xarray.Dataset
        From `sweep_diagonal` over alpha with ``t_eval``, or with ``log_loss_eval`` or
        ``log_t_eval`` of a margin loss; of several problems the mean is drawn, with a band of one
        standard error. The curve of a run that ended as MAX_STEPS or FAILED ends
        at the last state it reached, with a hollow marker; means of which a run did are marked at
        the last time.
    variable : str
        What to draw, such as "loss", "l1_norm", "kernel_distance" or "beta".
    ax : matplotlib.axes.Axes, optional
        Axes to draw in.
    beta_star : array_like, (n_features,), optional
        For "beta": features in the support of beta_star are coloured, with a dot where a
        coefficient first passes half of its last value, and all others are grey. By default
        ``ds.beta_star`` if there is one, and otherwise the six features that are largest at the
        end.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with logarithmic time, or with -ln L or ln t, logarithmic beyond 1.

    Raises
    ------
    ValueError
        If ds lacks the variable, its times (or values of ln L or ln t) or alpha, or the variable
        has other dimensions; if ``beta_star`` has another shape, or "beta" belongs to several
        problems or depths.
    TypeError
        If ds is not a Dataset, ``variable`` is not a string, ``beta_star`` does not consist of real
        numbers, or ax is not Axes.

    Examples
    --------
    >>> import numpy as np
    >>> import kernelrich_fast as krf
    >>> X, y, _ = krf.datasets.sparse_regression(10, 20, 2)
    >>> ds = krf.sweep_diagonal(X, y, alpha=[0.01, 1.0], t_eval=np.geomspace(1e-3, 1, 20))
    >>> krf.plot.paths(ds, "loss").get_ylabel()
    'loss $L$'
    """
    clock = next((dim for dim in _AXES if dim in getattr(ds, "dims", ())), "time")
    values = with_variable(ds, variable, clock)
    with_variables(ds, "alpha")
    star = None if beta_star is None else check.real_array("beta_star", beta_star)
    of_features = "feature" in values.dims
    one_value_of(values, clock, "alpha", *(["feature"] if of_features else ["problem", "seed"]))
    labels = equations(r"\alpha", np.atleast_1d(scales_of(ds).values))
    if of_features:
        chosen = _support(ds, values.isel({clock: -1}), star)
    ax = axes_of(ax, (4.0, 3.8))
    values = expanded(values, "alpha")
    ends = np.broadcast_to(unfinished(ds, "alpha").values, len(labels))
    sign, xlabel = _AXES[clock]
    times = [
        sign * (_reached(ds, clock, index) if ends[index] else ds[clock])
        for index in range(len(labels))
    ]
    if of_features:
        _coefficients(ax, labels, values.transpose(..., clock, "feature"), chosen, times, ends)
    else:
        last = np.arange(ds.sizes[clock]) == ds.sizes[clock] - 1
        for index, label in enumerate(labels):
            draw_mean(ax, times[index], values.isel(alpha=index), label, index, last & ends[index])
        legend_below(ax, title=spread_title(values))
    ax.set(xlabel=xlabel, ylabel=label_of(variable, ds))
    if clock == "time":
        ax.set_xscale("log")
    else:  # logarithms may be of either sign
        ax.set_xscale("symlog", linthresh=1.0)
    return ax


def _reached(ds: xr.Dataset, clock: str, index: int) -> xr.DataArray:
    """Where to draw the rows of a scale whose run did not converge.

    After its end the rows repeat the last state, which is drawn where it belongs. Means over
    several runs stay at the times asked for.
    """
    name = "t" if clock == "time" else f"reached_{clock}"
    own = expanded(ds[name], "alpha").isel(alpha=index).squeeze() if name in ds else ds[clock]
    return own if own.dims == (clock,) else ds[clock]


def _support(
    ds: xr.Dataset, ends: xr.DataArray, star: FloatArray | None
) -> tuple[NDArray[np.int64], str]:
    """Which features to colour, by the truth or by where they end, and what they are."""
    n_features = ends.sizes["feature"]
    if star is None and "beta_star" in ds:
        star = ds["beta_star"].values
    if star is None:
        last = np.abs(ends.transpose(..., "feature").values)
        size = last.reshape(-1, n_features).max(axis=0)
        return np.sort(np.argsort(size)[::-1][: len(COLOURS)]), "largest at the end"
    if star.shape != (n_features,):
        raise ValueError(f"beta_star: expected shape ({n_features},), got {star.shape}")
    return np.flatnonzero(star), "true support"


def _coefficients(
    ax: Axes, labels: list[str], values: xr.DataArray, support: tuple[NDArray[np.int64], str],
    times: list[Any], ends: NDArray[np.bool_],
) -> None:  # fmt: skip
    from matplotlib.lines import Line2D

    chosen, what = support
    rest = np.setdiff1d(np.arange(values.sizes["feature"]), chosen)
    for index in range(len(labels)):
        beta = values.isel(alpha=index).values
        look, time = STYLES[index % len(STYLES)], np.asarray(times[index])
        ax.plot(time, beta[:, rest], color="0.75", linewidth=0.6, linestyle=look, zorder=1)
        for k, feature in enumerate(chosen):
            colour = COLOURS[k % len(COLOURS)]
            ax.plot(time, beta[:, feature], color=colour, linestyle=look, zorder=2)
            passed = np.abs(beta[:, feature]) >= 0.5 * np.abs(beta[-1, feature])
            first = int(np.argmax(passed))
            if beta[-1, feature] != 0.0 and first > 0:
                ax.plot(time[first], beta[first, feature], "o", color=colour, markersize=4)
            mark_unfinished(
                ax, time[-1:], beta[-1:, feature], ends[index : index + 1], False, {"color": colour}
            )
    handles = [
        Line2D([], [], color="0.2", linestyle=STYLES[i % len(STYLES)], label=label)
        for i, label in enumerate(labels)
    ]
    handles.append(
        Line2D([], [], color=COLOURS[0], marker="o", markersize=4, label=f"{what}, dot at half")
    )
    if rest.size:
        handles.append(Line2D([], [], color="0.75", linewidth=0.6, label="other features"))
    handles += [line for line in ax.lines if line.get_label() in UNFINISHED]
    legend_below(ax, handles=handles)


def grey_image(pixels: ArrayLike, ax: Axes | None = None) -> Axes:
    """A matrix of grey values, black at 0 and white at 1, without axes; NaN is left blank.

    Parameters
    ----------
    pixels : array_like, (height, width)
        Grey values, such as those of `krf.datasets.image` or a completed ``M``.
    ax : matplotlib.axes.Axes, optional
        Axes to draw in.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If pixels is not a matrix.
    TypeError
        If pixels does not consist of real numbers, or ax is not Axes.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> len(krf.plot.grey_image([[0.0, 1.0], [0.5, 0.5]]).images)
    1
    """
    ax = axes_of(ax)
    shown = np.asarray(pixels)
    if shown.dtype.kind not in "fiub":
        raise TypeError(f"pixels: expected real numbers, got dtype {shown.dtype}")
    if shown.ndim != 2:
        raise ValueError(f"pixels: expected a matrix, got shape {shown.shape}")
    ax.imshow(shown, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    ax.set_axis_off()
    return ax
