"""Gradient flow of very many small models at once, from the kernel to the rich regime.

`flow_diagonal`, `flow_factorization`, `flow_linear` and `flow_mlp` integrate, `limit_diagonal`
jumps to t = infinity, `rich_path` follows the limit alpha -> 0, `sweep_diagonal`,
`sweep_factorization`, `sweep_linear`, `sweep_mlp` and `sweep_rich_path` run named grids; `theory`,
`datasets` and `plot` hold what surrounds them; `explore` opens a page of sliders in the browser.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import BackendUnavailableError, ConvergenceWarning, FallbackWarning, StoreError
from .status import Status

if TYPE_CHECKING:
    from . import datasets, plot, schedules, theory
    from .config import __version__, show_config
    from .diagonal import DiagonalFlow, DiagonalLimit, flow_diagonal, limit_diagonal
    from .explorer import explore
    from .factorization import FactorizationFlow, FactorizationMarginFlow, flow_factorization
    from .linear import LinearFlow, flow_linear
    from .margin import MarginLimit, margin_limit
    from .margin_flow import MarginFlow
    from .mlp import MLPFlow, flow_mlp
    from .saddle_path import RichPath, rich_path
    from .sweeps import (
        sweep_diagonal,
        sweep_factorization,
        sweep_linear,
        sweep_mlp,
        sweep_rich_path,
    )

__all__ = [
    "BackendUnavailableError",
    "ConvergenceWarning",
    "DiagonalFlow",
    "DiagonalLimit",
    "FactorizationFlow",
    "FactorizationMarginFlow",
    "FallbackWarning",
    "LinearFlow",
    "MLPFlow",
    "MarginFlow",
    "MarginLimit",
    "RichPath",
    "Status",
    "StoreError",
    "__version__",
    "datasets",
    "explore",
    "flow_diagonal",
    "flow_factorization",
    "flow_linear",
    "flow_mlp",
    "limit_diagonal",
    "margin_limit",
    "plot",
    "rich_path",
    "schedules",
    "show_config",
    "sweep_diagonal",
    "sweep_factorization",
    "sweep_linear",
    "sweep_mlp",
    "sweep_rich_path",
    "theory",
]

# Loaded when first used: xarray and SciPy take a second to import, NumPy a tenth.
_HOMES = {
    "datasets": "",
    "plot": "",
    "schedules": "",
    "theory": "",
    "__version__": "config",
    "show_config": "config",
    "DiagonalFlow": "diagonal",
    "DiagonalLimit": "diagonal",
    "flow_diagonal": "diagonal",
    "limit_diagonal": "diagonal",
    "explore": "explorer",
    "FactorizationFlow": "factorization",
    "FactorizationMarginFlow": "factorization",
    "flow_factorization": "factorization",
    "LinearFlow": "linear",
    "flow_linear": "linear",
    "MarginFlow": "margin_flow",
    "MarginLimit": "margin",
    "margin_limit": "margin",
    "MLPFlow": "mlp",
    "flow_mlp": "mlp",
    "RichPath": "saddle_path",
    "rich_path": "saddle_path",
    "sweep_diagonal": "sweeps",
    "sweep_factorization": "sweeps",
    "sweep_linear": "sweeps",
    "sweep_mlp": "sweeps",
    "sweep_rich_path": "sweeps",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    module = import_module(f".{home or name}", __name__)
    value = getattr(module, name) if home else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
