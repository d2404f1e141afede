"""The minimiser that each depth chooses, against the closed forms of the paper."""

from __future__ import annotations

import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast.experiments.depths import PROBLEMS, chosen_minimiser


@pytest.mark.parametrize("depth", [2.0, 2.5, 3.0, 4.0, 7.0])
@pytest.mark.parametrize("name", ["line", "plane"])
def test_closed_forms(name, depth):
    if depth == 2.0:
        t = (4.0 - 6.0 * 2.0 ** (1 / 3) + 9.0 * 2.0 ** (2 / 3)) / 31.0
    else:
        ratio = 3.0 ** (2 / depth) / (2.0 ** (2 / depth) + 1.0)
        t = 1.0 / (1.0 + ratio ** (-depth / (depth - 2.0)))
    found = chosen_minimiser(name, depth)
    assert np.allclose(found[:3], [1.0 - t, 2.0 - 2.0 * t, 3.0 * t], rtol=1e-12)
    X, y = PROBLEMS[name]
    assert np.allclose(X @ found, y)
    # The flow itself, from a small start.
    alpha = 1e-9 ** (1.0 / depth)
    flow = krf.flow_diagonal(X, y, alpha=alpha, depth=depth, stop_loss=1e-24, rtol=1e-9)
    limit = krf.limit_diagonal(X, y, alpha=alpha, depth=depth, tol=1e-13)
    assert np.linalg.norm(flow.beta - limit.beta) < 1e-7
    assert np.linalg.norm(limit.beta - found) < (2e-2 if depth > 4 else 1e-4)
