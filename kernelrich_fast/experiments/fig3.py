"""Figure 3: depth."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .. import plot
from ..theory import q_potential
from ..theory.critical import median_critical_alpha
from .fig1 import critical_table
from .output import About, Expectation, Outcome, Panels, Settings, rising, save, table
from .sample_complexity import critical_alpha_data
from .words import averaged, listed, spanned

__all__ = ["ABOUT", "depth_potential_data", "run", "sparsity_ratio_data"]

DEPTHS = (2, 3, 5, 10, 100)
WIDTH = 16.0
MEETING = 4.0  # |z| at which the rescaled curves of panel a agree
N_FEATURES_B = 100
DEPTHS_C = (2, 3, 5, 8)
N_SAMPLES_C = (52, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100, 125, 250, 500)


def depth_potential_data(points: int) -> xr.Dataset:
    """q_D on [-16, 16], each multiplied so that it agrees with q_2 at |z| = 4."""
    z = np.linspace(-WIDTH, WIDTH, points)
    target = float(q_potential([MEETING], 1.0, 2))
    q = [
        q_potential(z[:, None], 1.0, D) * (target / float(q_potential([MEETING], 1.0, D)))
        for D in DEPTHS
    ]
    return xr.Dataset({"q": (("depth", "z"), np.stack(q))}, coords={"depth": list(DEPTHS), "z": z})


def sparsity_ratio_data(points: int) -> xr.Dataset:
    """Q(e_1) / Q(1_d / sqrt d) over ln alpha^D in [-8, 1], d = 100."""
    log_scale = np.linspace(-8.0, 1.0, points)
    sparse = np.zeros(N_FEATURES_B)
    sparse[0] = 1.0
    dense = np.full(N_FEATURES_B, N_FEATURES_B**-0.5)
    ratio = [
        q_potential(sparse, np.exp(log_scale / D), D) / q_potential(dense, np.exp(log_scale / D), D)
        for D in DEPTHS
    ]
    return xr.Dataset(
        {"ratio": (("depth", "log_scale"), np.stack(ratio))},
        coords={"depth": list(DEPTHS), "log_scale": log_scale},
    )


def _heights(q: xr.DataArray) -> xr.DataArray:
    return q.isel(z=-1) / q.isel(z=-1).sel(depth=2)


def _sizes(panels: Panels) -> str:
    c = panels["c"]
    size = f"d = {c.attrs['n_features']}, r* = {c.attrs['sparsity']}"
    return f"D = {listed(c.depth)}, {size}, N = {listed(c.n_samples)}"


def _potentials(panels: Panels) -> str:
    z, depths = panels["a"].z.values, listed(panels["a"].depth)
    return f"q_D on [{z[0]:g}, {z[-1]:g}], equal at |z| = {MEETING:g}, D = {depths}"


def _ratios(panels: Panels) -> str:
    x = panels["b"].log_scale.values
    return f"d = {N_FEATURES_B}, ln alpha^D: {spanned(x)}"


def _seeds(panels: Panels) -> str:
    return averaged("median", panels["c"].sizes["seed"], "nested draw")


ABOUT = About(
    "Figure 3: depth",
    (
        ("a", "q_D on [-16, 16], equal at |z| = 4, D = 2, 3, 5, 10, 100", _potentials),
        ("b", "Q(e_1) / Q(1 / sqrt d), d = 100, ln alpha^D from -8 to 1", _ratios),
        ("c", "as figure 1c for D = 2, 3, 5, 8, with alpha^D", _sizes),
        ("seeds of panel c", "not stated", _seeds),
    ),
    (
        Expectation(
            "a: at the end the curves stand at 0.829, 0.736, 0.685 and 0.647 of that of D = 2",
            lambda p: bool(
                np.allclose(_heights(p["a"].q)[1:], [0.829, 0.736, 0.685, 0.647], atol=1e-3)
            ),
        ),
        Expectation(
            "b: at ln alpha^D = -8 the ratio is 0.149, 0.115, 0.106 and 0.102 for D = 2, 3, 5, 100",
            lambda p: bool(
                np.allclose(
                    p["b"].ratio.sel(depth=[2, 3, 5, 100], log_scale=-8.0),
                    [0.149, 0.115, 0.106, 0.102],
                    atol=1e-3,
                )
            ),
        ),
        Expectation(
            "c: the deeper the network, the larger the alpha^D that still generalises",
            lambda p: rising(
                median_critical_alpha(p["c"].critical_alpha ** p["c"].depth).transpose(
                    ..., "depth"
                ),
                0.01,
            ),
        ),
    ),
    panels=("a", "b", "c"),
)


def run(settings: Settings) -> Outcome:
    """Write all panels; returns the table."""
    from matplotlib.figure import Figure

    quick = settings.quick
    a, b = depth_potential_data(33 if quick else 513), sparsity_ratio_data(10 if quick else 181)
    c = critical_alpha_data(
        depths=(2, 3) if quick else DEPTHS_C,
        n_samples=(60, 100, 200) if quick else N_SAMPLES_C,
        n_features=300 if quick else 1000,
        sparsity=5,
        seeds=settings.seeds(1 if quick else 3),
        backend=settings.backend,
        progress=settings.progress,
        num_threads=settings.jobs,
    )
    figure = Figure(figsize=(12.0, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    plot.depth_potentials(a, axes[0])
    plot.sparsity_ratio(b, axes[1])
    plot.critical_alpha(c, axes[2], power=True)
    titles = (
        rf"a  $\alpha=1$, equal at $|z|={MEETING:g}$", f"b  $d={N_FEATURES_B}$", "c  critical scale"
    )  # fmt: skip
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, loc="left")
    panels = {"a": a, "b": b, "c": c}
    save(settings, "fig3", figure, panels)
    header = [f"D={D}" for D in DEPTHS]
    ends = [_heights(a.q).values.tolist()]
    ratios = [
        [s, *(float(b.ratio.sel(depth=D, log_scale=s, method="nearest")) for D in DEPTHS)]
        for s in (-8.0, -4.0, -2.0, 0.0)
    ]
    tables = [
        table("figure 3a: height at |z| = 16 relative to D = 2", header, ends),
        table("figure 3b: Q(e_1) / Q(1/sqrt d), d = 100", ["ln alpha^D", *header], ratios),
        critical_table("figure 3c", c),
    ]
    return Outcome("\n\n".join(tables), panels)
