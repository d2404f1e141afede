"""Where the flows of linearised ReLU networks end: all layers trained, or the last alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _validate as check
from .._types import ArrayLike, FloatArray
from ..equations.linear_systems import minimum_norm
from ..equations.networks import along, forward, inner_products, jacobian, pulled_back
from ._network import checked_network, combined, features_of, inputs_for, outputs_of

__all__ = ["last_layer_predictor", "mlp_kernel_predictor"]

_WELL_CONDITIONED = 1e-5  # of a kernel: least by largest eigenvalue
_MOST_FEATURES = 2**25  # numbers in a Jacobian


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

    Raises
    ------
    ValueError
        As `mlp_predict`; also if y has another shape than the outputs at X, or X_new has more than
        two axes.
    TypeError
        As `mlp_predict`, and if y or X_new does not consist of real numbers.

    Notes
    -----
    If the condition number of the kernel, scaled to a diagonal of ones, is below 1e5, memory and
    time are those of a dense kernel with n_samples n_outputs rows, and the relative error is at
    most about 1e-10. Above, as for samples that lie close together, the kernel would lose twice as
    many digits as its features, so a QR of the features is used: the cost is (n_samples
    n_outputs)^2 n_weights, and the relative error about 1e-14 times the square root of that
    condition number. For two samples at a relative distance of 1e-7 a test checks that the error is
    below 1e-7, compared with 60 digits. If the features have 2^25 numbers or more (256 MB), the
    kernel is always used, and the relative error is about 1e-15 times its condition number.

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
    net = checked_network(weights, biases, antisymmetric)
    X, new = inputs_for(net, "X", X), inputs_for(net, "X_new", X_new)
    if new.ndim != 2:
        raise ValueError(f"X_new: expected shape (n_new, n_features), got {new.shape}")
    target = check.real_array("y", y, ndim=1)
    start, at_new = outputs_of(net, X), outputs_of(net, new)
    if target.shape != start.shape:
        raise ValueError(f"y: expected shape {start.shape} like the outputs, got {target.shape}")
    features, new_features = features_of(net, X), features_of(net, new)
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
        The prediction with the features of the last hidden layer fixed at these weights.

    Raises
    ------
    ValueError
        As `mlp_kernel_predictor`.
    TypeError
        As `mlp_kernel_predictor`.

    Notes
    -----
    Computed by QR of the features. The relative error is about 1e-15 times their condition number,
    with rows scaled to norm one.

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
    net = checked_network(weights, biases, antisymmetric)
    X, new = inputs_for(net, "X", X), inputs_for(net, "X_new", X_new)
    if new.ndim != 2:
        raise ValueError(f"X_new: expected shape (n_new, n_features), got {new.shape}")
    target = check.real_array("y", y, ndim=1)
    (inputs, z), (new_inputs, new_z) = (forward(net.W, each[None], net.b) for each in (X, new))
    start, at_new = combined(z), combined(new_z)
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
