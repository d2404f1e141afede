"""What a sweep of ReLU networks measures on the flows of one depth and width."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._types import FloatArray
from ..mlp import MLPFlow
from ..theory.kernels import kernel_distance
from ..theory.linearised import last_layer_predictor, mlp_kernel_predictor
from ..theory.networks import mlp_feature_distance, mlp_tangent_kernel
from .plan import Block, subset

__all__ = ["MOST_KERNEL_ROWS", "TIMELESS", "HeldOut", "measured"]

# Beyond so many rows the two tangent kernels of a run are not formed.
MOST_KERNEL_ROWS = 2048
# What does not depend on time.
TIMELESS = (
    "status", "n_steps", "kernel_rmse", "kernel_error", "last_layer_rmse", "last_layer_error",
)  # fmt: skip


@dataclass(frozen=True)
class HeldOut:
    """What to test on, for every seed or one for all."""

    X: FloatArray
    y: FloatArray

    def of(self, dims: tuple[str, ...], block: Block) -> HeldOut:
        X, y = self.X, self.y
        return HeldOut(
            subset(dims, block, "seed", X) if X.ndim == 3 else X,
            subset(dims, block, "seed", y) if y.ndim == 2 else y,
        )


def measured(
    flow: MLPFlow,
    X: FloatArray,
    y: FloatArray,
    test: HeldOut | None,
    groups: tuple[str, ...],
    threads: int,
) -> dict[str, FloatArray]:
    """The variables of one depth and width, in the shape (alpha, seed), with times behind them."""
    timed = flow.loss.ndim > flow.status.ndim

    def at_start(arrays: list[FloatArray] | None) -> Any:
        """With an axis of times, along which nothing changes."""
        axis = flow.status.ndim
        return [np.expand_dims(a, axis) for a in arrays] if arrays and timed else arrays

    def inputs(array: FloatArray) -> FloatArray:
        return array[:, None] if array.ndim == 3 and timed else array

    weights0, biases0 = at_start(flow.weights0), at_start(flow.biases0)
    start: dict[str, Any] = {"biases": biases0, "antisymmetric": flow.antisymmetric}
    classes = flow.weights[-1].shape[-2]
    out: dict[str, Any] = {
        "loss": flow.loss,
        "t": flow.t,
        "status": flow.status,
        "n_steps": flow.n_steps,
    }
    if "norms" in groups:
        layers = [*flow.weights, *(flow.biases or [])]
        norm2 = sum(np.sum(W.reshape(*flow.loss.shape, -1) ** 2, axis=-1) for W in layers)
        out["weight_norm"] = np.sqrt(norm2)
        if y.shape[-1] * classes <= MOST_KERNEL_ROWS:
            end = {"biases": flow.biases, "antisymmetric": flow.antisymmetric}
            out["feature_distance"] = mlp_feature_distance(
                weights0, flow.weights, inputs(X), biases0=biases0, biases1=flow.biases,
                antisymmetric=flow.antisymmetric,
            )  # fmt: skip
            kernels = [
                mlp_tangent_kernel(weights, inputs(X), **options)
                for weights, options in ((weights0, start), (flow.weights, end))
            ]
            with np.errstate(invalid="ignore"):
                out["kernel_distance"] = kernel_distance(*kernels)
    if test is None:
        return out
    prediction = flow.predict(inputs(test.X))
    truth = test.y[:, None] if test.y.ndim == 2 and timed else test.y
    out[_name(classes)] = _error(prediction, truth, classes)
    if "predictions" in groups:
        out["prediction"] = prediction
    if "kernel_predictors" in groups:
        target = y if classes == 1 else np.eye(classes)[y.astype(np.int64)]
        for label, predictor in (
            ("kernel", mlp_kernel_predictor),
            ("last_layer", last_layer_predictor),
        ):

            def error(index: tuple[int, ...], predictor: Any = predictor) -> FloatArray:
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

            with ThreadPoolExecutor(threads) as pool:
                errors = list(pool.map(error, np.ndindex(flow.status.shape)))
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
