"""Pictures of diagonal networks and factorisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from .. import _validate as check
from ._axes import (
    COLOURS,
    axes_of,
    draw_mean,
    label_of,
    line_style,
    log_ticks,
    with_variable,
    with_variables,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "depth_potentials",
    "excess_norms",
    "factorization_error",
    "factorization_heatmap",
    "population_error",
    "potentials",
    "sparsity_ratio",
]


def _curves(ds: xr.Dataset, variable: str) -> list[tuple[str, xr.DataArray]]:
    """The curves of a variable over alpha, one per depth."""
    values = ds[variable]
    others = [str(dim) for dim in values.dims if dim not in ("alpha", "depth", "problem", "seed")]
    if others:
        names = ", ".join(others)
        raise ValueError(f"ds: expected one value of {names}; select it with ds.isel or ds.sel")
    if "depth" not in values.dims:
        return [("", values)]
    return [(f"$D={float(D):g}$", values.sel(depth=D)) for D in ds.depth.values]


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

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> X, y, b = krf.datasets.sparse_regression(10, 20, 2)
    >>> ds = krf.sweep_diagonal(X, y, alpha=[0.01, 1.0], beta_star=b, limit=True)
    >>> krf.plot.population_error(ds).get_xlabel()
    '$\\alpha$'
    """
    ax = axes_of(ax)
    with_variables(ds, "alpha", "population_error")
    for index, (label, curve) in enumerate(_curves(ds, "population_error")):
        draw_mean(ax, ds.alpha, curve, label, index, marker="o", markersize=3)
    ax.set(xlabel=r"$\alpha$", ylabel=label_of("population_error", ds))
    log_ticks(ax, "x")
    return ax


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

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> X, y, _ = krf.datasets.sparse_regression(10, 20, 2)
    >>> ds = krf.sweep_diagonal(X, y, alpha=[0.01, 1.0], limit=True)
    >>> len(krf.plot.excess_norms(ds).get_lines())
    1
    """
    ax = axes_of(ax)
    with_variables(ds, "alpha", "excess_l1", "excess_l2")
    right = ax.twinx()
    for index, (axis, name) in enumerate(((ax, "excess_l1"), (right, "excess_l2"))):
        for _, curve in _curves(ds, name):
            draw_mean(axis, ds.alpha, curve, "", index, marker="os"[index], markersize=3)
        axis.set_ylabel(label_of(name, ds), color=COLOURS[index])
    ax.set_xlabel(r"$\alpha$")
    log_ticks(ax, "x")
    return ax


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

    Examples
    --------
    >>> from kernelrich_fast.experiments.fig2 import potential_data
    >>> import kernelrich_fast as krf
    >>> len(krf.plot.potentials(potential_data(11)).get_lines())
    2
    """
    ax = axes_of(ax)
    with_variables(ds, "q", "r", "z")
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

    Examples
    --------
    >>> from kernelrich_fast.experiments.fig3 import depth_potential_data
    >>> import kernelrich_fast as krf
    >>> len(krf.plot.depth_potentials(depth_potential_data(9)).get_lines())
    5
    """
    ax = axes_of(ax)
    with_variables(ds, "q", "z", "depth")
    for index, D in enumerate(ds.depth.values):
        ax.plot(ds.z, ds.q.sel(depth=D), label=f"$D={float(D):g}$", **line_style(index))
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

    Examples
    --------
    >>> from kernelrich_fast.experiments.fig3 import sparsity_ratio_data
    >>> import kernelrich_fast as krf
    >>> len(krf.plot.sparsity_ratio(sparsity_ratio_data(9)).get_lines())
    5
    """
    ax = axes_of(ax)
    with_variables(ds, "ratio", "log_scale", "depth")
    for index, D in enumerate(ds.depth.values):
        ax.plot(ds.log_scale, ds.ratio.sel(depth=D), label=f"$D={float(D):g}$", **line_style(index))
    label = r"$Q(e_1)\,/\,Q(\mathbf{1}_d/\sqrt{d})$"
    ax.set(xlabel=r"$\ln\,\alpha^D$", ylabel=label)
    ax.legend()
    return ax


def factorization_heatmap(
    ds: xr.Dataset, variable: str, ax: Axes | None = None, *, clip: float | None = None
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

    Returns
    -------
    matplotlib.axes.Axes

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
    ax = axes_of(ax)
    values = with_variable(ds, variable, "alpha", "width")
    if clip is not None:
        check.scalar("clip", clip, low=0.0)
    seeds = values.sizes.get("seed", 1)
    values = values.mean("seed") if "seed" in values.dims else values
    values = values.transpose("alpha", "width")
    shown = ax.imshow(values, aspect="auto", cmap="viridis", vmin=0.0, vmax=clip)
    clipped = clip is not None and bool((values > clip).any())
    ax.set_xticks(range(values.sizes["width"]), [_short(k) for k in ds.width.values], rotation=60)
    ax.set_yticks(range(values.sizes["alpha"]), [_power_of_ten(a**2) for a in ds.alpha.values])
    ax.set_xlabel("width $k$")
    ax.set_ylabel(r"$\alpha^2$")
    label = label_of(variable, ds)
    if seeds > 1:
        label += f"\nmean of {seeds} seeds"
    ax.figure.colorbar(shown, ax=ax, label=label, extend="max" if clipped else "neither")
    return ax


def _power_of_ten(value: float) -> str:
    """To three digits, in one notation whatever the size."""
    digits, exponent = f"{value:.2e}".split("e")
    digits = digits.rstrip("0").rstrip(".")
    factor = "" if digits == "1" else rf"{digits} \times "
    return f"${factor}10^{{{int(exponent)}}}$"


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
    ax = axes_of(ax)
    with_variables(ds, "alpha", "width", "test_rmse")
    for i, k in enumerate(ds.width.values):
        curve = ds.test_rmse.sel(width=k)
        draw_mean(ax, ds.alpha, curve, f"$k={_short(k)}$", i, marker="o", markersize=3)
    ax.set_xlabel(r"$\alpha$")
    ax.set_ylabel("RMSE, unobserved entries")
    log_ticks(ax, "x")
    log_ticks(ax, "y")
    return ax


def _short(count: int) -> str:
    return f"{count // 1000}k" if count >= 1000 and count % 1000 == 0 else str(count)
