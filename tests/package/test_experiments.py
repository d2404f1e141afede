"""Figures and pictures."""

from __future__ import annotations

import html
import io
import re
import shutil
from contextlib import redirect_stdout

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from scipy.optimize import linprog

import kernelrich_fast as krf
from kernelrich_fast.__main__ import main
from kernelrich_fast.experiments import FIGURES, files_of
from kernelrich_fast.experiments.fig1 import critical_table
from kernelrich_fast.experiments.fig3 import depth_potential_data
from kernelrich_fast.experiments.fig6c import load_npz
from kernelrich_fast.experiments.output import Settings, save
from kernelrich_fast.experiments.sample_complexity import critical_alpha_data, samples_for_l1
from kernelrich_fast.theory.critical import median_critical_alpha


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All figures in small, and the report of them; beside the folder, what the command said."""
    folder = tmp_path_factory.mktemp("figures") / "new"
    with redirect_stdout(io.StringIO()) as said:
        assert main(["reproduce", "all", "--quick", "--out", str(folder)]) == 0
    folder.with_name("said").write_text(said.getvalue())
    return folder


@pytest.mark.parametrize("figure", sorted(FIGURES))
def test_quick_figures_write_pictures_and_data(figure, everything):
    assert (everything / f"{figure}.png").read_bytes()[:4] == b"\x89PNG"
    assert (everything / f"{figure}.pdf").read_bytes()[:4] == b"%PDF"
    data = sorted(everything.glob(f"{figure}*.nc"))
    assert data
    for path in data:
        with xr.open_dataset(path, engine="scipy") as ds:
            assert ds.data_vars


def test_every_file_is_named_beforehand_and_by_the_command(everything):
    """Which of a user's files are looked at before a figure is computed hangs on these names."""
    there = sorted(path.name for path in everything.iterdir())
    assert sorted(n for names in files_of("all", True).values() for n in names) == there
    assert files_of("image")["image"][2:] == ["image-64.nc", "image-160.nc"]
    lines = everything.with_name("said").read_text().splitlines()
    start = f"written to {everything}: "
    named = [line.removeprefix(start).split(", ") for line in lines if line.startswith(start)]
    assert sorted(name for names in named for name in names) == there


def test_a_single_figure(tmp_path, capsys):
    assert main(["reproduce", "fig2", "--quick", "--out", str(tmp_path / "new")]) == 0
    assert "figure 2" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"fig2.png", "fig2.pdf", "fig2.nc"}


def test_the_report_says_what_must_be_seen_and_whether_it_is(everything):
    page = (everything / "report.html").read_text()
    for figure, module in FIGURES.items():
        assert f'<section id="{figure}">' in page
        for what, paper, _ in module.ABOUT.settings:
            assert html.escape(what) in page
            assert html.escape(paper) in page
        assert module.ABOUT.expectations
        for expectation in module.ABOUT.expectations:
            assert html.escape(expectation.text) in page
    # Those that small versions show too; the curves of figure 3 do not depend on the version.
    held = re.findall(r'<li class="yes"><strong>holds</strong> ([^<]*)', page)
    assert len(held) >= 14
    assert any("0.829, 0.736, 0.685 and 0.647" in text for text in held)
    assert "does not hold" in page


def test_the_report_states_the_settings_that_ran(everything):
    page = html.unescape((everything / "report.html").read_text())
    for small in (
        "100, 5, 40", "300; 60, 100, 200", "D = 2, 3, d = 300, r* = 5, N = 60, 100, 200",
        "a, b: one; c: one nested draw", "10, 100, 1,000, 10,000, 500,000", "one seed",
        "the mean of 2 draws of data and start", "60 digits of scikit-learn", "64 units",
        "the same with 300 units", "32 pixels wide", "8, 64, 3,200", "alpha = 0.001, 0.1",
        "17 values from 0.003 to 0.621", "10 values from -8 to 1",
    ):  # fmt: skip
        assert small in page, small
    for whole in ("1000, 5, 100", "256 units", "the same with 10,000"):
        assert whole not in page


def test_expectations_can_fail(everything):
    """Each is false of the same figure with other signs, upside down, or mirrored."""
    for figure, module in FIGURES.items():
        panels = {}
        for path in everything.glob(f"{figure}*.nc"):
            panel = path.stem.removeprefix(figure)
            if figure == "fig6" and panel:  # fig6c is a figure of its own
                continue
            with xr.open_dataset(path, engine="scipy") as ds:
                panels[panel] = ds.load()
            if figure == "fig7":
                panels[panel] = panels[panel].assign_coords(panel=list("abc"))
        changes = (
            lambda v: -v,
            lambda v: 100.0 - v,
            lambda v: v.copy(data=np.flip(v.values)),
        )
        wrong = [{panel: ds.map(change) for panel, ds in panels.items()} for change in changes]
        for expectation in module.ABOUT.expectations:
            assert not all(expectation.holds(each) for each in wrong), expectation.text


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_the_report_in_a_browser(everything):
    """It asks for nothing but itself, complains of nothing, and shows every picture."""
    playwright = pytest.importorskip("playwright.sync_api")
    asked, said = [], []
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((everything / "report.html").as_uri())
        pictures = page.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth])")
        headings = page.evaluate("[...document.querySelectorAll('h2')].map(h => h.innerText)")
        # On a telephone only tables and numbers may be wider than the screen, in their own boxes.
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        page.click("nav a >> nth=3")
        top = page.evaluate("document.querySelector('#fig5').getBoundingClientRect().top")
        browser.close()
    assert [url for url in asked if not url.startswith("data:")] == [
        (everything / "report.html").as_uri()
    ]
    assert said == []
    assert len(pictures) == len(FIGURES)
    assert all(complete and width >= 600 for complete, width in pictures)
    assert headings[: len(FIGURES)] == [module.ABOUT.title for module in FIGURES.values()]
    assert overflow <= 0
    assert abs(top) < 100


def test_figure_three_a_matches_the_paper():
    q = depth_potential_data(9).q
    assert np.allclose(q[1:, -1] / q[0, -1], [0.829, 0.736, 0.685, 0.647], atol=1e-3)


def test_less_data_needs_smaller_alpha():
    ds = critical_alpha_data(
        depths=[2, 3], n_samples=[60, 90], n_features=120, sparsity=3, seeds=[1], progress=False
    )
    values = ds.critical_alpha.squeeze("seed").values
    assert np.all(values[:, 0] < values[:, 1])
    # Depth relaxes the requirement on alpha^D.
    assert np.all(values[1] ** 3 > values[0] ** 2)


@pytest.mark.parametrize("seed", [5, 8, 44])
def test_fewest_samples_for_l1_where_the_error_is_not_monotone(seed):
    data = krf.datasets.sparse_regression(40, 60, 3, seed=seed)

    def good(n):
        A = np.hstack([data.X[:n], -data.X[:n]])
        parts = linprog(np.ones(120), A_eq=A, b_eq=data.y[:n], bounds=(0, None)).x
        return np.sum((parts[:60] - parts[60:] - data.beta_star) ** 2) <= 0.025

    enough = [good(n) for n in range(1, 41)]
    first = 1 + enough.index(True)
    assert not all(enough[first:])
    assert samples_for_l1(data) == first
    few = krf.datasets.SparseRegression(data.X[: first - 1], data.y[: first - 1], data.beta_star)
    assert samples_for_l1(few) == np.inf


def draws(by_depth, n_samples, needed):
    """Critical scales by depth, number of samples and seed, written by hand."""
    values = xr.DataArray(
        by_depth, dims=("depth", "n_samples", "seed"),
        coords={"depth": [2, 3][: len(by_depth)], "n_samples": n_samples},
    )  # fmt: skip
    return xr.Dataset({"critical_alpha": values, "n_samples_l1": ("seed", needed)})


SEEDS = [4.8e-16**0.5, 3.1e-9**0.5, 0.0]
MIXED = draws(
    [[SEEDS, [0.0, 1e-3, 0.0], [0.0, 0.0, 0.0], [1e-2, 3e-2, 2e-2], [np.inf, 1.0, np.inf]]],
    [57, 60, 61, 90, 500], [55.0, 48.0, 64.0],
)  # fmt: skip


def bars_of(ax):
    """The error bars that are drawn, by number of samples."""
    drawn = {}
    for container in ax.collections:
        for segment in container.get_segments():
            if len(segment) and segment[1, 1] > segment[0, 1]:  # empty where there is none
                drawn[round(segment[0, 0])] = tuple(segment[:, 1])
    return drawn


def test_seeds_without_a_critical_scale_count():
    """A median of those that succeed alone would be too large just where some fail."""
    rows = [line.split() for line in critical_table("figure", MIXED).splitlines()[2:]]
    assert rows == [
        ["N", "D=2", "failed"], ["57", "-15.32", "1"], ["60", "none", "2"], ["61", "none", "3"],
        ["90", "-3.398", "0"], ["500", "all", "0"],
    ]  # fmt: skip
    ax = krf.plot.critical_alpha(MIXED)
    curve = next(line for line in ax.lines if line.get_linestyle() == "-")
    drawn = curve.get_ydata().astype(float)
    assert np.allclose(drawn[[0, 3]], [SEEDS[0], 2e-2])
    assert np.all(np.isnan(drawn[[1, 2, 4]]))
    triangles = {(line.get_marker(), line.get_label()): list(line.get_xdata()) for line in ax.lines}
    assert triangles["v", "no scale generalises: median seed"] == [60, 61]
    assert triangles["v", "no scale generalises: some seeds"] == [57]
    assert triangles["^", "every scale generalises: median seed"] == [500]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert r"minimum $\ell_1$ needs $N=55$" in texts


def test_error_bars_of_the_critical_scale_are_order_statistics():
    """From the smallest to the largest seed, failures included: such a bar reaches the edge."""
    ax = krf.plot.critical_alpha(MIXED)
    bars = bars_of(ax)
    assert set(bars) == {57, 60, 90}  # at 61 every seed failed, at 500 the median has no bound
    assert np.allclose(bars[57], (0.0, SEEDS[1]))
    assert np.allclose(bars[60], (0.0, 1e-3))
    assert np.allclose(bars[90], (1e-2, 3e-2))
    ax.figure.draw_without_rendering()
    bottom = ax.transAxes.transform((0.0, 0.0))[1]
    for n in (57, 60):
        assert ax.transData.transform((n, bars[n][0]))[1] < bottom
    assert not bars_of(krf.plot.critical_alpha(MIXED.isel(seed=[0])))


def test_every_depth_counts_its_own_failures():
    """Depth 3 generalises where depth 2 does not; of an even number the lower middle counts."""
    ds = draws([[[0.0, 0.0, 1e-4, 1e-3]], [[0.0, 1e-2, 1e-1, 1.0]]], [70], [48.0, 50.0, 60.0, 64.0])
    rows = [line.split() for line in critical_table("figure", ds).splitlines()[2:]]
    assert rows == [
        ["N", "D=2", "failed", "D=3", "failed"], ["70", "none", "2", "-6", "1"],
    ]  # fmt: skip
    texts = [t.get_text() for t in krf.plot.critical_alpha(ds).get_legend().get_texts()]
    assert r"minimum $\ell_1$ needs $N=60$" in texts


@pytest.mark.parametrize(
    ("seeds", "middle"),
    [
        ([4.8e-16, 3.1e-9, 0.0], 4.8e-16), ([0.0, 3.1e-9, 0.0], 0.0), ([1.0, 0.0], 0.0),
        ([5.0, 0.0, 3.0, 0.0, 4.0], 3.0), ([0.0, 1.0, np.inf, 2.0], 1.0),
        ([2.0, np.inf, np.inf], np.inf),
    ],
)  # fmt: skip
def test_the_median_is_an_order_statistic(seeds, middle):
    values = xr.DataArray(seeds, dims="seed")
    assert median_critical_alpha(values) == middle
    assert median_critical_alpha(values**2) == middle**2


def test_several_figures_seeds_and_threads(tmp_path, capsys):
    call = ["reproduce", "fig5", "fig2", "--quick", "--jobs", "1", "--out", str(tmp_path / "new")]
    assert main([*call, "--seed", "7"]) == 0
    out = capsys.readouterr()
    assert "written to" in out.out
    assert "run/s" not in out.err  # no bar where nobody looks
    for name in ("fig5.png", "fig5.nc", "fig2.png"):
        assert (tmp_path / "new" / name).exists()
    with xr.open_dataset(tmp_path / "new" / "fig5.nc", engine="scipy") as ds:
        assert ds.seed.values.tolist() == [7]
        assert ds.attrs["n_observed"] == 60


@pytest.mark.parametrize("seed", [2**31 - 2, 2**31, 2**40])
def test_large_seeds_are_written_as_they_are(seed, tmp_path):
    settings = Settings(tmp_path, seed=seed)
    numbers = np.array(settings.seeds(3))
    ds = xr.Dataset(
        {"used": ("seed", numbers), "few": ("seed", [1, 2, 3])}, coords={"seed": numbers},
        attrs={"seed": seed, "count": 3},
    )  # fmt: skip
    save(settings, "figure", plt.figure(), {"": ds})
    with xr.open_dataset(tmp_path / "figure.nc", engine="scipy") as written:
        assert np.array_equal(written.seed, numbers)
        assert np.array_equal(written.used, numbers)
        assert written.few.dtype == np.int32
        assert written.attrs["seed"] == seed
        assert written.attrs["count"] == 3


@pytest.mark.parametrize("damage", ["cut", "text", "shapes", "absent", "names"])
def test_a_bad_data_file_is_named(damage, tmp_path):
    file = tmp_path / "digits.npz"
    pixels, labels = np.zeros((9, 4, 4)), np.zeros(9)
    good = {"x_train": pixels, "y_train": labels, "x_test": pixels, "y_test": labels}
    if damage == "shapes":
        good["y_test"] = labels[:5]
    if damage == "names":
        del good["y_test"]
    if damage != "absent":
        np.savez(file, **good)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:300])
    if damage == "text":
        file.write_text("not a file of arrays")
    with pytest.raises(ValueError, match=r"^data: .*digits\.npz"):
        load_npz(file, 5)


def test_plots_accept_axes_and_depths(medium):
    from matplotlib.figure import Figure

    X, y, star = medium
    ds = krf.sweep_diagonal(
        np.stack([X, X]), y, alpha=[0.1, 1.0], depth=[2, 3], beta_star=star, limit=True,
        progress=False,
    )  # fmt: skip
    ax = Figure().subplots()
    assert krf.plot.population_error(ds, ax) is ax
    assert [line.get_label() for line in ax.get_lines()] == ["$D=2$", "$D=3$"]
    assert len(krf.plot.excess_norms(ds).get_lines()) == 2
