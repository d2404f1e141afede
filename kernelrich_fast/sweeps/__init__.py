"""Sweeps over named grids: an xarray.Dataset in one call, on one machine or many."""

from .diagonal import sweep_diagonal
from .factorization import sweep_factorization
from .linear import sweep_linear
from .mlp import sweep_mlp
from .rich_path import sweep_rich_path

__all__ = [
    "sweep_diagonal",
    "sweep_factorization",
    "sweep_linear",
    "sweep_mlp",
    "sweep_rich_path",
]
