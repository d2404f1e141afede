"""Potentials, interpolants, bounds and tangent kernels of diagonal networks."""

from .bounds import alpha_for_l1, alpha_for_l2
from .critical import critical_alpha
from .interpolants import min_l1, min_l2
from .kernels import kernel_distance, kernel_predictor, relative_kernel_change, tangent_kernel
from .potentials import (
    hyperbolic_entropy,
    inverse_mirror_map,
    mirror_map,
    q_potential,
    r_potential,
)

__all__ = [
    "alpha_for_l1",
    "alpha_for_l2",
    "critical_alpha",
    "hyperbolic_entropy",
    "inverse_mirror_map",
    "kernel_distance",
    "kernel_predictor",
    "min_l1",
    "min_l2",
    "mirror_map",
    "q_potential",
    "r_potential",
    "relative_kernel_change",
    "tangent_kernel",
]
