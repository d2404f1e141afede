"""What the flow of a matrix factorisation is compared with: potential, norms, kernel regime."""

from __future__ import annotations

import numpy as np

from .. import _validate as check
from .._types import ArrayLike, FloatArray
from ..equations.factorization import Sensing
from ..equations.linear_systems import minimum_norm
from ..measurements import check_sensing
from .potentials import q_potential

__all__ = [
    "completion_kernel_distance",
    "effective_rank",
    "factorization_kernel_predictor",
    "factorization_tangent_kernel",
    "nuclear_norm",
    "schatten_potential",
]

_MOST_FEATURES = 2**25  # numbers in a Jacobian


def nuclear_norm(M: ArrayLike) -> FloatArray:
    """Sum of the singular values.

    Parameters
    ----------
    M : array_like, (..., d1, d2)
        Matrices.

    Returns
    -------
    ndarray, (...)
        The norm, up to rounding; infinity if it overflows.

    Raises
    ------
    ValueError
        If M has fewer than two axes, no entry, or an entry that is not finite.
    TypeError
        If M does not consist of real numbers.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> float(krf.theory.nuclear_norm([[3.0, 0.0], [0.0, -4.0]]))
    7.0
    """
    values = np.linalg.svd(check.real_array("M", M, ndim=2), compute_uv=False)
    with np.errstate(over="ignore"):
        return np.asarray(values.sum(axis=-1))


def effective_rank(M: ArrayLike) -> FloatArray:
    """Exponential of the entropy of the normalised singular values.

    Parameters
    ----------
    M : array_like, (..., d1, d2)
        Matrices.

    Returns
    -------
    ndarray, (...)
        A number between 1 and min(d1, d2), continuous in M and unchanged if M is multiplied by a
        number; 0 for a zero matrix.

    Raises
    ------
    ValueError
        If M has fewer than two axes, no entry, or an entry that is not finite.
    TypeError
        If M does not consist of real numbers.

    References
    ----------
    Roy and Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> float(krf.theory.effective_rank([[2.0, 0.0], [0.0, 2.0]]))
    2.0
    """
    values = np.linalg.svd(check.real_array("M", M, ndim=2), compute_uv=False)
    top = values[..., :1]
    share = values / np.where(top > 0, top, 1.0)  # first of the largest: their sum may overflow
    share = share / np.where(top > 0, share.sum(axis=-1, keepdims=True), 1.0)
    entropy = -np.sum(share * np.log(np.where(share > 0, share, 1.0)), axis=-1)
    return np.asarray(np.where(top[..., 0] > 0, np.exp(entropy), 0.0))


def schatten_potential(M: ArrayLike, mu: ArrayLike) -> FloatArray:
    """Q_mu of the singular values: what gradient flow minimises as the width grows.

    Parameters
    ----------
    M : array_like, (..., d1, d2)
        Matrices.
    mu : array_like, (...)
        Scale; for i.i.d. N(0, alpha^2) weights of width k, 2 mu^2 = alpha^2 k.

    Returns
    -------
    ndarray, (...)
        sum_i mu^2 q(sigma_i / mu^2): a multiple of the nuclear norm as mu -> 0, of the squared
        Frobenius norm as mu -> infinity.

    Raises
    ------
    ValueError
        If M has fewer than two axes, no entry, or an entry that is not finite; if mu is not
        positive; or if leading axes do not broadcast.
    TypeError
        If M or mu does not consist of real numbers.

    Notes
    -----
    Exact for commuting measurements in the limit of infinite width; a conjecture otherwise.

    References
    ----------
    Woodworth et al. (COLT 2020), Theorem 4.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> M = [[3.0, 0.0], [0.0, 0.0]]
    >>> bool(krf.theory.schatten_potential(M, 1.0) == krf.theory.q_potential([3.0], 1.0))
    True
    """
    values = np.linalg.svd(check.real_array("M", M, ndim=2), compute_uv=False)
    scale = check.positive_array("mu", mu)
    check.broadcast(M=values.shape[:-1], mu=scale.shape)
    return np.asarray(q_potential(values, scale, 2))


def factorization_tangent_kernel(
    gram: ArrayLike,
    *,
    entries: tuple[ArrayLike, ArrayLike] | None = None,
    measurements: ArrayLike | None = None,
    dims: tuple[int, int] | None = None,
    symmetric: bool = False,
) -> FloatArray:
    """Tangent kernel of the observed predictions, from the Gram matrix of the weights alone.

    Parameters
    ----------
    gram : array_like, (..., n, n)
        The Gram matrix [U; V] [U; V]^T, or W W^T for the symmetric model, as in
        `FactorizationFlow`.
    entries, measurements, dims, symmetric
        As in `flow_factorization`.

    Returns
    -------
    ndarray, (..., n_samples, n_samples)
        K_ij = <X_i V V^T + U U^T X_i, X_j>.

    Raises
    ------
    ValueError
        If both or none of ``entries`` and ``measurements`` are given; if ``dims`` is missing or
        contradicts them, an entry lies outside the matrix or is repeated, or ``gram`` is not finite
        or not of the shape (..., n, n).
    TypeError
        If an argument is not of the type that is stated above.

    References
    ----------
    Woodworth et al. (COLT 2020), sections 2 and 6.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.factorization_tangent_kernel(
    ...     [[2.0, 0.0], [0.0, 3.0]], entries=([0], [0]), dims=(1, 1)
    ... )
    array([[5.]])
    """
    G = check.real_array("gram", gram, ndim=2)
    sensing = check_sensing(entries, measurements, dims, symmetric, None)
    _expect_gram(G, sensing)
    return sensing.tangent_kernel(G)


def completion_kernel_distance(start: FloatArray, end: FloatArray, seen: FloatArray) -> FloatArray:
    """`kernel_distance` of the tangent kernels at two Gram matrices, which are not formed.

    Parameters
    ----------
    start, end : ndarray, (..., n, n)
        Gram matrices of [U; V] with n = d1 + d2, of one shape.
    seen : ndarray, (..., d1, d2)
        1 where an entry is observed and 0 elsewhere, or the square of the weight with which it is;
        broadcasts to the Gram matrices.

    Returns
    -------
    ndarray, (...)
        The cosine distance, with the accuracy of `kernel_distance` and d1^2 + d2^2 products in
        place of n_samples^2.

    Notes
    -----
    With A = U U^T and B = V V^T the kernel of the entries (i, j) and (k, l) is
    [i = k] B_jl + [j = l] A_ik. It is linear in the Gram matrix, and A_ik with i != k stands in it
    once for every column in which both rows are observed, so that |K|^2 is a sum of squares.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelrich_fast.theory.matrices import completion_kernel_distance
    >>> float(completion_kernel_distance(np.eye(2), 3.0 * np.eye(2), np.ones((1, 1))))
    0.0
    """
    d1, d2 = seen.shape[-2:]
    often = np.zeros((*seen.shape[:-2], d1 + d2, d1 + d2))
    often[..., :d1, :d1] = seen @ np.swapaxes(seen, -1, -2)
    often[..., d1:, d1:] = np.swapaxes(seen, -1, -2) @ seen
    often[..., range(d1 + d2), range(d1 + d2)] = 0.0

    def squared_norm(G: FloatArray) -> FloatArray:
        own = np.diagonal(G, axis1=-2, axis2=-1)
        same = seen**2 * (own[..., :d1, None] + own[..., None, d1:]) ** 2
        # Over one contiguous axis: the order of summation must not depend on the batch.
        parts = (each.reshape(*each.shape[:-2], -1).sum(axis=-1) for each in (often * G**2, same))
        return np.asarray(sum(parts))[..., None, None]

    # The direction of a kernel does not depend on the scale of the weights.
    scaled = (G / np.trace(G, axis1=-2, axis2=-1)[..., None, None] for G in (start, end))
    with np.errstate(invalid="ignore"):  # a kernel of zeros has no direction
        first, last = (G / np.sqrt(squared_norm(G)) for G in scaled)
    return np.asarray(0.5 * squared_norm(last - first)[..., 0, 0])


def factorization_kernel_predictor(
    y: ArrayLike,
    gram: ArrayLike,
    *,
    entries: tuple[ArrayLike, ArrayLike] | None = None,
    measurements: ArrayLike | None = None,
    dims: tuple[int, int] | None = None,
    symmetric: bool = False,
) -> FloatArray:
    """Limit of gradient flow on the factorisation linearised at its start.

    Parameters
    ----------
    y : array_like, (n_samples,)
        Targets.
    gram : array_like, (n, n)
        Gram matrix of the initial weights, as in `factorization_tangent_kernel`.
    entries, measurements, dims, symmetric
        As in `flow_factorization`.

    Returns
    -------
    ndarray, (d1, d2)
        M(0) plus the correction of minimum tangent-kernel norm that fits y, or the least-squares
        solution if none does.

    Raises
    ------
    ValueError
        If y, ``gram`` and the observations are not those of one problem; otherwise as
        `factorization_tangent_kernel`.
    TypeError
        If an argument is not of the type that is stated above.

    Notes
    -----
    Computed by QR of the derivatives at a factor of ``gram``. The relative error
    is about 1e-15 times the condition number of the derivatives, with rows scaled to norm one; that
    of the tangent kernel is its square. The cost is (n_samples n)^2 rank(gram). Above 2^25
    derivatives (256 MB) the tangent kernel is used instead.

    References
    ----------
    Woodworth et al. (COLT 2020), section 2 and Theorem 9.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.factorization_kernel_predictor(
    ...     [4.0], [[2.0, 1.0], [1.0, 3.0]], entries=([0], [0]), dims=(1, 1)
    ... )
    array([[4.]])
    """
    targets = check.real_array("y", y, ndim=1)
    G = check.real_array("gram", gram, ndim=2)
    if targets.ndim != 1 or G.ndim != 2:
        raise ValueError(f"gram: expected one problem, got shapes {targets.shape} and {G.shape}")
    sensing = check_sensing(entries, measurements, dims, symmetric, len(targets))
    _expect_gram(G, sensing)
    d1, c0 = sensing.dims[0], sensing.c0
    M = G[:d1, c0:]
    left = targets - sensing.observe(M)
    W = _factor(G)
    if left.size * W.size <= _MOST_FEATURES:
        J = sensing.jacobian(W).reshape(left.size, -1)
        w = minimum_norm(J, left[:, None]).reshape(W.shape)
        return np.asarray(M + w[:d1] @ W[c0:].T + W[:d1] @ w[c0:].T)
    c = np.linalg.pinv(sensing.tangent_kernel(G), rcond=1e-13, hermitian=True) @ left
    return np.asarray(M + sensing.tangent_image(sensing.adjoint(c)[None], G)[0])


def _factor(G: FloatArray) -> FloatArray:
    """A W with W W^T = G, in which directions below the rounding of G are left out."""
    diagonal = np.diag(G)
    root = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    values, vectors = np.linalg.eigh(G / root[:, None] / root)
    kept = values > len(G) * np.finfo(np.float64).eps * values[-1]
    return np.asarray(root[:, None] * vectors[:, kept] * np.sqrt(values[kept]))


def _expect_gram(G: FloatArray, sensing: Sensing) -> None:
    if G.shape[-2:] != (sensing.n, sensing.n):
        raise ValueError(f"gram: expected shape (..., {sensing.n}, {sensing.n}), got {G.shape}")
