"""Constant and decaying weight decay from a kernel start, in the setting of a paper.

Jacobs and Burkholz, Mask in the Mirror: Implicit Sparsification, 2024, figures 1, 4 and 5: x = m w
with decay alpha_t (|m|^2 + |w|^2), from m w = x_0 and m^2 - w^2 = 1. The values of alpha_t, and
what their k counts, are ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from .. import datasets, schedules
from .._types import FloatArray
from ..diagonal import flow_diagonal, limit_diagonal
from ..plot._axes import draw_mean
from ..plot._data import spread_title
from ..plot._labels import equations
from ..schedules import Schedule
from .output import Expectation, Panels, Settings
from .words import averaged, listed

__all__ = ["EXPECTATIONS", "SETTINGS", "data", "draw", "product_flow", "rows", "start_profiles"]

SHAPE = (40, 100, 5)
SEEDS = 5
CONSTANTS = (1e-3, 1e-2, 1e-1, 1.0)
RATIO = 0.95
NONE, HARMONIC, QUADRATIC, GEOMETRIC = "no decay", "1/k", "1/k^2", "0.95^k"
END = 1000  # of time, in which k counts units
TIME = "time $t$ (one unit is $10^4$ steps of size $10^{-4}$)"
SCALE = 0.5  # of w_plus and w_minus: their product at the start is (m^2 - w^2) / 4


def _schedules() -> dict[str, Schedule]:
    k = np.arange(1.0, END + 1.0)
    constant = {f"{lam:g}": schedules.piecewise([(0.0, lam)]) for lam in (0.0, *CONSTANTS)}
    return {
        NONE: constant.pop("0"),
        **constant,
        HARMONIC: schedules.piecewise(zip(k - 1.0, 1.0 / k, strict=True)),
        QUADRATIC: schedules.piecewise(zip(k - 1.0, k**-2.0, strict=True)),
        GEOMETRIC: schedules.exponential(1.0, -np.log(RATIO)),  # 0.95^t
    }


def start_profiles(x0: FloatArray) -> dict[str, Any]:
    """The start m w = x0, m^2 - w^2 = 1, as arguments of `flow_diagonal` and `limit_diagonal`.

    There w_plus = |m + w| / 2 and w_minus = |m - w| / 2, so that w_plus^2 - w_minus^2 = x0 and
    w_plus w_minus = 1/4.
    """
    larger = np.sqrt(0.5 * (np.sqrt(x0**2 + 4.0 * SCALE**4) + np.abs(x0))) / SCALE
    plus = np.where(x0 > 0.0, larger, 1.0 / larger)
    return {"w_plus0": plus, "w_minus0": 1.0 / plus}


def product_flow(
    X: FloatArray, y: FloatArray, x0: FloatArray, decay: Schedule, times: FloatArray, **options: Any
) -> FloatArray:
    """The product m w along m' = -grad f w - 2 decay m and w' = -grad f m - 2 decay w.

    f is the mean squared error, and its gradient that with respect to m w. The flow of w_plus^2 -
    w_minus^2 takes half the time of m w (docs/conventions.md).
    """
    return flow_diagonal(
        X, y, alpha=SCALE, **start_profiles(x0), loss_scale=1.0 / X.shape[-2],
        weight_decay=decay.at_pace(0.5), t_eval=0.5 * times, **options,
    ).beta  # fmt: skip


def data(settings: Settings) -> xr.Dataset:
    """Errors |x_t - x*|_2 under every schedule, from every start."""
    backend, _, threads = settings.how
    options: dict[str, Any] = {"backend": backend, "num_threads": threads}
    X, y, star = datasets.sparse_regression(*SHAPE, noise_variance=0.0, seed=settings.seed)
    seeds, d = settings.seeds(SEEDS), SHAPE[1]
    # I / sqrt(n) in N(0, I / sqrt(n)) is read as the covariance, so that the deviation is n^(-1/4).
    x0 = np.stack([np.random.default_rng(seed).normal(0.0, d**-0.25, d) for seed in seeds])
    times = np.geomspace(0.01, END, 30 if settings.quick else 120)
    every = _schedules()
    errors = {
        name: product_flow(X, y, x0, each, times, **options) - star for name, each in every.items()
    }
    strength = {name: float(each.integral(float(END))) for name, each in every.items()}
    limit = np.full((len(every), SEEDS), np.nan)
    for i, name in enumerate(every):
        if name in (NONE, QUADRATIC):  # the decay has ended, but for 1e-6
            small = limit_diagonal(
                X, y, alpha=SCALE * np.exp(-2.0 * strength[name]), **start_profiles(x0), **options
            )
            limit[i] = np.linalg.norm(small.beta - star, axis=-1)
    return xr.Dataset(
        {
            "error": (
                ("schedule", "seed", "time"), np.linalg.norm(np.stack([*errors.values()]), axis=-1)
            ),
            "limit_error": (("schedule", "seed"), limit),
            "strength": ("schedule", list(strength.values())),
        },
        coords={"schedule": list(every), "seed": list(seeds), "time": times},
        attrs={"n_samples": SHAPE[0], "n_features": d, "data_seed": settings.seed},
    )  # fmt: skip


def _ends(ds: xr.Dataset, names: list[str]) -> FloatArray:
    """Errors at the last time, the mean over the starts."""
    return np.asarray(ds.error.sel(schedule=names).isel(time=-1).mean("seed"), dtype=np.float64)


def _between(panels: Panels) -> bool:
    ends = _ends(panels["_schedules"], [f"{lam:g}" for lam in CONSTANTS])
    return 0 < int(np.argmin(ends)) < len(ends) - 1


def _nearer(panels: Panels) -> bool:
    ds = panels["_schedules"]
    constant = _ends(ds, [f"{lam:g}" for lam in CONSTANTS])
    return bool((_ends(ds, [HARMONIC, GEOMETRIC]) < constant.min()).all())


def _strength(panels: Panels) -> bool:
    ds = panels["_schedules"].sel(schedule=QUADRATIC)
    last, limit = float(ds.error.isel(time=-1).mean()), float(ds.limit_error.mean())
    return bool(limit > 0.0 and abs(last / limit - 1.0) < 0.01)


EXPECTATIONS = (
    Expectation(
        "of constant decays one in between ends nearest to the truth: weaker ones have not turned "
        "rich by then, and stronger ones shrink the solution",
        _between,
    ),
    Expectation("decays of 1/k and 0.95^k end nearer than every constant one", _nearer),
    Expectation(
        "1/k^2, whose integral Lambda stays finite, ends within 1 % of the error of a start "
        "smaller by e^(-2 Lambda) without decay",
        _strength,
    ),
)
SETTINGS: tuple[Any, ...] = (
    (
        "data, above",
        "n = 100 features, 40 samples, mean squared error; 5 non-zero coefficients, values and "
        "seeds not stated (Jacobs and Burkholz 2024, figures 1, 4 and 5)",
        lambda p: "the same, non-zero coefficients 1 / sqrt(5), no noise, loss |X x - y|^2 / 40",
    ),
    (
        "start, above",
        "m w from N(0, I / sqrt(n)), m^2 - w^2 = 1; averages over 5 starts",
        lambda p: (
            "the same, I / sqrt(n) read as the covariance; "
            + averaged("mean", p["_schedules"].sizes["seed"], "error")
        ),
    ),
    (
        "training, above",
        "gradient descent, step 1e-4",
        lambda p: (
            "gradient flow up to t = "
            f"{float(p['_schedules'].time[-1]):g}; one unit of time is 10,000 steps"
        ),
    ),
    (
        "weight decay, above",
        "four constants, 1/k, 1/k^2, 0.95^k; constants, factors and unit of k not stated",
        lambda p: (
            f"{listed(CONSTANTS)}; 1/k and 1/k^2 with k = 1, 2, ... constant over one "
            "unit of time each, and 0.95^t"
        ),
    ),
)


def draw(axes: Any, ds: xr.Dataset) -> None:
    """Errors over time: constant decay in the left panel, decaying in the right one."""
    left, right = axes
    constant = [f"{lam:g}" for lam in CONSTANTS]
    labels = dict(zip(constant, equations(r"\lambda", CONSTANTS), strict=True))
    for axis, names in ((left, constant), (right, [HARMONIC, QUADRATIC, GEOMETRIC])):
        for index, name in enumerate([NONE, *names]):
            label = labels.get(name, name if name == NONE else rf"$\lambda={name}$")
            draw_mean(axis, ds.time, ds.error.sel(schedule=name), label, index)
        axis.set(xscale="log", yscale="log", xlabel=TIME)
        title = spread_title(ds.error, seed="start")
        axis.legend(fontsize="small", title_fontsize="small", title=title, loc="lower left")
    left.set_ylabel(r"error $\|x_t - x^\star\|_2$")
    size = f"$N={ds.attrs['n_samples']}$, $d={ds.attrs['n_features']}$"
    left.set_title(
        f"{size}, data of seed {ds.attrs['data_seed']}, {ds.sizes['seed']} starts, decay constant",
        loc="left", fontsize="medium",
    )  # fmt: skip
    right.set_title(r"decay falls: $k$ counts units of time", loc="left", fontsize="medium")


def rows(ds: xr.Dataset) -> list[list[object]]:
    """Of the table: integral of the decay, errors on the way and at the end."""
    found: list[list[object]] = []
    for name in ds.schedule.values:
        own = ds.sel(schedule=name)
        at = [float(own.error.sel(time=t, method="nearest").mean()) for t in (10.0, 100.0)]
        last = own.error.isel(time=-1)
        spread, limit = float(last.std(ddof=1)), float(own.limit_error.mean())
        found.append([name, float(own.strength), *at, float(last.mean()), spread, limit])
    return found
