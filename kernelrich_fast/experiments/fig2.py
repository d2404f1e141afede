"""Figure 2: the implicit potential q against the explicit one r."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .. import plot
from ..theory import q_potential, r_potential
from .output import Settings, save, table

__all__ = ["potential_data", "run"]


def potential_data(points: int) -> xr.Dataset:
    """Q and r on [-25, 25]."""
    z = np.linspace(-25.0, 25.0, points)
    q, r = q_potential(z[:, None], 1.0), r_potential(z[:, None], 1.0)
    return xr.Dataset({"q": ("z", q), "r": ("z", r)}, coords={"z": z})


def run(settings: Settings) -> str:
    """Write the figure; returns the table."""
    from matplotlib.figure import Figure

    ds = potential_data(51 if settings.quick else 501)
    figure = Figure(figsize=(4.0, 3.0), layout="constrained")
    plot.potentials(ds, figure.subplots())
    save(settings, "fig2", figure, {"": ds})
    rows = [
        [z, float(ds.q.sel(z=z, method="nearest")), float(ds.r.sel(z=z, method="nearest"))]
        for z in (0.0, 1.0, 5.0, 10.0, 25.0)
    ]
    return table("figure 2: implicit q and explicit r", ["z", "q(z)", "r(z)"], rows)
