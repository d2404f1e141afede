"""Gradient flow of very many small models at once, from the kernel to the rich regime.

`flow_diagonal` integrates, `limit_diagonal` jumps to t = infinity, `sweep_diagonal` runs a named
grid; `theory`, `datasets` and `plot` hold what surrounds them.
"""

from . import datasets, plot, theory
from .config import __version__, show_config
from .diagonal import DiagonalFlow, DiagonalLimit, flow_diagonal, limit_diagonal
from .errors import BackendUnavailableError, ConvergenceWarning
from .factorization import FactorizationFlow, flow_factorization
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
    "theory",
]
