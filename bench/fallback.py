"""How accurate the backend "numpy" is: python bench/fallback.py [--out bench/results/fallback.md].

Paths of each family at twenty times against independent codes (DOP853 on the weights, extrapolated
gradient descent); where those cannot go, against the CPU backend at rtol 1e-12, marked so. Errors
are the worst along the path, relative, in units of rtol.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import kernelrich_fast as krf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from oracles import factor_space_flow, weight_space_flow

RTOLS = (1e-3, 1e-6, 1e-9)


def worst(found: np.ndarray, exact: np.ndarray) -> float:
    """Of the relative errors of all times."""
    axes = tuple(range(1, exact.ndim))
    distance = np.sqrt(np.sum((found - exact) ** 2, axis=axes))
    return float(np.max(distance / np.sqrt(np.sum(exact**2, axis=axes))))


def times_until(end: float) -> np.ndarray:
    return end * np.concatenate([np.geomspace(1e-3, 0.1, 6), np.linspace(0.12, 1.0, 14)])


def diagonal(depth: int, alpha: float):
    """The reference, its name, and the fallback as a function of rtol."""
    X, y, _ = krf.datasets.sparse_regression(20, 60, 3, seed=1)
    options = {"alpha": alpha, "depth": depth}
    times = times_until(float(krf.flow_diagonal(X, y, **options, stop_loss=1e-8, backend="cpu").t))
    if 1e-4 <= alpha**depth <= 1.0:  # beyond, beta is a small difference of large weights
        name = "DOP853"
        exact = weight_space_flow(X, y, *[np.full(60, alpha)] * 2, depth, times)
    else:
        name = "cpu, 1e-12"
        exact = krf.flow_diagonal(
            X, y, **options, t_eval=times, rtol=1e-12, method="radau5", backend="cpu"
        ).beta

    def run(rtol: float):
        flow = krf.flow_diagonal(X, y, **options, t_eval=times, rtol=rtol, backend="numpy")
        return flow, worst(flow.beta, exact)

    return name, run


def factorization(width: int, alpha: float):
    data = krf.datasets.low_rank_completion(6, 6, 2, 30, seed=1)
    rng = np.random.default_rng(width)
    k = min(width, 60)  # of the same scale as the whole width
    U0, V0 = (alpha * np.sqrt(width / k) * rng.standard_normal((6, k)) for _ in range(2))
    start = {"entries": data.entries, "U0": U0, "V0": V0}
    end = krf.flow_factorization(data.y, **start, stop_loss=1e-8, backend="cpu").t
    times = times_until(float(end))

    def adjoint(r: np.ndarray) -> np.ndarray:
        R = np.zeros((6, 6))
        R[data.entries] = r
        return R

    U, V = factor_space_flow(lambda M: M[data.entries], adjoint, data.y, U0, V0, times)
    exact = U @ np.swapaxes(V, -1, -2)

    def run(rtol: float):
        flow = krf.flow_factorization(data.y, **start, t_eval=times, rtol=rtol, backend="numpy")
        return flow, worst(flow.M, exact)

    return "DOP853", run


def network(depth: int, alpha: float):
    from test_mlp_accuracy import descent

    from kernelrich_fast.initialization import he_layers

    data = krf.datasets.circle_teacher(10, seed=1)
    start = [alpha * W for W in he_layers((2, *(depth - 1) * (30,), 1), "he_uniform", 1)]
    times = np.linspace(0.0, 4.0, 9)[1:]
    fine, coarse = (descent(start, data.X, data.y, times, n) for n in (64_000, 32_000))
    exact = 2.0 * fine - coarse

    def run(rtol: float):
        flow = krf.flow_mlp(
            data.X, data.y, weights0=start, t_eval=times, rtol=rtol, backend="numpy"
        )
        return flow, worst(flow.predict(data.X), exact)

    return "descent", run


CASES = [
    *((f"diagonal, D = {D}, alpha = {a:g}", diagonal, (D, a)) for D, a in (
        (2, 30.0), (2, 1.0), (2, 0.1), (2, 1e-2), (2, 1e-3), (2, 1e-6), (2, 1e-20), (2, 1e-60),
        (3, 3.0), (3, 0.1), (3, 1e-2), (3, 1e-3), (4, 0.1), (4, 1e-2), (5, 0.3), (5, 0.03),
        (8, 0.6),
    )),
    *((f"completion, width {k}, alpha = {a:g}", factorization, (k, a)) for k, a in (
        (2, 1.0), (2, 1e-2), (2, 1e-4), (2, 1e-6), (12, 0.1), (12, 1e-3), (1000, 1e-2),
        (10**6, 1e-2),
    )),
    *((f"network, depth {D}, alpha = {a:g}", network, (D, a)) for D, a in (
        (2, 0.3), (2, 1.0), (3, 0.3), (3, 1.0), (5, 0.5),
    )),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    lines = [
        "| problem | reference | " + " | ".join(f"rtol {r:g}" for r in RTOLS) + " |",
        "|---|---|" + "---|" * len(RTOLS),
    ]
    warnings.simplefilter("ignore", krf.ConvergenceWarning)
    for label, build, arguments in CASES:
        name, run = build(*arguments)
        cells = []
        for rtol in RTOLS:
            began = time.perf_counter()
            flow, error = run(rtol)
            seconds = time.perf_counter() - began
            status = krf.Status(int(flow.status))
            how = status.name if status >= krf.Status.MAX_STEPS else f"{error / rtol:.2g}"
            if build is network:
                how = f"{error:.1e}"
            cells.append(f"{how}, {seconds:.2g} s")
        lines.append(f"| {label} | {name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    if out is not None:
        head = "Errors of the backend numpy in units of rtol (networks: relative)."
        out.write_text(f"{head} `python bench/fallback.py`\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
