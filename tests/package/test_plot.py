"""Figures say what they show, and refuse by name what they cannot."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr
from test_plot_images import FIGURES, PICTURES, networks, path, saddles, univariate

import kernelrich_fast as krf
from kernelrich_fast.experiments import files_of
from kernelrich_fast.plot._axes import COLOURS
from kernelrich_fast.plot._labels import equations, number, power_of_ten

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


def texts(ax):
    legend = ax.get_legend()
    return [text.get_text() for text in legend.get_texts()], legend.get_title().get_text()


def heights(ax):
    """Ends of every band or bar."""
    paths = [path.vertices[:, 1] for band in ax.collections for path in band.get_paths()]
    return [(float(y.min()), float(y.max())) for y in paths]


@pytest.mark.parametrize("kind", sorted(PICTURES))
def test_what_cannot_be_drawn_is_refused_by_name(kind):
    from matplotlib import pyplot

    make, draw = PICTURES[kind]
    ds, opened = make(), pyplot.get_fignums()
    several = ds.expand_dims(another=[1, 2])
    with pytest.raises(ValueError, match=r"^ds: expected one value of another; select it"):
        draw(several)
    with pytest.raises(ValueError, match=r"^ds: expected .* NaN everywhere"):
        draw(ds * np.nan)
    with pytest.raises(TypeError, match=r"^ds: expected an xarray.Dataset, got an ndarray$"):
        draw(np.zeros(3))
    assert pyplot.get_fignums() == opened
    draw(several.isel(another=0))


@pytest.mark.parametrize(
    ("kind", "dim"),
    [
        ("population_error", "alpha"), ("population_error", "depth"), ("excess_norms", "alpha"),
        ("excess_norms", "depth"), ("critical_alpha", "depth"), ("critical_alpha", "seed"),
        ("critical_alpha", "n_samples"), ("depth_potentials", "depth"), ("sparsity_ratio", "depth"),
        ("factorization_error", "alpha"), ("factorization_error", "width"),
        ("factorization_error", "seed"), ("network_curves", "alpha"), ("network_curves", "depth"),
        ("class_errors", "alpha"), ("class_errors", "seed"), ("univariate_functions", "alpha"),
        ("paths", "alpha"),
    ],
)  # fmt: skip
def test_scalar_coordinates_can_be_drawn(kind, dim):
    make, draw = PICTURES[kind]
    for chosen in ([-1], -1):
        ax = draw(make().isel({dim: chosen}))
        ax.figure.draw_without_rendering()
        assert ax.get_lines()


def test_networks_of_several_depths_are_not_transposed():
    ds = networks().isel(seed=0, depth=[0, 1], alpha=[0, 1])
    with pytest.raises(ValueError, match=r"^ds: expected one value of depth; select it"):
        krf.plot.class_errors(ds)


def test_a_grid_for_every_depth_is_drawn_at_its_scales():
    ds = networks().isel(depth=1)
    scale = ds.scale.values
    assert np.array_equal(krf.plot.class_errors(ds).get_lines()[0].get_xdata(), scale)
    curve = krf.plot.network_curves(ds, "test_rmse").get_lines()[0]
    assert np.allclose(curve.get_xdata(), scale**3)
    timed = ds.test_rmse.expand_dims(time=[0.1, 1.0]).to_dataset(name="loss")
    assert texts(krf.plot.paths(timed))[0] == equations(r"\alpha", scale)


def spread(values, dims):
    coords = {"alpha": [0.01, 0.1, 1.0], "depth": 2, "time": 1.0}
    names = ("population_error", "test_error", "kernel_error", "last_layer_error")
    return xr.Dataset({name: (dims, values) for name in names}, coords)


@pytest.mark.parametrize("gaps", [False, True])
def test_mean_and_standard_error_are_of_what_is_there(gaps):
    values = np.random.default_rng(0).standard_normal((8, 3)) + 5.0
    if gaps:
        values[:6, 0] = values[:1, 2] = np.nan
    count = (~np.isnan(values)).sum(0)
    mean, error = np.nanmean(values, 0), np.nanstd(values, 0, ddof=1) / np.sqrt(count)
    ends = np.stack([mean - error, mean + error])
    what = "\n(2 to 8 of 8 are not NaN)" if gaps else ""
    ax = krf.plot.population_error(spread(values, ("problem", "alpha")))
    assert np.allclose(heights(ax), [(ends.min(), ends.max())])
    assert texts(ax) == ([], "mean and standard error, 8 problems" + what)
    ds = spread(values, ("seed", "alpha"))
    ax = krf.plot.network_curves(ds, "test_error")
    assert np.allclose(heights(ax), ends.T)
    for drawn in (ax, krf.plot.class_errors(ds)):
        assert texts(drawn)[1] == "mean and standard error, 8 seeds" + what


def test_one_scale_is_a_point_with_a_bar_within_the_axes():
    values = np.random.default_rng(1).standard_normal((5, 3))
    ax = krf.plot.population_error(spread(values, ("problem", "alpha")).isel(alpha=1))
    ((low, high),) = heights(ax)
    error = values[:, 1].std(ddof=1) / np.sqrt(5)
    assert np.allclose([low, high], values[:, 1].mean() + error * np.array([-1, 1]))
    bottom, top = ax.get_ylim()
    assert bottom < low < high < top
    assert ax.get_xlim()[0] < 0.1 < ax.get_xlim()[1]


@pytest.mark.parametrize(
    ("value", "power", "text"),
    [
        (0.01, "10^{-2}", "0.01"), (0.0025, r"2.5 \times 10^{-3}", None), (1.0, "10^{0}", "1"),
        (123456.0, r"1.23 \times 10^{5}", None), (9.999e-9, "10^{-8}", None),
        (1e-6, "10^{-6}", None), (0.1, "10^{-1}", "0.1"), (1234.0, r"1.23 \times 10^{3}", "1234"),
        (-1e-3, "-10^{-3}", None), (0.177827941, r"1.78 \times 10^{-1}", "0.178"),
    ],
)  # fmt: skip
def test_numbers_in_mathtext(value, power, text):
    assert power_of_ten(value) == power
    assert number(value) == (text or power)


def test_labels_have_enough_digits():
    scales = [0.1, 0.10001, 1e-6]
    assert equations("a", scales) == ["$a=0.1$", "$a=0.10001$", "$a=10^{-6}$"]
    ds = path().assign_coords(alpha=scales)
    assert texts(krf.plot.paths(ds))[0] == equations(r"\alpha", scales)
    assert texts(krf.plot.univariate_functions(univariate().assign_coords(alpha=scales)))[0][
        :3
    ] == (equations(r"\alpha", scales))


def test_coloured_coefficients_of_a_path_have_their_numbers():
    path, flows = saddles()
    ax = krf.plot.rich_path(path, flows=flows)
    named = {text.get_text(): text.get_color() for text in ax.texts}
    largest = np.sort(np.argsort(np.abs(path.beta).max(axis=0))[-len(named) :])
    assert list(sorted(named, key=lambda t: COLOURS.index(named[t]))) == [
        rf"$\beta_{{{k}}}$" for k in largest
    ]
    at = np.sort([text.xy[1] for text in ax.texts])
    assert np.all(np.diff(at) > 0.069)
    assert r"$\alpha=10^{-20}$" in texts(ax)[0]


def test_messages_say_what_the_sweep_needs():
    X, y = np.eye(2), np.ones(2)
    ends = krf.sweep_diagonal(X, y, alpha=[0.1, 1.0], progress=False)
    timed = krf.sweep_diagonal(X, y, alpha=[0.1, 1.0], t_eval=[0.1, 1.0], progress=False)
    flow = krf.flow_diagonal(X, y, alpha=[0.1, 1.0], t_eval=[0.1, 1.0])
    single = flow[0]
    relu = {"model": "ReLU network"}
    every = ("test", "kernel", "last_layer")
    squared = networks().isel(depth=0).drop_vars([f"{name}_error" for name in every])
    squared = squared.assign_attrs(relu)
    measured = squared.assign({f"{name}_rmse": squared.test_rmse for name in every})
    for draw, error, message in (
        (
            lambda: krf.plot.class_errors(measured),
            ValueError,
            'last_layer_rmse, scale, seed, test_rmse; train on classes with loss="cross_entropy"',
        ),
        (
            lambda: krf.plot.class_errors(squared.drop_vars("test_rmse")),
            ValueError,
            '; give X_test= and y_test= to the sweep; run sweep_mlp with keep=("norms", '
            '"kernel_predictors"); train on classes with loss="cross_entropy"',
        ),
        (
            lambda: krf.plot.paths(timed, "beta"),
            ValueError,
            'run the sweep with keep=("norms", "beta")',
        ),
        (lambda: krf.plot.population_error(ends), ValueError, "give beta_star= to sweep_diagonal"),
        (lambda: krf.plot.paths(ends), ValueError, "give t_eval= to the sweep"),
        (lambda: krf.plot.paths(timed, "status"), ValueError, "got 'status' with alpha"),
        (
            lambda: krf.plot.paths(flow),
            TypeError,
            "got a DiagonalFlow; use sweep_diagonal, or "
            'to_dataset({"alpha": values}) of a flow with t_eval=',
        ),
        (
            lambda: krf.plot.paths(single.to_dataset()),
            ValueError,
            "; give the scale by ds.assign_coords(alpha=value)",
        ),
        (lambda: krf.plot.excess_norms(flow), TypeError, "got a DiagonalFlow; use sweep_diagonal"),
        (lambda: krf.plot.rich_path(flow), TypeError, "got a DiagonalFlow; use krf.rich_path"),
    ):
        with pytest.raises(error) as raised:
            draw()
        assert str(raised.value).endswith(message)
        assert "\n" not in str(raised.value)
    other = networks().assign_attrs(model="ReLU network")
    with pytest.raises(ValueError, match=r"got 'beta'$"):
        krf.plot.paths(other.expand_dims(time=[1.0]), "beta")
    # What is advised can be drawn.
    assert krf.plot.paths(single.to_dataset().assign_coords(alpha=0.1)).lines
    assert krf.plot.paths(flow.to_dataset({"alpha": [0.1, 1.0]})).lines
    for draw, figure, file in (
        (krf.plot.critical_alpha, "fig1", "fig1c.nc"),
        (krf.plot.potentials, "fig2", "fig2.nc"),
        (krf.plot.depth_potentials, "fig3", "fig3a.nc"),
        (krf.plot.sparsity_ratio, "fig3", "fig3b.nc"),
        (krf.plot.class_errors, "fig6c", "fig6c.nc"),
        (krf.plot.univariate_functions, "fig7", "fig7.nc"),
    ):
        with pytest.raises(
            ValueError, match=f"; `kernelrich reproduce {figure}` writes one, {file}$"
        ):
            draw(ends)
        assert file in files_of(figure)[figure]
    with pytest.raises(TypeError, match=r"reproduce fig2` writes one, fig2.nc$"):
        krf.plot.potentials(flow)
    counted = xr.Dataset({"critical_alpha": ("n_samples", [0.1])})
    with pytest.raises(ValueError, match=r"reproduce fig1` writes one, fig1c.nc$"):
        krf.plot.critical_alpha(counted)


def experiment(name, monkeypatch, tmp_path, **smaller):
    """Table and figure of an experiment of reduced size."""
    from importlib import import_module

    from kernelrich_fast.experiments.output import Settings

    seen = []
    for key, value in smaller.items():
        owner, _, attribute = key.rpartition("__")
        module = import_module(f"kernelrich_fast.experiments.{owner or name}")
        monkeypatch.setattr(module, attribute, value)
    module = import_module(f"kernelrich_fast.experiments.{name}")
    monkeypatch.setattr(module, "save", lambda settings, name, figure, panels: seen.append(figure))
    outcome = module.run(Settings(tmp_path, quick=True))
    seen[0].draw_without_rendering()
    return outcome.text, seen[0]


def test_the_panels_of_figure_seven_say_how_they_differ(monkeypatch, tmp_path):
    text, figure = experiment("fig7", monkeypatch, tmp_path, QUICK_WIDTH=60, ALPHAS=(1.0, 10.0))
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert len(set(titles)) == 3
    assert all(power in title for power, title in zip(("drawn", "1/2", "1/4"), titles, strict=True))
    assert "k^-1/2" in text
    assert "k^1/4" in text
    assert re.search(r"6 runs: (\d+ [A-Z_]+(, )?)+$", text)


def test_decay_uses_one_word_for_one_thing(monkeypatch, tmp_path):
    text, figure = experiment(
        "decay", monkeypatch, tmp_path, SHRINKS=np.linspace(0.0, 4.0, 3), QUICK_SHAPE=(5, 10, 2),
        decay_schedules__SHAPE=(5, 10, 2), decay_schedules__SEEDS=2,
    )  # fmt: skip
    upper = figure.subfigs[0]
    assert "; those of" in upper.get_suptitle()
    for ax in upper.axes:
        assert texts(ax)[1] == "mean and standard error, 2 starts"
        assert "one unit is $10^4$ steps of size" in ax.get_xlabel()
    assert "Lambda" in text
    assert not re.search(r"\bA\b", text)


def test_margins_have_letters_and_legends_beside_the_data(monkeypatch, tmp_path):
    _, figure = experiment("margins", monkeypatch, tmp_path, QUICK_COUNT=7)
    panels = [ax for ax in figure.axes if ax.get_legend()]
    assert [ax.get_title(loc="left")[:2] for ax in panels] == ["a ", "b ", "c "]
    for ax in panels:
        assert not ax.get_window_extent().overlaps(ax.get_legend().get_window_extent())
    assert r"$\mu=10^{-6}$" in texts(panels[1])[0]
