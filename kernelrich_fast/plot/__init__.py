"""Pictures: one function per kind of figure, each takes a Dataset and returns the Axes.

Every dimension that is drawn or named needs a coordinate. Points of runs that ended as MAX_STEPS or
FAILED are hollow, cells of heat maps are hatched, and the legend says so; so are means over several
runs of which some did. Status has to be a variable of the Dataset for that.
"""

from .critical import critical_alpha
from .factorizations import factorization_error, factorization_heatmap
from .models import (
    depth_potentials,
    excess_norms,
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


def __dir__() -> list[str]:
    return sorted(__all__)
