"""From how many runs on a GPU is the faster backend: what "auto" goes by.

A team of threads on a GPU takes longer for a run than a core does; it pays where there are runs for
many teams.  Numbers are runs for each thread of the CPU backend, measured on an H100 and an H200
against their 16 cores with AVX-512 (`bench/gpu.py --only crossover`).  A shape that was not
measured has the number of the next smaller one that was, and the largest where there is none.
Linear networks, not yet measured, have that of a factorisation with as many entries.
"""

from __future__ import annotations

import math

__all__ = [
    "MARGIN_CROSSOVER", "cuda_pays", "diagonal_crossover", "factorization_crossover",
    "network_crossover",
]  # fmt: skip

# Of margin losses, whose systems are other than the squared loss's: not measured on any device.
MARGIN_CROSSOVER = math.inf


def diagonal_crossover(n_samples: int) -> float:
    """N = 100: 64 runs on 16 cores; N = 20: about 900."""
    return 4.0 if n_samples >= 100 else 64.0


def factorization_crossover(n_samples: int) -> float:
    """60 samples: about 250 runs on 16 cores."""
    return 16.0 if n_samples >= 60 else 64.0


def network_crossover(depth: int) -> float:
    """Width 30 at depth 2: about 900 runs on 16 cores; deeper, the CPU was faster in figure 6."""
    return 64.0 if depth == 2 else math.inf


def cuda_pays(runs: int, crossover: float, threads: int) -> bool:
    """Whether a GPU is expected to be faster than the CPU backend on ``threads`` threads."""
    return runs >= crossover * threads
