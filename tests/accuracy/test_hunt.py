"""bench/hunt.py: a few problems of every kind, and proof that a silent error would be seen."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "hunt.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("hunt", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


KINDS = (
    "tall", "near_duplicates", "starts", "activation", "rows", "units", "revived", "programs",
    "completions", "margins", "decays", "networks",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # trial steps of the references
@pytest.mark.parametrize("kind", KINDS)
def test_no_silent_error(script, kind):
    assert set(KINDS) == set(script.KINDS)
    found = script.hunt(kind, 4 if kind in ("revived", "networks") else 20, seed=0)
    assert found["wrong"] == []
    assert found["right"] > 0


def test_a_silent_error_would_be_seen(script, monkeypatch):
    original = script.krf.limit_diagonal

    def off(X, y, **options):
        end = original(X, y, **options)
        end.beta[...] *= 1.0 + 1e-3
        return end

    monkeypatch.setattr(script.krf, "limit_diagonal", off)
    assert script.hunt("tall", 5, seed=0)["wrong"]
    monkeypatch.setitem(script.KINDS, "rows", lambda rng: (2.0, False, "honest"))
    assert script.hunt("rows", 2, seed=0) | {"seconds": 0} == {
        "right": 0, "honest": 2, "wrong": [], "seconds": 0,
    }  # fmt: skip
    assert np.isfinite(script.distance(np.ones((1, 2)), np.ones((1, 2))))
