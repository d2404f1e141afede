"""Tangent kernels of diagonal networks, their predictor and their distance."""

from __future__ import annotations

import numpy as np

from .. import _validate as check
from .._types import ArrayLike, FloatArray, IntArray
from ..equations.diagonal import predictor, tangent_weights
from ..equations.linear_systems import minimum_norm
from ._powers import joined, power, split

__all__ = ["kernel_distance", "kernel_predictor", "relative_kernel_change", "tangent_kernel"]


def tangent_kernel(
    X: ArrayLike, w_plus: ArrayLike, w_minus: ArrayLike, depth: float = 2
) -> FloatArray:
    """K = X diag(D^2 (w_plus^(2D-2) + w_minus^(2D-2))) X^T.

    Parameters
    ----------
    X : array_like, (n_samples, n_features)
        Inputs.
    w_plus, w_minus : array_like, (..., n_features)
        Weights, non-negative.
    depth : float
        Number of layers.

    Returns
    -------
    ndarray, (..., n_samples, n_samples)
        The tangent kernel, which is 2 D^2 alpha^(2D-2) X X^T at w = alpha; infinity where it
        overflows.

    Raises
    ------
    ValueError
        If X or a weight is not finite, or a weight is negative; if the weights have another number
        of features than X, or leading axes do not broadcast; or if depth is not from 2 to 1e300.
    TypeError
        If X or the weights do not consist of real numbers, or depth is not a single one.

    References
    ----------
    Woodworth et al. (COLT 2020), section 2.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.tangent_kernel([[1.0, 2.0]], [1.0, 1.0], [1.0, 1.0])
    array([[40.]])
    """
    X = check.inputs("X", X)
    depth = check.depth_number("depth", depth)
    plus = check.profile("w_plus", w_plus, X.shape[-1], zero=True)
    minus = check.profile("w_minus", w_minus, X.shape[-1], zero=True)
    check.broadcast(X=X.shape[:-2], w_plus=plus.shape[:-1], w_minus=minus.shape[:-1])
    top = np.maximum(plus.max(axis=-1), minus.max(axis=-1))[..., None]
    top = np.where(top > 0.0, top, 1.0)
    weights = tangent_weights(plus / top, minus / top, depth)
    kernel = (X * weights[..., None, :]) @ np.swapaxes(X, -1, -2)
    mantissa, exponent = power(split(top[..., None]), 2 * depth - 2)
    return joined(kernel * mantissa, exponent)


def _pair_of_kernels(K0: ArrayLike, K1: ArrayLike) -> tuple[FloatArray, FloatArray]:
    A, B = check.real_array("K0", K0, ndim=2), check.real_array("K1", K1, ndim=2)
    if A.shape[-2:] != B.shape[-2:]:
        raise ValueError(
            f"K1: expected matrices of the shape of those of K0, {A.shape[-2:]}, got shape "
            f"{B.shape}"
        )
    check.broadcast(K0=A.shape[:-2], K1=B.shape[:-2])
    return A, B


def kernel_distance(K0: ArrayLike, K1: ArrayLike) -> FloatArray:
    """Cosine distance 1 - <K0, K1> / (|K0| |K1|), without cancellation.

    Parameters
    ----------
    K0, K1 : array_like, (..., n, n)
        Kernels (or feature matrices).

    Returns
    -------
    ndarray, (...)
        The distance in [0, 2]; in the kernel regime it falls like alpha^(-4D). NaN if a kernel is
        zero, since it then has no direction.

    Raises
    ------
    ValueError
        If an entry is not finite, or the shapes of the matrices differ or their leading axes do not
        broadcast.
    TypeError
        If K0 or K1 does not consist of real numbers.

    Notes
    -----
    Entries may have any size, since multiplying K0 or K1 by a number does not change the distance.
    The error is below 1e-15 times the square root of the distance; a test checks this down to
    distances of 1e-25.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> float(krf.theory.kernel_distance([[1.0, 0.0]], [[0.0, 1.0]]))
    1.0
    """
    A, B = _pair_of_kernels(K0, K1)
    with np.errstate(invalid="ignore"):
        A, B = (
            scaled / np.linalg.norm(scaled, axis=(-2, -1), keepdims=True)
            for scaled in (_scaled(each, _exponent(each)) for each in (A, B))
        )
    # |a - b|^2 / 2 = 1 - <a, b> for unit vectors, exact where the two agree to many digits.
    return np.asarray(0.5 * np.sum((A - B) ** 2, axis=(-2, -1)))


def relative_kernel_change(K0: ArrayLike, K1: ArrayLike) -> FloatArray:
    """|K1 - K0| / |K0| in the Frobenius norm, which shrinks like alpha^(-2D).

    Parameters
    ----------
    K0, K1 : array_like, (..., n, n)
        Kernels.

    Returns
    -------
    ndarray, (...)
        The relative change; infinity if K0 is zero and K1 is not, and 0 if both are.

    Raises
    ------
    ValueError
        If an entry is not finite, or the shapes of the matrices differ or their leading axes do not
        broadcast.
    TypeError
        If K0 or K1 does not consist of real numbers.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> float(krf.theory.relative_kernel_change([[2.0]], [[3.0]]))
    0.5
    """
    A, B = _pair_of_kernels(K0, K1)
    own = _exponent(A)
    both = np.maximum(own, _exponent(B))
    change = np.linalg.norm(_scaled(B, both) - _scaled(A, both), axis=(-2, -1))
    size = np.linalg.norm(_scaled(A, own), axis=(-2, -1))
    ratio = np.divide(change, size, out=np.full_like(change, np.inf), where=size > 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.ldexp(ratio, (both - own)[..., 0, 0])
    return np.asarray(np.where(change > 0.0, ratio, 0.0))


def _exponent(A: FloatArray) -> IntArray:
    """Exponents of the largest entries of matrices, (..., 1, 1); the least one of a zero matrix."""
    top = np.max(np.abs(A), axis=(-2, -1), keepdims=True)
    return np.asarray(np.where(top > 0.0, np.frexp(top)[1], -1073), dtype=np.int64)


def _scaled(A: FloatArray, exponent: IntArray) -> FloatArray:
    """A 2^-exponent: exact, so that no difference loses a digit."""
    return np.asarray(np.ldexp(A, -exponent.astype(np.int32)))


def kernel_predictor(
    X: ArrayLike, y: ArrayLike, w_plus: ArrayLike, w_minus: ArrayLike, depth: float = 2
) -> FloatArray:
    """Limit of gradient flow on the model linearised at the given weights.

    Parameters
    ----------
    X : array_like, (n_samples, n_features)
        Inputs.
    y : array_like, (n_samples,)
        Targets.
    w_plus, w_minus : array_like, (n_features,)
        Positive weights at which the model is linearised.
    depth : float
        Number of layers.

    Returns
    -------
    ndarray, (n_features,)
        beta(0) plus the correction of minimum tangent-kernel norm.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid (the message names it), or beta(0) overflows.

    Notes
    -----
    The correction is as accurate as the result of `min_l2`, because the tangent kernel is not
    formed: its condition number is the square of that of the features. A feature whose
    (w / max w)^(D-1) is below 1e-308 is not used.

    References
    ----------
    Woodworth et al. (COLT 2020), section 2 (kernel regime).

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.kernel_predictor([[1.0, 2.0]], [2.0], [1.0, 1.0], [1.0, 1.0])
    array([0.4, 0.8])
    """
    X, y = check.data_pair(X, y)
    if X.ndim != 2 or y.ndim != 1:
        raise ValueError(
            f"X: expected one problem, (n_samples, n_features) and (n_samples,), got shapes "
            f"{X.shape} and {y.shape}"
        )
    depth = check.depth_number("depth", depth)
    plus = check.profile("w_plus", w_plus, X.shape[-1])
    minus = check.profile("w_minus", w_minus, X.shape[-1])
    for name, weights in (("w_plus", plus), ("w_minus", minus)):
        if weights.ndim != 1:
            raise ValueError(f"{name}: expected shape {X.shape[1:]}, got {weights.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        start = np.where(plus == minus, 0.0, predictor(plus, minus, depth))
    if not np.isfinite(start).all():
        raise ValueError(
            f"w_plus: expected w_plus^{depth} - w_minus^{depth} within the doubles, got {start}"
        )
    # A common factor of the tangent kernel changes nothing, and its powers may leave the doubles.
    top = max(float(plus.max()), float(minus.max()))
    # The root of the kernel's weights, whose squares may underflow before it does.
    root = np.hypot(*((each / top) ** (depth - 1.0) for each in (plus, minus)))
    return np.asarray(start + minimum_norm(X, (y - X @ start)[:, None], root)[:, 0])
