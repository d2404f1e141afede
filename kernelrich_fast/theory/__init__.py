"""Potentials, interpolants, bounds and tangent kernels."""

from .basis_pursuit import min_l1
from .bounds import alpha_for_l1, alpha_for_l2
from .conventions import CONVENTIONS, Convention, Converted, convert
from .critical import critical_alpha
from .interpolants import min_l2
from .kernels import kernel_distance, kernel_predictor, relative_kernel_change, tangent_kernel
from .linearised import last_layer_predictor, mlp_kernel_predictor
from .margins import max_margin
from .matrices import (
    effective_rank,
    factorization_kernel_predictor,
    factorization_tangent_kernel,
    nuclear_norm,
    schatten_potential,
)
from .networks import mlp_feature_distance, mlp_predict, mlp_tangent_kernel
from .nuclear import min_nuclear_norm
from .potentials import (
    hyperbolic_entropy,
    inverse_mirror_map,
    mirror_map,
    q_potential,
    r_potential,
)

__all__ = [
    "CONVENTIONS",
    "Convention",
    "Converted",
    "alpha_for_l1",
    "alpha_for_l2",
    "convert",
    "critical_alpha",
    "effective_rank",
    "factorization_kernel_predictor",
    "factorization_tangent_kernel",
    "hyperbolic_entropy",
    "inverse_mirror_map",
    "kernel_distance",
    "kernel_predictor",
    "last_layer_predictor",
    "max_margin",
    "min_l1",
    "min_l2",
    "min_nuclear_norm",
    "mirror_map",
    "mlp_feature_distance",
    "mlp_kernel_predictor",
    "mlp_predict",
    "mlp_tangent_kernel",
    "nuclear_norm",
    "q_potential",
    "r_potential",
    "relative_kernel_change",
    "schatten_potential",
    "tangent_kernel",
]


def __dir__() -> list[str]:
    return sorted(__all__)
