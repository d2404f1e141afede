"""Figure 3: depth."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .. import plot
from ..theory import q_potential
from .fig1 import critical_table
from .output import Settings, save, table
from .sample_complexity import critical_alpha_data

__all__ = ["depth_potential_data", "run", "sparsity_ratio_data"]

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


def run(settings: Settings) -> str:
    """Write all panels; returns the table."""
    from matplotlib.figure import Figure

    quick = settings.quick
    a, b = depth_potential_data(33 if quick else 513), sparsity_ratio_data(10 if quick else 181)
    c = critical_alpha_data(
        depths=(2, 3) if quick else DEPTHS_C,
        n_samples=(60, 100, 200) if quick else N_SAMPLES_C,
        n_features=300 if quick else 1000,
        sparsity=5,
        seeds=range(1 if quick else 3),
        backend=settings.backend,
        progress=settings.progress,
    )
    figure = Figure(figsize=(12.0, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    plot.depth_potentials(a, axes[0])
    plot.sparsity_ratio(b, axes[1])
    plot.critical_alpha(c, axes[2], power=True)
    for axis, title in zip(axes, "abc", strict=True):
        axis.set_title(title, loc="left")
    save(settings, "fig3", figure, {"a": a, "b": b, "c": c})
    header = [f"D={D}" for D in DEPTHS]
    ends = [[float(a.q.sel(depth=D)[-1] / a.q.sel(depth=2)[-1]) for D in DEPTHS]]
    ratios = [
        [s, *(float(b.ratio.sel(depth=D, log_scale=s, method="nearest")) for D in DEPTHS)]
        for s in (-8.0, -4.0, -2.0, 0.0)
    ]
    return "\n\n".join(
        [
            table("figure 3a: height at |z| = 16 relative to D = 2", header, ends),
            table("figure 3b: Q(e_1) / Q(1/sqrt d), d = 100", ["ln alpha^D", *header], ratios),
            critical_table("figure 3c", c),
        ]
    )
