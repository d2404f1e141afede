"""Implicit and explicit regularisers of diagonal networks and their mirror maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import _validate as check
from .._types import ArrayLike, FloatArray
from ._powers import Split, joined, power, split

__all__ = ["hyperbolic_entropy", "inverse_mirror_map", "mirror_map", "q_potential", "r_potential"]

_LINEAR = 1e-100
# (p + 8) t below which five terms of a series in (p t)^2 are exact to rounding.
_SERIES = 0.03


def hyperbolic_entropy(z: ArrayLike) -> FloatArray:
    """q(z) = 2 - sqrt(4 + z^2) + z arcsinh(z / 2), without cancellation.

    Parameters
    ----------
    z : array_like
        Real numbers.

    Returns
    -------
    ndarray
        q(z), of the same shape; relative error below 1e-14.

    Raises
    ------
    ValueError, TypeError
        If z is empty, or its values are not finite or not real numbers.

    References
    ----------
    Woodworth et al. (COLT 2020), Theorem 1.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> float(krf.theory.hyperbolic_entropy(1e-9) / (1e-18 / 4))
    1.0
    """
    # asinh(z/2) - z/(2 + hypot(2, z)) loses at most one bit: its terms are z/2 and z/4 near 0.
    z = check.real_array("z", z)
    with np.errstate(over="ignore", under="ignore"):  # infinity or 0 is the nearest double then
        return np.asarray(z * (np.arcsinh(z / 2.0) - z / (2.0 + np.hypot(2.0, z))))


def mirror_map(t: ArrayLike, depth: float = 2) -> FloatArray:
    """h_D(t), the predictor in units of alpha^D at dual coordinate t.

    Parameters
    ----------
    t : array_like
        Dual coordinates; in (-1, 1) for depth > 2.
    depth : float
        Number of layers.

    Returns
    -------
    ndarray
        2 sinh(t) at depth 2, (1 - t)^-p - (1 + t)^-p with p = D / (D - 2) otherwise; infinity where
        it overflows.

    Raises
    ------
    ValueError, TypeError
        If t is empty, or its values are not real numbers, not finite or, for depth > 2, outside
        (-1, 1); or if depth is not a single number from 2 to 1e300.

    Notes
    -----
    The paper measures t in other units at depth 2 than at depths above it. As D tends to 2 from
    above, h_D((D - 2) / 2 s) tends to h_2(s) = 2 sinh(s) for every fixed s, with a relative error
    of the order of (D - 2) (1 + s^2). At a fixed t other than 0, h_D(t) diverges.

    References
    ----------
    Woodworth et al. (COLT 2020), Theorem 3.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> round(float(krf.theory.mirror_map(0.5, depth=4)), 14)
    3.55555555555556

    Close to depth 2 the argument is scaled:

    >>> depth, s = 2 + 1e-9, 3.0
    >>> above = krf.theory.mirror_map((depth - 2) / 2 * s, depth)
    >>> round(float(above / krf.theory.mirror_map(s)), 6)
    1.0
    """
    t, depth = check.real_array("t", t), check.depth_number("depth", depth)
    if depth == 2:
        with np.errstate(over="ignore"):
            return np.asarray(2.0 * np.sinh(t))
    if np.abs(t).max() >= 1.0:
        raise ValueError(
            f"t: expected values in (-1, 1) for depth {depth:g}, got {np.abs(t).max()}"
        )
    p = depth / (depth - 2.0)
    # (1-t)^-p (1 - ((1-t)/(1+t))^p): no difference of near numbers around t = 0.
    with np.errstate(over="ignore"):  # infinity is the nearest double then
        return np.asarray(-np.sign(t) * _minus(np.abs(t), p))


def _minus(s: FloatArray, p: float) -> FloatArray:
    """(1 + s)^-p - (1 - s)^-p for s in [0, 1)."""
    return np.asarray(np.exp(-p * np.log1p(-s)) * np.expm1(-2.0 * p * np.arctanh(s)))


def inverse_mirror_map(z: ArrayLike, depth: float = 2) -> FloatArray:
    """h_D^-1(z), the gradient q_D'(z).

    Parameters
    ----------
    z : array_like
        Predictor in units of alpha^D.
    depth : float
        Number of layers.

    Returns
    -------
    ndarray
        Dual coordinates; in (-1, 1) for depth > 2. Close to the ends of this interval 1 - |t| is
        lost to rounding, as for any floating-point t.

    Raises
    ------
    ValueError, TypeError
        If z is empty, or its values are not finite or not real numbers; or if depth is not a single
        number from 2 to 1e300.

    Notes
    -----
    As D tends to 2 from above, 2 / (D - 2) h_D^-1(z) tends to h_2^-1(z) = arcsinh(z / 2), because
    the paper measures t in other units at depth 2 (`mirror_map`).

    References
    ----------
    Woodworth et al. (COLT 2020), Theorems 1 and 3.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> round(float(krf.theory.inverse_mirror_map(krf.theory.mirror_map(0.25, 5), 5)), 12)
    0.25

    Close to depth 2 the result is scaled:

    >>> depth, z = 2 + 1e-9, 20.0
    >>> above = 2 / (depth - 2) * krf.theory.inverse_mirror_map(z, depth)
    >>> round(float(above / krf.theory.inverse_mirror_map(z)), 6)
    1.0
    """
    z, depth = check.real_array("z", z), check.depth_number("depth", depth)
    if depth == 2:
        return np.asarray(np.arcsinh(z / 2.0))
    _, t = _slack(np.abs(z), depth)
    return np.asarray(np.copysign(t, z))


def _slack(z: FloatArray, depth: float) -> tuple[FloatArray, FloatArray]:
    """(log(1 - t), t) with h_D(t) = z >= 0, by Newton on x = arctanh(t).

    In x the map is close to exponential on one side and linear on the other, so log h is concave
    enough for Newton on log h(x) = log z to converge from either end.
    """
    p = depth / (depth - 2.0)
    linear = z < _LINEAR  # there t = z / 2p, to rounding
    positive = np.where(linear, 1.0, z)
    log_z = np.log(positive)
    # Small z: h ~ 2 p t. Large z: (1 - t)^-p is a little above z.
    log_z_p = np.maximum(log_z, 0.0) / p
    large = 0.5 * (log_z_p + np.log1p(-np.expm1(-log_z_p))) + 0.1 / (1.0 + p)
    x = np.where(positive < 1.0, np.arcsinh(positive / (2.0 * p)), large)
    for _ in range(60):
        log_low, log_high = _logs(x)
        log_h = -p * log_low + np.log(-np.expm1(-2.0 * p * x))
        slope_h = np.exp(-(p + 1.0) * log_low - log_h) + np.exp(-(p + 1.0) * log_high - log_h)
        slope = p * slope_h * np.exp(log_low + log_high)  # d log h / dx, dt/dx = 1 - t^2
        step = (log_h - log_z) / slope
        new = np.maximum(x - step, 0.1 * x)
        done = np.all(np.abs(new - x) <= 4e-16 * x)
        x = new
        if done:
            break
    t = 0.5 * z / p
    return np.where(linear, -t, _logs(x)[0]), np.where(linear, t, np.tanh(x))


def _logs(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """log(1 - t) and log(1 + t) at t = tanh x, each to its own last digits."""
    t = np.tanh(np.minimum(x, 1.0))
    far = np.log(2.0) - np.logaddexp(0.0, 2.0 * x)  # 1 - tanh x = 2 / (1 + e^2x)
    return np.where(x < 1.0, np.log1p(-t), far), np.log1p(np.tanh(x))


def _q_unit(z: FloatArray, depth: float) -> FloatArray:
    """q_D(z) for z >= 0 and depth > 2: t z - H_D(t) at h_D(t) = z."""
    log_low, t = _slack(z, depth)
    m = (depth - 2.0) / 2.0
    k = 1.0 / m  # 2 / (D - 2)
    # H = m [(1-t)^-k + (1+t)^-k - 2]
    H = m * (np.expm1(-k * log_low) + np.expm1(-k * np.log1p(t)))
    direct = t * z - H
    # Near 0 the two terms are z^2 (1/2p) and z^2 (1/4p): a Taylor series instead where H would
    # lose digits in the sum of its own terms (they cancel to order t^2).
    p = depth / (depth - 2.0)
    c3 = p * (p + 1.0) * (p + 2.0) / 3.0  # h = 2 p t + c3 t^3 + c5 t^5 + ...
    c5 = c3 * (p + 3.0) * (p + 4.0) / 20.0
    c7 = c5 * (p + 5.0) * (p + 6.0) / 42.0
    c9 = c7 * (p + 7.0) * (p + 8.0) / 72.0
    t2 = t * t
    series = t2 * (p + t2 * (0.75 * c3 + t2 * (5.0 / 6.0 * c5 + t2 * (0.875 * c7 + 0.9 * c9 * t2))))
    return np.where((p + 8.0) * t < _SERIES, series, direct)


def q_potential(
    beta: ArrayLike, alpha: ArrayLike, depth: float = 2, w0: ArrayLike | None = None
) -> FloatArray:
    """Q_alpha(beta), the implicit regulariser: its minimiser over X beta = y is the flow's limit.

    Q = sum_i s_i q_D(beta_i / s'_i) with s' = (alpha w0)^D and s = (alpha w0)^2 alpha^(D-2), so
    that Q = alpha^D sum q_D(beta_i / alpha^D) for w0 = 1.

    Parameters
    ----------
    beta : array_like, (..., n_features)
        Predictors.
    alpha : array_like, (...)
        Scale of the initial weights; broadcasts with the leading shape of beta.
    depth : float
        Number of layers D >= 2, a real number.
    w0 : array_like, (n_features,), optional
        Profile of the initial weights; ones by default.

    Returns
    -------
    ndarray, (...)
        Q, with relative error below 1e-12 up to depth 1000 (the rounding error of alpha w0 is
        multiplied by D).

    Raises
    ------
    ValueError, TypeError
        If beta, alpha or w0 is empty or not of finite real numbers, alpha or w0 also if one is not
        positive; if w0 has another number of features than beta, or leading axes do not broadcast;
        or if depth is not a single number from 2 to 1e300.

    Notes
    -----
    alpha^D and beta / alpha^D may be outside the range of floating-point numbers: they are stored
    as a mantissa and an exponent. If Q itself is outside the range, the result is infinity or 0.

    q_D'(z) is the t of `mirror_map` with h_D(t) = z. As D tends to 2 from above, q_D tends to 0 and
    2 q_D / (D - 2) to the q_2 of depth 2 (`hyperbolic_entropy`); the constant factor does not
    change the minimiser.

    References
    ----------
    Woodworth et al. (COLT 2020), Theorems 1 and 3; the closed form of q_D and the profile at depth
    three and more are derived there for w0 = 1 and follow for any w0 by integrating the mirror map.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> round(float(krf.theory.q_potential([25.0], 1.0)), 2)
    57.43
    """
    b = check.real_array("beta", beta, ndim=1)
    scale_of_start = check.positive_array("alpha", alpha)
    depth = check.depth_number("depth", depth)
    own = check.profile("w0", 1.0 if w0 is None else w0, b.shape[-1])
    check.broadcast(beta=b.shape[:-1], alpha=scale_of_start.shape, w0=own.shape[:-1])
    a, w = split(scale_of_start[..., None]), split(own)
    scale = power((a[0] * w[0], a[1] + w[1]), depth)
    if depth == 2:
        return _sum_of(b, power(w, 0), scale, hyperbolic_entropy, 0.25, lambda log_z: log_z - 1.0)
    p = depth / (depth - 2.0)
    return _sum_of(
        b, power(w, 2 - depth), scale, lambda z: _q_unit(z, depth), 0.25 / p,
        lambda log_z: _q_slope(log_z, depth),
    )  # fmt: skip


def _q_slope(log_z: FloatArray, depth: float) -> FloatArray:
    """q_D(z) / z = t - H_D(t) / z for large z, where (1 - t)^-p is z to rounding.

    It is 1 only if z^(1/p) is large, too, which it is not for depths close to 2.
    """
    m = (depth - 2.0) / 2.0
    log_low = -np.maximum(log_z, 1.0) * ((depth - 2.0) / depth)
    # (1 - t)^-k / z = 1 - t, with k = 1 / m = p - 1.
    return np.asarray(-np.expm1(log_low) + m * np.exp(log_low) * np.expm1(log_low / m))


_MODERATE = 400.0  # exponents of z between which q(z) is a double of full precision


def _sum_of(
    b: FloatArray,
    factor: Split,
    scale: Split,
    unit: Callable[[FloatArray], FloatArray],
    small: float,
    large: Callable[[FloatArray], FloatArray],
) -> FloatArray:
    """The sum of factor |b| unit(z) / z over the last axis, with z = |b| / scale.

    That ratio is small z for small z, and ``large`` of log z for large z.
    """
    size = split(np.abs(b))
    mantissa, exponent = size[0] / scale[0], size[1] - scale[1]
    moderate = np.abs(exponent) <= _MODERATE
    z = np.ldexp(mantissa, np.where(moderate, exponent, 0.0).astype(np.int32))
    z = np.where(moderate & (z > 0.0), z, 1.0)
    log_z = np.log(np.where(mantissa > 0.0, mantissa, 1.0)) + exponent * np.log(2.0)
    ratio = np.where(moderate, unit(z) / z, large(log_z))
    tiny = exponent < -_MODERATE
    ratio = np.where(tiny, small * mantissa, ratio)
    total = size[1] + factor[1] + np.where(tiny, exponent, 0.0)
    with np.errstate(over="ignore", under="ignore"):  # infinity or 0 is the nearest double then
        return np.asarray(np.sum(joined(size[0] * factor[0] * ratio, total), axis=-1))


def r_potential(beta: ArrayLike, alpha: ArrayLike) -> FloatArray:
    """R_alpha(beta) = min |w - alpha 1|^2 over w with F(w) = beta, at depth 2.

    Parameters
    ----------
    beta : array_like, (..., n_features)
        Predictors.
    alpha : array_like, (...)
        Scale of the initial weights.

    Returns
    -------
    ndarray, (...)
        R = alpha^2 sum r(beta_i / alpha^2), with relative error below 1e-12, even if alpha^2 or
        beta / alpha^2 is outside the range of floating-point numbers.

    Raises
    ------
    ValueError, TypeError
        If beta or alpha is empty or not of finite real numbers, or an alpha is not positive; or if
        leading axes do not broadcast.

    Notes
    -----
    r(z) is the smaller real root of the quartic in the paper's section 4. It is computed by
    Newton's method on the constraint w_plus^2 - w_minus^2 = z in the one free variable.

    References
    ----------
    Woodworth et al. (COLT 2020), section 4 (where the factor alpha^2 is missing in print).

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> round(float(krf.theory.r_potential([10.0], 1.0)), 6)
    5.082501
    """
    b = check.real_array("beta", beta, ndim=1)
    scale_of_start = check.positive_array("alpha", alpha)
    check.broadcast(beta=b.shape[:-1], alpha=scale_of_start.shape)
    a = split(scale_of_start[..., None])
    return _sum_of(b, power(a, 0), power(a, 2), _r_unit, 0.125, np.ones_like)


def _r_unit(z: FloatArray) -> FloatArray:
    """r(z) for z >= 0.

    Stationarity of (p - 1)^2 + (m - 1)^2 under p^2 - m^2 = z gives p = 1 / (1 - v), m = 1 / (1 + v)
    with v in [0, 1) and z = 4 v / (1 - v^2)^2, hence r = v^2 [(1 - v)^-2 + (1 + v)^-2].
    """
    # With v = tanh x: v / (1 - v^2)^2 = sinh x cosh^3 x.
    target = np.where(z > 0.0, z, 1.0) / 4.0
    x = np.where(target < 1.0, np.arcsinh(target), 0.25 * np.log(16.0 * target) + 0.1)
    for _ in range(60):
        log_gap = np.log(np.sinh(x)) + 3.0 * np.log(np.cosh(x)) - np.log(target)
        new = np.maximum(x - log_gap / (1.0 / np.tanh(x) + 3.0 * np.tanh(x)), 0.1 * x)
        done = np.all(np.abs(new - x) <= 4e-16 * x)
        x = new
        if done:
            break
    # v/(1-v) = (e^2x - 1)/2, v/(1+v) = (1 - e^-2x)/2
    r = 0.25 * (np.expm1(2.0 * x) ** 2 + np.expm1(-2.0 * x) ** 2)
    return np.asarray(np.where(z == 0.0, 0.0, r))
