"""Pictures: one function per kind of figure, each takes a Dataset and returns the Axes."""

from .critical import critical_alpha
from .models import (
    depth_potentials,
    excess_norms,
    factorization_error,
    factorization_heatmap,
    population_error,
    potentials,
    sparsity_ratio,
)
from .networks import class_errors, network_curves, univariate_functions
from .paths import grey_image, paths
from .saddles import rich_path

__all__ = [
    "class_errors",
    "critical_alpha",
    "depth_potentials",
    "excess_norms",
    "factorization_error",
    "factorization_heatmap",
    "grey_image",
    "network_curves",
    "paths",
    "population_error",
    "potentials",
    "rich_path",
    "sparsity_ratio",
    "univariate_functions",
]
