"""The largest scale of the initialisation that still generalises."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import xarray as xr

from .. import _validate as check
from .._spelling import unknown_option
from .._types import ArrayLike
from ..diagonal import limit_diagonal

__all__ = ["critical_alpha", "median_critical_alpha"]

# Arguments of `limit_diagonal` that the search sets, or that replace its scale.
_OWN = ("X", "y", "alpha", "depth", "start")


def median_critical_alpha(values: xr.DataArray) -> xr.DataArray:
    """The median of critical scales over "seed", in which values of 0 and inf count like others.

    Parameters
    ----------
    values : xarray.DataArray, (..., seed)
        Critical scales, or powers of them.

    Returns
    -------
    xarray.DataArray, (...)
        An order statistic: for an even number of seeds the lower of the two in the middle, so that
        the median of a power is the power of the median, and a scale of 0 (no scale generalises) is
        not averaged with others.

    Examples
    --------
    >>> import xarray as xr
    >>> from kernelrich_fast.theory.critical import median_critical_alpha
    >>> median_critical_alpha(xr.DataArray([0.0, 1e-3, 1e-2, 0.0], dims="seed")).item()
    0.0
    """
    ordered = np.sort(values.transpose(..., "seed").values, axis=-1)
    middle = values.isel(seed=0, drop=True)
    return middle.copy(data=ordered[..., (values.sizes["seed"] - 1) // 2])


def critical_alpha(
    X: ArrayLike,
    y: ArrayLike,
    beta_star: ArrayLike,
    depth: float = 2,
    threshold: float = 0.025,
    *,
    log10_range: tuple[float, float] = (-24.0, 2.0),
    xtol: float = 0.01,
    **limit_options: Any,
) -> float:
    """Largest alpha whose limit has population error |beta - beta_star|^2 <= threshold.

    Parameters
    ----------
    X : array_like, (n_samples, n_features)
        Inputs.
    y : array_like, (n_samples,)
        Targets.
    beta_star : array_like, (n_features,)
        The true coefficients; the population error is that for standard normal inputs without
        noise.
    depth : float
        Number of layers.
    threshold : float
        Largest accepted population error.
    log10_range : (float, float)
        Range of log10(alpha^D) searched.
    xtol : float
        Accuracy in log10(alpha^D); below 1e-15 of the result, rounding ends the search.
    **limit_options
        Passed to `limit_diagonal`.

    Returns
    -------
    float
        The critical alpha; 0.0 if not even the smallest scale searched generalises, inf if every
        scale does.

    Raises
    ------
    ValueError
        If an argument is invalid (the message names it): more than one problem, beta_star of
        another length than X has features, a depth below 2, or a threshold, xtol or log10_range
        outside its range.
    TypeError
        If an argument is no number or array of numbers, log10_range is not a pair, or
        `limit_diagonal` has no option of that name.

    Notes
    -----
    The search starts with a grid of sixteen scales in one batch. Each further round puts eight
    scales into the last interval in which the error rises above the threshold. If the error is not
    monotone in alpha, the largest such scale of the grid is refined.

    References
    ----------
    Woodworth et al. (COLT 2020), figures 1c and 3c.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> X, y, beta_star = krf.datasets.sparse_regression(60, 100, 3, noise_variance=1e-4)
    >>> 0.01 < krf.theory.critical_alpha(X, y, beta_star) < 1.0
    True
    """
    X, y = check.data_pair(X, y)
    if X.ndim != 2 or y.ndim != 1:
        raise ValueError(
            f"X: expected one problem, (n_samples, n_features) and (n_samples,), got shapes "
            f"{X.shape} and {y.shape}"
        )
    star = check.real_array("beta_star", beta_star, ndim=1)
    if star.shape != X.shape[-1:]:
        raise ValueError(f"beta_star: expected shape {X.shape[-1:]}, got {star.shape}")
    depth = check.depth_number("depth", depth)
    threshold = check.scalar("threshold", threshold, low=0.0)
    xtol = check.scalar("xtol", xtol, low=0.0, high=1.0)
    ends = check.pair("log10_range", log10_range, "(low, high)")
    low, high = (check.scalar("log10_range", end, low=-300.0, high=12.0) for end in ends)
    if low >= high:
        raise ValueError(f"log10_range: expected ascending ends, got {log10_range}")

    _check_options(limit_options)

    points = 16
    while True:
        grid = np.linspace(low, high, points)
        beta = limit_diagonal(X, y, alpha=10.0 ** (grid / depth), depth=depth, **limit_options).beta
        good = np.sum((beta - star) ** 2, axis=-1) <= threshold
        if points == 16:
            if not good.any():
                return 0.0
            if good[-1]:
                return float(np.inf)
        at = int(np.flatnonzero(good)[-1]) if good.any() else 0
        low, high = float(grid[at]), float(grid[min(at + 1, points - 1)])
        if high - low <= max(xtol, 4.0 * float(np.spacing(max(abs(low), abs(high))))):
            return float(10.0 ** (0.5 * (low + high) / depth))
        points = 8


def _check_options(given: dict[str, Any]) -> None:
    """Raise where `limit_diagonal` has no such option, or the search sets it itself."""
    names = [k for k in inspect.signature(limit_diagonal).parameters if k not in _OWN]
    for name in given:
        if name not in names:
            raise TypeError(unknown_option(name, "critical_alpha", names))
