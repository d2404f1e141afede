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
    label_of,
    legend_below,
    line_style,
    log_ticks,
    with_variable,
    with_variables,
)

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

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> d = krf.datasets.circle_teacher(5)
    >>> ds = krf.sweep_mlp(d.X, d.y, alpha=[1.0, 2.0], seeds=[0, 1], rtol=1e-2)
    >>> krf.plot.network_curves(ds, "feature_distance").get_xlabel()
    '$\\alpha^D$'
    """
    ax = axes_of(ax, (4.0, 3.8))
    with_variables(ds, "alpha", "depth")
    with_variable(ds, variable, "seed")
    if zero is not None:
        zero = check.scalar("zero", zero, low=0.0, open_low=False)
    depths, seeds = np.atleast_1d(ds.depth.values), ds.sizes["seed"]
    for index, depth in enumerate(depths):
        one = ds.sel(depth=depth) if "depth" in ds.dims else ds
        scale = np.asarray(one.get("scale", one.alpha), dtype=np.float64)
        mean = one[variable].mean("seed")
        error = one[variable].std("seed", ddof=1) / np.sqrt(seeds) if seeds > 1 else None
        ax.errorbar(
            scale ** float(depth), mean, error, marker="o", markersize=3, capsize=2,
            label=f"$D={int(depth)}$", **line_style(index),
        )  # fmt: skip
    if zero is not None:
        ax.axhline(zero, color="0.5", linestyle="--", linewidth=1.0, label="zero predictor")
    ax.set(xlabel=r"$\alpha^D$", ylabel=label_of(variable, ds))
    log_ticks(ax, "x")
    title = f"mean and standard error, {seeds} seeds" if seeds > 1 else "one seed"
    legend_below(ax, title=title)
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

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> from kernelrich_fast.experiments.fig7 import univariate_data
    >>> ds = univariate_data(20, 30, "auto", False)  # doctest: +SKIP
    >>> krf.plot.univariate_functions(ds.sel(panel="a")).get_xlabel()  # doctest: +SKIP
    '$x$'
    """
    ax = axes_of(ax, (4.0, 4.2))
    with_variables(ds, "alpha", "x", "prediction", "linear_spline", "cubic_spline", "X", "y")
    unfinished = False
    for index, alpha in enumerate(ds.alpha.values):
        one = ds.sel(alpha=alpha)
        ended = "status" not in one or int(one.status) == Status.CONVERGED
        unfinished = unfinished or not ended
        label = rf"$\alpha={alpha:g}$" + ("" if ended else " *")
        ax.plot(one.x, one.prediction, label=label, **line_style(index))
    ax.plot(ds.x, ds.linear_spline, color="0.6", linewidth=0.8, label="linear spline")
    ax.plot(ds.x, ds.cubic_spline, color="0.6", linewidth=0.8, linestyle=":", label="cubic spline")
    ax.plot(ds.X, ds.y, "ko", markersize=3, label="samples")
    ax.set(xlabel="$x$", ylabel="$f(x)$")
    title = "* not converged" if unfinished else None
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
    ax = axes_of(ax)
    with_variables(ds, "alpha", "test_error", "kernel_error", "last_layer_error")
    curves = (
        ("test_error", "flow"),
        ("kernel_error", "kernel"),
        ("last_layer_error", "last layer"),
    )
    for index, (name, label) in enumerate(curves):
        draw_mean(ax, ds.alpha, 100.0 * ds[name], label, index, marker="o", markersize=3)
    ax.set(xlabel=r"$\alpha$", ylabel="test error in %")
    log_ticks(ax, "x")
    return ax
