"""Builds the programs of tests/cpp, which play a CUDA block with host threads, and calls them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

__all__ = ["build", "call"]

SOURCES = Path(__file__).resolve().parent / "cpp"
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")


def build(name: str, folder: Path, *flags: str) -> Path | None:
    """The program of tests/cpp/``name``.cpp, or None where no compiler builds it."""
    if COMPILER is None:
        return None
    source, program = SOURCES / f"{name}.cpp", folder / name
    command = [COMPILER, "-std=c++20", "-O1", "-pthread", *flags, str(source), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    return program if built.returncode == 0 else None


def call(program: Path, threads: int, *parts) -> np.ndarray:
    """The numbers it prints, of those it is given."""
    text = "\n".join(
        f"{x:.17g}" if isinstance(x, float) else str(x)
        for part in parts
        for x in np.ravel(part).tolist()
    )
    done = subprocess.run(
        [str(program), str(threads)], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return np.array(done.stdout.split(), dtype=float)
