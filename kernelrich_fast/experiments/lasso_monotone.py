"""The mean of the predictor along a flow, beside lasso paths that are monotone and that are not.

Berthier, Diagonal Linear Networks and the Lasso Regularization Path, 2025, figure 1. A lasso path
x(lambda) is called monotone if every coordinate of x(lambda) / lambda is monotone in 1 / lambda.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .._types import FloatArray
from ..diagonal import flow_diagonal, limit_diagonal
from ..plot._axes import COLOURS, STYLES
from ..saddle_path import RichPath, rich_path
from .output import Expectation, Panels, Settings
from .words import listed

__all__ = ["EXPECTATIONS", "SETTINGS", "data", "draw", "instance", "lasso_path", "leaves",
           "mean_path", "monotone", "rows"]  # fmt: skip

SHAPE = (3, 4)
EPS = 1e-5
RTOL = 1e-8
DRAWS = 1000  # for the probability; the paper's number, and fast enough for quick versions
MEASURED, QUICK_MEASURED = 100, 20  # draws of which the largest gap is computed
POINTS, QUICK_POINTS, MEASURED_POINTS = 200, 40, 60
PROBABILITY, BOUND = 0.76, 0.04  # the paper's


def instance(seed: int) -> tuple[FloatArray, FloatArray]:
    """X and y with independent N(0, 1) entries: the targets are noise."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(SHAPE), rng.standard_normal(SHAPE[0])


def lasso_path(X: FloatArray, y: FloatArray, lam: FloatArray, **options: Any) -> FloatArray:
    """Argmin |X beta - y|^2 / 2 + lam |beta|_1, a row for each lam."""
    return limit_diagonal(X, y, alpha=1.0, weight_decay=2.0 * lam, **options).beta


def mean_path(X: FloatArray, y: FloatArray, s: FloatArray, **options: Any) -> FloatArray:
    """The mean of u v from 0 to t at s = 2 t / log(1 / eps), from u = sqrt(eps) and v = 0."""
    flow = flow_diagonal(
        X, y, model="product", loss_scale=0.5, averaged=True, rtol=RTOL,
        alpha=np.sqrt(0.5 * EPS),  # the model starts at u = sqrt(2) alpha
        t_eval=0.5 * np.log(1.0 / EPS) * s, **options,
    )  # fmt: skip
    if flow.beta_mean is None:  # asked for above
        raise AssertionError
    return flow.beta_mean


def leaves(path: RichPath) -> NDArray[np.bool_]:
    """At which jumps of rich paths a coefficient falls back to zero, (..., J)."""
    return np.asarray(np.any(path.active[..., :-1, :] & ~path.active[..., 1:, :], axis=-1))


def monotone(path: RichPath) -> NDArray[np.bool_]:
    """Whether the lasso paths of the same problems are monotone.

    Between two kinks x(lambda) / lambda is linear in 1 / lambda, and its slope is the least-squares
    fit over the features in the support. The path is monotone if and only if these fits have the
    signs of x. They are then the saddles of the rich path, the kinks are its jumps, and no
    coefficient leaves. If conversely none leaves, the integral of the rich path meets the
    optimality conditions of the lasso.
    """
    return np.asarray(~leaves(path).any(axis=-1))


def _gap(X: FloatArray, y: FloatArray, s: FloatArray, options: Any) -> tuple[FloatArray, ...]:
    """Mean and lasso at s, and (Lasso(mean) - Lasso*) / Lasso* of |Xx - y|^2 / 2 + |x|_1 / s."""
    mean, lasso = mean_path(X, y, s, **options), lasso_path(X, y, 1.0 / s, **options)
    value, least = (
        0.5 * np.sum((x @ X.T - y) ** 2, axis=-1) + np.abs(x).sum(axis=-1) / s
        for x in (mean, lasso)
    )
    return mean, lasso, value / least - 1.0


def _grid(path: RichPath, i: int, count: int) -> FloatArray:
    """Times s from half the first kink to ten times the last, of problem i."""
    times = path.jump_times[i][np.isfinite(path.jump_times[i])]
    return np.geomspace(0.5 * times[0], 10.0 * times[-1], count)


def data(settings: Settings) -> xr.Dataset:
    """Two instances of each kind, the first by seed, and statistics over many."""
    options: dict[str, Any] = {"backend": settings.backend, "num_threads": settings.jobs}
    quick, seeds = settings.quick, np.array(settings.seeds(DRAWS))
    draws = [instance(int(seed)) for seed in seeds]
    X, y = (np.stack(part) for part in zip(*draws, strict=True))
    path = rich_path(X, y, num_threads=settings.jobs)
    kind, leave = monotone(path), leaves(path)
    first = [int(i) for k in (True, False) for i in np.flatnonzero(kind == k)[:2]]
    s = np.stack([_grid(path, i, QUICK_POINTS if quick else POINTS) for i in first])
    shown = [_gap(*draws[i], own, options) for i, own in zip(first, s, strict=True)]
    largest = np.full(DRAWS, np.nan)
    for i in range(QUICK_MEASURED if quick else MEASURED):
        own = _grid(path, i, QUICK_POINTS if quick else MEASURED_POINTS)
        largest[i] = _gap(*draws[i], own, options)[2].max()
    times = np.where(leave, path.jump_times, np.inf).min(axis=-1)
    dims = ("instance", "time", "feature")
    mean, lasso, gap = (np.stack(part) for part in zip(*shown, strict=True))
    return xr.Dataset(
        {
            "s": (dims[:2], s), "beta_mean": (dims, mean), "lasso": (dims, lasso),
            "gap": (dims[:2], gap), "monotone": ("draw", kind.astype(np.float64)),
            "largest_gap": ("draw", largest),
        },
        coords={
            "instance": seeds[first], "draw": seeds, "first_leave": ("instance", times[first])
        },
        attrs={"n_samples": SHAPE[0], "n_features": SHAPE[1], "eps": EPS},
    )  # fmt: skip


def _of_kind(ds: xr.Dataset, kind: bool) -> xr.DataArray:
    """The largest gaps of the draws of a kind."""
    own: xr.DataArray = ds.largest_gap.where((ds.monotone > 0.5) == kind)
    return own.dropna("draw")


def _near(panels: Panels) -> bool:
    ds = panels["_monotone"]
    error = np.sqrt(PROBABILITY * (1.0 - PROBABILITY) / ds.sizes["draw"])
    return bool(abs(float(ds.monotone.mean()) - PROBABILITY) < 3.0 * error)


def _smaller(panels: Panels) -> bool:
    low, high = (_of_kind(panels["_monotone"], kind) for kind in (True, False))
    return bool(low.size and high.size and float(high.median()) > 2.0 * float(low.median()))


def _spike(panels: Panels) -> bool:
    """Of the instances that are not monotone."""
    ds = panels["_monotone"].isel(instance=[2, 3])
    s, gap = ds.s.values, ds.gap.values
    top = gap.argmax(axis=-1)
    after = s[[0, 1], top] > ds.first_leave.values
    return bool((after & (gap[:, -1] < 0.5 * gap.max(axis=-1)) & (gap.max(axis=-1) > 0.0)).all())


EXPECTATIONS = (
    Expectation(
        "N = 3, d = 4: where the lasso path is monotone, the gap stays below the paper's 0.04",
        lambda p: bool(0.0 < float(p["_monotone"].gap.isel(instance=[0, 1]).max()) < BOUND),
    ),
    Expectation(
        "over many instances the largest gap is, in the median, at least twice as large where the "
        "path is not monotone",
        _smaller,
    ),
    Expectation(
        "there the gap is largest after the path has ceased to be monotone, and then halves", _spike
    ),
    Expectation(
        "the path is monotone with a probability within three standard errors of 0.76", _near
    ),
)
SETTINGS: tuple[Any, ...] = (
    (
        "data, above",
        "X and y i.i.d. N(0, 1), N = 3, d = 4; two instances of each kind, seeds not stated "
        "(Berthier 2025, figure 1)",
        lambda p: f"the same, seeds {listed(p['_monotone'].instance.values)}: the first of a kind",
    ),
    (
        "start, above", "u = sqrt(eps), v = 0, eps = 1e-5",
        lambda p: f"the same, eps = {p['_monotone'].attrs['eps']:g}",
    ),
    ("lambda, above", "log(1 / eps) / (2 t); range not stated", "the same, range ours"),
    (
        "largest gaps, above", "below 0.04, those of monotone paths ten times smaller",
        lambda p: ", ".join(f"{gap:.3g}" for gap in p["_monotone"].gap.max("time").values),
    ),
    (
        "their medians, monotone and not", "not stated",
        lambda p: " and ".join(
            f"{float(_of_kind(p['_monotone'], kind).median()):.2g}" for kind in (True, False)
        ) + f", {int(np.isfinite(p['_monotone'].largest_gap).sum())} instances",
    ),
    (
        "share of monotone paths", "0.76 of 1000",
        lambda p: (
            f"{float(p['_monotone'].monotone.mean()):.3g} of {p['_monotone'].sizes['draw']}"
        ),
    ),
)  # fmt: skip


def draw(axes: Any, ds: xr.Dataset) -> None:
    """The coordinates of each instance against s, and their gap below."""
    for column, seed in enumerate(ds.instance.values):
        upper, lower = axes[:, column]
        own = ds.sel(instance=seed)
        for k in range(ds.sizes["feature"]):
            for name, style in (("beta_mean", STYLES[0]), ("lasso", STYLES[1])):
                upper.plot(own.s, own[name].isel(feature=k), color=COLOURS[k], linestyle=style)
        lower.plot(own.s, own.gap, color=COLOURS[0])
        lower.axhline(BOUND, color="0.4", linestyle="-.", linewidth=1.0)
        leave = float(own.first_leave)
        if np.isfinite(leave):
            for axis in (upper, lower):
                axis.axvline(leave, color="0.5", linestyle=":")
        kind = "monotone" if column < 2 else "not monotone"
        upper.set_title(f"seed {seed}: {kind}", loc="left", fontsize="medium")
        upper.set(xscale="log")
        upper.tick_params(labelbottom=False)
        lower.tick_params(labelleft=column == 0)
        lower.set(xscale="log", yscale="log", ylim=(1e-4, 0.2),
                  xlabel=r"$s=2t/\log(1/\epsilon)=1/\lambda$")  # fmt: skip
    axes[0, 0].set_ylabel("coefficients")
    axes[1, 0].set_ylabel("suboptimality gap, relative")


def rows(ds: xr.Dataset) -> list[list[object]]:
    """Of the table: the instances shown, and the median over many of each kind."""
    found: list[list[object]] = [
        [f"seed {seed}", "yes" if i < 2 else "no", float(own.max()), float(own[-1])]
        for i, (seed, own) in enumerate(zip(ds.instance.values, ds.gap, strict=True))
    ]
    for kind in (True, False):
        own = _of_kind(ds, kind)
        label = f"median of {own.size}"
        found.append([label, "yes" if kind else "no", float(own.median()), np.nan])
    return found
