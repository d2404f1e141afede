"""Figures say what they show, and can be told apart without colour vision and in grey."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb

import kernelrich_fast as krf
from kernelrich_fast.plot._axes import COLOURS, STYLES, line_style
from kernelrich_fast.plot.models import _power_of_ten

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
        coords={"depth": [2, 3], "n_samples": n},
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


FIGURES = {
    "population_error": lambda: krf.plot.population_error(diagonal()),
    "excess_norms": lambda: krf.plot.excess_norms(diagonal().sel(depth=2)),
    "critical_alpha": lambda: krf.plot.critical_alpha(critical(), power=True),
    "potentials": lambda: krf.plot.potentials(potentials()),
    "depth_potentials": lambda: krf.plot.depth_potentials(depths("q", "z")),
    "sparsity_ratio": lambda: krf.plot.sparsity_ratio(depths("ratio", "log_scale")),
    "factorization_heatmap": lambda: krf.plot.factorization_heatmap(
        factorization(), "excess_nuclear_norm", clip=8.0
    ),
    "factorization_error": lambda: krf.plot.factorization_error(factorization()),
    "network_curves": lambda: krf.plot.network_curves(networks(), "test_rmse", zero=0.287),
    "class_errors": lambda: krf.plot.class_errors(networks().isel(depth=0, drop=True)),
    "univariate_functions": lambda: krf.plot.univariate_functions(univariate()),
    "paths": lambda: krf.plot.paths(path()),
    "rich_path": lambda: krf.plot.rich_path(saddles()[0], flows=saddles()[1]),
    "grey_image": lambda: krf.plot.grey_image(np.linspace(0.0, 1.0, 30).reshape(5, 6)),
}

LABELS = {
    "population_error": (r"$\alpha$", r"population error $\|\beta - \beta^\star\|_2^2$"),
    "excess_norms": (r"$\alpha$", r"$\|\beta\|_1 - \|\beta_{\ell_1}\|_1$"),
    "critical_alpha": ("number of samples $N$", r"critical $\alpha^D$"),
    "depth_potentials": ("$z$", "$q_D(z)$, rescaled"),
    "sparsity_ratio": (r"$\ln\,\alpha^D$", r"$Q(e_1)\,/\,Q(\mathbf{1}_d/\sqrt{d})$"),
    "factorization_heatmap": ("width $k$", r"$\alpha^2$"),
    "factorization_error": (r"$\alpha$", "RMSE, unobserved entries"),
    "network_curves": (r"$\alpha^D$", "test RMSE"),
    "class_errors": (r"$\alpha$", "test error in %"),
    "univariate_functions": ("$x$", "$f(x)$"),
    "paths": ("time $t$", "loss $L$"),
    "rich_path": (r"time in units of $T_0(\alpha)$", r"coefficients $\beta_i$"),
}


def test_every_kind_of_figure_is_here():
    assert set(FIGURES) == set(krf.plot.__all__)


@pytest.mark.parametrize("kind", sorted(LABELS))
def test_axes_are_labelled_in_the_symbols_of_the_field(kind):
    ax = FIGURES[kind]()
    assert (ax.get_xlabel(), ax.get_ylabel()) == LABELS[kind]
    ax.figure.draw_without_rendering()  # every symbol can be set


def test_the_heat_map_says_what_its_colours_mean():
    ax = FIGURES["factorization_heatmap"]()
    assert [other.get_ylabel() for other in ax.figure.axes[1:]] == [
        r"$\|M\|_* - \|Y^\star\|_*$" + "\nmean of 2 seeds"
    ]


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


def coefficients() -> xr.Dataset:
    """Two scales of five features, of which the second and the fourth grow."""
    t = np.geomspace(1e-2, 1e2, 41)
    grown = t[:, None] / (t[:, None] + np.array([1e9, 1.0, 1e9, 10.0, 1e9]))
    beta = np.stack([grown, 0.5 * grown]) * [1.0, 2.0, 1.0, -1.0, 1.0]
    return xr.Dataset(
        {"beta": (("alpha", "time", "feature"), beta)}, coords={"alpha": [0.1, 1.0], "time": t}
    )


def test_paths_of_coefficients_colour_the_support():
    ds, star = coefficients(), [0.0, 2.0, 0.0, -1.0, 0.0]
    for given in ({"beta_star": star}, {}):
        kept = ds if given else ds.assign(beta_star=("feature", star))
        ax = krf.plot.paths(kept, "beta", **given)
        curves = [line for line in ax.get_lines() if len(line.get_xdata()) == 41]
        coloured = [line for line in curves if line.get_color() in COLOURS]
        assert len(curves) == 10
        assert len(coloured) == 4
        assert {line.get_ydata()[-1] > 0 for line in coloured} == {True, False}
        dots = sorted(line.get_xdata()[0] for line in ax.get_lines() if len(line.get_xdata()) == 1)
        # Half of t / (t + c) at t = 100, on the grid of times.
        assert np.allclose(dots, [1.0, 1.0, 10.0, 10.0], rtol=0.3)
        assert len(ax.get_legend().get_texts()) == 4  # two scales, the support, the others


def test_without_a_truth_the_largest_are_coloured():
    ax = krf.plot.paths(coefficients().isel(alpha=0), "beta")
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert any("largest at the end" in text for text in texts)


def test_spread_over_problems_is_a_band_named_in_the_legend():
    values = np.random.default_rng(0).standard_normal((8, 3)) + 5.0
    ds = xr.Dataset(
        {"population_error": (("problem", "alpha"), values)}, coords={"alpha": [0.01, 0.1, 1.0]}
    )
    ax = krf.plot.population_error(ds)
    (band,) = ax.collections
    assert band.get_label() == "standard error, 8 problems"
    assert band.get_label() in [text.get_text() for text in ax.get_legend().get_texts()]
    low, high = band.get_paths()[0].get_extents().get_points()[:, 1]
    mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(8)
    assert np.isclose(low, (mean - error).min())
    assert np.isclose(high, (mean + error).max())


def test_paths_refuse_what_cannot_be_drawn():
    ds = coefficients()
    with pytest.raises(ValueError, match=r"beta_star: expected shape \(5,\)"):
        krf.plot.paths(ds, "beta", beta_star=np.ones(4))
    with pytest.raises(ValueError, match="one value of problem"):
        krf.plot.paths(ds.expand_dims(problem=2), "beta")
    with pytest.raises(ValueError, match="one value of depth"):
        krf.plot.paths(ds.expand_dims(depth=[2, 3]), "beta")


def test_without_axes_pyplot_shows_the_figure():
    from matplotlib import pyplot

    ax = krf.plot.grey_image(np.eye(2))
    assert ax.figure.number in pyplot.get_fignums()


def test_forty_curves_with_thirty_six_looks():
    looks = [str(sorted(line_style(index).items())) for index in range(40)]
    assert len(set(looks)) == 36
    assert looks[36:] == looks[:4]


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
    assert label.endswith(f"mean of {factorization().sizes['seed']} seeds")
    assert all(tick.startswith("$") and "10^{" in tick for tick in ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01, "$10^{-2}$"), (0.0025, r"$2.5 \times 10^{-3}$"), (1.0, "$10^{0}$"),
        (123456.0, r"$1.23 \times 10^{5}$"), (9.999e-9, "$10^{-8}$"),
    ],
)  # fmt: skip
def test_powers_of_ten_in_one_notation(value, text):
    assert _power_of_ten(value) == text


def test_functions_of_runs_that_did_not_converge_are_named():
    ds = univariate()
    status = np.zeros(ds.sizes["alpha"], dtype=int)
    status[-1] = krf.Status.MAX_STEPS
    ax = krf.plot.univariate_functions(ds.assign(status=("alpha", status)))
    legend = ax.get_legend()
    named = [text.get_text() for text in legend.get_texts()]
    assert [text.endswith("*") for text in named[: len(status)]] == list(status != 0)
    assert legend.get_title().get_text() == "* not converged"
    assert krf.plot.univariate_functions(ds).get_legend().get_title().get_text() == ""


def test_networks_name_seeds_and_the_zero_predictor():
    legend = krf.plot.network_curves(networks(), "test_rmse", zero=0.287).get_legend()
    assert legend.get_title().get_text() == "mean and standard error, 3 seeds"
    assert "zero predictor" in [text.get_text() for text in legend.get_texts()]


def test_paths_from_saddle_to_saddle_are_refused_by_name():
    path, flows = saddles()
    with pytest.raises(ValueError, match=r"^path: expected one problem, got a batch \(2,\)"):
        krf.plot.rich_path(krf.rich_path(np.eye(2), np.ones(2), depth=[2, 3]))
    with pytest.raises(ValueError, match=r"^path: expected at least one jump"):
        krf.plot.rich_path(krf.rich_path(np.eye(2), np.zeros(2)))
    with pytest.raises(ValueError, match=r"^flows: expected single runs with t_eval"):
        krf.plot.rich_path(path, flows={0.1: krf.flow_diagonal(np.eye(2), np.ones(2), alpha=0.1)})
    assert len(krf.plot.rich_path(path).get_lines()) < len(
        krf.plot.rich_path(path, flows=flows).get_lines()
    )
