"""Fully connected ReLU networks with layers W_l (..., fan_out, fan_in), relu'(0) = 0.

Rows are samples. ``inputs`` are what enters the layers, ``deltas`` the derivatives of a scalar or
of the outputs by what the layers give before their ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "along",
    "backward",
    "forward",
    "gradient",
    "inner_products",
    "jacobian",
    "pulled_back",
    "tangent_features",
]


def forward(
    weights: Sequence[Any], X: Any, biases: Sequence[Any] | None = None, *, kink: float = 0.0
) -> tuple[list[Any], Any]:
    """The inputs (..., n, fan_in) of every layer, and the outputs (..., n, fan_out) of the last.

    A unit whose input is at most ``kink`` times the sum of the magnitudes of all products of
    weights that it is made of counts as inactive.
    """
    inputs, z = [X], X
    magnitude = abs(X) if kink else None
    for i, W in enumerate(weights):
        z = inputs[-1] @ W.mT
        if biases is not None:
            z = z + biases[i][..., None, :]
        if i + 1 == len(weights):
            break
        least: Any = 0.0
        if kink:
            magnitude = magnitude @ abs(W).mT
            if biases is not None:
                magnitude = magnitude + abs(biases[i])[..., None, :]
            least = kink * magnitude
        inputs.append(z * (z > least))
    return inputs, z


def backward(weights: Sequence[Any], inputs: Sequence[Any], top: Any) -> list[Any]:
    """The deltas of every layer, (..., rows, fan_out), from that of the last.

    A sample may have several rows, one after the other (those of several outputs).
    """
    deltas = [top]
    for i in reversed(range(1, len(weights))):
        deltas.insert(0, (deltas[0] @ weights[i]) * _rows(inputs[i] > 0, top))
    return deltas


def gradient(inputs: Sequence[Any], deltas: Sequence[Any]) -> list[Any]:
    """The derivatives by the weights of the scalar that the deltas belong to."""
    return [d.mT @ a for a, d in zip(inputs, deltas, strict=True)]


def tangent_features(
    weights: Sequence[Any], X: Any, biases: Sequence[Any] | None = None, *, kink: float = 0.0
) -> list[tuple[Any, Any]]:
    """Per layer (a, d), such that the derivatives of an output by the weights are d a^T.

    ``kink`` is that of `forward`. Weights and X are (..., copies, ., .); a second copy enters the
    output negatively. Shapes: a (..., copies, n, fan_in), with a column of ones where there are
    biases, and d (..., copies, n outputs, fan_out), output index running fastest.
    """
    inputs, f = forward(weights, X, biases, kink=kink)
    n, outputs = f.shape[-2:]
    signs = np.array([1.0, -1.0])[: f.shape[-3], None, None]
    each = np.tile(np.eye(outputs), (n, 1))
    top = signs * np.broadcast_to(each, (*f.shape[:-2], n * outputs, outputs))
    if biases is not None:
        ones = [np.ones((*a.shape[:-1], 1)) for a in inputs]
        extended = [np.concatenate(pair, axis=-1) for pair in zip(inputs, ones, strict=True)]
    else:
        extended = inputs
    return list(zip(extended, backward(weights, inputs, top), strict=True))


def inner_products(left: Sequence[tuple[Any, Any]], right: Sequence[tuple[Any, Any]]) -> Any:
    """Inner products of two sets of tangent features: the tangent kernel."""
    total: Any = 0.0
    for (a, d), (b, e) in zip(left, right, strict=True):
        inputs, outputs = a @ b.mT, d.shape[-2] // a.shape[-2]
        if outputs > 1:
            inputs = np.repeat(np.repeat(inputs, outputs, axis=-1), outputs, axis=-2)
        total = total + np.sum((d @ e.mT) * inputs, axis=-3)
    return total


def jacobian(features: Sequence[tuple[Any, Any]]) -> Any:
    """Tangent features as a matrix (rows, weights): layer by layer, copies first."""
    parts = []
    for a, d in features:
        products = d[..., :, None] * _rows(a, d)[..., None, :]  # copies, rows, fan_out, fan_in
        parts.append(np.moveaxis(products, 0, 1).reshape(d.shape[-2], -1))
    return np.concatenate(parts, axis=1)


def pulled_back(features: Sequence[tuple[Any, Any]], c: Any) -> list[Any]:
    """J^T c per layer, (copies, fan_out, fan_in), for the Jacobian J and c (rows,)."""
    return [(c[:, None] * d).mT @ _rows(a, d) for a, d in features]


def along(features: Sequence[tuple[Any, Any]], change: Sequence[Any]) -> Any:
    """J w (rows,) for a change w of the layers (copies, fan_out, fan_in)."""
    total: Any = 0.0
    for (a, d), w in zip(features, change, strict=True):
        total = total + np.sum(d * _rows(a @ w.mT, d), axis=(0, 2))
    return total


def _rows(array: Any, like: Any) -> Any:
    """Rows of samples, repeated for the rows that ``like`` has per sample."""
    times = like.shape[-2] // array.shape[-2]
    return array if times == 1 else np.repeat(array, times, axis=-2)
