"""Scale and accuracy in classification: how small a loss must be before its limit sets in.

After Moroshko et al., Implicit Bias in Deep Linear Classification: Initialization Scale vs Training
Accuracy, NeurIPS 2020: the exponential loss, from 1 down to exp(-1e12).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from .. import datasets
from .._types import FloatArray
from ..plot._axes import legend_below, line_style
from ..plot._labels import equations, number
from ..sweeps import sweep_diagonal
from .output import About, Expectation, Outcome, Panels, Settings, save, table
from .words import listed

__all__ = ["ABOUT", "run", "signed_data"]

SHAPE, QUICK_SHAPE = (30, 100, 3), (8, 20, 2)
ALPHAS, QUICK_ALPHAS = np.geomspace(1e-3, 10.0, 25), np.geomspace(1e-3, 10.0, 9)
DRAWN = (1e-3, 1e-2, 0.1, 1.0)
DEPTHS, DEPTH_ALPHA = (2.0, 2.5, 3.0, 4.0), 0.1
LAST = 1e12  # -ln L
COUNT, QUICK_COUNT = 97, 25
LEAST_DOUBLE = 745.0  # -ln of it


def signed_data(quick: bool, seed: int) -> tuple[FloatArray, FloatArray]:
    """Gaussian inputs, and the signs of a sparse truth."""
    shape = QUICK_SHAPE if quick else SHAPE
    X, y, _ = datasets.sparse_regression(*shape, noise_variance=0.0, seed=seed)
    return X, np.sign(y)


def _panels(settings: Settings) -> Panels:
    X, y = signed_data(settings.quick, settings.seed)
    backend, progress, threads = settings.how
    levels = -np.geomspace(1.0, LAST, QUICK_COUNT if settings.quick else COUNT)
    options: dict[str, Any] = {
        "loss": "exponential", "log_loss_eval": levels, "backend": backend, "progress": progress,
        "num_threads": threads,
    }  # fmt: skip
    alphas = QUICK_ALPHAS if settings.quick else ALPHAS
    panels = {
        "_scale": sweep_diagonal(X, y, alpha=alphas, **options),
        "_depth": sweep_diagonal(X, y, alpha=DEPTH_ALPHA, depth=DEPTHS, **options),
    }
    return {name: ds.assign_attrs(seed=settings.seed) for name, ds in panels.items()}


def _falls(panels: Panels) -> bool:
    ds = panels["_scale"]
    return bool((ds.excess_l1.isel(log_loss=-1) < 0.02).all())


def _late(panels: Panels) -> bool:
    """At the scale of one, at a loss of 10^-300."""
    own = panels["_scale"].sel(alpha=1.0, method="nearest")
    return float(own.excess_l1.interp(log_loss=np.log(1e-300))) > 0.05


def _joint(panels: Panels) -> bool:
    """On the side of large scales, -ln L at the critical loss over alpha, as a power."""
    critical = panels["_scale"].critical_loss
    large = critical.where(critical.alpha > 0.5, drop=True)
    if not bool((large < 0.0).all() and np.isfinite(large).all()):
        return False
    power = np.polyfit(np.log(large.alpha), np.log(-large), 1)[0]
    return bool(1.7 < power < 2.3)


def _turns(panels: Panels) -> bool:
    """The scale at which 10 % are reached first is neither the smallest nor the largest."""
    return (
        0
        < int(np.argmax(panels["_scale"].critical_loss.values))
        < panels["_scale"].sizes["alpha"] - 1
    )


def _apart(panels: Panels) -> bool:
    """Beyond depth 2 the end is a stationary point, not the l1 maximum margin."""
    last = panels["_depth"].excess_l1.isel(log_loss=-1)
    return bool((last.sel(depth=[3.0, 4.0]) > 10.0 * last.sel(depth=2.0)).all())


ABOUT = About(
    "Classification: scale and training loss",
    (
        (
            "data",
            "sparse classification",
            lambda p: (
                f"signs of a sparse truth, N = {p['_scale'].attrs['n_samples']}, "
                f"d = {p['_scale'].attrs['n_features']}, seed {p['_scale'].attrs['seed']}"
            ),
        ),
        (
            "alpha",
            "from rich to kernel",
            lambda p: f"{float(p['_scale'].alpha[0]):g} to {float(p['_scale'].alpha[-1]):g}",
        ),
        ("depth", "2 and more", lambda p: listed(p["_depth"].depth.values)),
        (
            "training loss",
            "limits set in far below 1e-100, the authors say",
            lambda p: f"1/e to exp({float(p['_scale'].log_loss[-1]):.0e})",
        ),
    ),
    (
        Expectation(
            "at depth 2 every scale comes within 2 % of the l1 maximum margin by exp(-1e12)", _falls
        ),
        Expectation("at alpha = 1 it is more than 5 % away at a loss of 1e-300", _late),
        Expectation(
            "for alpha above 0.5, ln(1/L) where 10 % are reached grows like alpha^2: mu counts",
            _joint,
        ),
        Expectation("10 % are reached first at a scale in between, not at the smallest", _turns),
        Expectation(
            "depths 3 and 4 end at other directions: ten times the excess of depth 2 or more",
            _apart,
        ),
    ),
    panels=("_scale", "_depth"),
)


def run(settings: Settings) -> Outcome:
    """Write excesses over the loss, a map over scale and loss, and depths; returns the table."""
    from matplotlib.figure import Figure

    panels = _panels(settings)
    figure = Figure(figsize=(13.0, 4.8), layout="constrained")
    axes = figure.subplots(1, 3)
    _draw_scales(axes[0], panels["_scale"])
    _draw_map(figure, axes[1], panels["_scale"])
    _draw_depths(axes[2], panels["_depth"])
    save(settings, "margins", figure, panels)
    ds = panels["_scale"]
    rows = []
    for alpha in _drawn(ds):
        own = ds.sel(alpha=alpha)
        excess = own.excess_l1.interp(log_loss=[np.log(1e-12), np.log(1e-300), -1e6, -LAST])
        rows.append([f"{alpha:.3g}", *map(float, excess), float(own.critical_loss)])
    header = [
        "alpha", "excess at 1e-12", "at 1e-300", "at exp(-1e6)", "at exp(-1e12)",
        "ln L for 10 %",
    ]  # fmt: skip
    title = (
        "margins: l1 norm of the direction over that of the l1 maximum margin, less one, at depth 2"
    )
    return Outcome(table(title, header, rows), panels)


def _drawn(ds: xr.Dataset) -> list[float]:
    near = [float(ds.alpha.sel(alpha=alpha, method="nearest")) for alpha in DRAWN]
    return sorted(set(near))


def _draw_scales(axis: Any, ds: xr.Dataset) -> None:
    drawn = _drawn(ds)
    for k, label in enumerate(equations(r"\alpha", drawn)):
        own = ds.excess_l1.sel(alpha=drawn[k])
        axis.plot(-ds.log_loss, own, label=label, **line_style(k))
    _finish(axis, ds, "a  $D=2$")


def _draw_depths(axis: Any, ds: xr.Dataset) -> None:
    for k, depth in enumerate(ds.depth.values):
        own = ds.excess_l1.sel(depth=depth)
        axis.plot(-ds.log_loss, own, label=f"$D={depth:g}$", **line_style(k))
    axis.set_ylim(bottom=0.1 * float(ds.excess_l1.min()))
    _finish(axis, ds, rf"c  $\alpha={number(float(ds.alpha))}$")


def _finish(axis: Any, ds: xr.Dataset, what: str) -> None:
    axis.axvline(LEAST_DOUBLE, color="0.4", linestyle=":", label="$L$ is the smallest double")
    axis.set(
        xscale="log", yscale="log", xlabel=r"$\ln(1/L)$",
        ylabel=r"excess of $\|\beta\|_1$ at margin 1",
    )  # fmt: skip
    size = f"$N={ds.attrs['n_samples']}$, $d={ds.attrs['n_features']}$"
    axis.set_title(f"{what}, {size}, seed {ds.attrs['seed']}", loc="left", fontsize="medium")
    legend_below(axis)


def _draw_map(figure: Any, axis: Any, ds: xr.Dataset) -> None:
    """Excess over scale and loss, where it is 10 %, and lines of constant mu."""
    excess = ds.excess_l1.transpose("log_loss", "alpha")
    levels = np.arange(-4.0, 0.51, 0.5)
    shades = axis.contourf(
        ds.alpha, -ds.log_loss, np.log10(np.maximum(excess, 1e-5)), levels, cmap="viridis",
        extend="both",
    )  # fmt: skip
    figure.colorbar(shades, ax=axis, label=r"$\log_{10}$ of the excess")
    inside = ds.critical_loss.where(np.isfinite(ds.critical_loss))
    axis.plot(ds.alpha, -inside, color="white", linestyle="--", label="excess 10 %")
    for mu, look in ((1e-6, "-"), (1e-3, "-."), (1.0, ":")):
        axis.plot(
            ds.alpha, ds.alpha**2 / mu, color="black", linewidth=1.0, linestyle=look,
            label=rf"$\mu={number(mu)}$",
        )  # fmt: skip
    axis.set(
        xscale="log", yscale="log", xlabel=r"$\alpha$", ylabel=r"$\ln(1/L)$",
        ylim=(float(-ds.log_loss[0]), float(-ds.log_loss[-1])),
    )  # fmt: skip
    axis.set_title(r"b  $D=2$; $\mu=\alpha^2/\ln(1/L)$", loc="left", fontsize="medium")
    legend_below(axis, facecolor="0.75")
