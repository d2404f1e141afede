"""Every kind of figure, its colours and lines; and images in tests/baseline, without text.

    pytest tests/package/test_plot_images.py --mpl-generate-path=tests/baseline

makes the images anew. Text is left out because fonts differ between machines; what axes say is in
test_plot.py.
"""

from __future__ import annotations

import itertools
from functools import partial
from importlib.util import find_spec

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import LogNorm, to_rgb

import kernelrich_fast as krf
from kernelrich_fast.plot._axes import COLOURS, STYLES, line_style

ALPHA = np.geomspace(1e-3, 1.0, 7)


def diagonal() -> xr.Dataset:
    """What a sweep over depths and scales might give."""
    depth = np.array([2, 3, 5])
    s = ALPHA ** depth[:, None]
    values = {
        "population_error": s / (0.01 + s),
        "excess_l1": 2.0 * s / (0.03 + s),
        "excess_l2": 0.2 / (1.0 + 50.0 * s),
    }
    return xr.Dataset(
        {name: (("depth", "alpha"), v) for name, v in values.items()},
        coords={"depth": depth, "alpha": ALPHA},
    )


def factorization() -> xr.Dataset:
    """Likewise over widths, scales and seeds."""
    width = np.array([10, 1000, 50_000])
    size = ALPHA[:, None] ** 2 * width[:, None, None] * np.array([0.9, 1.1])
    values = {
        "excess_nuclear_norm": np.log1p(size),
        "unobserved_movement": 3.0 / (1.0 + size),
        "test_rmse": 0.1 + size / (1.0 + size),
    }
    return xr.Dataset(
        {name: (("width", "alpha", "seed"), v) for name, v in values.items()},
        coords={"width": width, "alpha": ALPHA, "seed": [0, 1]},
    )


def networks() -> xr.Dataset:
    """Likewise over depths, scales of each depth, and seeds."""
    depth = np.array([2, 3, 5])
    scale = np.geomspace(0.1, [5.0, 3.5, 2.8], 6).T
    error = scale[..., None] / (3.0 + scale[..., None]) * np.array([0.25, 0.3, 0.35])
    names = ("test_rmse", "feature_distance", "test_error", "kernel_error", "last_layer_error")
    return xr.Dataset(
        {n: (("depth", "alpha", "seed"), error * (1 + i)) for i, n in enumerate(names)},
        coords={
            "depth": depth, "alpha": np.arange(1, 7), "seed": [0, 1, 2],
            "scale": (("depth", "alpha"), scale),
        },
    )  # fmt: skip


def critical() -> xr.Dataset:
    """Likewise for the critical scale, which does not exist for few samples."""
    n = np.array([55, 60, 80, 100, 250])
    values = np.stack([np.clip((n - 54.0) / 1e3, 0.0, 1.0) * f for f in (0.5, 1.0, 1.2)])
    values[0, 0] = 0.0
    return xr.Dataset(
        {
            "critical_alpha": (("depth", "seed", "n_samples"), np.stack([values, 2 * values])),
            "n_samples_l1": ("seed", [51.0, 52.0, 53.0]),
        },
        coords={"depth": [2, 3], "n_samples": n, "seed": [0, 1, 2]},
    )


def univariate() -> xr.Dataset:
    """Likewise for functions of one variable."""
    x, X = np.linspace(-1, 1, 41), np.linspace(-1, 1, 5)
    y = np.array([0.0, 0.0, 1.0, 0.0, 0.0])
    spline = np.interp(x, X, y)
    bump = np.cos(np.pi * x / 2) - spline
    alpha = [0.01, 1.0, 10.0]
    return xr.Dataset(
        {
            "prediction": (("alpha", "x"), np.stack([spline + f * bump for f in (0, 0.5, 1)])),
            "linear_spline": ("x", spline),
            "cubic_spline": ("x", spline + 0.8 * bump),
            "X": ("sample", X),
            "y": ("sample", y),
        },
        coords={"alpha": alpha, "x": x},
    )


def path() -> xr.Dataset:
    """Likewise for losses in time."""
    t = np.geomspace(1e-3, 10.0, 60)
    delay = np.array([[3.0], [1.0], [0.1]])
    return xr.Dataset(
        {"loss": (("alpha", "time"), np.exp(-np.maximum(t - delay, 0.0)))},
        coords={"alpha": [1e-6, 1e-3, 1.0], "time": t},
    )


def potentials() -> xr.Dataset:
    """Q and r themselves."""
    z = np.linspace(-25.0, 25.0, 51)
    q = krf.theory.q_potential(z[:, None], 1.0)
    r = krf.theory.r_potential(z[:, None], 1.0)
    return xr.Dataset({"q": ("z", q), "r": ("z", r)}, coords={"z": z})


def depths(name: str, dim: str) -> xr.Dataset:
    """Curves per depth."""
    x, depth = np.linspace(-8.0, 1.0, 31), np.array([2, 3, 5, 10, 100])
    values = np.stack([x**2 / (1.0 + 0.01 * D * abs(x)) for D in depth])
    return xr.Dataset({name: (("depth", dim), values)}, coords={"depth": depth, dim: x})


def saddles():
    """A path as alpha -> 0, and a flow beside it."""
    X, y, _ = krf.datasets.sparse_regression(5, 12, 2)
    path = krf.rich_path(X, y)
    times = np.geomspace(0.5 * path.jump_times[0], 2.0 * path.jump_times[-1], 50)
    flow = krf.flow_diagonal(X, y, alpha=1e-20, t_eval=times * path.time_unit(1e-20))
    return path, {1e-20: flow}


# What makes a Dataset, and what draws it.
PICTURES = {
    "population_error": (diagonal, krf.plot.population_error),
    "excess_norms": (diagonal, krf.plot.excess_norms),
    "critical_alpha": (critical, partial(krf.plot.critical_alpha, power=True)),
    "potentials": (potentials, krf.plot.potentials),
    "depth_potentials": (partial(depths, "q", "z"), krf.plot.depth_potentials),
    "sparsity_ratio": (partial(depths, "ratio", "log_scale"), krf.plot.sparsity_ratio),
    "factorization_heatmap": (
        factorization,
        partial(krf.plot.factorization_heatmap, variable="excess_nuclear_norm", clip=8.0),
    ),
    "factorization_error": (factorization, krf.plot.factorization_error),
    "network_curves": (
        networks, partial(krf.plot.network_curves, variable="test_rmse", zero=0.287)
    ),
    "class_errors": (lambda: networks().isel(depth=0, drop=True), krf.plot.class_errors),
    "univariate_functions": (univariate, krf.plot.univariate_functions),
    "paths": (path, krf.plot.paths),
}  # fmt: skip
FIGURES = {
    **{kind: lambda make=make, draw=draw: draw(make()) for kind, (make, draw) in PICTURES.items()},
    "rich_path": lambda: krf.plot.rich_path(saddles()[0], flows=saddles()[1]),
    "grey_image": lambda: krf.plot.grey_image(np.linspace(0.0, 1.0, 30).reshape(5, 6)),
}


def compared(test):
    if find_spec("pytest_mpl") is None:
        return pytest.mark.skip(reason="pytest-mpl compares the images")(test)
    return pytest.mark.mpl_image_compare(
        baseline_dir="../baseline", remove_text=True, tolerance=6, savefig_kwargs={"dpi": 80}
    )(test)


@compared
@pytest.mark.parametrize("kind", sorted(FIGURES))
def test_figures_look_as_they_did(kind):
    return FIGURES[kind]().figure


# Viénot, Brettel and Mollon (1999) in linear RGB: what dichromats see.
SEEN_BY = {
    "protanope": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
    "deuteranope": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
}


def lightness(rgb: np.ndarray) -> np.ndarray:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("eye", SEEN_BY)
def test_colours_can_be_told_apart_without_colour_vision(eye):
    colours = np.array([to_rgb(c) for c in COLOURS])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(SEEN_BY[eye]).T, 0.0, 1.0) ** (1 / 2.2)
    for i, j in itertools.combinations(range(len(COLOURS)), 2):
        assert np.linalg.norm(seen[i] - seen[j]) > 0.1, (i, j)


def test_curves_can_be_told_apart_in_grey():
    assert len(set(map(str, STYLES))) == len(STYLES) == len(COLOURS)
    styles = [str(line_style(i)["linestyle"]) for i in range(6)]
    assert len(set(styles)) == 6
    for kind in ("population_error", "depth_potentials", "univariate_functions", "paths"):
        lines = FIGURES[kind]().get_lines()
        labelled = [
            line for line in lines
            if not line.get_label().startswith("_") and line.get_linestyle() != "None"
        ]  # fmt: skip
        looks = {(str(line._unscaled_dash_pattern), line.get_linewidth()) for line in labelled}
        assert len(looks) == len(labelled) >= 3, kind
    shades = lightness(matplotlib.colormaps["viridis"](np.linspace(0, 1, 64))[:, :3])
    assert np.all(np.diff(shades) > 0)


def test_forty_curves_with_thirty_six_looks():
    looks = [str(sorted(line_style(index).items())) for index in range(40)]
    assert len(set(looks)) == 36
    assert looks[36:] == looks[:4]


def test_norms_of_several_depths_can_be_told_apart():
    ax = krf.plot.excess_norms(diagonal())
    named = [text.get_text() for text in ax.get_legend().get_texts()]
    assert named == ["left axis", "right axis", "$D=2$", "$D=3$", "$D=5$"]
    for axis in ax.figure.axes:
        looks = {(str(line.get_linestyle()), line.get_marker()) for line in axis.get_lines()}
        assert len(looks) == 3
    assert krf.plot.excess_norms(diagonal().isel(depth=0)).get_legend() is None


def test_heat_maps_say_what_they_clip_and_average():
    def bar(clip):
        ax = krf.plot.factorization_heatmap(factorization(), "excess_nuclear_norm", clip=clip)
        colorbar = ax.images[0].colorbar
        ticks = [tick.get_text() for tick in ax.get_yticklabels()]
        return colorbar.extend, colorbar.ax.get_ylabel(), ticks

    values = factorization().excess_nuclear_norm.mean("seed")
    assert bar(0.5 * float(values.max()))[0] == "max"
    extend, label, ticks = bar(None)
    assert extend == "neither"
    assert label.endswith("mean of 2 seeds")
    gaps = factorization()
    gaps["excess_nuclear_norm"][0, 0, 1] = np.nan
    ax = krf.plot.factorization_heatmap(gaps, "excess_nuclear_norm")
    assert ax.images[0].colorbar.ax.get_ylabel().endswith("mean of 1 to 2 seeds")
    assert all(tick.startswith("$") and "10^{" in tick for tick in ticks)


def heat(values, **options):
    coords = {"alpha": [0.01, 1.0, 0.1], "width": [10, 2]}
    ds = xr.Dataset({"v": (("alpha", "width"), np.array(values))}, coords)
    return krf.plot.factorization_heatmap(ds, "v", **options)


def test_heat_maps_are_sorted_and_choose_their_scale():
    decades = [[1e-3, 2e-3], [1.0, 3.0], [0.1, 0.2]]
    ax = heat(decades)
    (image,) = ax.images
    assert image.get_array().tolist() == [[3.0, 1.0], [0.2, 0.1], [2e-3, 1e-3]]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2", "10"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["$10^{0}$", "$10^{-2}$", "$10^{-4}$"]
    assert isinstance(image.norm, LogNorm)
    for linear in ({"log": False}, {"clip": 2.0}):
        assert not isinstance(heat(decades, **linear).images[0].norm, LogNorm)


def test_heat_maps_show_what_is_below_zero():
    negative = [[-0.5, 2e-3], [1.0, 30.0], [0.1, 0.2]]
    image = heat(negative).images[0]
    assert (image.norm.vmin, image.colorbar.extend) == (-0.5, "neither")
    image = heat(negative, log=True, clip=5.0).images[0]
    assert (image.norm.vmin, image.norm.vmax, image.colorbar.extend) == (2e-3, 5.0, "both")
    grey = [rgba == (0.75, 0.75, 0.75, 1.0) for rgba in map(tuple, image.cmap(image.norm(
        image.get_array().ravel())))]  # fmt: skip
    assert grey == [False] * 5 + [True]
    with pytest.raises(ValueError, match=r"^log: expected different positive values of v"):
        heat(-np.ones((3, 2)), log=True)
