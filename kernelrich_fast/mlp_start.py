"""Starts of ReLU networks: drawn or given weights as rows of all weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _validate as check
from ._device import namespace
from ._types import ArrayLike, FloatArray, IntArray
from .backends import MAX_EXACT_SAMPLES, MLPLayout
from .initialization import he_layers

__all__ = [
    "SMALLEST_TARGET",
    "check_layer_scales",
    "check_size",
    "drawn_layout",
    "drawn_start",
    "given_start",
    "output_count",
    "refuse_other_start",
    "rescaled_start",
]

_MAX_DEPTH, _MAX_WIDTH = 8, 16_384
# Unless all targets are zero: squares of gradients, and of entries of the tangent kernel, must be
# floating-point numbers, also at weights so small that they fit the targets.
SMALLEST_TARGET = 1e-80
# Units times samples, and weights, of one network: csrc counts them in 32 bits.
_MAX_VALUES, _MAX_WEIGHTS = 2**30, 2**26


def output_count(loss: str, y: FloatArray, n_classes: Any) -> int:
    """Outputs of a network: one, or one per class of checked targets."""
    if n_classes is not None:
        check.integer("n_classes", n_classes, low=2, high=2**20)
    if loss == "squared":
        if n_classes is not None:
            raise ValueError(
                f"n_classes: expected only with loss='cross_entropy', got {n_classes} with "
                f"loss={loss!r}"
            )
        return 1
    if (y % 1 != 0).any() or y.min() < 0:
        wrong = float(y[(y % 1 != 0) | (y < 0)].ravel()[0])
        raise ValueError(f"y: expected classes 0, 1, ... for loss='cross_entropy', got {wrong:g}")
    if y.max() > 2**20:
        raise ValueError(f"y: expected classes below 2^20, got {float(y.max()):.0f}")
    least = int(y.max()) + 1
    if n_classes is None:
        return max(least, 2)
    return check.integer("n_classes", n_classes, low=max(least, 2), high=2**20)


def drawn_layout(
    n_features: int, outputs: int, depth: Any, width: Any, copies: int, bias: bool
) -> MLPLayout:
    """The layout of a network of equally wide layers."""
    D = check.integer("depth", depth, low=2, high=_MAX_DEPTH)
    k = check.integer("width", width, low=1, high=_MAX_WIDTH)
    return MLPLayout((n_features, *(D - 1) * (k,), outputs), copies, bias)


def check_size(layout: MLPLayout, n: int, method: str) -> None:
    """Raise where n samples are too many for a network, or for the method."""
    outputs = layout.units[-1]
    if method == "exponential" and (outputs > 1 or n > MAX_EXACT_SAMPLES):
        raise ValueError(
            f"method: 'exponential' is for the squared loss and up to {MAX_EXACT_SAMPLES} samples, "
            f"got {outputs} outputs and {n} samples"
        )
    values = n * layout.copies * sum(u + 16 for u in layout.units)
    if values > _MAX_VALUES or layout.n_weights > _MAX_WEIGHTS:
        raise ValueError(
            f"width: expected at most {_MAX_VALUES} values and {_MAX_WEIGHTS} weights a network, "
            f"got {values} and {layout.n_weights}"
        )


def drawn_start(layout: MLPLayout, init: str, seeds: IntArray) -> tuple[FloatArray, IntArray]:
    """Rows of weights, one per distinct seed, and which of them each seed has."""
    distinct, index = np.unique(seeds.ravel(), return_inverse=True)
    flat = []
    for seed in distinct:
        layers = he_layers(layout.units, init, int(seed))
        if layout.bias:
            layers = [np.hstack([W, np.zeros((len(W), 1))]) for W in layers]
        flat.append(layout.join([np.stack([W] * layout.copies) for W in layers]))
    return np.stack(flat), np.asarray(index, dtype=np.int64).reshape(seeds.shape)


def given_start(
    weights0: Sequence[ArrayLike],
    biases0: Sequence[ArrayLike] | None,
    bias: bool,
    copies: int,
    n_features: int,
    outputs: int,
) -> tuple[MLPLayout, FloatArray, IntArray]:
    """The layout of given layers, their rows, and the rows' index in the layers' leading shape."""
    W = check.real_arrays("weights0", weights0, ndim=2, device=True)
    if not 2 <= len(W) <= _MAX_DEPTH:
        raise ValueError(f"weights0: expected 2 to {_MAX_DEPTH} layers, got {len(W)}")
    units = (W[0].shape[-1], *(w.shape[-2] for w in W))
    if units[0] != n_features or units[-1] != outputs:
        raise ValueError(
            f"weights0: expected {n_features} inputs and {outputs} outputs, got layers "
            f"{[w.shape for w in W]}"
        )
    for i, w in enumerate(W):
        if w.shape[-1] != units[i]:
            raise ValueError(f"weights0[{i}]: expected fan_in {units[i]}, got shape {w.shape}")
    b: list[FloatArray] = []
    if bias:
        given = [np.zeros(u) for u in units[1:]] if biases0 is None else biases0
        b = check.real_arrays("biases0", given, ndim=1, device=True)
        if len(b) != len(W):
            raise ValueError(f"biases0: expected {len(W)} layers, got {len(b)}")
        for i, v in enumerate(b):
            if v.shape[-1] != units[i + 1]:
                raise ValueError(
                    f"biases0[{i}]: expected {units[i + 1]} values, got shape {v.shape}"
                )
    elif biases0 is not None:
        raise ValueError("biases0: expected only with bias=True")
    shapes = {f"weights0[{i}]": w.shape[:-2] for i, w in enumerate(W)}
    lead = check.broadcast(**shapes, **{f"biases0[{i}]": v.shape[:-1] for i, v in enumerate(b)})
    layers = []
    xp = namespace(*W, *b)
    for i, w in enumerate(W):
        layer = xp.broadcast_to(xp.asarray(w), lead + w.shape[-2:])
        if bias:
            column = xp.broadcast_to(xp.asarray(b[i]), lead + b[i].shape[-1:])[..., None]
            layer = xp.concatenate([layer, column], axis=-1)
        layers.append(xp.stack([layer] * copies, axis=-3))
    layout = MLPLayout(units, copies, bias)
    flat = layout.join(layers).reshape(-1, layout.n_weights)
    return layout, flat, np.arange(len(flat), dtype=np.int64).reshape(lead)


def refuse_other_start(layout: MLPLayout, depth: Any, width: Any, seed: Any, init: Any) -> None:
    """Raise where what describes random weights contradicts the given ones.

    Defaults do not contradict, nor does one seed.
    """
    D = check.integer("depth", depth, low=2, high=_MAX_DEPTH)
    k = check.integer("width", width, low=1, high=_MAX_WIDTH)
    if D not in (2, layout.depth):
        raise ValueError(f"depth: expected {layout.depth}, that of weights0, or none, got {D}")
    hidden = layout.units[1:-1]
    if k != 30 and any(units != k for units in hidden):
        raise ValueError(
            f"width: expected none beside weights0, whose hidden layers have "
            f"{', '.join(map(str, hidden))} units, got {k}"
        )
    if check.integer_array("seed", seed, low=0).ndim:
        raise ValueError(
            "seed: expected none beside weights0, which are not drawn, got an array of shape "
            f"{np.shape(seed)}; for several starts give weights0 a leading axis"
        )
    if init != "he_uniform":
        raise ValueError(f"init: expected none beside weights0, which are not drawn, got {init!r}")


def rescaled_start(layout: MLPLayout, w0: FloatArray, layer_scales: ArrayLike) -> FloatArray:
    """Rows of weights with each layer times its factor."""
    scales = check_layer_scales(layout, layer_scales)
    factors = np.broadcast_to(scales, layout.depth).tolist()
    layers = [s * W for s, W in zip(factors, layout.split(w0), strict=True)]
    return layout.join(layers)


def check_layer_scales(layout: MLPLayout, layer_scales: ArrayLike) -> FloatArray:
    scales = check.positive_array("layer_scales", layer_scales)
    if scales.shape not in ((), (layout.depth,)):
        raise ValueError(f"layer_scales: expected {layout.depth} factors, got shape {scales.shape}")
    return scales
