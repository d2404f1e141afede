"""What a sweep of diagonal networks measures of its runs: least norms and kernel distances."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._types import FloatArray
from ..equations.linear_systems import CONSISTENT, row_misfit
from ..theory.basis_pursuit import min_l1
from ..theory.interpolants import min_l2
from ..theory.kernels import kernel_distance, tangent_kernel

__all__ = ["each_problem", "kernel_distances", "least_norms"]


def each_problem(array: FloatArray, own: int, problems: tuple[int, ...]) -> list[FloatArray]:
    """An argument once per problem (once in all if there is only one)."""
    if not problems:
        return [array]
    return list(np.broadcast_to(array, problems + array.shape[array.ndim - own :]))


def least_norms(
    X: FloatArray, y: FloatArray, problems: tuple[int, ...]
) -> tuple[FloatArray, FloatArray]:
    """The smallest l1 and l2 norm of an interpolant per problem, NaN where none exists."""
    l1, l2 = [], []
    for A, b in zip(each_problem(X, 2, problems), each_problem(y, 1, problems), strict=True):
        least = min_l2(A, b)
        fits = row_misfit(A, least, b) <= CONSISTENT
        l2.append(float(np.linalg.norm(least)) if fits else np.nan)
        try:
            l1.append(float(np.abs(min_l1(A, b)).sum()) if fits else np.nan)
        except ValueError:  # at the edge of what fits
            l1.append(np.nan)
    shape = problems or ()
    return np.array(l1).reshape(shape), np.array(l2).reshape(shape)


def kernel_distances(
    X: FloatArray,
    result: Any,
    start: list[FloatArray],
    layers: FloatArray,
    decays: int,
    scales: FloatArray,
    problems: tuple[int, ...],
) -> FloatArray:
    """Cosine distance between the tangent kernels at the start and at every row."""
    distance = np.empty(result.beta.shape[:-1])
    inputs = each_problem(X, 2, problems)
    profiled = max(side.ndim for side in start) == 2
    for index in np.ndindex(result.status.shape):
        rest = list(index)
        problem = rest.pop(0) if problems else 0
        own = [side[rest[0]] for side in start] if profiled else start
        if profiled:
            rest.pop(0)
        depth = float(layers[rest.pop(0)] if layers.ndim else layers)
        if decays:
            rest.pop(0)
        alpha = float(scales[rest.pop(0)] if scales.ndim else scales)
        if not (result.w_plus[index].any() or result.w_minus[index].any()):
            distance[index] = np.nan  # weight decay has left a kernel of zeros
            continue
        K0 = _kernel_direction(inputs[problem], own[0], own[1], depth)
        # The direction of a kernel does not depend on the scale of the weights, so weights are
        # taken in units of alpha: alpha^(2D-2) need not be a floating-point number.
        K1 = _kernel_direction(
            inputs[problem], result.w_plus[index] / alpha, result.w_minus[index] / alpha, depth
        )
        distance[index] = kernel_distance(K0, K1)
    return distance


def _kernel_direction(
    X: FloatArray, plus: FloatArray, minus: FloatArray, depth: float
) -> FloatArray:
    top = np.maximum(np.max(plus, axis=-1), np.max(minus, axis=-1))[..., None]
    return tangent_kernel(X, plus / top, minus / top, depth)
