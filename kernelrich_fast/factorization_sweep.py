"""Sweeps of matrix completion over width, scale and seed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from . import _validate as check
from ._types import ArrayLike, FloatArray, IntArray
from .config import __version__
from .datasets import observed_entries
from .factorization import flow_factorization
from .initialization import gaussian_factor
from .theory.kernels import kernel_distance
from .theory.matrices import factorization_tangent_kernel, nuclear_norm

__all__ = ["sweep_factorization"]

_KEEP = ("norms", "M")
# Beyond, the two tangent kernels of a run are not formed.
_MOST_KERNEL_SAMPLES = 2048


def sweep_factorization(
    Y_star: ArrayLike,
    *,
    alpha: ArrayLike,
    width: ArrayLike,
    seeds: ArrayLike = 0,
    n_observed: int,
    keep: Sequence[str] = ("norms",),
    progress: bool | None = None,
    **flow_options: Any,
) -> xr.Dataset:
    """Sweep matrix completion over widths, scales and seeds.

    Parameters
    ----------
    Y_star : array_like, (d1, d2) or (seed, d1, d2)
        The matrix to complete, or one per seed.
    alpha : float or array_like, (alpha,)
        Standard deviations of the initial weights.
    width : int or array_like of int, (width,)
        Widths k, as large as wanted.
    seeds : int or array_like of int, (seed,)
        A seed determines which entries are observed and the initial weights.
    n_observed : int
        Number of observed entries.
    keep : sequence of {"norms", "M"}
        Groups of variables to keep; "norms" are the norms, the movement and the kernel distance.
    progress : bool, optional
        Show a progress bar per seed; by default when standard error is a terminal.
    **flow_options
        Passed to `flow_factorization` (``t_eval`` excepted).

    Returns
    -------
    xarray.Dataset
        One dimension per swept argument, in the order (width, alpha, seed); what is not swept is a
        scalar coordinate.  Variables: loss, t, status, n_steps; test_rmse, the root mean square of
        M - Y_star over unobserved entries; with "norms" nuclear_norm, excess_nuclear_norm (over
        that of Y_star), unobserved_movement and unobserved_rms (Frobenius norm, and root mean
        square, of the change of the unobserved entries since the start) and, for up to 2048
        observed entries, kernel_distance (cosine distance of the tangent kernels at start and end);
        M if kept.

    Raises
    ------
    ValueError, TypeError
        For illegal arguments, by name.

    References
    ----------
    Woodworth et al. (COLT 2020), figure 5.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.low_rank_completion(6, 6, 1, 24)
    >>> ds = krf.sweep_factorization(
    ...     data.Y_star, alpha=[1e-3, 1.0], width=[6, 10_000], seeds=[0, 1], n_observed=24
    ... )
    >>> dict(ds.sizes)
    {'width': 2, 'alpha': 2, 'seed': 2}
    >>> excess = ds.excess_nuclear_norm.mean("seed")
    >>> bool(excess.sel(width=6, alpha=1e-3) < excess.sel(width=10_000, alpha=1.0))
    True
    """
    truth = check.real_array("Y_star", Y_star, ndim=2)
    scales = check.positive_array("alpha", alpha)
    widths = check.integer_array("width", width, low=1)
    numbers = check.integer_array("seeds", seeds, low=0)
    for name, array, most in (
        ("Y_star", truth, 3), ("alpha", scales, 1), ("width", widths, 1), ("seeds", numbers, 1),
    ):  # fmt: skip
        if array.ndim > most:
            raise ValueError(f"{name}: expected at most {most} dimensions, got {array.shape}")
    if truth.ndim == 3 and truth.shape[:1] != numbers.shape:
        raise ValueError(
            f"Y_star: expected one matrix, or one for each of {numbers.size} seeds, got shape "
            f"{truth.shape}"
        )
    for forbidden in ("t_eval", "U0", "V0", "entries", "measurements", "dims", "symmetric", "seed"):
        if forbidden in flow_options:
            raise TypeError(f"{forbidden}: not an option of a sweep")
    groups = (keep,) if isinstance(keep, str) else tuple(keep)
    for group in groups:
        check.choice("keep", group, _KEEP)
    d1, d2 = truth.shape[-2:]
    count = check.integer("n_observed", n_observed, low=1, high=d1 * d2)
    show = bool(sys.stderr.isatty() if progress is None else progress)

    parts, backend = [], ""
    for i, seed in enumerate(np.atleast_1d(numbers)):
        target = truth[i] if truth.ndim == 3 else truth
        part, backend = _one_seed(
            target, scales, widths, int(seed), count, groups, {"progress": show, **flow_options}
        )
        parts.append(part)
    dims = [*(["width"] if widths.ndim else []), *(["alpha"] if scales.ndim else [])]
    variables: dict[str, Any] = {}
    for name in parts[0]:
        inner = ["row", "column"] if name == "M" else []
        stacked = np.stack([part[name] for part in parts], axis=len(dims))
        if not numbers.ndim:
            stacked = np.take(stacked, 0, axis=len(dims))
        variables[name] = ([*dims, *(["seed"] if numbers.ndim else []), *inner], stacked)
    coords: dict[str, Any] = {"width": widths, "alpha": scales, "seed": numbers}
    ds = xr.Dataset(variables, coords={k: (k if v.ndim else (), v) for k, v in coords.items()})
    ds.attrs = {
        "model": "matrix factorisation",
        "d1": d1,
        "d2": d2,
        "n_observed": count,
        "backend": backend,
        "kernelrich_fast": __version__,
    }
    return ds


def _one_seed(
    truth: FloatArray,
    scales: FloatArray,
    widths: IntArray,
    seed: int,
    n_observed: int,
    groups: tuple[str, ...],
    options: dict[str, Any],
) -> tuple[dict[str, Any], str]:
    """The variables of one seed, in the shape (width, alpha)."""
    d1, d2 = truth.shape
    entries = observed_entries(d1, d2, n_observed, seed)
    where: dict[str, Any] = dict(entries=entries, dims=(d1, d2))
    column = widths.reshape(widths.shape + (1,) * scales.ndim)
    flow = flow_factorization(
        truth[entries], **where, alpha=scales, width=column, seed=seed, **options
    )
    hidden = np.ones((d1, d2), dtype=bool)
    hidden[entries] = False
    variables: dict[str, Any] = {
        "loss": flow.loss,
        "t": flow.t,
        "status": flow.status,
        "n_steps": flow.n_steps,
        "test_rmse": _rms((flow.M - truth)[..., hidden]),
    }
    if "norms" in groups:
        gram0 = np.stack([_start_gram(d1 + d2, int(k), seed) for k in widths.ravel()])
        gram0 = gram0.reshape(column.shape + gram0.shape[1:]) * (scales**2)[..., None, None]
        moved = (flow.M - gram0[..., :d1, d1:])[..., hidden]
        norm = nuclear_norm(flow.M)
        variables |= {
            "nuclear_norm": norm,
            "excess_nuclear_norm": norm - float(nuclear_norm(truth)),
            "unobserved_movement": np.linalg.norm(moved, axis=-1),
            "unobserved_rms": _rms(moved),
        }
        if n_observed <= _MOST_KERNEL_SAMPLES:
            distance = np.empty(flow.status.shape)
            for index in np.ndindex(distance.shape):
                # The direction of a kernel does not depend on the scale of the weights.
                kernels = [
                    factorization_tangent_kernel(gram[index] / np.trace(gram[index]), **where)
                    for gram in (gram0, flow.gram)
                ]
                distance[index] = kernel_distance(*kernels)
            variables["kernel_distance"] = distance
    if "M" in groups:
        variables["M"] = flow.M
    return variables, flow.backend


def _start_gram(n: int, width: int, seed: int) -> FloatArray:
    W = gaussian_factor(n, width, seed)
    return np.asarray(W @ W.T)


def _rms(values: FloatArray) -> FloatArray:
    """Root mean square over the last axis; NaN where it is empty."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(np.sqrt(np.mean(values**2, axis=-1)))
