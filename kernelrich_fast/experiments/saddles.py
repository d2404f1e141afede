"""From saddle to saddle: flows at several scales against their exact limit alpha -> 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from .. import datasets, plot
from .._types import FloatArray
from ..diagonal import DiagonalFlow, flow_diagonal
from ..saddle_path import RichPath, rich_path
from .output import About, Expectation, Outcome, Panels, Settings, save, table
from .words import listed

__all__ = ["ABOUT", "halfway_times", "run", "saddle_data"]

# Depths, and scales for which the limit sets in at about the same pace.
SCALES = {2: (1e-8, 1e-30, 1e-100), 3: (1e-2, 1e-4, 1e-8), 5: (1e-1, 1e-2, 1e-4)}
SHAPE, QUICK_SHAPE = (10, 30, 3), (5, 12, 2)
RTOL = 1e-8
_ROUNDS, _POINTS = 4, 201


def halfway_times(
    X: FloatArray, y: FloatArray, path: RichPath, alpha: float, **options: Any
) -> FloatArray:
    """When a flow is halfway through every jump, in units of ``path.time_unit(alpha)``.

    It is halfway when the coefficient that the jump changes most is; NaN where it never is between
    the middles of the plateaus before and after. ``options`` are those of the flow.
    """
    unit, depth = float(path.time_unit(alpha)), float(path.depth)
    edges = np.concatenate([[0.0], path.jump_times, [2.0 * path.jump_times[-1]]])
    found = np.full(len(path.jump_times), np.nan)
    for j in range(len(found)):
        change = path.beta[j + 1] - path.beta[j]
        feature = int(np.argmax(np.abs(change)))
        low, high = (edges[j : j + 2].sum() / 2, edges[j + 1 : j + 3].sum() / 2)
        for _ in range(_ROUNDS):
            times = np.linspace(low, high, _POINTS)
            flow = flow_diagonal(X, y, alpha=alpha, depth=depth, t_eval=times * unit, **options)
            share = (flow.beta[:, feature] - path.beta[j, feature]) / change[feature]
            crossed = np.flatnonzero((share[:-1] < 0.5) & (share[1:] >= 0.5))
            if not len(crossed):
                break
            low, high = times[crossed[0]], times[crossed[0] + 1]
        else:
            found[j] = 0.5 * (low + high)
    return found


def saddle_data(
    quick: bool, seed: int, backend: str = "auto", num_threads: int | None = None
) -> tuple[xr.Dataset, dict[int, tuple[RichPath, dict[float, DiagonalFlow]]]]:
    """Lags of the jumps and distances from the saddles, and what is drawn."""
    X, y, _ = datasets.sparse_regression(*(QUICK_SHAPE if quick else SHAPE), seed=seed)
    path = rich_path(X, y, depth=tuple(SCALES))
    drawn = {}
    options: dict[str, Any] = {"rtol": RTOL, "backend": backend, "num_threads": num_threads}
    count = path.jump_times.shape[-1]
    lag = np.empty((len(SCALES), 3, count))
    distance = np.empty_like(lag)
    for k, (depth, scales) in enumerate(SCALES.items()):
        own = path[k]
        times = np.append(own.jump_times, 2.0 * own.jump_times[-1])
        middles = 0.5 * (times[:-1] + times[1:])
        grid = np.geomspace(0.25 * times[0], times[-1], 1500)
        flows = {}
        for a, alpha in enumerate(scales):
            unit = float(own.time_unit(alpha))
            which: dict[str, Any] = {"alpha": alpha, "depth": depth}
            flows[alpha] = flow_diagonal(X, y, t_eval=grid * unit, **which, **options)
            at = flow_diagonal(X, y, t_eval=middles * unit, **which, **options).beta
            exact = own.beta[1:]
            distance[k, a] = np.linalg.norm(at - exact, axis=-1) / np.linalg.norm(exact, axis=-1)
            lag[k, a] = halfway_times(X, y, own, alpha, **options) / own.jump_times - 1.0
        drawn[depth] = own, flows
    ds = xr.Dataset(
        {
            "jump_time": ("jump", path.jump_times[0]),
            "lag": (("depth", "scale", "jump"), lag),
            "saddle_distance": (("depth", "scale", "jump"), distance),
            "alpha": (("depth", "scale"), np.array(list(SCALES.values()))),
        },
        coords={"depth": list(SCALES), "scale": np.arange(3), "jump": 1 + np.arange(count)},
        attrs={"n_samples": X.shape[0], "n_features": X.shape[1], "seed": seed, "rtol": RTOL},
    )
    return ds, drawn


def _closer(panels: Panels) -> bool:
    worst = panels[""].saddle_distance.median("jump")
    return bool(np.all(np.diff(worst, axis=-1) < 0.0))


def _deep(panels: Panels) -> bool:
    last = panels[""].isel(scale=-1)
    deep = last.sel(depth=[3, 5])
    return bool((np.abs(deep.lag) < 1e-3).all() and (deep.saddle_distance < 1e-4).all())


ABOUT = About(
    "From saddle to saddle: the limit alpha to 0",
    (
        (
            "data",
            "not a figure of the paper",
            lambda p: (
                f"sparse regression, N = {p[''].attrs['n_samples']}, "
                f"d = {p[''].attrs['n_features']}, seed {p[''].attrs['seed']}"
            ),
        ),
        ("depth", "not a figure of the paper", lambda p: listed(p[""].depth.values)),
        (
            "alpha",
            "not a figure of the paper",
            lambda p: "; ".join(
                f"{', '.join(f'{alpha:g}' for alpha in own.values)} at depth {float(own.depth):g}"
                for own in p[""].alpha
            ),
        ),
    ),
    (
        Expectation(
            "at every depth, the smaller alpha, the nearer the flow is to the saddles (median)",
            _closer,
        ),
        Expectation(
            "at depths 3 and 5 and the smallest alpha: every jump within 1e-3 of its time, every "
            "saddle within 1e-4",
            _deep,
        ),
    ),
)


def run(settings: Settings) -> Outcome:
    """Write a panel for each depth; returns the table."""
    from matplotlib.figure import Figure

    ds, drawn = saddle_data(settings.quick, settings.seed, settings.backend, settings.jobs)
    figure = Figure(figsize=(12.0, 4.2), layout="constrained")
    for axis, (depth, (path, flows)) in zip(
        figure.subplots(1, len(drawn), sharey=True), drawn.items(), strict=True
    ):
        plot.rich_path(path, axis, flows=flows)
        axis.label_outer()
        axis.set_title(
            f"$D={depth}$, $N={ds.attrs['n_samples']}$, $d={ds.attrs['n_features']}$, "
            f"seed {settings.seed}", loc="left",
        )  # fmt: skip
    save(settings, "saddles", figure, {"": ds})
    header = ["depth", "alpha", "median lag", "largest lag", "median distance", "largest distance"]
    rows = []
    for depth, scales in SCALES.items():
        for a, alpha in enumerate(scales):
            own = ds.sel(depth=depth).isel(scale=a)
            lag, far = np.abs(own.lag.values), own.saddle_distance.values
            missed = bool(np.isnan(lag).any())
            rows.append([
                depth, f"{alpha:g}", float(np.nanmedian(lag)),
                np.nan if missed else float(lag.max()), float(np.median(far)), float(far.max()),
            ])  # fmt: skip
    title = (
        f"saddles: {ds.sizes['jump']} jumps; relative lag of the flow at each, and its distance "
        "from the saddle in the middle of each plateau (-: a jump that the flow does not show)"
    )
    return Outcome(table(title, header, rows), {"": ds})
