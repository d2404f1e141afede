"""Sweeps of ReLU networks over depth, scale and seed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from . import _validate as check
from ._types import ArrayLike, FloatArray
from .config import __version__
from .mlp import MLPFlow, flow_mlp
from .theory.kernels import kernel_distance
from .theory.networks import (
    last_layer_predictor,
    mlp_feature_distance,
    mlp_kernel_predictor,
    mlp_tangent_kernel,
)

__all__ = ["sweep_mlp"]

_KEEP = ("norms", "predictions", "kernel_predictors")
# Beyond so many rows the two tangent kernels of a run are not formed.
_MOST_KERNEL_ROWS = 2048


def sweep_mlp(
    X: ArrayLike,
    y: ArrayLike,
    *,
    depth: ArrayLike = 2,
    alpha: ArrayLike,
    seeds: ArrayLike = 0,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    keep: Sequence[str] = ("norms",),
    progress: bool | None = None,
    **flow_options: Any,
) -> xr.Dataset:
    """Sweep ReLU networks over depths, scales and seeds.

    Parameters
    ----------
    X : array_like, (n_samples, n_features) or (seed, n_samples, n_features)
        Inputs, or those of every seed.
    y : array_like, (n_samples,) or (seed, n_samples)
        Targets, or classes with ``loss="cross_entropy"``.
    depth : int or array_like of int, (depth,)
        Layers of weights.
    alpha : float or array_like, (alpha,) or (depth, alpha)
        Scales of the start; one grid per depth if two-dimensional. The coordinate ``alpha`` then
        counts positions, and a coordinate ``scale`` (depth, alpha) carries the values.
    seeds : int or array_like of int, (seed,)
        Seeds of the drawn starts.
    X_test, y_test : array_like, like X and y, optional
        What to test on; adds test_rmse, or test_error for classes.
    keep : sequence of {"norms", "predictions", "kernel_predictors"}
        Groups of variables: "norms" are the weights' norms and the kernel distances, "predictions"
        those at X_test, "kernel_predictors" the test errors of the two linearised baselines.
    progress : bool, optional
        Show a progress bar per depth; by default when standard error is a terminal.
    **flow_options
        Passed to `flow_mlp` (``t_eval`` and ``weights0`` excepted).

    Returns
    -------
    xarray.Dataset
        One dimension per swept argument, in the order (depth, alpha, seed); what is not swept is a
        scalar coordinate.  Variables: loss, t, status, n_steps; test_rmse or test_error; with
        "norms" weight_norm (Euclidean, of all weights), feature_distance and kernel_distance
        (cosine distances of the tangent features and of the tangent kernels at start and end, for
        up to 2048 samples times outputs; the latter NaN where no unit is left alive); prediction
        with a dimension test; kernel_rmse and last_layer_rmse (or _error).

    Raises
    ------
    ValueError, TypeError
        For illegal arguments, by name.

    References
    ----------
    Woodworth et al. (COLT 2020), figure 6.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.circle_teacher(10, seed=1)
    >>> ds = krf.sweep_mlp(
    ...     data.X, data.y, depth=[2, 3], alpha=[0.3, 2.0], seeds=[0, 1], rtol=1e-4,
    ...     X_test=data.X_test, y_test=data.y_test,
    ... )
    >>> dict(ds.sizes)
    {'depth': 2, 'alpha': 2, 'seed': 2}
    >>> moved = ds.feature_distance.mean("seed")
    >>> bool((moved.sel(alpha=0.3) > moved.sel(alpha=2.0)).all())
    True
    """
    inputs, targets = check.data_pair(X, y)
    depths = check.integer_array("depth", depth, low=2)
    scales = check.positive_array("alpha", alpha)
    numbers = check.integer_array("seeds", seeds, low=0)
    for name, array, most in (
        ("X", inputs, 3), ("y", targets, 2), ("depth", depths, 1), ("seeds", numbers, 1),
    ):  # fmt: skip
        if array.ndim > most:
            raise ValueError(f"{name}: expected at most {most} dimensions, got {array.shape}")
    if scales.ndim > 2 or (scales.ndim == 2 and scales.shape[:1] != depths.shape):
        raise ValueError(
            f"alpha: expected one grid, or one for each of {depths.size} depths, got shape "
            f"{scales.shape}"
        )
    for name, lead in (("X", inputs.shape[:-2]), ("y", targets.shape[:-1])):
        if lead and lead != numbers.shape:
            raise ValueError(f"{name}: expected one for each of {numbers.size} seeds, got {lead}")
    for forbidden in ("t_eval", "weights0", "biases0", "seed"):
        if forbidden in flow_options:
            raise TypeError(f"{forbidden}: not an option of a sweep")
    groups = (keep,) if isinstance(keep, str) else tuple(keep)
    for group in groups:
        check.choice("keep", group, _KEEP)
    if (X_test is None) != (y_test is None):
        raise ValueError("X_test: expected X_test and y_test together, got one of them")
    test = None if X_test is None or y_test is None else _TestSet(X_test, y_test, inputs, numbers)
    if test is None and ("predictions" in groups or "kernel_predictors" in groups):
        raise ValueError("X_test: expected for keep='predictions' or 'kernel_predictors', got none")
    show = bool(sys.stderr.isatty() if progress is None else progress)

    parts, backend = [], ""
    for i, D in enumerate(np.atleast_1d(depths)):
        grid = scales[i] if scales.ndim == 2 else scales
        flow = flow_mlp(
            inputs, targets, depth=int(D), alpha=grid.reshape(grid.shape + (1,) * numbers.ndim),
            seed=numbers, **{"progress": show, **flow_options},
        )  # fmt: skip
        backend = flow.backend
        parts.append(_variables(flow, inputs, targets, test, groups))
    leading = ["depth"] if depths.ndim else []
    inner = [*(["alpha"] if scales.ndim else []), *(["seed"] if numbers.ndim else [])]
    variables: dict[str, Any] = {}
    for name in parts[0]:
        values = np.stack([part[name] for part in parts])
        extra = ["test", "output"][: values.ndim - 1 - len(inner)]
        variables[name] = ([*leading, *inner, *extra], values if depths.ndim else values[0])
    coords: dict[str, Any] = {
        "depth": (leading, depths),
        "alpha": (inner[:1] if scales.ndim else [], scales),
        "seed": (["seed"] if numbers.ndim else [], numbers),
    }
    if scales.ndim == 2:  # a coordinate of two dimensions cannot carry the name of one of them
        coords["alpha"] = (["alpha"], np.arange(scales.shape[1]))
        coords["scale"] = (["depth", "alpha"], scales)
    ds = xr.Dataset(variables, coords=coords)
    ds.attrs = {
        "model": "ReLU network",
        "n_samples": targets.shape[-1],
        "backend": backend,
        "kernelrich_fast": __version__,
    }
    return ds


class _TestSet:
    """What to test on, for every seed or one for all."""

    def __init__(self, X: ArrayLike, y: ArrayLike, inputs: FloatArray, seeds: Any) -> None:
        self.X = check.real_array("X_test", X, ndim=2)
        self.y = check.real_array("y_test", y, ndim=1)
        if self.X.shape[-2] != self.y.shape[-1] or self.X.shape[-1] != inputs.shape[-1]:
            raise ValueError(
                f"X_test: expected {self.y.shape[-1]} samples of {inputs.shape[-1]} features, got "
                f"shape {self.X.shape}"
            )
        for name, lead in (("X_test", self.X.shape[:-2]), ("y_test", self.y.shape[:-1])):
            if lead and lead != seeds.shape:
                raise ValueError(f"{name}: expected one for each of {seeds.size} seeds, got {lead}")


def _variables(
    flow: MLPFlow,
    X: FloatArray,
    y: FloatArray,
    test: _TestSet | None,
    groups: tuple[str, ...],
) -> dict[str, FloatArray]:
    """The variables of one depth, in the shape (alpha, seed)."""
    start: dict[str, Any] = {"biases": flow.biases0, "antisymmetric": flow.antisymmetric}
    classes = flow.weights[-1].shape[-2]
    out: dict[str, Any] = {
        "loss": flow.loss,
        "t": flow.t,
        "status": flow.status,
        "n_steps": flow.n_steps,
    }
    if "norms" in groups:
        layers = [*flow.weights, *(flow.biases or [])]
        norm2 = sum(np.sum(W.reshape(*flow.status.shape, -1) ** 2, axis=-1) for W in layers)
        out["weight_norm"] = np.sqrt(norm2)
        if y.shape[-1] * classes <= _MOST_KERNEL_ROWS:
            end = {"biases": flow.biases, "antisymmetric": flow.antisymmetric}
            out["feature_distance"] = mlp_feature_distance(
                flow.weights0, flow.weights, X, biases0=flow.biases0, biases1=flow.biases,
                antisymmetric=flow.antisymmetric,
            )  # fmt: skip
            kernels = [
                mlp_tangent_kernel(weights, X, **options)
                for weights, options in ((flow.weights0, start), (flow.weights, end))
            ]
            with np.errstate(invalid="ignore"):
                out["kernel_distance"] = kernel_distance(*kernels)
    if test is None:
        return out
    prediction = flow.predict(test.X)
    out[_name(classes)] = _error(prediction, test.y, classes)
    if "predictions" in groups:
        out["prediction"] = prediction
    if "kernel_predictors" in groups:
        target = y if classes == 1 else np.eye(classes)[y.astype(np.int64)]
        for label, predictor in (
            ("kernel", mlp_kernel_predictor),
            ("last_layer", last_layer_predictor),
        ):
            errors = np.empty(flow.status.shape)
            for index in np.ndindex(errors.shape):
                seed = index[-1:]
                guess = predictor(
                    [W[index] for W in flow.weights0],
                    X[seed] if X.ndim == 3 else X,
                    target[seed] if y.ndim == 2 else target,
                    test.X[seed] if test.X.ndim == 3 else test.X,
                    biases=None if flow.biases0 is None else [b[index] for b in flow.biases0],
                    antisymmetric=flow.antisymmetric,
                )
                truth = test.y[seed] if test.y.ndim == 2 else test.y
                errors[index] = _error(guess, truth, classes)
            out[f"{label}_{_name(classes).removeprefix('test_')}"] = errors
    return out


def _name(classes: int) -> str:
    return "test_rmse" if classes == 1 else "test_error"


def _error(prediction: FloatArray, truth: FloatArray, classes: int) -> FloatArray:
    """Root mean square error, or the share of wrong classes."""
    if classes == 1:
        return np.asarray(np.sqrt(np.mean((prediction - truth) ** 2, axis=-1)))
    return np.asarray(np.mean(np.argmax(prediction, axis=-1) != truth, axis=-1))
