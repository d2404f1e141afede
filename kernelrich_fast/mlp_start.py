"""Starts of ReLU networks: drawn or given weights as rows of all weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import _validate as check
from ._types import ArrayLike, FloatArray, IntArray
from .backends import MLPLayout
from .initialization import he_layers

__all__ = ["MAX_DEPTH", "drawn_start", "given_start", "rescaled_start"]

MAX_DEPTH = 8


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
    W = [check.real_array(f"weights0[{i}]", w, ndim=2) for i, w in enumerate(weights0)]
    if not 2 <= len(W) <= MAX_DEPTH:
        raise ValueError(f"weights0: expected 2 to {MAX_DEPTH} layers, got {len(W)}")
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
        b = [check.real_array(f"biases0[{i}]", v, ndim=1) for i, v in enumerate(given)]
        if len(b) != len(W):
            raise ValueError(f"biases0: expected {len(W)} layers, got {len(b)}")
        for i, v in enumerate(b):
            if v.shape[-1] != units[i + 1]:
                raise ValueError(
                    f"biases0[{i}]: expected {units[i + 1]} values, got shape {v.shape}"
                )
    elif biases0 is not None:
        raise ValueError("biases0: expected only with bias=True")
    try:
        lead = np.broadcast_shapes(*(w.shape[:-2] for w in W), *(v.shape[:-1] for v in b))
    except ValueError:
        raise ValueError(
            f"weights0: leading shapes do not broadcast: {[w.shape[:-2] for w in W]}"
        ) from None
    layers = []
    for i, w in enumerate(W):
        layer = np.broadcast_to(w, lead + w.shape[-2:])
        if bias:
            column = np.broadcast_to(b[i], lead + b[i].shape[-1:])[..., None]
            layer = np.concatenate([layer, column], axis=-1)
        layers.append(np.stack([layer] * copies, axis=-3))
    layout = MLPLayout(units, copies, bias)
    flat = layout.join(layers).reshape(-1, layout.n_weights)
    return layout, flat, np.arange(len(flat), dtype=np.int64).reshape(lead)


def rescaled_start(layout: MLPLayout, w0: FloatArray, layer_scales: ArrayLike) -> FloatArray:
    """Rows of weights with each layer times its factor."""
    scales = check.positive_array("layer_scales", layer_scales)
    if scales.shape not in ((), (layout.depth,)):
        raise ValueError(f"layer_scales: expected {layout.depth} factors, got shape {scales.shape}")
    layers = [
        s * W for s, W in zip(np.broadcast_to(scales, layout.depth), layout.split(w0), strict=True)
    ]
    return layout.join(layers)
