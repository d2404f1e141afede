"""Figure 2: the implicit potential q against the explicit one r."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .. import plot
from ..theory import q_potential, r_potential
from .output import About, Expectation, Outcome, Settings, save, table

__all__ = ["ABOUT", "potential_data", "run"]


def potential_data(points: int) -> xr.Dataset:
    """Q and r on [-25, 25]."""
    z = np.linspace(-25.0, 25.0, points)
    q, r = q_potential(z[:, None], 1.0), r_potential(z[:, None], 1.0)
    return xr.Dataset({"q": ("z", q), "r": ("z", r)}, coords={"z": z})


ABOUT = About(
    "Figure 2: the implicit potential q and the explicit one, r",
    (
        (
            "range",
            "z in [-25, 25], curves rescaled to meet at the ends",
            lambda p: f"z in [{float(p[''].z[0]):g}, {float(p[''].z[-1]):g}], rescaled likewise",
        ),
    ),
    (
        Expectation(
            "q(25) = 57.43 and r(25) = 16.44, both zero at zero",
            lambda p: bool(
                abs(p[""].q[-1] - 57.43) < 0.01
                and abs(p[""].r[-1] - 16.44) < 0.01
                and np.abs(p[""][["q", "r"]].sel(z=0.0).to_array()).max() < 1e-12
            ),
        ),
        Expectation(
            "rescaled, r lies above q everywhere between",
            lambda p: bool(np.all(p[""].r / p[""].r[-1] >= p[""].q / p[""].q[-1] - 1e-12)),
        ),
    ),
)


def run(settings: Settings) -> Outcome:
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
    text = table("figure 2: implicit q and explicit r", ["z", "q(z)", "r(z)"], rows)
    return Outcome(text, {"": ds})
