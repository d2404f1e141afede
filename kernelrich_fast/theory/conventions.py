"""Scales and times of papers on diagonal networks, from one to another."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import _validate as check
from .._types import ArrayLike, FloatArray

__all__ = ["CONVENTIONS", "Convention", "Converted", "convert"]


@dataclass(frozen=True)
class Convention:
    """How a paper writes a diagonal network of depth 2, or of any depth D if the paper has one.

    Attributes
    ----------
    paper : str
        Authors, title and year.
    model : {"difference", "product", "two_products"}
        As in `flow_diagonal`.
    balance : float or None
        As in `flow_diagonal`; None if it follows from a shape parameter.
    loss_scale : callable
        c(n_samples, depth) in L = c |X beta - y|^2, as the paper writes the loss.
    shaped : bool
        Whether the paper's scale is u_plus v_plus + u_minus v_minus at the start, with a shape that
        says how it is split between u and v, instead of the alpha of `flow_diagonal`.
    """

    paper: str
    model: str
    balance: float | None
    loss_scale: Callable[[int, float], float]
    shaped: bool = False


CONVENTIONS: dict[str, Convention] = {
    "woodworth2020": Convention(
        "Woodworth et al., Kernel and Rich Regimes in Overparametrized Models, 2020",
        "difference", None, lambda n, depth: 1.0,
    ),
    "vaskevicius2019": Convention(
        "Vaskevicius, Kanade, Rebeschini, Implicit Regularization for Optimal Sparse Recovery, "
        "2019",
        "difference", None, lambda n, depth: 1.0 / n,
    ),
    "pesme2021": Convention(
        "Pesme, Pillaud-Vivien, Flammarion, Implicit Bias of SGD for Diagonal Linear Networks, "
        "2021",
        "difference", None, lambda n, depth: 0.25 / n,
    ),
    "even2023": Convention(
        "Even, Pesme, Gunasekar, Flammarion, (S)GD over Diagonal Linear Networks, 2023",
        "product", 1.0, lambda n, depth: 0.5 / n,
    ),
    "pesme_flammarion2023": Convention(
        "Pesme, Flammarion, Saddle-to-Saddle Dynamics in Diagonal Linear Networks, 2023",
        "product", 1.0, lambda n, depth: 0.5 / n,
    ),
    "papazov2024": Convention(
        "Papazov, Pesme, Flammarion, Leveraging Continuous Time to Understand Momentum When "
        "Training Diagonal Linear Networks, 2024",
        "product", 1.0, lambda n, depth: 0.5 / n,
    ),
    "chou2023": Convention(
        "Chou, Maly, Rauhut, More is Less: Inducing Sparsity via Overparameterization, 2023 (the "
        "flow of the reduced factors, of any depth)",
        "difference", None, lambda n, depth: 0.5 / depth,
    ),
    "wind2023": Convention(
        "Wind, Antun, Hansen, Implicit Regularization in AI Meets Generalized Hardness of "
        "Approximation in Optimization, 2023 (any depth)",
        "difference", None, lambda n, depth: 0.5,
    ),
    "azulay2021": Convention(
        "Azulay et al., On the Implicit Bias of Initialization Shape, 2021",
        "two_products", None, lambda n, depth: 0.5, shaped=True,
    ),
}  # fmt: skip


class Converted(NamedTuple):
    """A scale and a time in another convention."""

    alpha: FloatArray
    t: FloatArray


def convert(
    alpha: ArrayLike,
    t: ArrayLike = 0.0,
    *,
    from_: str,
    to: str = "woodworth2020",
    n_samples: int | None = None,
    depth: float = 2,
    shape: float = 0.0,
) -> Converted:
    """Convert the scale and time of one paper to those of another that give the same predictor.

    Parameters
    ----------
    alpha, t : array_like
        Scale of the initial weights and time of the gradient flow, in the convention ``from_``.
    from_, to : str
        Names in `CONVENTIONS`; "woodworth2020" is the default convention of `flow_diagonal`.
    n_samples : int, optional
        Number of samples. Some papers average the loss over them. If one of the two conventions
        does so and the other does not, times depend on it: a warning says so where it is missing,
        and t is that of a single sample.
    depth : float
        Number of layers D >= 2, for the conventions that allow any depth (those without products).
    shape : float
        For "azulay2021": (u - v) / (u + v) at the start, in (-1, 1).

    Returns
    -------
    Converted
        alpha and t, with the shapes of the arguments.

    Raises
    ------
    ValueError
        If a convention has no such name; if alpha is not positive, t is negative, shape is outside
        (-1, 1), n_samples is below 1, or depth is below 2; or if depth is not 2 for a convention
        with products.
    TypeError
        If alpha or t does not consist of real numbers, ``from_`` or ``to`` is not a string,
        n_samples is not an integer, or shape or depth is not a single number.

    Notes
    -----
    Along each of these flows of depth 2 beta = kappa sinh(z), so two of them differ only in the
    scale and in a factor of time. kappa is 2 alpha^2 if w_plus = w_minus = alpha at the start,
    alpha^2 if u = sqrt(2) alpha and v = 0, and a (1 + s^2) / (1 - s^2) for a scale a with shape s.
    A loss c |X beta - y|^2 multiplies the pace of the flow by c, and products u v take twice the
    time of w_plus^2 - w_minus^2.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.theory.convert(0.1, 300.0, from_="even2023", n_samples=30)
    Converted(alpha=array(0.07071068), t=array(2.5))
    """
    scale = check.positive_array("alpha", alpha)
    time = check.positive_array("t", t, zero=True)
    n = None if n_samples is None else check.integer("n_samples", n_samples, low=1)
    D = check.depth_number("depth", depth)
    s = check.scalar("shape", shape, low=-1.0, high=1.0)
    if s == 1.0:
        raise ValueError("shape: expected a value in (-1, 1), got 1")
    sides: list[Convention] = []
    for argument, name in (("from_", from_), ("to", to)):
        side = CONVENTIONS[check.choice(argument, name, tuple(CONVENTIONS))]
        if side.model != "difference" and D != 2.0:
            raise ValueError(f"depth: expected 2 for {argument}={name!r}, got {D:g}")
        sides.append(side)
    kappa = _kappa(sides[0], s) * scale ** (1.0 if sides[0].shaped else 2.0)
    there = kappa / _kappa(sides[1], s)
    scale = there if sides[1].shaped else np.sqrt(there)
    if n is None and np.any(time > 0.0):
        _warn_of_means({from_: sides[0], to: sides[1]}, D)
    pace, other = (_pace(side, 1 if n is None else n, D) for side in sides)
    return Converted(np.asarray(scale), np.asarray(time * (pace / other)))


def _pace(side: Convention, n: int, depth: float) -> float:
    return side.loss_scale(n, depth) * (1.0 if side.model == "difference" else 0.5)


def _warn_of_means(sides: dict[str, Convention], depth: float) -> None:
    """Warn where the ratio of the paces depends on the number of samples."""
    means = [name for name, side in sides.items() if _pace(side, 2, depth) != _pace(side, 1, depth)]
    if len(means) == 1 and len(sides) == 2:
        warnings.warn(
            f"n_samples: expected for {means[0]}, whose loss is a mean over the samples, where "
            "times are converted, got none: t is that of a single sample; give n_samples",
            stacklevel=3,
        )


def _kappa(side: Convention, shape: float) -> float:
    """Kappa at scale 1 and depth 2; at other depths only ratios of it are used."""
    if side.shaped:
        return (1.0 + shape * shape) / (1.0 - shape * shape)
    return abs(side.balance) if side.model == "product" and side.balance else 2.0
