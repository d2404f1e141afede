"""Statuses are true on problems far from friendly; `bench/torture.py` has a thousand of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import kernelrich_fast as krf

spec = importlib.util.spec_from_file_location(
    "torture", Path(__file__).resolve().parents[2] / "bench" / "torture.py"
)
torture = importlib.util.module_from_spec(spec)
spec.loader.exec_module(torture)


def test_no_status_is_false():
    result = torture.torture(60, seed=1)
    assert sum(sum(counts.values()) for counts in result["statuses"].values()) == 60
    assert result["false"] == []


def test_a_false_status_would_be_seen(monkeypatch):
    monkeypatch.setitem(
        torture.FAMILIES, "diagonal", (lambda rng: (int(krf.Status.CONVERGED), 1.0, 2.0, ""), 1.0)
    )
    monkeypatch.setitem(torture.FAMILIES, "factorization", (None, 0.0))
    monkeypatch.setitem(torture.FAMILIES, "network", (None, 0.0))
    assert len(torture.torture(3, seed=0)["false"]) == 3


@pytest.mark.filterwarnings("ignore::kernelrich_fast.ConvergenceWarning")
@pytest.mark.parametrize("alpha", [1e-10, 1e-6, 1e2, 1e3, 1e4, 1e5, 1e7])
def test_a_factorisation_that_converged_fits(alpha, backend):
    """M(0) may be 1e14 times the targets, or sleeping columns 1e-20 of those awake."""
    data = krf.datasets.low_rank_completion(4, 3, 1, 8, seed=3)
    y = data.y * np.array([[1.0], [1e6]])
    flow = krf.flow_factorization(
        y, entries=data.entries, dims=(4, 3), alpha=alpha, width=[[7], [5000]], stop_loss=1e-8,
        rtol=1e-4, backend=backend, max_steps=3000 if backend == "numpy" else 100_000,
    )  # fmt: skip
    for index in np.ndindex(flow.status.shape):
        loss = np.sum((flow.M[index][data.entries] - y[index[1]]) ** 2)
        goal = 1e-8 * np.sum(y[index[1]] ** 2)
        if flow.status[index] == krf.Status.CONVERGED:
            assert loss <= goal * (1 + 1e-5) + 1e-28 * np.linalg.norm(flow.gram[index]) ** 2
    # Beyond, rounding of M(0) may be more than the goal; the fallback has fewer digits to lose.
    if (alpha > 1e-8 or backend != "numpy") and alpha <= 1e3:
        assert np.all(flow.status == krf.Status.CONVERGED)
