"""Gradient flow of very many small models at once, from the kernel to the rich regime.

`flow_diagonal` and `flow_factorization` integrate, `limit_diagonal` jumps to t = infinity,
`sweep_diagonal` and `sweep_factorization` run named grids; `theory`, `datasets` and `plot` hold
what surrounds them.
"""

from . import datasets, plot, theory
from .config import __version__, show_config
from .diagonal import DiagonalFlow, DiagonalLimit, flow_diagonal, limit_diagonal
from .errors import BackendUnavailableError, ConvergenceWarning
from .factorization import FactorizationFlow, flow_factorization
from .factorization_sweep import sweep_factorization
from .status import Status
from .sweep import sweep_diagonal

__all__ = [
    "BackendUnavailableError",
    "ConvergenceWarning",
    "DiagonalFlow",
    "DiagonalLimit",
    "FactorizationFlow",
    "Status",
    "__version__",
    "datasets",
    "flow_diagonal",
    "flow_factorization",
    "limit_diagonal",
    "plot",
    "show_config",
    "sweep_diagonal",
    "sweep_factorization",
    "theory",
]
