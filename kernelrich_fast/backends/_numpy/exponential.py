"""Exponential Runge-Kutta of order four: the tangent kernel exactly, the rest as in Runge-Kutta.

Krogstad's ETDRK4 with the linear part -2 J^T J; see csrc/core/exponential.hpp.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..._types import FloatArray

__all__ = ["exponential_step", "phi"]


def phi(k: int, x: FloatArray) -> FloatArray:
    """phi_k(-x) for k = 1 .. 4 and x >= 0."""
    small = np.minimum(x, 1.0)
    series = np.zeros_like(x)  # of phi_4
    for i in range(14, -1, -1):
        series = (1.0 - small * series) / (i + 4.0)
    series /= 6.0
    for reciprocal in (1.0 / 6.0, 0.5, 1.0)[: 4 - k]:
        series = reciprocal - small * series
    large = np.maximum(x, 1.0)
    value = -np.expm1(-large) / large
    for reciprocal in (1.0, 0.5, 1.0 / 6.0)[: k - 1]:
        value = (reciprocal - value) / large
    return np.where(x < 1.0, series, value)


def exponential_step(
    h: float,
    pull: FloatArray,
    J: FloatArray,
    eigen: tuple[FloatArray, FloatArray],
    field: Callable[[FloatArray], FloatArray],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The step, the field at its end and the error estimate.

    The start has the field -J^T pull, J J^T the eigenvalues and vectors given; ``field(u)`` is that
    at u from the start.
    """
    values, vectors = eigen
    lam = np.maximum(values, 0.0)
    rho = vectors.T @ pull
    x = 2.0 * h * lam
    p1, p3, p4 = phi(1, x), phi(3, x), phi(4, x)

    def weights(c: FloatArray) -> FloatArray:
        return np.asarray(J.T @ (vectors @ c))

    def stage(u: FloatArray) -> tuple[FloatArray, FloatArray]:
        G = field(u)
        return G, vectors.T @ (J @ G)

    c2 = -0.5 * h * phi(1, h * lam) * rho
    G2, g2 = stage(weights(c2))
    d2 = rho + 2.0 * lam * c2
    c3 = c2 + 0.5 * h * d2 - h * h * phi(3, h * lam) * (g2 + lam * d2)
    G3, g3 = stage(0.5 * h * G2 + weights(c3))
    d3 = rho + 2.0 * (0.5 * h * g2 + lam * c3)
    c4 = -h * p1 * rho + h * d3 - 4.0 * h * h * p3 * (g3 + lam * d3)
    G4, g4 = stage(h * G3 + weights(c4))
    d4 = rho + 2.0 * (h * g3 + lam * c4)
    c = (
        -h * p1 * rho
        + h / 3.0 * (d2 + d3)
        + h / 6.0 * d4
        - 2.0 * h * h * (
            (2.0 * p3 - 4.0 * p4) * (g2 + g3 + lam * (d2 + d3))
            + (4.0 * p4 - p3) * (g4 + lam * d4)
        )
    )  # fmt: skip
    step = h / 3.0 * (G2 + G3) + h / 6.0 * G4 + weights(c)
    G5, g5 = stage(step)
    d5 = rho + 2.0 * (h / 3.0 * (g2 + g3) + h / 6.0 * g4 + lam * c)
    e = h / 6.0 * (d4 - d5) - 2.0 * h * h * (4.0 * p4 - p3) * (g4 - g5 + lam * (d4 - d5))
    return step, G5, h / 6.0 * (G4 - G5) + weights(e)
