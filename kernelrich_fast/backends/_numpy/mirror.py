"""Mirror maps: how the dual coordinate z_i = x_i . nu determines weights and predictor.

A mirror stores the position of every coordinate in variables that keep the *relative* accuracy of
each weight and evaluates at ``position + dz``, so a step never subtracts two large numbers:

depth 2    theta = 8 z + phi, beta = kappa sinh(theta), with log(kappa / 2) kept instead of kappa
depth >= 3 u_plus = w_plus^(2-D), u_minus = w_minus^(2-D), both linear in z
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..._types import FloatArray

__all__ = ["FELT", "DeepMirror", "Depth2Mirror", "Mirror", "Value", "make_mirror"]

# A predicted step may multiply a squared weight by e^4, or halve u = w^(2-D), unless the coordinate
# stays too small for the residual to feel it.
GROWTH = 4.0
SHRINK = 0.5
# u may lose eight digits in one step; below that the rounding of z decides where it lands.
SMALLEST_SHRINK = 1e-8
# The residual feels a coordinate whose predictor exceeds this fraction of it.
FELT = 1e-4


class Value(NamedTuple):
    """Predictor, its slope d beta / d z, and w_plus^D + w_minus^D."""

    beta: FloatArray
    slope: FloatArray
    size: FloatArray


def _column(array: FloatArray, like: FloatArray) -> FloatArray:
    return array[(slice(None),) + (None,) * (like.ndim - 1)]


class Depth2Mirror:
    """beta = kappa sinh(8 z + phi), the hyperbolic-entropy mirror map."""

    depth = 2

    def __init__(self, w_plus0: FloatArray, w_minus0: FloatArray) -> None:
        log_plus, log_minus = np.log(w_plus0), np.log(w_minus0)
        self.log_half_kappa = log_plus + log_minus
        self.theta = log_plus - log_minus
        self.phi = self.theta

    def evaluate(self, dz: FloatArray) -> Value | None:
        """Values at position + dz, (d,) or (d, k); None outside the floating-point range."""
        theta = _column(self.theta, dz) + 8.0 * dz
        level = _column(self.log_half_kappa, dz)
        with np.errstate(over="ignore", under="ignore"):
            plus, minus = np.exp(level + theta), np.exp(level - theta)
            small = 2.0 * np.exp(level) * np.sinh(np.clip(theta, -1.0, 1.0))
        size = plus + minus
        if not np.all(size < 1e300):
            return None
        return Value(np.where(np.abs(theta) < 1.0, small, plus - minus), 8.0 * size, size)

    def advance(self, dz: FloatArray) -> None:
        self.theta = self.theta + 8.0 * dz

    def weights(self, dz: FloatArray) -> tuple[FloatArray, FloatArray]:
        theta = self.theta + 8.0 * dz
        return (
            np.exp(0.5 * (self.log_half_kappa + theta)),
            np.exp(0.5 * (self.log_half_kappa - theta)),
        )

    def step_cap(self, velocity: FloatArray, log_felt: FloatArray) -> FloatArray:
        """Longest step at constant velocity that each coordinate can be predicted over."""
        ahead = log_felt - self.log_half_kappa - np.sign(velocity) * self.theta
        return np.asarray(np.maximum(GROWTH, ahead) / (8.0 * np.abs(velocity)))

    def damping(self, dz: FloatArray) -> FloatArray:
        """Longest multiple of dz a Newton step may take."""
        return np.asarray(2.0 / (8.0 * np.abs(dz)))

    def rescale(self, log_factor: float, stretch: float) -> float:
        """Scale the initial weights by e^log_factor, z by ``stretch``; returns nu's factor."""
        self.log_half_kappa = self.log_half_kappa + 2.0 * log_factor
        self.theta = self.phi + stretch * (self.theta - self.phi)
        return stretch

    def restore(self, beta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The dz that would make the predictor beta, and the slope there."""
        size = np.abs(beta)
        level = self.log_half_kappa
        # asinh(size / kappa) as a logarithm, so that kappa may be 1e-300.
        half = np.where(size > 0, np.log(np.where(size > 0, size, 1.0)), -np.inf) - level
        target = np.where(half < 100.0, np.arcsinh(0.5 * np.exp(np.minimum(half, 100.0))), half)
        slope = 8.0 * np.hypot(beta, 2.0 * np.exp(level))
        return (np.copysign(target, beta) - self.theta) / 8.0, slope


class DeepMirror:
    """beta = u_plus^-p - u_minus^-p with p = D / (D - 2), the mirror map of depth D >= 3."""

    def __init__(self, depth: int, w_plus0: FloatArray, w_minus0: FloatArray) -> None:
        self.depth = depth
        self.speed = 2.0 * depth * (depth - 2.0)
        self.power = depth / (depth - 2.0)
        self.u_plus = w_plus0 ** (2.0 - depth)
        self.u_minus = w_minus0 ** (2.0 - depth)
        # Accumulated: near the kernel regime the two u agree to many digits.
        self.u_gap = self.u_plus - self.u_minus

    def evaluate(self, dz: FloatArray) -> Value | None:
        shift = self.speed * dz
        up, um = _column(self.u_plus, dz) - shift, _column(self.u_minus, dz) + shift
        if not (np.all(up > 0.0) and np.all(um > 0.0)):
            return None
        with np.errstate(over="ignore", under="ignore"):
            plus, minus = up**-self.power, um**-self.power
            slope = 2.0 * self.depth**2 * (plus / up + minus / um)
        if not np.all(slope < 1e300):
            return None
        ratio = (_column(self.u_gap, dz) - 2.0 * shift) / um
        near = np.abs(ratio) < 0.25
        small = minus * np.expm1(-self.power * np.log1p(np.where(near, ratio, 0.0)))
        return Value(np.where(near, small, plus - minus), slope, plus + minus)

    def advance(self, dz: FloatArray) -> None:
        shift = self.speed * dz
        self.u_plus = self.u_plus - shift
        self.u_minus = self.u_minus + shift
        self.u_gap = self.u_gap - 2.0 * shift

    def weights(self, dz: FloatArray) -> tuple[FloatArray, FloatArray]:
        root = -1.0 / (self.depth - 2.0)
        shift = self.speed * dz
        return (self.u_plus - shift) ** root, (self.u_minus + shift) ** root

    def step_cap(self, velocity: FloatArray, log_felt: FloatArray) -> FloatArray:
        shrinking = np.where(velocity > 0.0, self.u_plus, self.u_minus)
        felt = np.maximum(np.exp(-log_felt / self.power), SMALLEST_SHRINK * shrinking)
        room = np.maximum(SHRINK * shrinking, shrinking - felt)
        return np.asarray(room / (self.speed * np.abs(velocity)))

    def damping(self, dz: FloatArray) -> FloatArray:
        shrinking = np.where(dz > 0.0, self.u_plus, self.u_minus)
        return np.asarray(0.9 * shrinking / (self.speed * np.abs(dz)))

    def rescale(self, log_factor: float, stretch: float) -> float:
        scale = float(np.exp((2.0 - self.depth) * log_factor))
        self.u_plus, self.u_minus = self.u_plus * scale, self.u_minus * scale
        self.u_gap = self.u_gap * scale
        return scale

    def restore(self, beta: FloatArray) -> tuple[FloatArray, FloatArray]:
        size = np.where(beta == 0.0, 1.0, np.abs(beta))
        start = np.where(beta > 0.0, self.u_plus, self.u_minus)
        u = np.minimum(start, size ** (-1.0 / self.power))
        return (
            np.sign(beta) * (start - u) / self.speed,
            2.0 * self.depth**2 * np.abs(beta) / u,
        )


Mirror = Depth2Mirror | DeepMirror


def make_mirror(depth: int, w_plus0: FloatArray, w_minus0: FloatArray) -> Mirror:
    if depth == 2:
        return Depth2Mirror(w_plus0, w_minus0)
    return DeepMirror(depth, w_plus0, w_minus0)
