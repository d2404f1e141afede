"""What works on this machine."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ._runs import thread_count
from .backends import available_backends, get_backend

__all__ = ["__version__", "show_config"]

_PACKAGES = (
    "numpy", "scipy", "xarray", "matplotlib", "threadpoolctl", "zarr", "dask", "scikit-learn",
)  # fmt: skip

try:
    __version__ = version("kernelrich_fast")
except PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+unknown"


def show_config() -> str:
    """Versions, paths, threads and backends; for one that fails, the reason and a remedy.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> "numpy" in krf.show_config()
    True
    """
    lines = [
        f"kernelrich_fast {__version__}, Python {platform.python_version()}",
        f"  package {Path(__file__).resolve().parent}",
        f"  Python {sys.executable}",
        f"  threads {thread_count(None)} of {os.cpu_count()} cores, {platform.machine()}",
    ]
    for package in _PACKAGES:
        try:
            lines.append(f"  {package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"  {package} not installed")
    lines.append("backends (auto takes the first that works):")
    for name, reason in available_backends().items():
        if reason is None:
            detail = getattr(get_backend(name), "detail", "")
            lines.append(f"  {name}: works" + (f", {detail}" if detail else ""))
        else:
            lines.append(f"  {name}: not available: {reason}")
    return "\n".join(lines)
