"""Seconds that a run takes on one thread, to about a decade: see bench/chunks.py for the constants.

By these runs that take long begin first, and sweeps are cut into blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._types import FloatArray

__all__ = [
    "diagonal_flow_seconds",
    "diagonal_limit_seconds",
    "factorization_seconds",
    "linear_seconds",
    "network_seconds",
]


def _smallness(alpha: Any) -> FloatArray:
    """Runs leave a small start slowly."""
    with np.errstate(over="ignore"):
        return np.asarray(np.minimum(np.log1p(1.0 / np.asarray(alpha, dtype=np.float64)), 800.0))


def diagonal_flow_seconds(n_samples: int, n_features: int, alpha: Any, depth: Any) -> FloatArray:
    with np.errstate(over="ignore"):
        stiff = np.clip(np.asarray(alpha) ** (-0.5 * (np.asarray(depth) - 2.0)) / 5.0, 1.0, 50.0)
    passes = 250.0 * (1.0 + _smallness(alpha)) * stiff
    return np.asarray(passes * (5e-7 + 2e-10 * n_samples * n_features))


def diagonal_limit_seconds(n_samples: int, n_features: int, alpha: Any) -> FloatArray:
    one = 1e-10 * n_samples * n_samples * n_features
    return np.asarray(5e-5 + one * (1.0 + _smallness(alpha)))


def factorization_seconds(n_samples: int, alpha: Any) -> FloatArray:
    """``alpha`` is the size of a weight."""
    return np.asarray((3e-3 + 1e-9 * n_samples**3) * (1.0 + 0.2 * _smallness(alpha)))


def linear_seconds(d_out: int, modes: int, n: int, alpha: Any) -> FloatArray:
    """``n`` rows of the factor, ``alpha`` the size of a weight."""
    steps = 60.0 * (1.0 + 0.2 * _smallness(alpha))
    return np.asarray(steps * (1e-5 + d_out * modes * (1e-9 * modes**2 + 4e-9 * n)))


def network_seconds(
    n_samples: int, n_weights: Any, width: Any, depth: Any, alpha: Any
) -> FloatArray:
    gradients = 30.0 * n_samples * (depth - 1.0) * (1.0 + _smallness(alpha))
    return np.asarray(gradients * (5e-6 + n_samples * (1e-9 * n_weights + 1e-8 * width)))
