"""What works on this machine."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ._runs import thread_count
from .backends import available_backends, get_backend

__all__ = ["__version__", "output_folder", "show_config", "writable"]

_PACKAGES = (
    "numpy", "scipy", "xarray", "matplotlib", "threadpoolctl", "zarr", "dask", "scikit-learn",
)  # fmt: skip

try:
    __version__ = version("kernelrich_fast")
except PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+unknown"


def show_config() -> str:
    """Versions, paths, threads and backends; for one that fails, the reason and a remedy.

    Returns
    -------
    str
        Several lines, as ``kernelrich info`` prints them.

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


def output_folder(out: Any) -> Path:
    """The directory that ``out`` names, which need not exist yet; ~ is the home directory.

    Examples
    --------
    >>> output_folder("figures/new").parts
    ('figures', 'new')
    """
    if not isinstance(out, str | os.PathLike) or isinstance(os.fspath(out), bytes):
        raise TypeError(f"out: expected the path of a directory, got {out!r}")
    if not os.fspath(out):
        raise ValueError(
            "out: expected the path of a directory, got an empty string; . is the current one"
        )
    folder = Path(os.path.expanduser(out))
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise NotADirectoryError(
                f"out: expected a directory, got the file {part}; choose another path"
            )
    return folder


def writable(folder: Path) -> Path:
    """Create the directory and check that it can be written to, before anything is computed.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     writable(Path(folder, "figures", "new")).is_dir()
    True
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"out: cannot write to {folder} ({error.strerror or error}); choose another directory"
        ) from error
    return folder
