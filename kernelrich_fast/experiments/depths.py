"""Which of many l1 minimisers: depths 2, 2.5, 3 and 4 as alpha -> 0, on the problems of a paper.

Wind, Antun and Hansen, Implicit Regularization in AI Meets Generalized Hardness of Approximation in
Optimization, 2023, figure 1: three small problems, of which two have a segment of l1 minimisers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
import xarray as xr

from .._types import FloatArray
from ..diagonal import limit_diagonal
from ..plot._axes import line_style
from ..theory.basis_pursuit import min_l1
from .output import About, Expectation, Outcome, Panels, Settings, save, table

__all__ = ["ABOUT", "chosen_minimiser", "run"]

DEPTHS = (2.0, 2.5, 3.0, 4.0)
# Powers alpha^D: the paper's range, and beyond.
POWERS, QUICK_POWERS = np.geomspace(1.0, 1e-15, 61), np.geomspace(1.0, 1e-12, 13)
PROBLEMS: dict[str, tuple[FloatArray, FloatArray]] = {
    "line": (np.array([[1.0, 1.0, 1.0], [3.0, 0.0, 1.0]]), np.array([3.0, 3.0])),
    "plane": (np.array([[2.0, -1.0, 0.0, 1.0], [0.0, 3.0, 2.0, 0.0]]), np.array([0.0, 6.0])),
    "random": (
        np.array([
            [-0.111, 0.120, -0.370, -0.240, -1.197],
            [0.209, -0.972, -0.755, 0.324, -0.109],
            [0.210, -0.391, 0.235, 0.665, 0.353],
        ]),
        np.array([0.973, -0.039, -0.886]),
    ),
}  # fmt: skip


def chosen_minimiser(name: str, depth: float) -> FloatArray:
    """The l1 minimiser to which the limits of a depth tend as alpha -> 0.

    Q_alpha is l1 to first order. The next term is sum |b| log |b| at depth 2 and -sum |b|^(2/D)
    beyond, and the minimiser where it is least is chosen. Those of "line" and "plane" are
    (1 - t, 2 (1 - t), 3 t, 0), that of "random" is alone.
    """
    X, y = PROBLEMS[name]
    if name == "random":
        return min_l1(X, y)

    def slope(t: float) -> float:
        """Of the next term along the segment."""
        b, moves = np.array([1.0 - t, 2.0 - 2.0 * t, 3.0 * t]), np.array([-1.0, -2.0, 3.0])
        power = 2.0 / depth
        of_b = np.log(b) + 1.0 if depth == 2.0 else -power * b ** (power - 1.0)
        return float(moves @ of_b)

    t = scipy.optimize.brentq(slope, 1e-12, 1.0 - 1e-12, xtol=1e-16, rtol=1e-15)
    return np.array([1.0 - t, 2.0 - 2.0 * t, 3.0 * t, 0.0])[: X.shape[1]]


def _data(name: str, settings: Settings) -> xr.Dataset:
    powers = QUICK_POWERS if settings.quick else POWERS
    backend, _, threads = settings.how
    options: dict[str, Any] = {"backend": backend, "num_threads": threads}
    depths = np.array(DEPTHS)[:, None]
    X, y = PROBLEMS[name]
    limit = limit_diagonal(X, y, alpha=powers ** (1.0 / depths), depth=depths, tol=1e-13, **options)
    chosen = np.stack([chosen_minimiser(name, depth) for depth in DEPTHS])
    return xr.Dataset(
        {
            "beta": (("depth", "power", "feature"), limit.beta),
            "chosen": (("depth", "feature"), chosen),
            "distance": (
                ("depth", "power"), np.linalg.norm(limit.beta - chosen[:, None], axis=-1)
            ),
        },
        coords={"depth": list(DEPTHS), "power": powers, "feature": np.arange(X.shape[1])},
        attrs={"n_samples": X.shape[0], "n_features": X.shape[1]},
    )  # fmt: skip


def _falls(panels: Panels) -> bool:
    """Every distance is a thousandth of its first at alpha^D = 1e-9, and none grows on the way."""
    for ds in panels.values():
        near = ds.distance.sel(power=1e-9, method="nearest")
        if not bool((near < 1e-3 * ds.distance.isel(power=0)).all()):
            return False
    return True


def _differ(panels: Panels) -> bool:
    return bool(np.all(np.diff(panels["_line"].chosen.isel(feature=1)) > 1e-3))


ABOUT = About(
    "Which l1 minimiser: depths 2, 2.5, 3 and 4",
    (
        (
            "data",
            "three problems: 2 x 3, 2 x 4, 3 x 5 (Wind, Antun and Hansen 2023, figure 1)",
            lambda p: "the same: " + ", ".join(
                f"{ds.attrs['n_samples']} x {ds.attrs['n_features']}" for ds in p.values()
            ),
        ),
        (
            "depth", "2, 2.5, 3, 4",
            lambda p: ", ".join(f"{D:g}" for D in p["_line"].depth.values),
        ),
        (
            "alpha^D",
            "1 to 1e-9, by powers of ten",
            lambda p: f"{float(p['_line'].power[0]):g} to {float(p['_line'].power[-1]):.0e}",
        ),
        ("end of the flow", "Radau on the weights, relative tolerance 2.5e-14", "limits"),
    ),
    (
        Expectation(
            "at alpha^D = 1e-9 every depth is a thousand times nearer to the minimiser of its own "
            "second-order term than at 1",
            _falls,
        ),
        Expectation(
            "on the line these are different minimisers: the second coefficient grows with depth",
            _differ,
        ),
    ),
    panels=tuple(f"_{name}" for name in PROBLEMS),
)  # fmt: skip


def run(settings: Settings) -> Outcome:
    """Write the distance over alpha^D, a panel for each problem; returns the table."""
    from matplotlib.figure import Figure

    panels = {f"_{name}": _data(name, settings) for name in PROBLEMS}
    figure = Figure(figsize=(11.0, 3.6), layout="constrained")
    for axis, (name, ds) in zip(
        figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True
    ):
        for k, depth in enumerate(DEPTHS):
            label = f"$D={depth:g}$"
            axis.plot(ds.power, ds.distance.sel(depth=depth), label=label, **line_style(k))
        axis.set(xscale="log", yscale="log", xlabel=r"$\alpha^D$")
        axis.set_title(
            f"{name[1:]}: $N={ds.attrs['n_samples']}$, $d={ds.attrs['n_features']}$", loc="left"
        )
        axis.set_ylabel("distance from the chosen minimiser")
        axis.label_outer()
        axis.legend(fontsize="small")
    save(settings, "depths", figure, panels)
    rows = []
    for name, ds in panels.items():
        for depth in DEPTHS:
            own = ds.sel(depth=depth)
            at = [float(own.distance.sel(power=p, method="nearest")) for p in (1e-3, 1e-6, 1e-9)]
            values = ", ".join(f"{b:.4f}" for b in own.chosen.values)
            rows.append([name[1:], f"{depth:g}", values, *at])
    title = (
        "depths: the l1 minimiser that each depth chooses as alpha tends to 0, and the distance of "
        "the limit from it"
    )
    header = ["problem", "D", "chosen", "alpha^D = 1e-3", "1e-6", "1e-9"]
    return Outcome(table(title, header, rows), panels)
