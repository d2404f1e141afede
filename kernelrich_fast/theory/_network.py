"""A ReLU network as `theory` is given it: checked layers, what they give and their features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .. import _validate as check
from .._types import ArrayLike, FloatArray
from ..equations.networks import forward, tangent_features

__all__ = ["Net", "checked_network", "combined", "features_of", "inputs_for", "outputs_of"]

# A unit's input is zero below this, in units of the sum of magnitudes that it is made of. Rounding
# leaves up to 1e-12 where a unit slides along its kink; elsewhere the smallest input in 480
# networks of figure 6's kind was 1e-11.
_KINK = 2.0**-40


class Net(NamedTuple):
    """Layers (..., copies, fan_out, fan_in) and biases (..., copies, fan_out), or None."""

    W: list[FloatArray]
    b: list[FloatArray] | None

    @property
    def lead(self) -> tuple[int, ...]:
        """The shape of the leading axes, those of several networks."""
        shapes = [w.shape[:-3] for w in self.W] + [v.shape[:-2] for v in self.b or ()]
        return np.broadcast_shapes(*shapes)


def checked_network(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike] | None,
    antisymmetric: bool,
    suffix: str = "",
) -> Net:
    least = 3 if check.flag("antisymmetric", antisymmetric) else 2
    names = f"weights{suffix}", f"biases{suffix}"
    W = check.real_arrays(names[0], weights, ndim=least)
    if len(W) < 2:
        raise ValueError(f"{names[0]}: expected at least two layers, got {len(W)}")
    for i in range(1, len(W)):
        if W[i].shape[-1] != W[i - 1].shape[-2]:
            raise ValueError(
                f"{names[0]}[{i}]: expected fan_in {W[i - 1].shape[-2]}, got shape {W[i].shape}"
            )
    b = None
    if biases is not None:
        b = check.real_arrays(names[1], biases, ndim=least - 1)
        if len(b) != len(W) or any(v.shape[-1] != w.shape[-2] for v, w in zip(b, W, strict=False)):
            raise ValueError(
                f"{names[1]}: expected one per unit of {len(W)} layers, {[w.shape[-2] for w in W]} "
                f"units, got shapes {[v.shape for v in b]}"
            )
    arrays = {f"{names[0]}[{i}]": (w.shape[:-2], w) for i, w in enumerate(W)}
    arrays |= {f"{names[1]}[{i}]": (v.shape[:-1], v) for i, v in enumerate(b or ())}
    for name, (lead, array) in arrays.items():
        if antisymmetric and lead[-1] != 2:
            raise ValueError(
                f"{name}: expected the two copies of an antisymmetric model on axis "
                f"{len(lead) - 1 - array.ndim}, got shape {array.shape}"
            )
    check.broadcast(**{name: lead for name, (lead, _) in arrays.items()})
    if not antisymmetric:
        W = [w[..., None, :, :] for w in W]
        b = None if b is None else [v[..., None, :] for v in b]
    return Net(W, b)


def inputs_for(net: Net, name: str, X: ArrayLike) -> FloatArray:
    """Checked inputs, as many features as the first layer takes."""
    array = check.inputs(name, X)
    if array.shape[-1] != net.W[0].shape[-1]:
        raise ValueError(f"{name}: expected {net.W[0].shape[-1]} features, got shape {array.shape}")
    check.broadcast(weights=net.lead, **{name: array.shape[:-2]})
    return array


def outputs_of(net: Net, X: FloatArray) -> FloatArray:
    """f(X), (..., n) for one output, else (..., n, outputs)."""
    return combined(forward(net.W, X[..., None, :, :], net.b)[1])


def combined(z: FloatArray) -> FloatArray:
    """What the copies (..., copies, n, outputs) give together; one output has no axis."""
    f = z[..., 0, :, :] if z.shape[-3] == 1 else z[..., 0, :, :] - z[..., 1, :, :]
    return f[..., 0] if f.shape[-1] == 1 else f


def features_of(net: Net, X: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    return tangent_features(net.W, X[..., None, :, :], net.b, kink=_KINK)
