"""Pictures of what happens along training, and of matrices as images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from .._types import ArrayLike
from ._axes import axes_of, label_of, line_style, with_variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["grey_image", "paths"]


def paths(ds: xr.Dataset, variable: str = "loss", ax: Axes | None = None) -> Axes:
    r"""A variable against time, a curve per scale.

    Parameters
    ----------
    ds : xarray.Dataset
        From `sweep_diagonal` over alpha with ``t_eval``; problems are averaged.
    variable : str
        What to draw, such as "loss", "l1_norm" or "kernel_distance".
    ax : matplotlib.axes.Axes, optional
        Axes to draw in.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with logarithmic time.

    Examples
    --------
    >>> import numpy as np
    >>> import kernelrich_fast as krf
    >>> X, y, _ = krf.datasets.sparse_regression(10, 20, 2)
    >>> ds = krf.sweep_diagonal(X, y, alpha=[0.01, 1.0], t_eval=np.geomspace(1e-3, 1, 20))
    >>> krf.plot.paths(ds, "loss").get_ylabel()
    'loss $L$'
    """
    ax = axes_of(ax)
    values = with_variable(ds, variable, "time")
    if "problem" in values.dims:
        values = values.mean("problem")
    for index, alpha in enumerate(np.atleast_1d(ds.alpha.values)):
        curve = values.sel(alpha=alpha) if "alpha" in values.dims else values
        ax.plot(ds.time, curve, label=rf"$\alpha={alpha:.3g}$", **line_style(index))
    ax.set(xscale="log", xlabel="time $t$", ylabel=label_of(variable))
    ax.legend()
    return ax


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
