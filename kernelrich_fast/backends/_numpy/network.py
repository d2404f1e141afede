"""A ReLU network as a function of its weights, with the mode of every kink held.

A mode is 1 where a unit passes a sample, 0 where it does not, -1 where it slides along its kink and
passes nothing here.  Values of a layer are arrays (copies, n_samples, units).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..._types import FloatArray, IntArray
from ..mlp_batch import MLPLayout

__all__ = ["Network", "Pass"]


@dataclass
class Pass:
    """One evaluation: inputs A and outputs Z of the layers, df/dZ, dL/df, the predictor, L."""

    A: list[FloatArray]
    Z: list[FloatArray]
    delta: list[FloatArray]
    pull: FloatArray
    f: FloatArray
    loss: float


class Network:
    """Samples and shape of one run."""

    def __init__(self, layout: MLPLayout, X: FloatArray, y: FloatArray, loss: str) -> None:
        self.layout, self.y, self.loss = layout, y, loss
        inputs = np.hstack([X, np.ones((len(X), 1))]) if layout.bias else X
        self.X = np.stack([inputs] * layout.copies)
        self.n, self.outputs = len(X), layout.units[-1]
        self.sign = np.array([1.0, -1.0])[: layout.copies, None, None]

    def forward(
        self,
        w: FloatArray,
        modes: list[IntArray] | None,
        decide: Callable[[int, FloatArray, list[FloatArray]], None] | None = None,
    ) -> tuple[list[FloatArray], list[FloatArray]]:
        """A and Z; ``decide(layer, Z, A)`` may set the layer's modes before they are used."""
        A, Z = [self.X], []
        layers = self.layout.split(w)
        for i, W in enumerate(layers):
            z = A[i] @ np.swapaxes(W, -1, -2)
            Z.append(z)
            if i + 1 == len(layers):
                break
            if decide is not None:
                decide(i, z, A)
            a = np.where(z > 0 if modes is None else modes[i] > 0, z, 0.0)
            if self.layout.bias:
                a = np.concatenate([a, np.ones((*a.shape[:-1], 1))], axis=-1)
            A.append(a)
        return A, Z

    def evaluate(self, w: FloatArray, modes: list[IntArray]) -> Pass:
        A, Z = self.forward(w, modes)
        f = np.sum(self.sign * Z[-1], axis=0)
        if self.loss == "squared":
            r = f[:, 0] - self.y
            loss, pull = float(r @ r), 2.0 * r[:, None]
            top = np.broadcast_to(self.sign, Z[-1].shape)
        else:
            loss, pull = _cross_entropy(f, self.y.astype(np.int64))
            top = self.sign * pull
        return Pass(A, Z, self.pull_back(w, modes, top), pull, f, loss)

    def pull_back(self, w: FloatArray, modes: list[IntArray], top: FloatArray) -> list[FloatArray]:
        """The derivatives by the outputs of every layer, from those by the last."""
        layers = self.layout.split(w)
        delta = [top]
        for i in reversed(range(1, len(layers))):
            back = delta[0] @ self.without_bias(layers[i])
            delta.insert(0, np.where(modes[i - 1] > 0, back, 0.0))
        return delta

    def without_bias(self, W: FloatArray) -> FloatArray:
        return W[..., :-1] if self.layout.bias else W

    def gradient(self, p: Pass) -> FloatArray:
        """dL/dw."""
        weight = p.pull if self.outputs == 1 else 1.0
        layers = [np.swapaxes(weight * d, -1, -2) @ a for d, a in zip(p.delta, p.A, strict=True)]
        return self.layout.join(layers)

    def jacobian(self, p: Pass) -> FloatArray:
        """df/dw, (n, weights), for one output."""
        layers = [np.einsum("cni,cnj->ncij", d, a) for d, a in zip(p.delta, p.A, strict=True)]
        return self.layout.join(layers)

    def rates(
        self, w: FloatArray, v: FloatArray, modes: list[IntArray], p: Pass
    ) -> list[FloatArray]:
        """dZ/dt where dw/dt = v."""
        rates: list[FloatArray] = []
        for i, (W, V) in enumerate(zip(self.layout.split(w), self.layout.split(v), strict=True)):
            rate = p.A[i] @ np.swapaxes(V, -1, -2)
            if i:
                moved = np.where(modes[i - 1] > 0, rates[-1], 0.0)
                rate = rate + moved @ np.swapaxes(self.without_bias(W), -1, -2)
            rates.append(rate)
        return rates

    def kink_gradient(
        self, w: FloatArray, modes: list[IntArray], p: Pass, kink: tuple[int, int, int, int]
    ) -> FloatArray:
        """dz/dw of one unit and sample, kink = (layer, copy, sample, unit)."""
        layer, copy, sample, unit = kink
        weights = self.layout.split(w)
        out = [np.zeros_like(W) for W in weights]
        d = np.zeros(self.layout.units[layer + 1])
        d[unit] = 1.0
        for i in range(layer, -1, -1):
            out[i][copy] = np.outer(d, p.A[i][copy, sample])
            if i:
                d = np.where(
                    modes[i - 1][copy, sample] > 0, d @ self.without_bias(weights[i][copy]), 0.0
                )
        return self.layout.join(out)


def _cross_entropy(f: FloatArray, label: IntArray) -> tuple[float, FloatArray]:
    """Sum of the losses, and their derivatives, without cancellation where they are tiny."""
    rows = np.arange(len(f))
    top = np.argmax(f, axis=1)
    powers = np.exp(f - f[rows, top][:, None])
    others = powers.copy()
    others[rows, top] = 0.0
    total = others.sum(axis=1)
    loss = np.sum(f[rows, top] - f[rows, label] + np.log1p(total))
    pull = powers / (1.0 + total)[:, None]
    pull[rows, label] = 0.0
    pull[rows, label] = -pull.sum(axis=1)
    return float(loss), pull
