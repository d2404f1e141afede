"""What a sweep of ReLU networks measures on the flows of one depth and width."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from .._types import FloatArray
from ..mlp import MLPFlow
from ..theory.kernels import kernel_distance
from ..theory.linearised import last_layer_predictor, mlp_kernel_predictor
from ..theory.networks import mlp_feature_distance, mlp_tangent_kernel
from ._held_out import HeldOut

__all__ = ["MOST_KERNEL_ROWS", "TIMELESS", "measured"]

# Beyond so many rows the two tangent kernels of a run are not formed.
MOST_KERNEL_ROWS = 2048
# What does not depend on time.
TIMELESS = (
    "status", "n_steps", "kernel_rmse", "kernel_error", "last_layer_rmse", "last_layer_error",
)  # fmt: skip


def measured(
    flow: MLPFlow,
    X: FloatArray,
    y: FloatArray,
    test: HeldOut | None,
    groups: tuple[str, ...],
    threads: int,
) -> dict[str, FloatArray]:
    """The variables of one depth and width, in the shape (alpha, seed), with times behind them."""
    classes = flow.weights[-1].shape[-2]
    out: dict[str, Any] = {
        "loss": flow.loss,
        "t": flow.t,
        "status": flow.status,
        "n_steps": flow.n_steps,
    }
    if "norms" in groups:
        out["weight_norm"] = _weight_norm(flow)
        if y.shape[-1] * classes <= MOST_KERNEL_ROWS:
            out |= _distances(flow, X)
    if test is None:
        return out
    prediction = flow.predict(_along_times(flow, test.X, 3))
    out[_name(classes)] = _error(prediction, _along_times(flow, test.y, 2), classes)
    if "predictions" in groups:
        out["prediction"] = prediction
    if "kernel_predictors" in groups:
        out |= _errors_at_start(flow, X, y, test, threads)
    return out


def _along_times(flow: MLPFlow, array: FloatArray, each: int) -> FloatArray:
    """Data; where each seed has its own, which have ``each`` dimensions, with an axis of times."""
    timed = flow.loss.ndim > flow.status.ndim
    return array[:, None] if array.ndim == each and timed else array


def _weight_norm(flow: MLPFlow) -> FloatArray:
    layers = [*flow.weights, *(flow.biases or [])]
    norm2 = sum(np.sum(W.reshape(*flow.loss.shape, -1) ** 2, axis=-1) for W in layers)
    return np.asarray(np.sqrt(norm2))


def _distances(flow: MLPFlow, X: FloatArray) -> dict[str, FloatArray]:
    """How far features and tangent kernels are from those at the start."""
    axis = flow.status.ndim
    inputs = _along_times(flow, X, 3)

    def start(arrays: list[FloatArray] | None) -> Any:
        timed = flow.loss.ndim > axis
        return [np.expand_dims(a, axis) for a in arrays] if arrays and timed else arrays

    ends = (start(flow.weights0), start(flow.biases0)), (flow.weights, flow.biases)
    kernels = [
        mlp_tangent_kernel(weights, inputs, biases=biases, antisymmetric=flow.antisymmetric)
        for weights, biases in ends
    ]
    with np.errstate(invalid="ignore"):
        between_kernels = kernel_distance(*kernels)
    return {
        "feature_distance": mlp_feature_distance(
            ends[0][0], ends[1][0], inputs, biases0=ends[0][1], biases1=ends[1][1],
            antisymmetric=flow.antisymmetric,
        ),
        "kernel_distance": between_kernels,
    }  # fmt: skip


def _errors_at_start(
    flow: MLPFlow, X: FloatArray, y: FloatArray, test: HeldOut, threads: int
) -> dict[str, FloatArray]:
    """Test errors of the linear models that the networks are at the start."""
    classes = flow.weights[-1].shape[-2]
    target = y if classes == 1 else np.eye(classes)[y.astype(np.int64)]

    def error(predictor: Any, index: tuple[int, ...]) -> FloatArray:
        seed = index[-1:]
        guess = predictor(
            [W[index] for W in flow.weights0],
            X[seed] if X.ndim == 3 else X,
            target[seed] if y.ndim == 2 else target,
            test.X[seed] if test.X.ndim == 3 else test.X,
            biases=None if flow.biases0 is None else [b[index] for b in flow.biases0],
            antisymmetric=flow.antisymmetric,
        )
        own = test.y[seed] if test.y.ndim == 2 else test.y
        return _error(guess, own, classes)

    out = {}
    with ThreadPoolExecutor(threads) as pool:
        for label, predictor in (
            ("kernel", mlp_kernel_predictor),
            ("last_layer", last_layer_predictor),
        ):
            errors = list(pool.map(partial(error, predictor), np.ndindex(flow.status.shape)))
            name = f"{label}_{_name(classes).removeprefix('test_')}"
            out[name] = np.reshape(errors, flow.status.shape)
    return out


def _name(classes: int) -> str:
    return "test_rmse" if classes == 1 else "test_error"


def _error(prediction: FloatArray, truth: FloatArray, classes: int) -> FloatArray:
    """Root mean square error, or the share of wrong classes."""
    if classes == 1:
        return np.asarray(np.sqrt(np.mean((prediction - truth) ** 2, axis=-1)))
    return np.asarray(np.mean(np.argmax(prediction, axis=-1) != truth, axis=-1))
