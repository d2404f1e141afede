"""Units that slide along their kink: the gradient leaves out what would move them off it.

See csrc/core/sliding.hpp for why.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import lsq_linear

from ..._types import FloatArray, IntArray
from .network import Network, Pass

__all__ = ["Sliding"]

Kink = tuple[int, int, int, int]  # layer, copy, sample, unit

# As in csrc/core.
DEEP = 48
PER_UNIT = 16


class Sliding:
    """The sliding units of given modes; surplus ones get the mode of the sign of their z."""

    def __init__(self, net: Network, modes: list[IntArray], Z: list[FloatArray]) -> None:
        self.net, self.modes = net, modes
        self.first: dict[tuple[int, int], tuple[list[int], FloatArray]] = {}
        left = net.layout.copies * net.layout.units[1]
        by_unit: dict[tuple[int, int], list[int]] = {}
        for copy, sample, unit in np.argwhere(modes[0] < 0):
            by_unit.setdefault((int(copy), int(unit)), []).append(int(sample))
        for key in sorted(by_unit):
            copy, unit = key
            kept: list[int] = []
            basis = np.empty((net.X.shape[-1], 0))
            for sample in by_unit[key]:
                x = net.X[0, sample]
                q = x - basis @ (basis.T @ x)
                q -= basis @ (basis.T @ q)
                adds = q @ q > 1e-20 * (x @ x)
                if left == 0 or len(kept) == PER_UNIT:
                    modes[0][copy, sample, unit] = int(Z[0][copy, sample, unit] > 0)
                    continue
                kept.append(sample)
                if adds:
                    basis = np.column_stack([basis, q / np.linalg.norm(q)])
                    left -= 1
            if kept:
                self.first[key] = (kept, basis)
        deep = [
            (i, int(copy), int(sample), int(unit))
            for i in range(1, len(modes))
            for copy, sample, unit in np.argwhere(modes[i] < 0)
        ]
        for i, copy, sample, unit in deep[DEEP:]:
            modes[i][copy, sample, unit] = int(Z[i][copy, sample, unit] > 0)
        self.deep: list[Kink] = deep[:DEEP]
        self.rows = np.empty((0, net.layout.n_weights))
        self.u = np.empty(0)

    def __bool__(self) -> bool:
        return bool(self.first or self.deep)

    def project_first(self, v: FloatArray) -> FloatArray:
        """V (..., weights) without what would move a first-layer z."""
        if not self.first:
            return v
        layers = [layer.copy() for layer in self.net.layout.split(v)]
        for (copy, unit), (_, Q) in self.first.items():
            row = layers[0][..., copy, unit, :]
            layers[0][..., copy, unit, :] = row - (row @ Q) @ Q.T
        return self.net.layout.join(layers)

    def prepare(self, w: FloatArray, p: Pass) -> None:
        """The deeper gradients at w, projected like everything else."""
        if self.deep:
            rows = [self.net.kink_gradient(w, self.modes, p, kink) for kink in self.deep]
            self.raw = np.stack(rows)
            self.rows = self.project_first(self.raw)

    def project(self, w: FloatArray, p: Pass, v: FloatArray) -> FloatArray:
        v = self.project_first(v)
        if self.deep:
            self.prepare(w, p)
            self.u = self.solve(self.rows @ v)
            v = v - self.u @ self.rows
        return v

    def solve(self, b: FloatArray) -> FloatArray:
        return np.asarray(np.linalg.lstsq(self.rows @ self.rows.T, b, rcond=1e-12)[0])

    def project_rows(self, J: FloatArray) -> FloatArray:
        """The same for the rows of a Jacobian."""
        J = self.project_first(J)
        return J - self.solve(self.rows @ J.T).T @ self.rows if self.deep else J

    def restore(self, p: Pass, w: FloatArray) -> FloatArray:
        """Weights at which the sliding z are zero again."""
        w = self.project_first(w)
        if self.deep:
            z = np.array([p.Z[i][copy, sample, unit] for i, copy, sample, unit in self.deep])
            w = w - self.solve(z) @ self.rows
        return w

    def fractions(self, w: FloatArray, p: Pass) -> dict[Kink, float]:
        """Theta of every sliding unit, after `project` at w."""
        theta: dict[Kink, float] = {}
        layers = self.net.layout.split(w)
        d = self.net.sign * p.pull
        pull = d
        for i in reversed(range(len(layers) - 1)):
            pull = d @ self.net.without_bias(layers[i + 1])
            factor = (self.modes[i] > 0).astype(np.float64)
            for kink, u in zip(self.deep, self.u, strict=True):
                if kink[0] == i:
                    theta[kink] = _share(float(u), float(pull[kink[1:]]))
                    factor[kink[1:]] = min(1.0, max(0.0, theta[kink]))
            d = factor * pull
        if self.first:
            raw = -self.net.gradient(p)
            if self.deep:
                raw = raw - self.u @ self.raw
            wanted = self.net.layout.split(raw)[0]
            for (copy, unit), (samples, _) in self.first.items():
                g = pull[copy, samples, unit]
                values = _box(self.net.X[0, samples], wanted[copy, unit], g)
                for sample, value in zip(samples, values, strict=True):
                    theta[0, copy, sample, unit] = float(value)
        return theta


def _box(X: FloatArray, w: FloatArray, g: FloatArray) -> FloatArray:
    """The theta in [0, 1] for which w - X^T (g theta) is least; beyond an edge that lets go."""
    theta = np.zeros(len(g))
    holds = g > 0.0
    if holds.any():
        columns = (X[holds] * g[holds, None]).T
        theta[holds] = lsq_linear(columns, w, bounds=(0.0, 1.0), tol=1e-14, method="bvls").x
    rate = X @ (w - X.T @ (g * theta))
    edge = (theta <= 0.0) | (theta >= 1.0)
    for k in np.flatnonzero(edge):
        theta[k] += _share(float(rate[k]), float(g[k] * (X[k] @ X[k])))
    return theta


def _share(u: float, pull: float) -> float:
    """Theta = u / (dL/da); a kink whose sides do not both point at it lets go."""
    if pull > 0.0:
        return u / pull
    return np.inf if u > 0.0 else -np.inf
