"""The CUDA backend against the CPU backend on all cores, on the same sweeps.

    python bench/gpu.py --out FILE.json [--runs 4096] [--repeats 3]

diagonal       N = 100, d = 1000, depth 2, alpha 1e-6 .. 1, to relative loss 1e-12 at rtol 1e-6, for
               64 runs and for --runs; seconds (data on the host at both ends), and the largest
               relative difference of beta at the time both are integrated to.
limit          The limits of the same runs.
factorization  Figure 5's grid with as many seeds as fill --runs.
fp64           The attainable double-precision rate: a 8192 x 8192 matrix product through CuPy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import cupy  # noqa: E402
import numpy as np  # noqa: E402

import kernelrich_fast as krf  # noqa: E402
from kernelrich_fast.experiments.fig5 import ALPHA2, STOP_LOSS, WIDTHS  # noqa: E402


def seconds_of(call, repeats):
    """Median seconds and the last result; the first call is not timed."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), result


def fp64_rate():
    n = 8192
    a, b = cupy.random.rand(n, n), cupy.random.rand(n, n)
    out = cupy.empty((n, n))
    for _ in range(2):
        cupy.matmul(a, b, out=out)
    start, stop = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    for _ in range(5):
        cupy.matmul(a, b, out=out)
    stop.record()
    stop.synchronize()
    return 5 * 2.0 * n**3 / (cupy.cuda.get_elapsed_time(start, stop) * 1e-3)


def compare(label, call, field, repeats):
    row = {"case": label}
    results = {}
    for backend in ("cuda", "cpu"):
        row[f"{backend}_seconds"], results[backend] = seconds_of(
            lambda backend=backend: call(backend), repeats if backend == "cuda" else 1
        )
    gpu, cpu = (getattr(results[b], field) for b in ("cuda", "cpu"))
    axes = tuple(range(results["cpu"].status.ndim, cpu.ndim))
    size = np.sqrt(np.sum(cpu**2, axis=axes))
    row["difference"] = float(np.max(np.sqrt(np.sum((gpu - cpu) ** 2, axis=axes)) / size))
    row["unlike_status"] = int(np.sum(results["cuda"].status != results["cpu"].status))
    row["factor"] = row["cpu_seconds"] / row["cuda_seconds"]
    print(json.dumps(row))
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--runs", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    device = cupy.cuda.runtime.getDeviceProperties(0)
    X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)
    rows = []
    for count in (64, options.runs):
        alphas = np.geomspace(1e-6, 1.0, count)
        times = krf.flow_diagonal(X, y, alpha=alphas[:: max(1, count // 64)], stop_loss=1e-12).t
        t_max = np.exp(
            np.interp(np.log(alphas), np.log(alphas[:: max(1, count // 64)]), np.log(times))
        )
        rows.append(
            compare(
                f"flow, {count} runs",
                lambda backend, a=alphas, t=t_max: krf.flow_diagonal(
                    X, y, alpha=a, t_max=t, stop_loss=0.0, backend=backend
                ),
                "beta",
                options.repeats,
            )
        )
        rows.append(
            compare(
                f"limit, {count} runs",
                lambda backend, a=alphas: krf.limit_diagonal(X, y, alpha=a, backend=backend),
                "beta",
                options.repeats,
            )
        )
    data = krf.datasets.low_rank_completion(10, 10, 1, 60)
    seeds = np.arange(max(1, options.runs // (len(ALPHA2) * len(WIDTHS))))
    rows.append(
        compare(
            f"factorization, {len(seeds)} x {len(ALPHA2) * len(WIDTHS)} runs",
            lambda backend: krf.flow_factorization(
                data.y,
                entries=data.entries,
                dims=(10, 10),
                stop_loss=STOP_LOSS,
                rtol=1e-8,
                alpha=np.sqrt(ALPHA2)[:, None, None],
                width=np.array(WIDTHS)[:, None],
                seed=seeds,
                backend=backend,
            ),
            "M",
            options.repeats,
        )
    )
    result = {
        "device": device["name"].decode(),
        "processors": device["multiProcessorCount"],
        "commit": commit,
        "cpu_cores": len(os.sched_getaffinity(0)),
        "fp64_flops": fp64_rate(),
        "rows": rows,
    }
    with open(options.out, "w") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
