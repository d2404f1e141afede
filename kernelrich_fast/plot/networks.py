"""Pictures of ReLU networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from .. import _validate as check
from ..status import Status
from ._axes import (
    axes_of,
    draw_mean,
    legend_below,
    legend_for,
    line_style,
    log_ticks,
    mark_unfinished,
)
from ._data import (
    expanded,
    mean_and_error,
    one_value_of,
    over_scale,
    scales_of,
    spread_title,
    with_variable,
    with_variables,
)
from ._labels import equations, label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["class_errors", "network_curves", "univariate_functions"]


def network_curves(
    ds: xr.Dataset, variable: str, ax: Axes | None = None, *, zero: float | None = None
) -> Axes:
    r"""A variable against alpha^D, mean and standard error over seeds (figures 6a and 6b).

    Parameters
    ----------
    ds : xarray.Dataset
        From `sweep_mlp`, with a dimension seed.
    variable : str
        What to draw, such as "test_rmse" or "feature_distance".
    ax : matplotlib.axes.Axes, optional
        Axes to draw in.
    zero : float, optional
        Error of the zero predictor, a dashed line.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If ds lacks ``variable``, seed or alpha, if ``variable`` has further dimensions or only NaN,
        or if ``zero`` is negative.
    TypeError
        If ds is not a Dataset, ``variable`` is not a string, ax is not Axes, or ``zero`` is not a
        number.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> d = krf.datasets.circle_teacher(5)
    >>> ds = krf.sweep_mlp(d.X, d.y, alpha=[1.0, 2.0], seeds=[0, 1], rtol=1e-2)
    >>> krf.plot.network_curves(ds, "feature_distance").get_xlabel()
    '$\\alpha^D$'
    """
    with_variables(ds, "alpha", "depth")
    values = with_variable(ds, variable, "seed")
    if zero is not None:
        zero = check.scalar("zero", zero, low=0.0, open_low=False)
    curves = over_scale(ds, variable, "depth")
    ax = axes_of(ax, (4.0, 3.8))
    for index, label in enumerate(equations("D", [curve.at for curve in curves])):
        D, scale, own, marked = curves[index]
        mean, error = mean_and_error(own)
        look = {**line_style(index), "markersize": 3}
        ax.errorbar(scale**D, mean, error, marker="o", capsize=2, label=label, **look)
        mark_unfinished(ax, scale**D, mean, marked, own.size > mean.size, look)
    if zero is not None:
        ax.axhline(zero, color="0.5", linestyle="--", linewidth=1.0, label="zero predictor")
    ax.set(xlabel=r"$\alpha^D$", ylabel=label_of(variable, ds))
    log_ticks(ax, "x")
    legend_below(ax, title=spread_title(values) or "one seed")
    return ax


def univariate_functions(ds: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Functions learned from few points, one per alpha, beside both splines (figure 7).

    Parameters
    ----------
    ds : xarray.Dataset
        With prediction (alpha, x), linear_spline and cubic_spline (x), and the samples X and y. If
        there is ``status`` (alpha), the legend marks runs that have not converged.
    ax : matplotlib.axes.Axes, optional
        Axes to draw in.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If ds lacks a variable or dimension that is drawn, has one that is not drawn, or only NaN.
    TypeError
        If ds is not a Dataset, or ax is not Axes.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> from kernelrich_fast.experiments.fig7 import univariate_data
    >>> ds = univariate_data(20, 30, "auto", False)  # doctest: +SKIP
    >>> krf.plot.univariate_functions(ds.sel(panel="a")).get_xlabel()  # doctest: +SKIP
    '$x$'
    """
    with_variables(ds, "alpha", "x", "prediction", "linear_spline", "cubic_spline", "X", "y")
    one_value_of(ds.prediction, "alpha", "x")
    ax = axes_of(ax, (4.0, 4.2))
    predictions = expanded(ds.prediction, "alpha")
    ended = np.full(predictions.sizes["alpha"], True)
    if "status" in ds:
        ended = np.atleast_1d(ds.status.values == Status.CONVERGED)
    scales = np.atleast_1d(scales_of(ds).values)
    for index, label in enumerate(equations(r"\alpha", scales)):
        star = "" if ended[index] else " *"
        ax.plot(ds.x, predictions.isel(alpha=index), label=label + star, **line_style(index))
    ax.plot(ds.x, ds.linear_spline, color="0.6", linewidth=0.8, label="linear spline")
    ax.plot(ds.x, ds.cubic_spline, color="0.6", linewidth=0.8, linestyle=":", label="cubic spline")
    ax.plot(ds.X, ds.y, "ko", markersize=3, label="samples")
    ax.set(xlabel="$x$", ylabel="$f(x)$")
    title = None if ended.all() else "* not converged"
    legend_below(ax, title=title)
    return ax


def class_errors(ds: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Test error of the flow and of the linearised baselines against alpha (figure 6c).

    Parameters
    ----------
    ds : xarray.Dataset
        From `sweep_mlp` with classes and ``keep="kernel_predictors"``; of several seeds the mean is
        drawn, with a band of one standard error.
    ax : matplotlib.axes.Axes, optional
        Axes to draw in.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If ds lacks a variable or dimension that is drawn, has one that is not drawn, or only NaN.
    TypeError
        If ds is not a Dataset, or ax is not Axes.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> d = krf.datasets.circle_teacher(6)
    >>> ds = krf.sweep_mlp(
    ...     d.X, d.y > d.y.mean(), alpha=[0.5, 1.0], loss="cross_entropy", stop_loss=0.5,
    ...     X_test=d.X_test, y_test=d.y_test > d.y.mean(), keep="kernel_predictors", rtol=1e-2,
    ... )
    >>> krf.plot.class_errors(ds).get_xlabel()
    '$\\alpha$'
    """
    labels = {"test_error": "flow", "kernel_error": "kernel", "last_layer_error": "last layer"}
    with_variables(ds, "alpha", *labels)
    curves = [over_scale(ds, name)[0] for name in labels]
    title = spread_title(*(ds[name] for name in labels))
    ax = axes_of(ax, (4.0, 3.8) if title else (4.0, 3.0))
    for index, (curve, label) in enumerate(zip(curves, labels.values(), strict=True)):
        draw_mean(
            ax, curve.scale, 100.0 * curve.values, label, index, curve.unfinished, marker="o",
            markersize=3,
        )  # fmt: skip
    ax.set(xlabel=r"$\alpha$", ylabel="test error in %")
    log_ticks(ax, "x")
    legend_for(ax, title)
    return ax
