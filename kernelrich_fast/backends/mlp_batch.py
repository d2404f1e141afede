"""A batch of ReLU networks by index into shared arrays: what every backend is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._device import contiguous, namespace, on_device
from .._types import FloatArray, IntArray
from .cost import network_seconds
from .crossover import network_crossover

__all__ = ["MAX_EXACT_SAMPLES", "MLP_METHODS", "MLPBatch", "MLPLayout"]

# As in csrc/core/mlp/mlp_system.hpp: the exponential method diagonalises a matrix of that size.
MAX_EXACT_SAMPLES = 1024
# Positions are the numbers of csrc/core/ode/flow_options.hpp.
MLP_METHODS = ("auto", "dopri5", "exponential", "gradient_descent")


@dataclass(frozen=True)
class MLPLayout:
    """Shapes of one network; its weights lie copy after copy, layer after layer, bias last."""

    units: tuple[int, ...]
    copies: int
    bias: bool

    @property
    def depth(self) -> int:
        return len(self.units) - 1

    @property
    def shapes(self) -> list[tuple[int, int]]:
        return [(self.units[i + 1], self.units[i] + int(self.bias)) for i in range(self.depth)]

    @property
    def n_weights(self) -> int:
        return self.copies * sum(rows * columns for rows, columns in self.shapes)

    def split(self, flat: FloatArray) -> list[FloatArray]:
        """Layers (..., copies, fan_out, fan_in + bias) of weights (..., n_weights)."""
        parts = flat.reshape(*flat.shape[:-1], self.copies, -1)
        layers, at = [], 0
        for rows, columns in self.shapes:
            part = parts[..., at : at + rows * columns]
            layers.append(part.reshape(*part.shape[:-1], rows, columns))
            at += rows * columns
        return layers

    def join(self, layers: list[FloatArray]) -> FloatArray:
        """The inverse of `split`."""
        flat = [layer.reshape(*layer.shape[:-2], -1) for layer in layers]
        joined = namespace(*flat).concatenate(flat, axis=-1)
        return contiguous(joined.reshape(*joined.shape[:-2], -1))


@dataclass(frozen=True)
class MLPBatch:
    """Runs ``b`` on (X[x_index[b]], y[y_index[b]]) from alpha[b] * w0[w_index[b]].

    For ``loss`` "squared" there is one output; for "cross_entropy" y holds classes.
    """

    shape: tuple[int, ...]
    layout: MLPLayout
    loss: str
    step_size: float
    X: FloatArray
    y: FloatArray
    w0: FloatArray
    alpha: FloatArray
    x_index: IntArray
    y_index: IntArray
    w_index: IntArray

    def __len__(self) -> int:
        return len(self.alpha)

    @property
    def on_device(self) -> bool:
        """Whether data or starts are, and with them the results."""
        return any(map(on_device, (self.X, self.y, self.w0)))

    @property
    def crossover(self) -> float:
        """Runs for each thread of the CPU from which on a GPU pays."""
        return network_crossover(self.layout.depth)

    def seconds(self) -> FloatArray:
        """Expected, of every run."""
        layout = self.layout
        return network_seconds(
            self.y.shape[-1], layout.n_weights, max(layout.units[1:-1]), layout.depth, self.alpha
        )

    def parts(self) -> Sequence[tuple[IntArray, MLPBatch]]:
        """None: problems of one batch have one size."""
        return []

    def arguments(self) -> dict[str, Any]:
        return {
            "units": list(self.layout.units), "copies": self.layout.copies,
            "bias": int(self.layout.bias), "loss": int(self.loss == "cross_entropy"),
            "step_size": self.step_size, "X": self.X, "y": self.y, "w0": self.w0,
            "alpha": self.alpha,
            "x_index": self.x_index, "y_index": self.y_index, "w_index": self.w_index,
        }  # fmt: skip

    def start(self, b: int) -> FloatArray:
        return np.asarray(self.alpha[b] * self.w0[self.w_index[b]])
