"""How sweeps are cut, and what they hold at a time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import kernelrich_fast as krf
from kernelrich_fast.sweeps import execute
from kernelrich_fast.sweeps.plan import SweepPlan, block_shape, cut, runs_in


@dataclass(frozen=True)
class Costs(SweepPlan):
    """A plan of given costs that computes nothing."""

    time: float = 1.0
    memory: int = 1
    function: ClassVar[str] = "costs"

    def compute(self, block, num_threads, progress):
        raise AssertionError("costs are looked at, not computed")

    def coords(self):
        return {}

    def attrs(self):
        return {}

    def arguments(self):
        return {}

    def seconds(self):
        return np.array(self.time)

    def crossover(self):
        return 1.0

    def bytes_per_run(self):
        return self.memory


@given(
    st.lists(st.integers(1, 9), max_size=4),
    st.floats(1e-3, 1e3),
    st.integers(1, 10**6),
    st.integers(1, 40),
)
def test_blocks_cover_every_run_once_within_the_limits(shape, seconds, memory, least):
    dims = tuple("abcd"[: len(shape)])
    plan = Costs(dims, tuple(shape), {}, seconds, memory)
    size = block_shape(plan, most_bytes=1e5, most_seconds=100.0, least_blocks=least)
    blocks = list(cut(plan.shape, size))
    count = np.zeros(shape, dtype=int)
    for block in blocks:
        count[block] += 1
        runs = runs_in(block)
        assert runs == 1 or runs * memory <= 1e5
        assert runs == 1 or runs * seconds <= 100.0
    assert np.all(count == 1)
    assert len(blocks) >= min(least, plan.n_runs)


def test_expected_costs_have_the_shape_of_the_sweep(monkeypatch):
    """And grow with what makes runs long."""
    plans = []
    monkeypatch.setattr(
        "kernelrich_fast.sweeps.diagonal.run_sweep", lambda plan, **_: plans.append(plan)
    )
    monkeypatch.setattr(
        "kernelrich_fast.sweeps.factorization.run_sweep", lambda plan, **_: plans.append(plan)
    )
    monkeypatch.setattr(
        "kernelrich_fast.sweeps.mlp.run_sweep", lambda plan, **_: plans.append(plan)
    )
    X, y = np.ones((2, 3, 4)), np.ones(3)
    for limit in (False, True):
        krf.sweep_diagonal(X, y, alpha=[1.0, 1e-3], depth=[2, 2.5, 4], limit=limit)
        krf.sweep_diagonal(X[0], y, alpha=1.0, limit=limit)
    krf.sweep_factorization(np.ones((4, 4)), alpha=[1.0, 0.1], width=3, seeds=[1, 2], n_observed=9)
    krf.sweep_factorization(np.ones((4, 4)), alpha=0.1, width=[3, 5], n_observed=9)
    krf.sweep_mlp(X[0], y, depth=[2, 3], alpha=[[1.0, 0.1]] * 2, seeds=[1, 2, 3])
    krf.sweep_mlp(X[0], y, alpha=[1.0, 0.1])
    krf.sweep_mlp(X[0], y, alpha=1.0, seeds=[1, 2], antisymmetric=True)
    krf.sweep_diagonal(X, y, alpha=[1.0, 1e-3], w0=np.ones((2, 4)), t_eval=[0.1, 0.2])
    krf.sweep_mlp(X[0], y, depth=[2, 3], width=[4, 8], alpha=[[1.0, 0.1]] * 2, seeds=[1, 2])
    assert [len(plan.shape) for plan in plans] == [3, 0, 3, 0, 2, 1, 3, 1, 1, 3, 4]
    for plan in plans:
        seconds = np.broadcast_to(plan.seconds(), plan.shape)
        assert np.all(seconds > 0)
        assert plan.bytes_per_run() > 0
        if "alpha" in plan.dims:
            axis = plan.dims.index("alpha")
            assert np.all(np.take(seconds, 1, axis) > np.take(seconds, 0, axis))


def test_options_are_checked_for_all_runs_before_any():
    X, y = np.ones((1, 2)), np.ones(1)
    for options, error, match in (
        ({"rtol": [1e-6, 2.0]}, ValueError, "rtol"),
        ({"t_max": [1.0, 2.0, 3.0]}, ValueError, r"t_max: expected a shape that .* \{'alpha': 2\}"),
        ({"w0": np.ones((2, 2, 2))}, ValueError, "w0: expected one profile"),
        ({"alpha": [0.1, 0.1]}, ValueError, "alpha: expected every value once, got 0.1 2 times"),
        ({"depth": [2, 3, 2]}, ValueError, "depth: expected every value once"),
        ({"t_eval": [0.0, 0.1, 0.1]}, ValueError, "t_eval: expected every value once"),
        ({"t_eval": [0.1], "stop_loss": 0.1}, ValueError, "stop_loss: expected none together"),
        (
            {"speed": 3},
            TypeError,
            "speed: not an option of sweep_diagonal, which takes X, y, alpha",
        ),
        ({"limit": 1}, TypeError, "limit"),
        ({"progress": "yes"}, TypeError, "progress"),
        ({"num_threads": 0}, ValueError, "num_threads"),
        ({"beta_star": np.ones((3, 2))}, ValueError, r"beta_star: expected shape \(2,\)"),
        ({"depth": [2, 200]}, ValueError, "alpha: expected weights"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(execute, "compute_block", None)
            with pytest.raises(error, match=match):
                krf.sweep_diagonal(X, y, **({"alpha": [0.1, 0.2]} | options))
    with pytest.raises(ValueError, match="y: expected one for each of 2 problems"):
        krf.sweep_diagonal(np.ones((2, 1, 2)), np.ones((3, 1)), alpha=1.0)
    with pytest.raises(ValueError, match="layer_scales: expected 3 factors"):
        krf.sweep_mlp(X, y, alpha=1.0, depth=[2, 3], layer_scales=[1.0, 2.0])
    for name in ("seeds", "width", "alpha", "depth"):
        with pytest.raises(ValueError, match=f"{name}: expected every value once"):
            krf.sweep_mlp(X, y, **({"alpha": 1.0, name: [2, 2]}))
    for name in ("seeds", "width", "alpha"):
        with pytest.raises(ValueError, match=f"{name}: expected every value once"):
            krf.sweep_factorization(
                np.eye(2), n_observed=3, **({"alpha": 1.0, "width": 2} | {name: [2, 2]})
            )


def test_blocks_change_no_bit_of_profiles_widths_and_times(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 4, 9)), rng.standard_normal((2, 4))
    w0 = rng.uniform(0.5, 2.0, (3, 9))
    circle, Y_star = krf.datasets.circle_teacher(5), np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 0.5])
    common = {"t_eval": [0.0, 0.1, 0.3], "progress": False, "num_threads": 1}
    calls = {
        "diagonal": lambda **more: krf.sweep_diagonal(
            X, y, alpha=[0.1, 1.0], depth=[2, 3], w0=w0,
            rtol=[[1e-4], [1e-6]], keep=("norms", "beta"), **common, **more,
        ),
        "cells": lambda **more: krf.sweep_factorization(
            Y_star, alpha=[0.1, 1.0], width=[2, 9], seeds=[0, 1], n_observed=6, **common, **more
        ),
        "nets": lambda **more: krf.sweep_mlp(
            circle.X, circle.y, depth=[2, 3], width=[3, 5], alpha=[[0.5, 1.0], [0.7, 1.2]],
            seeds=[0, 1], rtol=np.array([1e-3, 1e-4])[:, None, None, None], **common, **more,
        ),
    }  # fmt: skip
    for name, call in calls.items():
        whole = call()
        with monkeypatch.context() as patch:
            patch.setattr(execute, "MOST_BYTES", 1)
            cut_up, stored = call(), call(store=tmp_path / name)
            again = call(store=tmp_path / name)
        for other in (cut_up, stored, again):
            assert set(other.variables) == set(whole.variables)
            for variable in whole.variables:
                assert np.array_equal(other[variable], whole[variable]), (name, variable)


def test_progress_is_one_bar_of_runs(medium, monkeypatch, capsys):
    X, y, _ = medium
    monkeypatch.setattr(execute, "MOST_BYTES", 1)
    krf.sweep_diagonal(X, y, alpha=[0.1, 1.0, 10.0], progress=True)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert "run/s" in shown
    assert "sweep_diagonal" in shown
    assert "\n" not in shown.strip()
    krf.sweep_diagonal(X, y, alpha=[0.1, 1.0, 10.0])  # standard error is no terminal
    assert capsys.readouterr().err == ""


def test_flows_tell_a_function_how_far_they_are(medium):
    X, y, _ = medium
    heard: list[int] = []
    krf.flow_diagonal(X, y, alpha=np.full(50, 0.1), progress=heard.append)
    assert heard[-1] == 50
    assert heard == sorted(heard)


MEMORY = """
import resource
import numpy as np
import kernelrich_fast as krf
rng = np.random.default_rng(0)
X, y = rng.standard_normal((2, 4000)), rng.standard_normal(2)
def sweep(count):
    alpha = np.geomspace(1.0, 10.0, count)
    krf.sweep_diagonal(X, y, alpha=alpha, limit=True, keep=(), progress=False)
sweep(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sweep(8000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_does_not_grow_with_the_sweep(tmp_path):
    """Weights and predictors of all 8000 runs together would take 768 MB."""
    call = [sys.executable, "-c", MEMORY]
    out = subprocess.run(call, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert float(out.stdout) < 1.25 * execute.MOST_BYTES / 2**20


@pytest.mark.parametrize("asked", [{}, {"limit": True}, {"t_eval": [0.1, 1.0]}], ids=str)
@pytest.mark.parametrize("own", [False, True])
def test_blocks_change_no_bit_beside_designs_of_other_ranks(asked, own, monkeypatch):
    """Tall designs, one of them with equal columns, and errors on test data."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((3, 20, 6)), rng.standard_normal((3, 20))
    X[1, :, 3:] = X[1, :, :1]
    test = rng.standard_normal((3, 57, 6)), rng.standard_normal((3, 57))
    X_test, y_test = test if own else (each[0] for each in test)

    def sweep():
        return krf.sweep_diagonal(
            X, y, alpha=np.geomspace(0.01, 5.0, 7), depth=[2, 3], keep=("norms", "beta"),
            X_test=X_test, y_test=y_test, progress=False, **asked,
        )  # fmt: skip

    def path():
        return krf.sweep_rich_path(X, y, progress=False)

    whole = sweep(), path()
    monkeypatch.setattr(execute, "MOST_BYTES", 1)
    for cut_up, expected in zip((sweep(), path()), whole, strict=True):
        xr.testing.assert_identical(cut_up, expected)
