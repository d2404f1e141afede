"""Diagonal linear networks f(x) = <beta, x>, beta = w_plus^D - w_minus^D, L = |X beta - y|^2.

Along the flow every weight is a function of one number per coordinate, z = X^T nu, where nu is the
integral of the residual y - X beta over time.  `mirror_map` returns these functions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "HyperbolicMap",
    "MirrorMap",
    "MirrorValue",
    "PowerMap",
    "log_weight_field",
    "mirror_map",
    "predictor",
    "rich_bound",
    "rich_time_unit",
    "tangent_weights",
    "weight_field",
]

# Exponents and powers are cut here, so that a solver's trial step overflows nothing.
_LARGEST_LOG = 300.0


def predictor(w_plus: Any, w_minus: Any, depth: float) -> Any:
    """The coefficients beta = w_plus^D - w_minus^D."""
    return w_plus**depth - w_minus**depth


def rich_time_unit(alpha: Any, depth: Any) -> Any:
    """The time that small weights take to grow, as alpha -> 0: jump times are multiples of it."""
    alpha, depth = np.asarray(alpha, dtype=np.float64), np.asarray(depth, dtype=np.float64)
    excess = depth - 2.0
    # (alpha^-excess - 1) / excess, which tends to -log(alpha) as excess tends to 0.
    growth = -np.log(alpha)
    with np.errstate(over="ignore"):  # infinity is what it rounds to
        power = np.expm1(excess * growth) / np.where(excess > 0.0, excess, 1.0)
    return np.where(excess > 0.0, power, growth) / (2.0 * depth)


def rich_bound(w0: Any, depth: float) -> Any:
    """Bounds on |x_i^T s|, s the dual variable in units of `rich_time_unit`, as alpha -> 0."""
    return w0 ** (2.0 - depth)


def tangent_weights(w_plus: Any, w_minus: Any, depth: float) -> Any:
    """The diagonal c of the tangent kernel X diag(c) X^T."""
    power = 2 * depth - 2
    return depth**2 * (w_plus**power + w_minus**power)


def weight_field(X: Any, y: Any, w_plus: Any, w_minus: Any, depth: float) -> tuple[Any, Any]:
    """The gradient flow dw/dt = -grad L of both weights."""
    pull = 2.0 * depth * (X.T @ (y - X @ predictor(w_plus, w_minus, depth)))
    return pull * w_plus ** (depth - 1), -pull * w_minus ** (depth - 1)


def log_weight_field(
    force: Any, log_plus: Any, log_minus: Any, depth: float, decay: Any = 0.0
) -> tuple[Any, Any]:
    """The flow of the logarithms of both weights, under weight decay ``decay`` |w|^2.

    ``force`` is X^T (y - X beta).
    """
    excess = depth - 2.0
    plus = 2.0 * depth * force * np.exp(excess * log_plus) - 2.0 * decay
    minus = -2.0 * depth * force * np.exp(excess * log_minus) - 2.0 * decay
    return plus, minus


class MirrorValue(NamedTuple):
    """Values at a dual coordinate: beta, d beta / d z, and w_plus^D + w_minus^D."""

    beta: Any
    slope: Any
    size: Any


class HyperbolicMap:
    """Depth 2: w_plus and w_minus are w(0) exp(+-4 z), so beta = kappa sinh(8 z + phi).

    ``level`` is log(kappa / 2) = log(w_plus w_minus), which is conserved, and ``theta`` is
    log(w_plus / w_minus) at z = 0.
    """

    def __init__(self, xp: Any, level: Any, theta: Any) -> None:
        self.xp, self.level, self.theta = xp, level, theta

    def at(self, z: Any) -> MirrorValue:
        """Values at z; beta is free of cancellation where w_plus and w_minus nearly agree."""
        xp, theta = self.xp, self.theta + 8.0 * z
        plus = xp.exp(xp.clip(self.level + theta, None, _LARGEST_LOG))
        minus = xp.exp(xp.clip(self.level - theta, None, _LARGEST_LOG))
        small = 2.0 * xp.exp(self.level) * xp.sinh(xp.clip(theta, -1.0, 1.0))
        beta = xp.where(xp.abs(theta) < 1.0, small, plus - minus)
        return MirrorValue(beta, 8.0 * (plus + minus), plus + minus)

    def weights(self, z: Any) -> tuple[Any, Any]:
        """The weights at z."""
        theta = self.theta + 8.0 * z
        return self.xp.exp(0.5 * (self.level + theta)), self.xp.exp(0.5 * (self.level - theta))

    def moved(self, z: Any) -> HyperbolicMap:
        """The same map with its origin at z."""
        return HyperbolicMap(self.xp, self.level, self.theta + 8.0 * z)

    def holds(self, z: Any) -> bool:
        """Whether no value at z is cut."""
        return bool((self.level + self.xp.abs(self.theta + 8.0 * z)).max() < _LARGEST_LOG)

    def newton_length(self, dz: Any) -> float:
        """The longest multiple of dz that changes no weight by more than a factor e."""
        return float(2.0 / max(8.0 * self.xp.abs(dz).max(), 1e-300))


class PowerMap:
    """Depth D > 2: w_plus^(2-D) and w_minus^(2-D) are linear in z, with slopes -+2 D (D - 2).

    With e = D - 2 and u = w^-e, a weight at z is w(0) (1 -+ 2 D e z / u)^(-1/e).  Logarithms of
    weights are kept, so that e may be as small as it likes, and their difference apart, since in
    the kernel regime it is small.
    """

    def __init__(self, xp: Any, depth: float, log_plus: Any, log_minus: Any, ratio: Any) -> None:
        self.xp, self.depth, self.excess = xp, depth, depth - 2.0
        self.log_plus, self.log_minus, self.ratio = log_plus, log_minus, ratio
        self.u_plus, self.u_minus = (xp.exp(-self.excess * log) for log in (log_plus, log_minus))
        self.speed = 2.0 * depth * self.excess
        # The logarithm of a weight at which slopes are cut.
        self.largest = _LARGEST_LOG / (2.0 * depth - 2.0)

    def _growth(self, z: Any) -> tuple[Any, Any]:
        """The growth of log w_plus and log w_minus from 0 to z, none beyond the largest weight."""
        xp, shift = self.xp, self.speed * z
        grown = []
        for log, fall in (
            (self.log_plus, -shift / self.u_plus),
            (self.log_minus, shift / self.u_minus),
        ):
            least = xp.expm1(-self.excess * (self.largest - log))
            grown.append(-xp.log1p(xp.maximum(fall, least)) / self.excess)
        return grown[0], grown[1]

    def at(self, z: Any) -> MirrorValue:
        """Values at z; beta is free of cancellation where w_plus and w_minus nearly agree."""
        xp, D = self.xp, self.depth
        grown_plus, grown_minus = self._growth(z)
        log_plus, log_minus = self.log_plus + grown_plus, self.log_minus + grown_minus
        plus, minus = xp.exp(D * log_plus), xp.exp(D * log_minus)
        ratio = D * (self.ratio + (grown_plus - grown_minus))
        near = xp.abs(ratio) < 0.25
        small = minus * xp.expm1(xp.where(near, ratio, 0.0 * ratio))
        power = 2.0 * D - 2.0
        slope = 2.0 * D**2 * (xp.exp(power * log_plus) + xp.exp(power * log_minus))
        return MirrorValue(xp.where(near, small, plus - minus), slope, plus + minus)

    def weights(self, z: Any) -> tuple[Any, Any]:
        """The weights at z."""
        grown_plus, grown_minus = self._growth(z)
        return self.xp.exp(self.log_plus + grown_plus), self.xp.exp(self.log_minus + grown_minus)

    def moved(self, z: Any) -> PowerMap:
        """The same map with its origin at z."""
        plus, minus = self._growth(z)
        return PowerMap(
            self.xp, self.depth, self.log_plus + plus, self.log_minus + minus,
            self.ratio + (plus - minus),
        )  # fmt: skip

    def holds(self, z: Any) -> bool:
        """Whether z lies inside the domain, and no value there is cut."""
        plus, minus = self._growth(z)
        return bool(
            max((self.log_plus + plus).max(), (self.log_minus + minus).max()) < self.largest
        )

    def newton_length(self, dz: Any) -> float:
        """The longest multiple of dz over which no logarithm grows by more than about 2."""
        xp = self.xp
        shrinking = xp.where(dz > 0.0, self.u_plus, self.u_minus)
        share = (self.speed * xp.abs(dz) / shrinking).max()
        return float(-xp.expm1(-2.0 * self.excess) / max(share, 1e-300))


MirrorMap = HyperbolicMap | PowerMap


def mirror_map(xp: Any, w_plus0: Any, w_minus0: Any, depth: float) -> MirrorMap:
    """The map from z to weights and predictor, for weights w_plus0 and w_minus0 at z = 0.

    Examples
    --------
    >>> import numpy as np
    >>> at = mirror_map(np, np.array([0.5]), np.array([0.5]), 2).at(np.array([0.125]))
    >>> round(float(at.beta[0] / (0.5 * np.sinh(1.0))), 12)
    1.0
    """
    if depth == 2:
        log_plus, log_minus = xp.log(w_plus0), xp.log(w_minus0)
        return HyperbolicMap(xp, log_plus + log_minus, log_plus - log_minus)
    log_plus, log_minus = xp.log(w_plus0), xp.log(w_minus0)
    return PowerMap(xp, depth, log_plus, log_minus, log_plus - log_minus)
