"""ReLU networks at given weights: predictions, tangent kernels and the predictors they define."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _validate as check
from .._types import ArrayLike, FloatArray
from ..equations.linear import minimum_norm
from ..equations.networks import (
    along,
    forward,
    inner_products,
    jacobian,
    pulled_back,
    tangent_features,
)

__all__ = [
    "last_layer_predictor",
    "mlp_feature_distance",
    "mlp_kernel_predictor",
    "mlp_predict",
    "mlp_tangent_kernel",
]


_WELL_CONDITIONED = 1e-5  # of a kernel: least by largest eigenvalue
_MOST_FEATURES = 2**25  # numbers in a Jacobian
# An input of a unit below this, in units of the magnitudes that it is made of, is zero. Where a unit
# slides along its kink, rounding leaves up to 1e-12; the smallest inputs elsewhere, in 480 networks
# of figure 6's kind, were 1e-11.
_KINK = 2.0**-40


class _Net(NamedTuple):
    """Layers (..., copies, fan_out, fan_in) and biases (..., copies, fan_out), or None."""

    W: list[FloatArray]
    b: list[FloatArray] | None


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
        Layers; for an antisymmetric model (..., 2, fan_out, fan_in), and the output is that of the
        first copy less that of the second.
    X : array_like, (..., n_samples, n_features)
        Inputs; leading axes broadcast with those of the weights.
    biases : sequence of array_like, (..., fan_out) each, optional
        Biases of every layer; (..., 2, fan_out) for an antisymmetric model.
    antisymmetric : bool
        Whether there are two copies.

    Returns
    -------
    ndarray, (..., n_samples) or, for several outputs, (..., n_samples, n_outputs)
        Predictions.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.mlp_predict([[[1.0], [-1.0]], [[2.0, 3.0]]], [[1.0], [-1.0]])
    array([2., 3.])
    """
    net = _network(weights, biases, antisymmetric)
    return _outputs(net, check.real_array("X", X, ndim=2))


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
        Inputs of the rows; X by default.

    Returns
    -------
    ndarray, (..., n_new, n_samples) or (n_new n_outputs, n_samples n_outputs)
        The kernel; with several outputs, output index running fastest.

    Notes
    -----
    Cost: n_new n_samples times the number of units, no gradient is formed. relu'(0) = 0, and a
    unit's input is zero if it is below 2^-40 of the sum of magnitudes that it is made of, as the
    flow leaves it where units slide along their kinks.

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
    net = _network(weights, biases, antisymmetric)
    right = _features(net, check.real_array("X", X, ndim=2))
    left = right if X_new is None else _features(net, check.real_array("X_new", X_new, ndim=2))
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
        1 - <Phi_0, Phi_1> / (|Phi_0| |Phi_1|), in [0, 2]: the gradient distance of figure 6b.

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
    X = check.real_array("X", X, ndim=2)
    first = _features(_network(weights0, biases0, antisymmetric, "0"), X)
    second = _features(_network(weights1, biases1, antisymmetric, "1"), X)
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


def mlp_kernel_predictor(
    weights: Sequence[ArrayLike],
    X: ArrayLike,
    y: ArrayLike,
    X_new: ArrayLike,
    *,
    biases: Sequence[ArrayLike] | None = None,
    antisymmetric: bool = False,
) -> FloatArray:
    """Limit of gradient flow, squared loss, on the network linearised at given weights.

    Parameters
    ----------
    weights, biases, antisymmetric
        As in `mlp_predict`, one set of weights.
    X : array_like, (n_samples, n_features)
        Inputs.
    y : array_like, (n_samples,) or (n_samples, n_outputs)
        Targets.
    X_new : array_like, (n_new, n_features)
        Where to predict.

    Returns
    -------
    ndarray, (n_new,) or (n_new, n_outputs)
        f(X_new) + K(X_new, X) K(X, X)^+ (y - f(X)): the smallest change in the tangent kernel's
        norm that fits y.

    Notes
    -----
    Where the condition number of the kernel, with a diagonal of ones, is below 1e5, memory and time
    are those of a dense kernel of n_samples n_outputs rows; the relative error is about 1e-10 at
    most. Above, as for samples that lie close together, the kernel would lose twice the digits that
    its features lose, and these are solved by singular values: cost (n_samples n_outputs)^2
    n_weights, relative error about 1e-14 times the square root of that condition number. A test
    holds it below 1e-7 for two samples at a relative distance of 1e-7, against 60 digits. From 2^25
    numbers in the features on, 256 MB, the kernel is used whatever its condition number, which then
    multiplies 1e-15 without a root.

    References
    ----------
    Woodworth et al. (COLT 2020), section 2 (kernel regime).

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> w = [[[1.0], [-1.0]], [[1.0, 1.0]]]
    >>> krf.theory.mlp_kernel_predictor(w, [[1.0], [-1.0]], [2.0, 0.0], [[3.0]])
    array([6.])
    """
    net = _network(weights, biases, antisymmetric)
    X, new = check.real_array("X", X, ndim=2), check.real_array("X_new", X_new, ndim=2)
    target = check.real_array("y", y, ndim=1)
    start, at_new = _outputs(net, X), _outputs(net, new)
    if target.shape != start.shape:
        raise ValueError(f"y: expected shape {start.shape} like the outputs, got {target.shape}")
    features, new_features = _features(net, X), _features(net, new)
    change = _least_change(features, (target - start).ravel())
    return np.asarray(at_new + along(new_features, change).reshape(at_new.shape))


def last_layer_predictor(
    weights: Sequence[ArrayLike],
    X: ArrayLike,
    y: ArrayLike,
    X_new: ArrayLike,
    *,
    biases: Sequence[ArrayLike] | None = None,
    antisymmetric: bool = False,
) -> FloatArray:
    """Limit of gradient flow, squared loss, when only the last layer is trained.

    Parameters
    ----------
    weights, X, y, X_new, biases, antisymmetric
        As in `mlp_kernel_predictor`.

    Returns
    -------
    ndarray, (n_new,) or (n_new, n_outputs)
        The prediction of random features that stay as they are at these weights.

    Notes
    -----
    By singular values of the features: the relative error is about 1e-15 times their condition
    number, with rows of norm one.

    References
    ----------
    Woodworth et al. (COLT 2020), figure 6c (solid line).

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> w = [[[1.0], [-1.0]], [[1.0, 1.0]]]
    >>> krf.theory.last_layer_predictor(w, [[1.0], [-1.0]], [2.0, 0.0], [[3.0]])
    array([6.])
    """
    net = _network(weights, biases, antisymmetric)
    X, new = check.real_array("X", X, ndim=2), check.real_array("X_new", X_new, ndim=2)
    target = check.real_array("y", y, ndim=1)
    (inputs, z), (new_inputs, new_z) = (forward(net.W, each[None], net.b) for each in (X, new))
    start, at_new = _combined(z), _combined(new_z)
    if target.shape != start.shape:
        raise ValueError(f"y: expected shape {start.shape} like the outputs, got {target.shape}")

    def hidden(layer: FloatArray) -> FloatArray:
        """All copies' features side by side; the bias is one more."""
        flat = np.concatenate(list(layer), axis=-1)
        return flat if net.b is None else np.hstack([flat, np.ones((len(flat), len(layer)))])

    A, B = hidden(inputs[-1]), hidden(new_inputs[-1])
    change = minimum_norm(A, (target - start).reshape(len(A), -1))
    return np.asarray(at_new + (B @ change).reshape(at_new.shape))


def _least_change(features: list[tuple[FloatArray, FloatArray]], r: FloatArray) -> list[FloatArray]:
    """The smallest change of the weights, layer by layer, that moves the outputs by r."""
    K = inner_products(features, features)
    values, vectors, root = _eigen(K, normalised=True)
    shapes = [(*d.shape[:-2], d.shape[-1], a.shape[-1]) for a, d in features]
    sizes = [int(np.prod(shape)) for shape in shapes]
    if values[0] < _WELL_CONDITIONED * values[-1] and len(r) * sum(sizes) <= _MOST_FEATURES:
        flat = minimum_norm(jacobian(features), r[:, None])[:, 0]
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    least = len(r) * np.finfo(np.float64).eps
    if values[0] <= least * values[-1]:  # least squares, in which rows have no weights
        values, vectors, root = _eigen(K, normalised=False)
    kept = values > least * values[-1]
    c = vectors[:, kept] @ ((vectors[:, kept].T @ (root * r)) / values[kept])
    return pulled_back(features, root * c)


def _eigen(K: FloatArray, normalised: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Eigenvalues and vectors of diag(root) K diag(root), whose diagonal is 1 if normalised."""
    diagonal = np.diag(K) if normalised else np.ones(len(K))
    root = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    values, vectors = np.linalg.eigh(K * root[:, None] * root)
    return values, vectors, root


def _network(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike] | None,
    antisymmetric: bool,
    suffix: str = "",
) -> _Net:
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
            raise ValueError(f"{names[1]}: expected one per unit of {len(W)} layers")
    if not antisymmetric:
        W = [w[..., None, :, :] for w in W]
        b = None if b is None else [v[..., None, :] for v in b]
    return _Net(W, b)


def _outputs(net: _Net, X: FloatArray) -> FloatArray:
    """f(X), (..., n) for one output, else (..., n, outputs)."""
    return _combined(forward(net.W, X[..., None, :, :], net.b)[1])


def _combined(z: FloatArray) -> FloatArray:
    """What the copies (..., copies, n, outputs) give together; one output has no axis."""
    f = z[..., 0, :, :] if z.shape[-3] == 1 else z[..., 0, :, :] - z[..., 1, :, :]
    return f[..., 0] if f.shape[-1] == 1 else f


def _features(net: _Net, X: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    return tangent_features(net.W, X[..., None, :, :], net.b, kink=_KINK)


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
