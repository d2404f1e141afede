"""Networks of the paper's figures 6a and 6b: a teacher on the circle, trained to interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._types import FloatArray
from ...equations.networks import backward, forward, gradient
from ...experiments import fig6
from ...mlp import flow_mlp
from ...theory import mlp_predict
from ..formulation import Formulation, Outcome, worst_relative

__all__ = ["Networks"]

STOP = 1e-9


class Networks:
    """Test predictions of nets of one depth at the times at which the reference interpolates."""

    def __init__(self, *, depth: int, alphas: FloatArray) -> None:
        self.depth, self.alphas = depth, alphas
        self.X, self.y, self.X_test, _ = fig6.scaled_teacher(0)
        # Held against extrapolated gradient descent by tests/accuracy/test_mlp_accuracy.py.
        tight = self._flow(1e-9, "cpu", stop_loss=STOP)
        self.times, self.layers = tight.t, tight.weights0
        self.reference = tight.predict(self.X_test)

    def _flow(self, rtol: float, backend: str, **end: Any) -> Any:
        return flow_mlp(
            self.X, self.y, depth=self.depth, width=fig6.WIDTH, alpha=self.alphas,
            layer_scales=fig6.LAYER_SCALE, rtol=rtol, num_threads=1, backend=backend,
            max_steps=10**7, **end,
        )  # fmt: skip

    def ours(self, rtol: float, backend: str) -> Outcome:
        flow = self._flow(rtol, backend, t_max=self.times, stop_loss=0.0)
        return Outcome.of_flow(flow.predict(self.X_test), flow)

    def error(self, answer: FloatArray) -> float:
        return worst_relative(answer, self.reference)

    def bytes_of_field(self) -> float:
        return 16.0 * sum(int(np.prod(W.shape[1:])) for W in self.layers)

    def formulation(self, name: str) -> Formulation:
        if name != "weights":
            raise ValueError(f"networks are integrated by their weights, got {name!r}")
        shapes = [W.shape[1:] for W in self.layers]
        cuts = np.concatenate([[0], np.cumsum([int(np.prod(s)) for s in shapes])]).tolist()

        def unpack(w: Any) -> list[Any]:
            return [
                w[a:b].reshape(shape)
                for a, b, shape in zip(cuts[:-1], cuts[1:], shapes, strict=True)
            ]

        def field(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            X, y = shared
            layers = unpack(w)
            inputs, f = forward(layers, X)
            deltas = backward(layers, inputs, 2.0 * (f - y.reshape(-1, 1)))
            return -xp.concatenate([part.reshape(-1) for part in gradient(inputs, deltas)])

        def loss(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            X, y = shared
            return ((forward(unpack(w), X)[1] - y.reshape(-1, 1)) ** 2).sum()

        def read(w: FloatArray) -> FloatArray:
            return np.stack([mlp_predict(unpack(each), self.X_test) for each in w])

        count = len(self.alphas)
        start = np.concatenate([W.reshape(count, -1) for W in self.layers], axis=1)
        return Formulation(
            start=start, times=self.times, atol=np.full(count, 1e-3), shared=(self.X, self.y),
            own=(), field=field, read=read, loss=loss,
            goal=np.full(count, STOP * float(self.y @ self.y)),
        )  # fmt: skip
