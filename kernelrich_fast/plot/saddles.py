"""The picture of a path from saddle to saddle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import isotonic_regression

from .._types import FloatArray, IntArray
from ..diagonal import DiagonalFlow
from ..saddle_path import RichPath
from ..status import Status
from ._axes import COLOURS, STYLES, axes_of, legend_below
from ._data import kind_of
from ._labels import equations, label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["rich_path"]

# Height of a line of text, as a part of the axes.
_LINE = 0.07


def rich_path(
    path: RichPath, ax: Axes | None = None, *, flows: Mapping[float, DiagonalFlow] | None = None
) -> Axes:
    r"""Coefficients of the path as alpha -> 0 over logarithmic time, with flows beside it.

    Parameters
    ----------
    path : RichPath
        Of one problem, from `rich_path`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw in.
    flows : mapping of float to DiagonalFlow, optional
        Flows of the same problem and depth with evaluation times, by their scale alpha; times are
        drawn in units of ``path.time_unit(alpha)``.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. The six features that grow largest are coloured and named at the right, counted
        from 0; the others are grey. A dotted vertical line is a jump.

    Raises
    ------
    TypeError
        If ``path`` is not a RichPath, or ``flows`` no mapping of such flows.
    ValueError
        If ``path`` has several problems or no jump, or a flow has no evaluation times.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> X, y, _ = krf.datasets.sparse_regression(10, 20, 2)
    >>> krf.plot.rich_path(krf.rich_path(X, y)).get_xscale()
    'log'
    """
    if not isinstance(path, RichPath):
        raise TypeError(f"path: expected a RichPath, got {kind_of(path)}; use krf.rich_path")
    if path.status.ndim:
        raise ValueError(
            f"path: expected one problem, got a batch {path.status.shape}; index the one to draw"
        )
    if not path.n_jumps:
        raise ValueError("path: expected at least one jump, got none")
    curves = _curves(path, {} if flows is None else flows)
    ax = axes_of(ax, (4.0, 3.8))
    low, high = 0.25 * path.jump_times[0], 2.0 * path.jump_times[-1]
    size = np.abs(path.beta).max(axis=0)
    chosen = np.sort(np.argsort(size)[::-1][: min(len(COLOURS), int(np.count_nonzero(size)))])
    rest = np.setdiff1d(np.flatnonzero(size), chosen)
    for t in path.jump_times:
        ax.axvline(t, color="0.6", linewidth=0.6, linestyle=":", zorder=0)
    edges = np.concatenate([[low], path.jump_times, [high]])
    steps = np.vstack([path.beta, path.beta[-1:]])
    for label, times, beta, look in [("", edges, steps, {"drawstyle": "steps-post"}), *curves]:
        thin = {"linewidth": 0.6, **look}
        ax.plot(times, beta[:, rest], color="0.75", zorder=1, **thin)
        for k, feature in enumerate(chosen):
            ax.plot(times, beta[:, feature], color=COLOURS[k], zorder=2 + (label == ""), **look)
    _legend(ax, f"exact{_ended(path)}", curves, bool(len(rest)))
    ax.set(
        xscale="log", xlim=(low, high), xlabel=r"time in units of $T_0(\alpha)$",
        ylabel=label_of("beta"),
    )  # fmt: skip
    _name_features(ax, chosen, path.beta[-1, chosen])
    return ax


def _name_features(ax: Axes, features: IntArray, ends: FloatArray) -> None:
    """The number of every coloured feature at the right, moved apart where curves end together."""
    low, high = ax.get_ylim()
    order = np.argsort(ends)
    heights = (ends[order] - low) / (high - low)
    # The nearest heights of which each is at least a line above the one before.
    ranks = _LINE * np.arange(heights.size)
    apart = isotonic_regression(heights - ranks).x + ranks
    for k, height in zip(order, apart, strict=True):
        ax.annotate(
            rf"$\beta_{{{features[k]}}}$", (1.0, height), (3.0, 0.0), xycoords="axes fraction",
            textcoords="offset points", va="center", color=COLOURS[k], fontsize="small",
        )  # fmt: skip


def _curves(path: RichPath, flows: Any) -> list[tuple[str, Any, Any, dict[str, Any]]]:
    """Label, times, coefficients and look of every flow."""
    if not isinstance(flows, Mapping):
        raise TypeError(f"flows: expected a mapping of scales to flows, got {kind_of(flows)}")
    others = [kind_of(flow) for flow in flows.values() if not isinstance(flow, DiagonalFlow)]
    if others:
        raise TypeError(f"flows: expected flows of flow_diagonal, got {others[0]}")
    curves = []
    labels = equations(r"\alpha", flows)
    for index, (alpha, flow) in enumerate(flows.items()):
        if flow.status.ndim or flow.loss.ndim != 1 or flow.beta.shape[-1] != path.beta.shape[-1]:
            raise ValueError(
                f"flows: expected single runs with t_eval over {path.beta.shape[-1]} features, got "
                f"beta of shape {flow.beta.shape} at alpha = {alpha:g}"
            )
        look = {"linestyle": STYLES[1 + index % (len(STYLES) - 1)], "linewidth": 1.0}
        times = flow.t / path.time_unit(alpha)
        curves.append((labels[index] + _ended(flow), times, flow.beta, look))
    return curves


def _ended(result: RichPath | DiagonalFlow) -> str:
    """Of what did not converge, how it ended, for a label."""
    status = Status(int(result.status))
    return f" ({status.name})" if status >= Status.MAX_STEPS else ""


def _legend(
    ax: Axes, what: str, curves: list[tuple[str, Any, Any, dict[str, Any]]], rest: bool
) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color="0.2", label=rf"$\alpha \to 0$, {what}")]
    handles += [Line2D([], [], color="0.2", label=label, **look) for label, _, _, look in curves]
    handles.append(Line2D([], [], color="0.6", linewidth=0.6, linestyle=":", label="a jump"))
    if rest:
        handles.append(Line2D([], [], color="0.75", linewidth=0.6, label="other features"))
    legend_below(ax, handles=handles)
