"""ReLU networks at given weights: predictions, tangent kernels, feature distances."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _validate as check
from .._types import ArrayLike, FloatArray
from ..equations.networks import inner_products
from ._network import Net, checked_network, features_of, inputs_for, outputs_of

__all__ = ["mlp_feature_distance", "mlp_predict", "mlp_tangent_kernel"]


def mlp_predict(
    weights: Sequence[ArrayLike],
    X: ArrayLike,
    *,
    biases: Sequence[ArrayLike] | None = None,
    antisymmetric: bool = False,
) -> FloatArray:
    """Outputs of fully connected ReLU networks.

    Parameters
    ----------
    weights : sequence of array_like, (..., fan_out, fan_in) each
        Weights of the layers; (..., 2, fan_out, fan_in) for an antisymmetric model, whose output is
        that of the first copy minus that of the second.
    X : array_like, (..., n_samples, n_features)
        Inputs; leading axes broadcast with those of the weights.
    biases : sequence of array_like, (..., fan_out) each, optional
        Biases of every layer; (..., 2, fan_out) for an antisymmetric model.
    antisymmetric : bool
        Whether the model is the difference of two copies.

    Returns
    -------
    ndarray, (..., n_samples) or, for several outputs, (..., n_samples, n_outputs)
        Predictions.

    Raises
    ------
    ValueError
        If there are fewer than two layers, the layers or biases do not fit one another, X has
        another number of features than the first layer takes, an antisymmetric model has no axis of
        length 2 for its copies, a value is not finite, or leading axes do not broadcast.
    TypeError
        If ``weights`` or ``biases`` is not a sequence of real arrays, X does not consist of real
        numbers, or ``antisymmetric`` is not True or False.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.mlp_predict([[[1.0], [-1.0]], [[2.0, 3.0]]], [[1.0], [-1.0]])
    array([2., 3.])
    """
    net = checked_network(weights, biases, antisymmetric)
    return outputs_of(net, inputs_for(net, "X", X))


def mlp_tangent_kernel(
    weights: Sequence[ArrayLike],
    X: ArrayLike,
    X_new: ArrayLike | None = None,
    *,
    biases: Sequence[ArrayLike] | None = None,
    antisymmetric: bool = False,
) -> FloatArray:
    """Tangent kernel K(x, x') = <grad_w f(x), grad_w f(x')> at given weights.

    Parameters
    ----------
    weights, X, biases, antisymmetric
        As in `mlp_predict`; one set of weights for several outputs.
    X_new : array_like, (..., n_new, n_features), optional
        Inputs that belong to the rows of the kernel; X by default.

    Returns
    -------
    ndarray, (..., n_new, n_samples) or (n_new n_outputs, n_samples n_outputs)
        The kernel; with several outputs, the output index runs fastest.

    Raises
    ------
    ValueError
        As `mlp_predict`, for X_new too.
    TypeError
        As `mlp_predict`.

    Notes
    -----
    The cost is n_new n_samples times the number of units; no gradient is formed. relu'(0) = 0. A
    unit's input counts as zero if it is below 2^-40 times the sum of the magnitudes of its terms,
    since this is what remains where the flow slides along a kink.

    References
    ----------
    Woodworth et al. (COLT 2020), section 2.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.mlp_tangent_kernel([[[1.0]], [[2.0]]], [[1.0], [3.0]])
    array([[ 5., 15.],
           [15., 45.]])
    """
    net = checked_network(weights, biases, antisymmetric)
    own = inputs_for(net, "X", X)
    new = own if X_new is None else inputs_for(net, "X_new", X_new)
    check.broadcast(X=own.shape[:-2], X_new=new.shape[:-2])
    right = features_of(net, own)
    left = right if X_new is None else features_of(net, new)
    return np.asarray(inner_products(left, right))


def mlp_feature_distance(
    weights0: Sequence[ArrayLike],
    weights1: Sequence[ArrayLike],
    X: ArrayLike,
    *,
    biases0: Sequence[ArrayLike] | None = None,
    biases1: Sequence[ArrayLike] | None = None,
    antisymmetric: bool = False,
) -> FloatArray:
    """Cosine distance of the tangent features grad_w f(X) at two sets of weights.

    Parameters
    ----------
    weights0, weights1, biases0, biases1
        As in `mlp_predict`.
    X : array_like, (..., n_samples, n_features)
        Inputs.
    antisymmetric : bool
        As in `mlp_predict`.

    Returns
    -------
    ndarray, (...)
        1 - <Phi_0, Phi_1> / (|Phi_0| |Phi_1|), in [0, 2]: the gradient distance of figure 6b. Where
        all units of a network are off, its features are zero: 0.5 if one of them is, 0 if both are.

    Raises
    ------
    ValueError
        As `mlp_predict`; also if the layers of the two networks have different shapes, or one of
        the two has biases and the other has none.
    TypeError
        As `mlp_predict`.

    Notes
    -----
    A unit at its kink counts as inactive, as in `mlp_tangent_kernel`.

    References
    ----------
    Woodworth et al. (COLT 2020), figure 6b.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> w = [[[1.0]], [[2.0]]]
    >>> float(krf.theory.mlp_feature_distance(w, w, [[1.0]]))
    0.0
    """
    net0 = checked_network(weights0, biases0, antisymmetric, "0")
    net1 = checked_network(weights1, biases1, antisymmetric, "1")
    _expect_same_layers(net0, net1)
    first = features_of(net0, inputs_for(net0, "X", X))
    second = features_of(net1, inputs_for(net1, "X", X))
    first, second = _in_common_units(first, second)
    norms = [
        np.sqrt(
            np.asarray(sum(np.sum(_squares(d) * _squares(a, d), axis=(-2, -1)) for a, d in rows))
        )
        for rows in (first, second)
    ]
    scale0, scale1 = (
        np.divide(1.0, n, out=np.zeros_like(n), where=n > 0)[..., None, None, None] for n in norms
    )
    # |u - v|^2 / 2 = 1 - <u, v> for unit vectors, without cancellation where they agree.
    total = np.zeros(())
    for (a, d), (b, e) in zip(first, second, strict=True):
        d, e = scale0 * d, scale1 * e
        outputs = d.shape[-2] // a.shape[-2]
        apart, moved = d - e, np.repeat(a - b, outputs, axis=-2)
        inputs = np.repeat(a, outputs, axis=-2)
        rows = (
            np.sum(apart**2, axis=-1) * np.sum(inputs**2, axis=-1)
            + np.sum(e**2, axis=-1) * np.sum(moved**2, axis=-1)
            + 2.0 * np.sum(apart * e, axis=-1) * np.sum(inputs * moved, axis=-1)
        )
        total = total + np.sum(rows, axis=(-2, -1))
    return np.asarray(np.maximum(0.0, 0.5 * total))


def _expect_same_layers(net0: Net, net1: Net) -> None:
    """Raise unless the derivatives of one network are by the weights of the other."""
    shapes0, shapes1 = ([w.shape[-2:] for w in net.W] for net in (net0, net1))
    if shapes0 != shapes1:
        raise ValueError(
            f"weights1: expected layers of the shapes of weights0, {shapes0}, got {shapes1}"
        )
    if (net0.b is None) != (net1.b is None):
        given, other = ("biases0", "biases1") if net1.b is None else ("biases1", "biases0")
        raise ValueError(f"{other}: expected together with {given}, got one of them")
    check.broadcast(weights0=net0.lead, weights1=net1.lead)


def _in_common_units(
    first: list[tuple[FloatArray, FloatArray]], second: list[tuple[FloatArray, FloatArray]]
) -> tuple[list[tuple[FloatArray, FloatArray]], ...]:
    """Both features multiplied so that no square overflows: exactly, and their inputs alike."""

    def exponent(*arrays: FloatArray) -> Any:
        tops = (np.max(np.abs(A), axis=(-3, -2, -1), keepdims=True) for A in arrays)
        return np.frexp(functools.reduce(np.maximum, tops))[1]

    units = [exponent(a, b) for (a, _), (b, _) in zip(first, second, strict=True)]
    found = []
    for rows in (first, second):
        each = (exponent(d) + unit for (_, d), unit in zip(rows, units, strict=True))
        top = functools.reduce(np.maximum, each)
        found.append(
            [
                (np.ldexp(a, -unit), np.ldexp(d, unit - top))
                for (a, d), unit in zip(rows, units, strict=True)
            ]
        )
    return tuple(found)


def _squares(rows: FloatArray, like: FloatArray | None = None) -> FloatArray:
    """Squared norms of rows (..., copies, n, units), repeated for the outputs of ``like``."""
    norms = np.sum(rows**2, axis=-1)
    return norms if like is None else np.repeat(norms, like.shape[-2] // rows.shape[-2], axis=-1)
