"""What a machine can do, measured in the same run: the dgemm rate and the copy bandwidth."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from .runner import environment, last_core

__all__ = ["cores", "describe", "peaks"]

PACKAGES = (
    "kernelrich_fast", "numpy", "scipy", "diffrax", "jax", "torch", "torchode", "cvxpy", "clarabel",
    "scikit-sundae", "cupy-cuda13x",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """Processor, cores, versions and commit."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }  # fmt: skip


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Of the checkout one stands in, if it is one of this package; marked where it was changed."""
    try:
        if 'name = "kernelrich_fast"' not in Path("pyproject.toml").read_text():
            return None
        head, changes = (
            subprocess.run(
                ["git", *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + (" with changes" if changes else "")


def peaks() -> dict[str, float]:
    """Operations of dgemm and copied bytes a second of one core, as every contestant has."""
    context = get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=_measure, args=(other, last_core()), daemon=True)
    with environment():
        process.start()
    other.close()
    found: dict[str, float] = pipe.recv()
    process.join()
    return found


def _measure(connection: Any, core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    n = 1500
    A = np.random.default_rng(0).standard_normal((n, n))
    # Beyond every cache.
    source = np.ones(2**25)
    target = np.empty_like(source)
    gemm = _best(lambda: A @ A)
    copy = _best(lambda: np.copyto(target, source))
    connection.send({"dgemm": 2.0 * n**3 / gemm, "copy": 2.0 * source.nbytes / copy})


def _best(call: Any) -> float:
    call()
    best = np.inf
    for _ in range(7):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return float(best)
