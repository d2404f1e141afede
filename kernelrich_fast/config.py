"""What works on this machine."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from .backends import available_backends, get_backend

__all__ = ["__version__", "show_config"]

try:
    __version__ = version("kernelrich_fast")
except PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+unknown"


def show_config() -> str:
    """Versions and backends as text; for a backend that does not work, why and what would help.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> "numpy" in krf.show_config()
    True
    """
    lines = [f"kernelrich_fast {__version__}, Python {platform.python_version()}"]
    for package in ("numpy", "scipy", "xarray"):
        lines.append(f"  {package} {version(package)}")
    lines.append("backends (auto takes the first that works):")
    for name, reason in available_backends().items():
        if reason is None:
            detail = getattr(get_backend(name), "detail", "")
            lines.append(f"  {name}: works" + (f", {detail}" if detail else ""))
        else:
            lines.append(f"  {name}: not available: {reason}")
    return "\n".join(lines)
