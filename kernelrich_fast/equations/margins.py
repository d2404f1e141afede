"""Margin losses of diagonal networks: the convex dual of the least Q_mu with all margins >= 1.

With Z = diag(y) X and z = Z^T theta the predictor is beta_i = mu w0_i^D h_D(w0_i^(D-2) z_i), h_D
the mirror map in units of the scale; theta >= 0 minimises

    sum_i mu w0_i^2 H_D(w0_i^(D-2) z_i) - sum_n theta_n,     H_D' = h_D,

whose gradient is the margins less one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "MarginMap",
    "MarginValue",
    "log_loss_slopes",
    "log_loss_values",
    "loss_curvatures",
    "margin_weight_field",
    "signed_rows",
]

# Exponentials below that of this are numbers, with room for a scale.
_LOG_MOST = 700.0


def signed_rows(X: Any, y: Any) -> Any:
    """The matrix of margins, diag(y) X."""
    return y[..., None] * X


class MarginValue(NamedTuple):
    """At a dual coordinate: beta, its slope, and the integral of beta."""

    beta: Any
    slope: Any
    integral: Any


class MarginMap:
    """From z to beta, for a scale mu, a profile and a depth."""

    def __init__(self, mu: float, w0: Any, depth: float) -> None:
        self.mu, self.depth = mu, depth
        self.size, self.pace = w0**depth, w0 ** (depth - 2.0)
        self.power = depth / (depth - 2.0) if depth > 2.0 else np.inf

    def at(self, z: Any) -> MarginValue:
        """Values at z, inside the domain."""
        t = self.pace * z
        amount = self.mu * self.size
        if self.depth == 2.0:
            small = np.sinh(0.5 * t)
            return MarginValue(
                2.0 * amount * np.sinh(t), 2.0 * amount * self.pace * np.cosh(t),
                4.0 * amount / self.pace * small * small,
            )  # fmt: skip
        p = self.power
        low, high = -p * np.log1p(-np.abs(t)), -p * np.log1p(np.abs(t))
        value = np.sign(t) * np.exp(high) * np.expm1(low - high)
        slope = p * (np.exp(low * (1.0 + 1.0 / p)) + np.exp(high * (1.0 + 1.0 / p)))
        k = 2.0 / self.depth  # of 2 / (D - 2) = p k
        total = np.expm1(low * k) + np.expm1(high * k)
        # Where the two nearly cancel, the series of h_D = 2 p t + c3 t^3 + c5 t^5, integrated.
        square = t * t
        c3 = p * (p + 1.0) * (p + 2.0) / 3.0
        c5 = c3 * (p + 3.0) * (p + 4.0) / 20.0
        series = square * (p + square * (0.25 * c3 + square * c5 / 6.0))
        near = (p + 8.0) * np.abs(t) < 0.02
        integral = np.where(near, series, 0.5 * (self.depth - 2.0) * total)
        return MarginValue(
            amount * value, amount * self.pace * slope, amount / self.pace * integral
        )

    def holds(self, z: Any) -> bool:
        """Whether z lies inside the domain, and its values are numbers."""
        most = float(np.max(np.abs(self.pace * z)))
        if self.depth == 2.0:
            return most < _LOG_MOST
        return most < 1.0 and -(self.power + 1.0) * float(np.log1p(-most)) < _LOG_MOST

    def rescaled(self, z: Any, mu: float) -> float:
        """The factor of theta that keeps the largest beta as the scale becomes mu."""
        t = float(np.max(np.abs(self.pace * z)))
        if t == 0.0:
            return 1.0
        if self.depth == 2.0:
            there = float(np.arcsinh(np.sinh(t) * self.mu / mu))
        else:
            there = 1.0 - (1.0 - t) * float((mu / self.mu) ** (1.0 / self.power))
        return there / t


def log_loss_values(loss: str, m: Any) -> Any:
    """Ln l(m) of margins m, for l = exp(-m) or log(1 + exp(-m))."""
    if loss == "exponential":
        return -m
    small = np.log1p(np.exp(-np.abs(m))) + np.maximum(-m, 0.0)
    return np.where(m > 40.0, -m, np.log(np.where(m > 40.0, 1.0, small)))


def log_loss_slopes(loss: str, m: Any) -> Any:
    """Ln(-l'(m))."""
    return -m if loss == "exponential" else -np.logaddexp(0.0, m)


def loss_curvatures(loss: str, m: Any) -> Any:
    """The ratio -l''(m) / l'(m)."""
    return np.ones_like(m) if loss == "exponential" else np.exp(-np.logaddexp(0.0, -m))


def margin_weight_field(
    Z: Any, w_plus: Any, w_minus: Any, depth: float, loss: str
) -> tuple[Any, Any]:
    """The gradient flow dw/dt = -grad L of both weights, Z = diag(y) X."""
    pull = depth * (Z.T @ np.exp(log_loss_slopes(loss, Z @ (w_plus**depth - w_minus**depth))))
    return pull * w_plus ** (depth - 1), -pull * w_minus ** (depth - 1)
