"""Figures, pictures and the command line."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import kernelrich_fast as krf
from kernelrich_fast.__main__ import main
from kernelrich_fast.backends import available_backends
from kernelrich_fast.experiments import FIGURES, reproduce
from kernelrich_fast.experiments.fig3 import depth_potential_data
from kernelrich_fast.experiments.sample_complexity import critical_alpha_data, samples_for_l1


@pytest.mark.parametrize("figure", sorted(FIGURES))
def test_quick_figures_write_pictures_and_data(figure, tmp_path, capsys):
    assert main(["reproduce", figure, "--quick", "--out", str(tmp_path / "new")]) == 0
    assert figure[:3] in capsys.readouterr().out
    files = {p.name for p in (tmp_path / "new").iterdir()}
    assert {f"{figure}.png", f"{figure}.pdf"} <= files
    assert (tmp_path / "new" / f"{figure}.png").read_bytes()[:4] == b"\x89PNG"
    data = [p for p in (tmp_path / "new").iterdir() if p.suffix == ".nc"]
    assert data
    for path in data:
        with xr.open_dataset(path, engine="scipy") as ds:
            assert ds.data_vars


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
    data = krf.datasets.sparse_regression(90, 120, 3, seed=1)
    n = samples_for_l1(data)
    for m, ok in ((n, True), (n - 1, False)):
        error = np.sum((krf.theory.min_l1(data.X[:m], data.y[:m]) - data.beta_star) ** 2)
        assert (error <= 0.025) == ok


def test_errors_of_the_command_line(tmp_path, capsys):
    assert main(["reproduce", "fig2", "--backend", "cuda", "--out", str(tmp_path)]) == 0
    if available_backends()["cuda"] is not None:
        call = ["reproduce", "fig1", "--quick", "--backend", "cuda", "--out", str(tmp_path)]
        assert main(call) == 1
        assert "backend 'cuda'" in capsys.readouterr().err
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["reproduce", "fig2", "--quick", "--out", str(blocked)]) == 1
    assert blocked.read_text() == ""
    with pytest.raises(SystemExit):
        main(["reproduce", "fig99"])
    with pytest.raises(ValueError, match="figure: expected one of"):
        reproduce("fig99")


def test_info_and_module_entry():
    out = subprocess.run(
        [sys.executable, "-m", "kernelrich_fast", "info"],
        capture_output=True, text=True, check=True, cwd=sys.prefix,
    ).stdout  # fmt: skip
    assert "cpu: works" in out
    assert "cuda: not available" in out
    assert main(["info"]) == 0


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
