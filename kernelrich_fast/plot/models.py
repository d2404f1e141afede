"""Pictures of diagonal networks and their potentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ._axes import (
    COLOURS,
    STYLES,
    UNFINISHED,
    axes_of,
    draw_mean,
    legend_below,
    legend_for,
    line_style,
    log_ticks,
)
from ._data import Curve, expanded, one_value_of, over_scale, spread_title, with_variables
from ._labels import equations, label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "depth_potentials",
    "excess_norms",
    "population_error",
    "potentials",
    "sparsity_ratio",
]

# Of the depths, and of the left and the right axis, in one picture of both norms.
_MARKERS = "os^DvP"
_FILLED: tuple[Any, Any] = ("full", "none")


def population_error(ds: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Population error against alpha (figure 1a of the paper).

    Parameters
    ----------
    ds : xarray.Dataset
        From `sweep_diagonal` with ``beta_star``; of several problems the mean is drawn, with a
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
        If ds lacks a variable or dimension that is drawn, has one that is not drawn, or only NaN.
    TypeError
        If ds is not a Dataset, or ax is not Axes.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> X, y, b = krf.datasets.sparse_regression(10, 20, 2)
    >>> ds = krf.sweep_diagonal(X, y, alpha=[0.01, 1.0], beta_star=b, limit=True)
    >>> krf.plot.population_error(ds).get_xlabel()
    '$\\alpha$'
    """
    with_variables(ds, "alpha", "population_error")
    curves = over_scale(ds, "population_error", _each(ds.population_error))
    title = spread_title(ds.population_error)
    ax = axes_of(ax, (4.0, 3.8) if title or _any_unfinished(curves) else (4.0, 3.0))
    for index, (curve, label) in enumerate(zip(curves, _depths(curves), strict=True)):
        draw_mean(
            ax, curve.scale, curve.values, label, index, curve.unfinished, marker="o", markersize=3
        )
    ax.set(xlabel=r"$\alpha$", ylabel=label_of("population_error", ds))
    log_ticks(ax, "x")
    legend_for(ax, title)
    return ax


def _each(values: xr.DataArray) -> str | None:
    """The dimension of which every value has a curve."""
    return "depth" if "depth" in values.dims else None


def _any_unfinished(curves: list[Curve]) -> bool:
    return any(bool(curve.unfinished.any()) for curve in curves)


def _depths(curves: list[Curve]) -> list[str]:
    """Labels of curves of several depths."""
    return [""] if np.isnan(curves[0].at) else equations("D", [curve.at for curve in curves])


def excess_norms(ds: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Excess l1 norm (left axis) and l2 norm (right axis) against alpha (figure 1b).

    Parameters
    ----------
    ds : xarray.Dataset
        From `sweep_diagonal`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw in.

    Returns
    -------
    matplotlib.axes.Axes
        The left axes.

    Raises
    ------
    ValueError
        If ds lacks a variable or dimension that is drawn, has one that is not drawn, or only NaN.
    TypeError
        If ds is not a Dataset, or ax is not Axes.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> X, y, _ = krf.datasets.sparse_regression(10, 20, 2)
    >>> ds = krf.sweep_diagonal(X, y, alpha=[0.01, 1.0], limit=True)
    >>> len(krf.plot.excess_norms(ds).get_lines())
    1
    """
    with_variables(ds, "alpha", "excess_l1", "excess_l2")
    norms = ("excess_l1", "excess_l2")
    curves = [over_scale(ds, name, _each(ds[name])) for name in norms]
    title, labels = spread_title(*(ds[name] for name in norms)), _depths(curves[0])
    several, marked = len(labels) > 1, _any_unfinished(curves[0])
    ax = axes_of(ax, (4.0, 3.8) if title or several or marked else (4.0, 3.0))
    right = ax.twinx()
    for index, (axis, name) in enumerate(zip((ax, right), norms, strict=True)):
        for k, curve in enumerate(curves[index]):
            look = {"color": COLOURS[index], "marker": "os"[index], "markersize": 3}
            if several:
                look |= {**_depth_style(k), "fillstyle": _FILLED[index]}
            draw_mean(axis, curve.scale, curve.values, "", index + 2 * k, curve.unfinished, **look)
        axis.set_ylabel(label_of(name, ds), color=COLOURS[index])
    ax.set_xlabel(r"$\alpha$")
    log_ticks(ax, "x")
    if title or several or marked:
        _legend_of_norms(ax, title, labels)
    return ax


def _depth_style(index: int) -> dict[str, Any]:
    """Line and marker of a depth; colour and filling tell the norms apart."""
    again = index // len(_MARKERS)
    look = {"linestyle": STYLES[index % len(STYLES)]}
    return {**look, "marker": _MARKERS[(index + again) % len(_MARKERS)], "markersize": 4}


def _legend_of_norms(ax: Axes, title: str | None, labels: list[str]) -> None:
    from matplotlib.lines import Line2D

    several = len(labels) > 1
    markers, filled = ("oo", _FILLED) if several else ("os", (_FILLED[0], _FILLED[0]))
    handles = [
        Line2D(
            [], [], color=COLOURS[k], marker=markers[k], markersize=4, fillstyle=filled[k],
            linestyle="none", label=f"{side} axis",
        )
        for k, side in enumerate(("left", "right"))
    ]  # fmt: skip
    if several:
        handles += [
            Line2D([], [], color="0.2", label=label, **_depth_style(k))
            for k, label in enumerate(labels)
        ]
    handles += [line for line in ax.lines if line.get_label() in UNFINISHED]
    legend_below(ax, handles=handles, title=title)


def potentials(ds: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Implicit q against explicit r, rescaled to meet at the ends (figure 2).

    Parameters
    ----------
    ds : xarray.Dataset
        ``q`` and ``r`` over ``z``.
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
    >>> from kernelrich_fast.experiments.fig2 import potential_data
    >>> import kernelrich_fast as krf
    >>> len(krf.plot.potentials(potential_data(11)).get_lines())
    2
    """
    with_variables(ds, "q", "r", "z")
    for name in ("q", "r"):
        one_value_of(ds[name], "z")
    ax = axes_of(ax)
    for index, name in enumerate(("q", "r")):
        ax.plot(ds.z, ds[name] / ds[name][-1], label=f"${name}(z)$, rescaled", **line_style(index))
    ax.set(xlabel="$z$", ylabel="potential, relative to its end")
    ax.legend()
    return ax


def depth_potentials(ds: xr.Dataset, ax: Axes | None = None) -> Axes:
    """q_D for several depths, rescaled to agree at a quarter of the width (figure 3a).

    Parameters
    ----------
    ds : xarray.Dataset
        ``q`` (depth, z).
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
    >>> from kernelrich_fast.experiments.fig3 import depth_potential_data
    >>> import kernelrich_fast as krf
    >>> len(krf.plot.depth_potentials(depth_potential_data(9)).get_lines())
    5
    """
    with_variables(ds, "q", "z", "depth")
    one_value_of(ds.q, "depth", "z")
    ax = axes_of(ax)
    values = expanded(ds.q, "depth")
    for index, label in enumerate(equations("D", values.depth.values)):
        ax.plot(ds.z, values.isel(depth=index), label=label, **line_style(index))
    ax.set(xlabel="$z$", ylabel="$q_D(z)$, rescaled")
    ax.legend()
    return ax


def sparsity_ratio(ds: xr.Dataset, ax: Axes | None = None) -> Axes:
    r"""Q(e_1) / Q(1 / sqrt d) against ln alpha^D (figure 3b).

    Parameters
    ----------
    ds : xarray.Dataset
        ``ratio`` (depth, log_scale).
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
    >>> from kernelrich_fast.experiments.fig3 import sparsity_ratio_data
    >>> import kernelrich_fast as krf
    >>> len(krf.plot.sparsity_ratio(sparsity_ratio_data(9)).get_lines())
    5
    """
    with_variables(ds, "ratio", "log_scale", "depth")
    one_value_of(ds.ratio, "depth", "log_scale")
    ax = axes_of(ax)
    values = expanded(ds.ratio, "depth")
    for index, label in enumerate(equations("D", values.depth.values)):
        ax.plot(ds.log_scale, values.isel(depth=index), label=label, **line_style(index))
    label = r"$Q(e_1)\,/\,Q(\mathbf{1}_d/\sqrt{d})$"
    ax.set(xlabel=r"$\ln\,\alpha^D$", ylabel=label)
    ax.legend()
    return ax
