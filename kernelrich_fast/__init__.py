"""Gradient flow of very many small models at once, from the kernel to the rich regime.

`flow_diagonal`, `flow_factorization` and `flow_mlp` integrate, `limit_diagonal` jumps to
t = infinity, `sweep_diagonal`, `sweep_factorization` and `sweep_mlp` run named grids; `theory`,
`datasets` and `plot` hold what surrounds them.
"""

from . import datasets, plot, theory
from .config import __version__, show_config
from .diagonal import DiagonalFlow, DiagonalLimit, flow_diagonal, limit_diagonal
from .errors import BackendUnavailableError, ConvergenceWarning, StoreError
from .factorization import FactorizationFlow, flow_factorization
from .mlp import MLPFlow, flow_mlp
from .status import Status
from .sweeps import sweep_diagonal, sweep_factorization, sweep_mlp

__all__ = [
    "BackendUnavailableError",
    "ConvergenceWarning",
    "DiagonalFlow",
    "DiagonalLimit",
    "FactorizationFlow",
    "MLPFlow",
    "Status",
    "StoreError",
    "__version__",
    "datasets",
    "flow_diagonal",
    "flow_factorization",
    "flow_mlp",
    "limit_diagonal",
    "plot",
    "show_config",
    "sweep_diagonal",
    "sweep_factorization",
    "sweep_mlp",
    "theory",
]
