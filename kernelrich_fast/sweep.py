"""Sweeps over named grids: an xarray.Dataset in one call."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from . import _validate as check
from ._types import ArrayLike, FloatArray
from .config import __version__
from .diagonal import DiagonalFlow, DiagonalLimit, flow_diagonal, limit_diagonal
from .theory.interpolants import min_l1, min_l2
from .theory.kernels import kernel_distance, tangent_kernel

__all__ = ["sweep_diagonal"]

_KEEP = ("norms", "beta")


def sweep_diagonal(
    X: ArrayLike,
    y: ArrayLike,
    *,
    alpha: ArrayLike,
    depth: ArrayLike = 2,
    limit: bool = False,
    beta_star: ArrayLike | None = None,
    keep: Sequence[str] = ("norms",),
    progress: bool | None = None,
    **flow_options: Any,
) -> xr.Dataset:
    """Sweep diagonal networks over problems, depths and scales.

    Parameters
    ----------
    X : array_like, (n_samples, n_features) or (problem, n_samples, n_features)
        Inputs.
    y : array_like, (n_samples,) or (problem, n_samples)
        Targets.
    alpha : float or array_like, (alpha,)
        Scales of the initial weights.
    depth : int or array_like of int, (depth,)
        Numbers of layers.
    limit : bool
        Take the t -> infinity limit instead of integrating the flow.
    beta_star : array_like, (n_features,) or (problem, n_features), optional
        Teacher, for the population error.
    keep : sequence of {"norms", "beta"}
        Groups of variables to keep; "norms" are the norms, their excess and the kernel distance.
    progress : bool, optional
        Show a progress bar; by default when standard error is a terminal.
    **flow_options
        Passed to `flow_diagonal` (or `limit_diagonal`); ``t_eval`` adds a last dimension "time".

    Returns
    -------
    xarray.Dataset
        One dimension per swept argument, in the order (problem, depth, alpha); what is not swept is
        a scalar coordinate.  Variables: loss, t, status, n_steps; with "norms" l1_norm, l2_norm,
        excess_l1, excess_l2 (over the minimum-norm interpolants; NaN where none exists) and
        kernel_distance (cosine distance of the tangent kernels at start and end);
        population_error if beta_star is given; beta if kept.

    Raises
    ------
    ValueError, TypeError
        For illegal arguments, by name.

    Notes
    -----
    Beyond the flows: one linear program per problem for excess_l1 and two Gram products per run for
    the kernel distance.

    References
    ----------
    Woodworth et al. (COLT 2020), figure 1.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.sparse_regression(20, 50, 2)
    >>> ds = krf.sweep_diagonal(
    ...     data.X, data.y, alpha=[1e-3, 1.0], depth=[2, 3], beta_star=data.beta_star
    ... )
    >>> dict(ds.sizes)
    {'depth': 2, 'alpha': 2}
    >>> bool((ds.excess_l1.sel(alpha=1e-3) < ds.excess_l1.sel(alpha=1.0)).all())
    True
    """
    X, y = check.data_pair(X, y)
    scales, layers = check.positive_array("alpha", alpha), check.depth_array("depth", depth)
    for name, array, most in (("X", X, 3), ("y", y, 2), ("alpha", scales, 1), ("depth", layers, 1)):
        if array.ndim > most:
            raise ValueError(f"{name}: expected at most {most} dimensions, got {array.shape}")
    groups = (keep,) if isinstance(keep, str) else tuple(keep)
    for group in groups:
        check.choice("keep", group, _KEEP)
    problems = np.broadcast_shapes(X.shape[:-2], y.shape[:-1])
    star = None
    if beta_star is not None:
        star = check.real_array("beta_star", beta_star, ndim=1)
        if star.shape[-1] != X.shape[-1] or star.ndim > 1 + len(problems):
            raise ValueError(
                f"beta_star: expected shape {(*problems, X.shape[-1])}, got {star.shape}"
            )
    show = sys.stderr.isatty() if progress is None else progress

    dims = [
        *(["problem"] if problems else []),
        *(["depth"] if layers.ndim else []),
        *(["alpha"] if scales.ndim else []),
    ]
    inner = (1,) * (layers.ndim + scales.ndim)
    X_run = X.reshape(X.shape[:-2] + (inner if X.ndim == 3 else ()) + X.shape[-2:])
    y_run = y.reshape(y.shape[:-1] + (inner if y.ndim == 2 else ()) + y.shape[-1:])
    depth_run = layers.reshape(layers.shape + (1,) * scales.ndim)
    options = dict(alpha=scales, depth=depth_run, progress=bool(show), **flow_options)
    times = None
    result: DiagonalFlow | DiagonalLimit
    if limit:
        ended = limit_diagonal(X_run, y_run, **options)
        t = np.full(ended.status.shape, np.inf)
        n_steps, result = ended.n_iterations, ended
    else:
        flow = flow_diagonal(X_run, y_run, **options)
        t, n_steps, result = flow.t, flow.n_steps, flow
        if flow_options.get("t_eval") is not None:
            times = np.asarray(flow_options["t_eval"], dtype=np.float64)

    run_dims = tuple(dims)
    row_dims = run_dims if times is None else (*run_dims, "time")
    beta: FloatArray = result.beta
    variables: dict[str, Any] = {
        "loss": (row_dims, result.loss),
        "t": (row_dims, t),
        "status": (run_dims, result.status),
        "n_steps": (run_dims, n_steps),
    }
    n_rows = len(row_dims)

    def per_problem(values: FloatArray, rows: int = n_rows) -> FloatArray:
        """A value per problem, shaped to broadcast over the rows of every run."""
        return values.reshape(values.shape[:1] + (1,) * (rows - 1)) if problems else values

    if "norms" in groups:
        l1, l2 = np.abs(beta).sum(axis=-1), np.linalg.norm(beta, axis=-1)
        least_l1, least_l2 = _least_norms(X, y, problems)
        distance = _kernel_distances(X, result, layers, scales, problems, flow_options)
        variables |= {
            "l1_norm": (row_dims, l1),
            "l2_norm": (row_dims, l2),
            "excess_l1": (row_dims, l1 - per_problem(least_l1)),
            "excess_l2": (row_dims, l2 - per_problem(least_l2)),
            "kernel_distance": (row_dims, distance),
        }
    if star is not None:
        lead = star.reshape(star.shape[:-1] + (1,) * (n_rows - 1) + star.shape[-1:])
        target = lead if star.ndim == 2 else star
        variables["population_error"] = (row_dims, np.sum((beta - target) ** 2, axis=-1))
    if "beta" in groups:
        variables["beta"] = ((*row_dims, "feature"), beta)
    coords: dict[str, Any] = {"depth": layers, "alpha": scales}
    if times is not None:
        coords["time"] = times
    ds = xr.Dataset(
        {name: (d, np.asarray(v)) for name, (d, v) in variables.items()},
        coords={k: (k if np.ndim(v) else (), v) for k, v in coords.items()},
    )
    ds.attrs = {
        "model": "diagonal network",
        "limit": int(limit),
        "n_samples": X.shape[-2],
        "n_features": X.shape[-1],
        "backend": result.backend,
        "kernelrich_fast": __version__,
    }
    return ds


def _each(array: FloatArray, own: int, problems: tuple[int, ...]) -> list[FloatArray]:
    """An argument once per problem (once in all if there is only one)."""
    if not problems:
        return [array]
    return list(np.broadcast_to(array, problems + array.shape[array.ndim - own :]))


def _least_norms(
    X: FloatArray, y: FloatArray, problems: tuple[int, ...]
) -> tuple[FloatArray, FloatArray]:
    """The smallest l1 and l2 norm of an interpolant per problem, NaN where none exists."""
    l1, l2 = [], []
    for A, b in zip(_each(X, 2, problems), _each(y, 1, problems), strict=True):
        least = min_l2(A, b)
        if np.linalg.norm(A @ least - b) > 1e-8 * np.linalg.norm(b):
            l1.append(np.nan)
            l2.append(np.nan)
        else:
            l1.append(float(np.abs(min_l1(A, b)).sum()))
            l2.append(float(np.linalg.norm(least)))
    shape = problems or ()
    return np.array(l1).reshape(shape), np.array(l2).reshape(shape)


def _kernel_distances(
    X: FloatArray,
    result: Any,
    layers: Any,
    scales: FloatArray,
    problems: tuple[int, ...],
    flow_options: dict[str, Any],
) -> FloatArray:
    """Cosine distance between the tangent kernels at the start and at every row."""
    d = X.shape[-1]
    w0 = flow_options.get("w0")
    common = np.ones(d) if w0 is None else check.profile("w0", w0, d)
    start = [
        common if flow_options.get(name) is None else check.profile(name, flow_options[name], d)
        for name in ("w_plus0", "w_minus0")
    ]
    if any(profile.ndim > 1 for profile in start):
        raise ValueError("w0: expected one profile (n_features,) for a sweep, got more")
    shape = result.beta.shape[:-1]
    distance = np.empty(shape)
    grids = np.meshgrid(
        *([np.arange(problems[0])] if problems else []),
        *([np.arange(layers.size)] if layers.ndim else []),
        *([np.arange(scales.size)] if scales.ndim else []),
        indexing="ij",
    )
    inputs = _each(X, 2, problems)
    for index in np.ndindex(*(grids[0].shape if grids else ())):
        rest = list(index)
        problem = rest.pop(0) if problems else 0
        depth = int(layers[rest.pop(0)] if layers.ndim else layers)
        alpha = float(scales[rest.pop(0)] if scales.ndim else scales)
        K0 = _kernel_direction(inputs[problem], start[0], start[1], depth)
        # The direction of a kernel does not depend on the scale of the weights, so weights are
        # taken in units of alpha: alpha^(2D-2) need not be a floating-point number.
        K1 = _kernel_direction(
            inputs[problem], result.w_plus[index] / alpha, result.w_minus[index] / alpha, depth
        )
        distance[index] = kernel_distance(K0, K1)
    return distance


def _kernel_direction(X: FloatArray, plus: FloatArray, minus: FloatArray, depth: int) -> FloatArray:
    top = np.maximum(np.max(plus, axis=-1), np.max(minus, axis=-1))[..., None]
    return tangent_kernel(X, plus / top, minus / top, depth)
