"""The code that a view hands out computes the numbers that the view draws."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot
import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast.explorer.code import code
from kernelrich_fast.explorer.files import read_file, user_data
from kernelrich_fast.explorer.models import model_of
from kernelrich_fast.explorer.state import default_state
from kernelrich_fast.status import without_convergence_warnings

matplotlib.use("Agg")

SMALL = {
    "diagonal": {"samples": 12, "features": 30, "sparsity": 3, "shape": 0.5, "depth": 2.5},
    "factorization": {"features": 6, "width": 8, "noise": 0.05},
    "network": {"samples": 6, "width": 20, "shape": 0.2, "noise": 0.05},
}
VIEWS = {
    "diagonal": "paths loss norms kernel error_alpha norms_alpha kernel_alpha phase",
    "factorization": "paths loss norms kernel error_alpha norms_alpha kernel_alpha phase",
    "network": "paths loss norms kernel function error_alpha norms_alpha kernel_alpha phase",
}


def tables(state, user=None):
    """All tables of a state, those of the background at their end."""
    model = model_of(state)
    data = model.problem(state, user)
    now = model.now(state, data)
    found = dict(now.tables)
    for work in (model.over_alpha(state, data), model.phase(state, data, user)):
        for part in work:
            last = part
        assert last.done == pytest.approx(1.0)
        found |= last.tables
    return now, found


def expect_same(state, user=None, names=None):
    with without_convergence_warnings():  # a matrix of rank 1 does not fit noise
        _expect_same(state, user, names)


def _expect_same(state, user, names):
    now, found = tables(state, user)
    assert set(found) == set(VIEWS[state.model].split())
    for view, table in found.items():
        space = dict(names or {})
        exec(compile(code(state, view, now, user), view, "exec"), space)
        matplotlib.pyplot.close("all")
        for column, values in table.items():
            got = np.asarray(space[column])
            assert got.shape == values.shape, (view, column)
            np.testing.assert_allclose(
                got, values, rtol=1e-9, atol=1e-12, err_msg=f"{view} {column}"
            )
            assert np.isfinite(values).mean() > 0.8, (view, column)


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("which", [0, 1])
def test_generated_data(model, which, monkeypatch):
    monkeypatch.setattr(matplotlib.pyplot, "show", lambda: None)
    from kernelrich_fast.explorer.controls import OVER

    over = list(OVER[model])[which]
    expect_same(replace(default_state(model), over=over, seed=which, **SMALL[model]))


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("diagonal", "npz"),
        ("diagonal", "csv"),
        ("diagonal", "pandas"),
        ("diagonal", "arrays"),
        ("network", "arrays"),
    ],
)
def test_data_of_the_users(model, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(matplotlib.pyplot, "show", lambda: None)
    monkeypatch.chdir(tmp_path)
    X, y, beta_star = krf.datasets.sparse_regression(12, 14, 2)
    names = None
    if kind == "npz":
        np.savez("own.npz", X=X, y=y, beta_star=beta_star)
        user = read_file("own.npz", (tmp_path / "own.npz").read_bytes())
    elif kind == "csv":
        lines = ["; ".join(map(repr, row)) for row in np.column_stack([X, y]).tolist()]
        (tmp_path / "own.csv").write_text("\n".join([";".join("abcdefghijklmno"), *lines]))
        user = read_file("own.csv", (tmp_path / "own.csv").read_bytes())
    elif kind == "pandas":
        table = pytest.importorskip("pandas").DataFrame(np.column_stack([X, y]))
        table.to_csv("own.csv")
        user = read_file("own.csv", (tmp_path / "own.csv").read_bytes())
    else:
        user, names = user_data("arrays", X, y), {"X": X, "y": y}
    np.testing.assert_array_equal(user.X, X)
    state = default_state(model, user.key)
    state = replace(state, width=4, held_out=0.4)
    expect_same(state, user, names)
