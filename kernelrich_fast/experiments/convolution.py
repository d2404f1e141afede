"""A small convolutional network in PyTorch: scaled starts, descent, and its linearisation.

PyTorch comes with the extra [torch] and is imported when it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._types import FloatArray, IntArray

__all__ = ["Images", "Layers", "Trained", "train"]

# Channels of 3 x 3 convolutions, each with a ReLU, and "M" for 2 x 2 maximum pooling; a linear
# layer to the classes follows. Nothing has biases, so that a start times alpha is the network times
# alpha^depth.
Layers = tuple[int | str, ...]
CLASSES = 10


@dataclass(frozen=True)
class Images:
    """Pixels (n, channels, height, width) in [0, 1] and classes, to train on and to test."""

    X: FloatArray
    y: IntArray
    X_test: FloatArray
    y_test: IntArray

    def first(self, n_train: int, n_test: int) -> Images:
        return Images(
            self.X[:n_train], self.y[:n_train], self.X_test[:n_test], self.y_test[:n_test]
        )


@dataclass(frozen=True)
class Trained:
    """How a training ended."""

    test_error: float
    loss: float  # mean cross-entropy of the training images
    epochs: int
    fits: bool  # whether the loss that was asked for is reached


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"fig6d: needs PyTorch ({error}); install it with pip install 'kernelrich_fast[torch]'"
        ) from error
    return torch


class _Network:
    """The network as a function of its weights, which are a tuple of tensors."""

    def __init__(self, torch: Any, layers: Layers, shape: tuple[int, int, int]) -> None:
        self.torch, self.layers = torch, layers
        channels, height, width = shape
        self.shapes: list[tuple[int, ...]] = []
        for layer in layers:
            if layer == "M":
                height, width = height // 2, width // 2
            else:
                self.shapes.append((int(layer), channels, 3, 3))
                channels = int(layer)
        self.shapes.append((CLASSES, channels * height * width))
        if height * width == 0:
            raise ValueError(
                f"layers: expected images large enough for every pooling layer, got shape {shape}"
            )

    def start(self, alpha: float, seed: int) -> tuple[Any, ...]:
        """He's uniform weights times alpha."""
        random = self.torch.Generator().manual_seed(seed)
        weights = []
        for shape in self.shapes:
            bound = alpha * math.sqrt(6.0 / math.prod(shape[1:]))
            weights.append(bound * (2.0 * self.torch.rand(shape, generator=random) - 1.0))
        return tuple(weights)

    def outputs(self, weights: tuple[Any, ...], X: Any) -> Any:
        functional = self.torch.nn.functional
        each = iter(weights)
        for layer in self.layers:
            if layer == "M":
                X = functional.max_pool2d(X, 2)
            else:
                X = functional.relu(functional.conv2d(X, next(each), padding=1))
        return X.flatten(1) @ next(each).T

    def tangent(self, at: tuple[Any, ...]) -> Callable[[tuple[Any, ...], Any], Any]:
        """The outputs to first order in the change of the weights since ``at``."""

        def outputs(weights: tuple[Any, ...], X: Any) -> Any:
            moved = tuple(w - w0 for w, w0 in zip(weights, at, strict=True))
            first, change = self.torch.func.jvp(lambda w: self.outputs(w, X), (at,), (moved,))
            return first + change

        return outputs


def train(
    images: Images,
    layers: Layers,
    alpha: float,
    seed: int,
    *,
    model: str,
    goal: float,
    epochs: int,
    batch: int | None = None,
    step: float | None = None,
) -> Trained:
    """Descend the mean cross-entropy until it is at most ``goal``, for at most so many epochs.

    ``model`` is "network", "kernel" (linearised at its start) or "last_layer" (the others rest).
    With ``batch`` and ``step`` the descent is stochastic. Without, it is gradient descent whose
    step grows while the loss falls and is halved where it would rise: close to the gradient flow,
    at every scale.
    """
    torch = _torch()
    network = _Network(torch, layers, images.X.shape[1:])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    X, X_test = (
        torch.as_tensor(a.astype(np.float32), device=device) for a in (images.X, images.X_test)
    )
    y, y_test = (torch.as_tensor(a, device=device) for a in (images.y, images.y_test))
    start = tuple(w.to(device) for w in network.start(alpha, seed))
    outputs = network.tangent(start) if model == "kernel" else network.outputs
    descent = _Descent(torch, outputs, start, model == "last_layer", X, y)
    if batch is None or step is None:
        ended = descent.controlled(goal, epochs)
    else:
        ended = descent.stochastic(goal, epochs, batch, step, seed)
    return Trained(descent.wrong(X_test, y_test), descent.loss, ended, descent.loss <= goal)


class _Descent:
    """Weights on their way, and the training images."""

    def __init__(
        self,
        torch: Any,
        outputs: Callable[..., Any],
        start: tuple[Any, ...],
        last: bool,
        X: Any,
        y: Any,
    ) -> None:
        self.torch, self.outputs, self.X, self.y = torch, outputs, X, y
        self.entropy = torch.nn.functional.cross_entropy
        self.weights = tuple(w.clone() for w in start)
        self.moving = self.weights[-1:] if last else self.weights
        for w in self.moving:
            w.requires_grad_(True)
        self.loss = math.inf

    def slopes(self, X: Any, y: Any) -> tuple[float, Any]:
        loss = self.entropy(self.outputs(self.weights, X), y)
        return float(loss.detach()), self.torch.autograd.grad(loss, self.moving)

    def move(self, slopes: Any, step: float) -> None:
        for w, slope in zip(self.moving, slopes, strict=True):
            w.data -= step * slope

    def controlled(self, goal: float, epochs: int) -> int:
        """Gradient descent; returns the number of steps."""
        self.loss, slopes = self.slopes(self.X, self.y)
        step = 1e-3 / max(sum(float((s * s).sum()) for s in slopes), 1e-30)
        for epoch in range(1, epochs + 1):
            if self.loss <= goal:
                return epoch - 1
            self.move(slopes, step)
            loss, new = self.slopes(self.X, self.y)
            if loss < self.loss:
                self.loss, slopes, step = loss, new, 1.2 * step
            else:
                self.move(slopes, -step)
                step *= 0.5
        return epochs

    def stochastic(self, goal: float, epochs: int, batch: int, step: float, seed: int) -> int:
        """Stochastic gradient descent; returns the number of epochs."""
        random = self.torch.Generator().manual_seed(seed)
        for epoch in range(1, epochs + 1):
            order = self.torch.randperm(len(self.X), generator=random).to(self.X.device)
            for some in order.split(batch):
                self.move(self.slopes(self.X[some], self.y[some])[1], step)
            self.loss = self.mean_loss()
            if self.loss <= goal or not math.isfinite(self.loss):
                return epoch
        return epochs

    def mean_loss(self) -> float:
        with self.torch.no_grad():
            total = sum(
                float(self.entropy(self.outputs(self.weights, a), b, reduction="sum"))
                for a, b in zip(self.X.split(1000), self.y.split(1000), strict=True)
            )
        mean = total / len(self.X)
        return mean if math.isfinite(mean) else math.inf

    def wrong(self, X: Any, y: Any) -> float:
        """The share of images that are not right."""
        with self.torch.no_grad():
            right = sum(
                int((self.outputs(self.weights, a).argmax(dim=1) == b).sum())
                for a, b in zip(X.split(1000), y.split(1000), strict=True)
            )
        return 1.0 - right / len(X)
