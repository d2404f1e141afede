"""Registry of backends: cuda, cpu, numpy, in the order "auto" prefers them for many runs."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, cast

from ..errors import BackendUnavailableError, FallbackWarning
from .base import Backend, RichPathBackend
from .batch import (
    MARGIN_LOSSES,
    DiagonalBatch,
    MarginBatch,
    make_batch,
    per_run,
    run_index,
)
from .crossover import cuda_pays
from .factor_batch import FactorBatch, FactorMarginBatch, LinearBatch
from .mlp_batch import MAX_EXACT_SAMPLES, MLP_METHODS, MLPBatch, MLPLayout
from .parts import follow_paths, solve_batch

__all__ = [
    "BACKENDS",
    "MARGIN_LOSSES",
    "MAX_EXACT_SAMPLES",
    "MLP_METHODS",
    "Backend",
    "DiagonalBatch",
    "FactorBatch",
    "FactorMarginBatch",
    "LinearBatch",
    "MLPBatch",
    "MLPLayout",
    "MarginBatch",
    "available_backends",
    "cuda_pays",
    "follow_paths",
    "get_backend",
    "get_rich_path_backend",
    "make_batch",
    "per_run",
    "run_index",
    "solve_batch",
]

BACKENDS = ("cuda", "cpu", "numpy")
_FOR_FEW_RUNS = ("cpu", "cuda", "numpy")
_PACKAGE = Path(__file__).resolve().parent.parent
# How the compiled module refuses an environment variable that names no instruction set of here.
_MISSET = "KRF_ISA: expected"


@cache
def _load(name: str) -> Backend | str:
    """The backend, or the reason why it does not work here."""
    if name == "numpy":
        from .reference import ReferenceBackend

        return ReferenceBackend()
    if name == "cpu":
        try:
            from .cpu import CpuBackend

            return CpuBackend()
        except ImportError as error:
            return str(error) if _MISSET in str(error) else _why_no_core(error)
    return _load_cuda()


def _why_no_core(error: ImportError) -> str:
    """Why the compiled module does not load, and what would help."""
    name = "the compiled module kernelrich_fast._core"
    if _has_module(_PACKAGE, "_core"):
        return f"{name} does not load ({error}); install the package with a C++20 compiler present"
    if not (_PACKAGE.parent / "csrc").is_dir():
        return f"{name} was not built; install the package with a C++20 compiler present"
    installed = _installed_package()
    if installed is None or not _has_module(installed, "_core"):
        advice = "pip install it, and start Python in another folder"
    else:
        advice = f"the installed package is {installed}: start Python in another folder"
    return f"{name} is not in the source tree {_PACKAGE}, which was imported; {advice}"


def _installed_package() -> Path | None:
    """Where pip put the package, if that is not the one that was imported."""
    try:
        found = Path(str(distribution("kernelrich_fast").locate_file("kernelrich_fast"))).resolve()
    except PackageNotFoundError:
        return None
    return None if found == _PACKAGE or not found.is_dir() else found


def _has_module(package: Path, name: str) -> bool:
    return any((package / f"{name}{suffix}").exists() for suffix in EXTENSION_SUFFIXES)


def _load_cuda() -> Backend | str:
    advice = "use backend='cpu'"
    try:
        from .cuda import CudaBackend

        return CudaBackend()
    except ImportError as error:
        if (error.name or "").startswith("cupy"):
            return f"CuPy is missing ({error}); pip install 'kernelrich_fast[cuda]', or {advice}"
        if _has_module(_PACKAGE, "_cuda"):
            return f"the CUDA module does not load ({error}); {advice}"
        return (
            "the CUDA module was not built; install the package where a GPU and nvcc (12.4 or "
            f"newer) are, or with -C cmake.define.KRF_CUDA=ON, or {advice}"
        )
    except Exception as error:  # whatever a broken driver raises, "auto" goes on without it
        return f"no usable CUDA device ({error}); {advice}"


def get_backend(name: str, device_arrays: bool = False, *, many: bool = True) -> Backend:
    """The backend called ``name``; "auto" takes the fastest one that works.

    ``many`` says whether there are enough runs for a GPU (`cuda_pays`). Arrays that a device holds
    are for "cuda" alone.
    """
    if device_arrays:
        if name not in ("auto", "cuda"):
            raise TypeError(
                f"backend: expected 'cuda' or 'auto' for arrays on a CUDA device, got {name!r}"
            )
        name = "cuda"
    if name == "auto":
        order = BACKENDS if many else _FOR_FEW_RUNS
        chosen = next(found for each in order if not isinstance(found := _load(each), str))
        if chosen.name == "numpy":
            if _MISSET in str(_load("cpu")):  # a mistake of the caller's, not of the machine
                raise BackendUnavailableError(f"backend 'cpu': {_load('cpu')}")
            _warn_of_fallback()
        return chosen
    found = _load(name)
    if isinstance(found, str):
        raise BackendUnavailableError(f"backend {name!r}: {found}")
    return found


def get_rich_path_backend(name: str) -> RichPathBackend:
    """The backend called ``name`` for paths as alpha -> 0, which the GPU's does not follow."""
    if name == "auto" and isinstance(_load("cpu"), str) and not isinstance(_load("cuda"), str):
        name = "numpy"
    found: Any = get_backend(name, many=False)
    return cast(RichPathBackend, found)


@cache
def _warn_of_fallback() -> None:
    """Once a process."""
    warnings.warn(
        f"backend 'auto': no compiled backend works here, so 'numpy' runs: slower, and with a "
        f"smaller promise (cpu: {_load('cpu')})",
        FallbackWarning,
        stacklevel=6,  # past backend_for, solve_flows and the public function
    )


def available_backends() -> dict[str, str | None]:
    """For every backend, None if it works here, else the reason why not."""
    return {name: found if isinstance(found := _load(name), str) else None for name in BACKENDS}
