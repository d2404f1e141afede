"""What a reader of the page can set: names, ranges and steps of the controls of each model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CONTROLS", "MODELS", "OVER", "Control"]


@dataclass(frozen=True)
class Control:
    """A slider: the values it takes, and what it is called."""

    name: str
    label: str
    low: float
    high: float
    step: float  # in decades if the scale is logarithmic
    default: float
    scale: Literal["linear", "log"] = "linear"
    whole: bool = False
    generated: bool = False  # whether it describes generated data, and means nothing otherwise


MODELS = {
    "diagonal": "diagonal network",
    "factorization": "matrix factorisation",
    "network": "ReLU network",
}

# The second axis of the phase diagram, beside alpha: name and values of the control it varies.
OVER: dict[str, dict[str, tuple[float, ...]]] = {
    "diagonal": {
        "samples": (10, 15, 20, 25, 30, 35, 40, 50, 60, 80, 100, 150),
        "depth": (2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0),
    },
    "factorization": {
        "width": (2, 4, 10, 30, 100, 300, 1000, 3000, 10_000),
        "samples": (20, 30, 40, 50, 60, 70, 80, 90),
    },
    "network": {
        "width": (5, 10, 20, 30, 50, 100),
        "depth": (2, 3, 4),
    },
}

_SEED = Control("seed", "seed", 0, 20, 1, 0, whole=True)


def _alpha(low: float, high: float, default: float) -> Control:
    return Control("alpha", "scale α of the initial weights", low, high, 0.05, default, "log")


def _noise(default: float) -> Control:
    return Control("noise", "noise, standard deviation", 0.0, 0.5, 0.01, default, generated=True)


CONTROLS: dict[str, tuple[Control, ...]] = {
    "diagonal": (
        _alpha(1e-6, 10.0, 0.1),
        Control("depth", "depth D", 2.0, 6.0, 0.1, 2.0),
        Control("shape", "shape: log10 of w0, first over last feature", -2.0, 2.0, 0.1, 0.0),
        Control("samples", "samples N", 5, 150, 1, 40, whole=True, generated=True),
        Control("features", "features d", 20, 400, 10, 200, whole=True, generated=True),
        Control("sparsity", "sparsity: true features r", 1, 20, 1, 5, whole=True, generated=True),
        _noise(0.1),
        Control("held_out", "share of samples held out for the test", 0.1, 0.5, 0.05, 0.2),
        _SEED,
    ),
    "factorization": (
        _alpha(1e-6, 1.0, 0.1),
        Control("width", "width k", 2, 10_000, 0.1, 30, "log", whole=True),
        Control("features", "rows and columns d", 5, 20, 1, 10, whole=True, generated=True),
        Control("sparsity", "rank of the truth r", 1, 4, 1, 1, whole=True, generated=True),
        Control("samples", "observed entries, per cent", 20, 90, 1, 60, whole=True, generated=True),
        _noise(0.0),
        _SEED,
    ),
    "network": (
        _alpha(1e-3, 10.0, 0.3),
        Control("depth", "depth D: layers of weights", 2, 4, 1, 2, whole=True),
        Control("width", "width k: units of a layer", 2, 100, 1, 30, whole=True),
        Control("shape", "shape: log10 of first over last layer", -2.0, 2.0, 0.1, 0.0),
        Control("samples", "samples N", 3, 40, 1, 10, whole=True, generated=True),
        Control(
            "sparsity", "sparsity: units of the teacher", 1, 6, 1, 3, whole=True, generated=True
        ),
        _noise(0.0),
        Control("held_out", "share of samples held out for the test", 0.1, 0.5, 0.05, 0.2),
        _SEED,
    ),
}
