"""Which of many l1 minimisers: depths 2, 2.5, 3 and 4 as alpha -> 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
import xarray as xr

from .._types import FloatArray
from ..diagonal import limit_diagonal
from ..plot._axes import line_style
from .output import About, Expectation, Outcome, Panels, Settings, save, table

__all__ = ["ABOUT", "chosen_minimiser", "run"]

DEPTHS = (2.0, 2.5, 3.0, 4.0)
# Powers alpha^D.
POWERS, QUICK_POWERS = np.geomspace(1e1, 1e-15, 65), np.geomspace(1e1, 1e-12, 14)

# A problem of 3 samples and 5 features whose l1 minimisers are a polygon: x4 and x5 are means of
# others, so that (1 - (s + u) / 2, Y2 - s / 2, Y3 - u / 2, s, u) fits, of one norm for all s and u.
X = np.array([
    [1.0, 0.0, 0.0, 0.5, 0.5],
    [0.0, 1.0, 0.0, 0.5, 0.0],
    [0.0, 0.0, 1.0, 0.0, 0.5],
])  # fmt: skip
Y = np.array([1.0, 0.05, 0.5])


def _minimiser(s: FloatArray) -> FloatArray:
    return np.array([Y[0] - 0.5 * (s[0] + s[1]), Y[1] - 0.5 * s[0], Y[2] - 0.5 * s[1], *s])


# How a minimiser moves with s and with u.
_MOVES = np.array([[-0.5, -0.5, 0.0, 1.0, 0.0], [-0.5, 0.0, -0.5, 0.0, 1.0]])


def chosen_minimiser(depth: float) -> FloatArray:
    """The l1 minimiser to which the limits of a depth tend as alpha -> 0.

    Q_alpha is l1 to first order; what is next, relative to it, is -sum |b| log |b| at depth 2 and
    -sum |b|^(2/D) beyond, and largest at the minimiser that is chosen.
    """

    def second_order(s: Any) -> float:
        b = np.maximum(_minimiser(s), 1e-300)
        return float(np.sum(b * np.log(b)) if depth == 2.0 else -np.sum(b ** (2.0 / depth)))

    inside: Any = {"type": "ineq", "fun": lambda s: 2.0 * Y[0] - s[0] - s[1]}
    found = scipy.optimize.minimize(
        second_order, np.array([0.05, 0.3]), method="SLSQP",
        bounds=[(0.0, 2.0 * Y[1]), (0.0, 2.0 * Y[2])], constraints=inside,
        options={"ftol": 1e-15, "maxiter": 500},
    )  # fmt: skip

    def slope(s: Any) -> FloatArray:
        b = _minimiser(s)
        of_b = np.log(b) + 1.0 if depth == 2.0 else -2.0 / depth * b ** (2.0 / depth - 1.0)
        return np.asarray(_MOVES @ of_b)

    # What the search leaves, a root of the slope inside the polygon takes away.
    return _minimiser(scipy.optimize.root(slope, found.x, tol=1e-14).x)


def _data(settings: Settings) -> xr.Dataset:
    powers = QUICK_POWERS if settings.quick else POWERS
    backend, _, threads = settings.how
    options: dict[str, Any] = {"backend": backend, "num_threads": threads}
    depths = np.array(DEPTHS)[:, None]
    limit = limit_diagonal(X, Y, alpha=powers ** (1.0 / depths), depth=depths, tol=1e-13, **options)
    chosen = np.stack([chosen_minimiser(depth) for depth in DEPTHS])
    distance = np.linalg.norm(limit.beta - chosen[:, None], axis=-1)
    return xr.Dataset(
        {
            "beta": (("depth", "power", "feature"), limit.beta),
            "chosen": (("depth", "feature"), chosen),
            "distance": (("depth", "power"), distance),
            "excess_l1": (("depth", "power"), np.abs(limit.beta).sum(axis=-1) - Y.sum()),
        },
        coords={"depth": list(DEPTHS), "power": powers, "feature": np.arange(5)},
        attrs={"n_samples": 3, "n_features": 5},
    )


def _ends(panels: Panels) -> bool:
    return bool((panels[""].distance.isel(power=-1) < 1e-3).all())


def _differ(panels: Panels) -> bool:
    chosen = panels[""].chosen.values
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(chosen) for b in chosen[:i]]
    return bool(min(gaps) > 5e-3)


ABOUT = About(
    "Which l1 minimiser: depths 2, 2.5, 3 and 4",
    (
        (
            "data",
            "a problem of 3 samples and 5 features with many l1 minimisers (Wind, Antun and Hansen "
            "2023)",
            "3 samples, 5 features; the l1 minimisers are a polygon of dimension 2",
        ),
        ("depth", "2, 2.5, 3, 4", ", ".join(f"{D:g}" for D in DEPTHS)),
        (
            "alpha^D",
            "1e-3, 1e-6, 1e-9",
            lambda p: f"{float(p[''].power[0]):g} to {float(p[''].power[-1]):g}",
        ),
    ),
    (
        Expectation(
            "every depth ends at the minimiser of its own second-order term, within 1e-3", _ends
        ),
        Expectation("these are different minimisers, more than 5e-3 apart", _differ),
    ),
)


def run(settings: Settings) -> Outcome:
    """Write a coefficient and the distance over alpha^D; returns the table."""
    from matplotlib.figure import Figure

    ds = _data(settings)
    figure = Figure(figsize=(10.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, depth in enumerate(DEPTHS):
        own = ds.sel(depth=depth)
        style = line_style(k)
        left.plot(ds.power, own.beta.isel(feature=3), label=f"$D={depth:g}$", **style)
        left.axhline(float(own.chosen[3]), color=style["color"], linewidth=0.6)
        right.plot(ds.power, own.distance, label=f"$D={depth:g}$", **style)
    left.set(ylabel=r"$\beta_4$; thin: of the minimiser chosen as $\alpha \to 0$")
    right.set(yscale="log", ylabel="distance from the minimiser chosen")
    for axis in (left, right):
        axis.set(xscale="log", xlabel=r"$\alpha^D$")
        axis.invert_xaxis()
        axis.legend(fontsize="small")
    left.set_title("$N=3$, $d=5$, limits", loc="left")
    save(settings, "depths", figure, {"": ds})
    rows = [
        [f"{depth:g}", *(f"{b:.4f}" for b in ds.chosen.sel(depth=depth).values),
         float(ds.distance.sel(depth=depth)[-1])]
        for depth in DEPTHS
    ]  # fmt: skip
    title = (
        "depths: the l1 minimiser that each depth chooses as alpha tends to 0, and the distance of "
        f"the limit from it at alpha^D = {float(ds.power[-1]):.0e}"
    )
    return Outcome(table(title, ["D", "b1", "b2", "b3", "b4", "b5", "distance"], rows), {"": ds})
