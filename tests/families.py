"""The flow families: of each a small batch, what its data are, and what it predicts.

A new family is an entry here; `test_contract.py` and others go through all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import kernelrich_fast as krf
from kernelrich_fast.initialization import he_layers

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True)
class Family:
    """A public flow function, called as ``flow(**data, **runs, **options)``."""

    flow: Callable[..., Any]
    data: dict[str, Any]  # what all runs share
    runs: dict[str, Any]  # broadcast to a batch of shape (2, 3)
    given: dict[
        str, Any
    ]  # a start that is given, in place of ``runs``, arrays that must not change
    predict: Callable[[Any], np.ndarray]  # of a result, what the promise is about, (..., size)
    loss: Callable[[np.ndarray], np.ndarray]  # of what `predict` returns
    zero_loss: float
    quick: dict[str, Any]  # options with which a run takes milliseconds
    arrays: tuple[str, ...]  # fields that batches are compared by

    shape = (2, 3)

    def batch(self, **options: Any) -> Any:
        return self.flow(**self.data, **self.runs, **self.quick | options)

    def single(self, index: tuple[int, int], **options: Any) -> Any:
        """The run at ``index`` of the batch, alone."""
        own = {k: np.broadcast_to(v, self.shape)[index].item() for k, v in self.runs.items()}
        return self.flow(**self.data, **own, **self.quick | options)

    def started(self, **options: Any) -> Any:
        return self.flow(**self.data, **self.given, **self.quick | options)


def _diagonal() -> Family:
    X, y, _ = krf.datasets.sparse_regression(6, 15, 2, seed=3)
    return Family(
        flow=krf.flow_diagonal,
        data={"X": X, "y": y},
        runs={"alpha": [1e-2, 0.1, 2.0], "depth": [[2], [4]]},
        given={"alpha": 0.5, "w_plus0": np.linspace(1.0, 2.0, 15), "w_minus0": np.full(15, 0.5)},
        predict=lambda flow: flow.beta,
        loss=lambda beta: ((beta @ X.T - y) ** 2).sum(axis=-1),
        zero_loss=float(y @ y),
        quick={},
        arrays=("beta", "w_plus", "w_minus", "dual"),
    )


def _factorization() -> Family:
    data = krf.datasets.low_rank_completion(4, 3, 1, 8)
    rng = np.random.default_rng(2)
    return Family(
        flow=krf.flow_factorization,
        data={"y": data.y, "entries": data.entries, "dims": (4, 3)},
        runs={"alpha": [1e-2, 0.1, 1.0], "width": [[3], [100]]},
        given={"U0": rng.standard_normal((4, 3)), "V0": rng.standard_normal((3, 3))},
        predict=lambda flow: flow.M.reshape(*flow.M.shape[:-2], -1),
        loss=lambda M: (
            (M.reshape(*M.shape[:-1], 4, 3)[..., data.entries[0], data.entries[1]] - data.y) ** 2
        ).sum(axis=-1),
        zero_loss=float(data.y @ data.y),
        quick={},
        arrays=("M", "gram"),
    )


def _linear() -> Family:
    rng = np.random.default_rng(4)
    X, Y = rng.standard_normal((4, 5)), rng.standard_normal((4, 2))
    return Family(
        flow=krf.flow_linear,
        data={"X": X, "Y": Y},
        runs={"alpha": [1e-2, 0.1, 1.0], "width": [[3], [100]]},
        given={"W1": rng.standard_normal((3, 5)), "W2": rng.standard_normal((2, 3))},
        predict=lambda flow: flow.M.reshape(*flow.M.shape[:-2], -1),
        loss=lambda M: ((X @ np.swapaxes(M.reshape(*M.shape[:-1], 2, 5), -1, -2) - Y) ** 2).sum(
            axis=(-2, -1)
        ),
        zero_loss=float((Y * Y).sum()),
        quick={},
        arrays=("M", "gram"),
    )


def _mlp() -> Family:
    data = krf.datasets.circle_teacher(5, seed=1)
    layers = he_layers((2, 3, 1), "he_normal", 0)
    return Family(
        flow=krf.flow_mlp,
        data={"X": data.X, "y": data.y},
        runs={"alpha": [0.3, 1.0, 2.0], "seed": [[0], [1]]},
        given={"weights0": layers, "alpha": 0.5},
        predict=lambda flow: flow.predict(data.X),
        loss=lambda f: ((f - data.y) ** 2).sum(axis=-1),
        zero_loss=float(data.y @ data.y),
        quick={"rtol": 1e-3},
        arrays=("weights",),
    )


FAMILIES = {
    "diagonal": _diagonal(),
    "factorization": _factorization(),
    "linear": _linear(),
    "mlp": _mlp(),
}
