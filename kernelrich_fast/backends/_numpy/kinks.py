"""Kinks that a step has crossed: when, what that is worth, what happens next.

See csrc/core/kinks.hpp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..._types import FloatArray, IntArray
from .sliding import Kink, Sliding

if TYPE_CHECKING:
    from .mlp_flow import MLPRun

__all__ = ["Kinks", "signs"]

ROUNDS, TOGETHER, MANY, FEW_ROUNDS = 24, 6, 8, 2
SLACK = 1e-8


def signs(Z: list[FloatArray]) -> list[IntArray]:
    """Modes of the hidden layers as the ReLU itself has them."""
    return [(z > 0).astype(np.int64) for z in Z[:-1]]


def _leaves(theta: float) -> bool:
    return not -SLACK <= theta <= 1.0 + SLACK


class Kinks:
    """The kinks between the state of a run and its trial."""

    def __init__(self, run: MLPRun) -> None:
        self.run = run
        self.crossed: list[tuple[Kink, float]] = []  # with the fraction of the step
        self.many = False  # more than can be told apart one by one

    def first_crossing(self, step: float) -> float:
        """The fraction of the step at the first crossing, above one where there is none."""
        now, end = self.run.now, self.run.trial
        found: list[Kink] = []
        for i, modes in enumerate(now.modes):
            wrong = (modes >= 0) & ((end.p.Z[i] > 0) != (modes > 0))
            for copy, sample, unit in np.argwhere(wrong):
                kink = (i, int(copy), int(sample), int(unit))
                if abs(end.p.Z[i][kink[1:]]) > self.noise(end.w, end.p.A, kink):
                    found.append(kink)
        found += [kink for kink, theta in end.theta.items() if _leaves(theta)]
        self.crossed, self.many = [], len(found) > MANY
        if not found:
            return 2.0
        net = self.run.net
        before = net.rates(now.w, now.field, now.modes, now.p)
        after = net.rates(end.w, end.field, now.modes, end.p)
        for kink in found:
            i, at = kink[0], kink[1:]
            if now.modes[i][at] < 0:
                x = _leaving(now.theta.get(kink, 0.5), end.theta[kink])
            else:
                x = _crossing(
                    now.p.Z[i][at], step * before[i][at], end.p.Z[i][at], step * after[i][at],
                    bool(now.modes[i][at] > 0),
                )  # fmt: skip
            self.crossed.append((kink, x))
        return min(x for _, x in self.crossed)

    def noise(self, w: FloatArray, A: list[FloatArray], kink: Kink) -> float:
        """What rounding may have made of z."""
        i, copy, sample, unit = kink
        W = self.run.net.layout.split(w)[i]
        return (
            8.0
            * np.finfo(np.float64).eps
            * float(np.abs(W[copy, unit]) @ np.abs(A[i][copy, sample]))
        )

    def rewind(self) -> None:
        """Back to the start, with the kinks that were on the wrong side there already changed."""
        now, end = self.run.now, self.run.trial
        modes = [m.copy() for m in now.modes]
        self.crossed = [(kink, x) for kink, x in self.crossed if x == 0.0]
        for kink, _ in self.crossed:
            i, at = kink[0], kink[1:]
            up = end.theta[kink] > 1.0 if modes[i][at] < 0 else end.p.Z[i][at] > 0
            modes[i][at] = int(up)
        sliding = Sliding(self.run.net, modes, now.p.Z)
        self.run.trial = self.run.evaluate(now.w, modes, sliding)
        self.settle()

    def cross(self, late: float) -> float:
        """What crossing at the end of the step is worth in tolerances."""
        run, end = self.run, self.run.trial
        modes = [m.copy() for m in end.modes]

        # Layer by layer: a unit that only followed others through their kinks returns with them.
        def decide(layer: int, z: FloatArray, A: list[FloatArray]) -> None:
            for kink, _ in self.crossed:
                i, at = kink[0], kink[1:]
                if i != layer:
                    continue
                if end.modes[i][at] < 0:
                    modes[i][at] = int(end.theta[kink] > 1.0)
                elif abs(z[at]) > self.noise(end.w, A, kink):
                    modes[i][at] = int(z[at] > 0)

        _, Z = run.net.forward(end.w, modes, decide)
        run.trial = run.evaluate(end.w, modes, Sliding(run.net, modes, Z))
        run.trial.theta = end.theta
        jump = late * (run.trial.field - end.field)
        worth = run.change_of(jump).relative_to(run.atol, run.rtol, run.scale)
        predictions = float(np.linalg.norm(run.trial.p.f - end.p.f))
        if not np.isfinite(run.trial.p.loss):
            return np.inf
        return max(worth, predictions / (run.atol + run.rtol * run.scale) if predictions else 0.0)

    def settle(self) -> None:
        """Crossed kinks slide where both sides point back, until all agree with the field."""
        run = self.run
        touched = {kink for kink, _ in self.crossed}
        for round_ in range(ROUNDS):
            end = run.trial
            rates = run.net.rates(end.w, end.field, end.modes, end.p)
            end.theta = end.sliding.fractions(end.w, end.p) if end.sliding else {}
            changes: dict[Kink, int] = {
                kink: int(theta > 1.0) for kink, theta in end.theta.items() if _leaves(theta)
            }
            for kink in touched:
                i, at = kink[0], kink[1:]
                mode, rate = end.modes[i][at], rates[i][at]
                if (mode > 0 and rate < 0) or (mode == 0 and rate > 0):
                    changes[kink] = -1
            if not changes or (round_ >= FEW_ROUNDS and self.many):
                return
            if round_ >= TOGETHER:
                changes = dict([min(changes.items())])
            modes = [m.copy() for m in end.modes]
            for kink, mode in changes.items():
                modes[kink[0]][kink[1:]] = mode
            touched |= set(changes)
            sliding = Sliding(run.net, modes, end.p.Z)
            run.trial = run.evaluate(sliding.project_first(end.w), modes, sliding)


def _leaving(before: float, after: float) -> float:
    """Where theta, taken as linear, leaves [0, 1]."""
    start = min(1.0, max(0.0, before))
    if not np.isfinite(after) or after == start:
        return 0.0
    edge = 1.0 if after > 1.0 else 0.0
    return min(1.0, max(0.0, (edge - start) / (after - start)))


def _crossing(z0: float, d0: float, z1: float, d1: float, positive: bool) -> float:
    """Where z, taken as a cubic, changes sign; zero where it had the other sign to begin with."""
    if (z0 > 0) != positive:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(40):
        x = 0.5 * (low + high)
        y = 1.0 - x
        z = y * y * ((1.0 + 2.0 * x) * z0 + x * d0) + x * x * ((3.0 - 2.0 * x) * z1 - y * d1)
        if (z > 0) == positive:
            low = x
        else:
            high = x
    return high
