"""Kinks of ReLU networks that a flow has stayed on: which way it leaves them."""

from __future__ import annotations

import numpy as np
import pytest
from test_mlp_accuracy import descent

import kernelrich_fast as krf
from kernelrich_fast.initialization import he_layers


@pytest.mark.parametrize("method", ["auto", "exponential", "dopri5"])
def test_a_kink_is_left_to_the_side_that_turned_away_first(method, compiled):
    """Soon after it the other side turns away too: at the end of a long step both have."""
    data = krf.datasets.circle_teacher(8, seed=326)
    start = he_layers((2, 5, 5, 1), "he_uniform", 326)
    end = np.array([2.0])
    coarse, fine = (descent(start, data.X, data.y, end, steps)[0] for steps in (2000, 4000))
    reference, norm = 2.0 * fine - coarse, np.linalg.norm(data.y)
    doubt = np.linalg.norm(fine - coarse) / norm
    assert doubt < 3e-5
    for rtol in (1e-3, 3e-4, 1e-4, 1e-5):
        flow = krf.flow_mlp(
            data.X, data.y, depth=3, width=5, seed=326, t_eval=end, rtol=rtol, method=method
        )
        error = np.linalg.norm(flow.predict(data.X)[0] - reference) / norm
        assert error < 10.0 * rtol + doubt, rtol
