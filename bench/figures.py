"""Whole figures and single large runs, on the CPU.

    python bench/figures.py [--repeats 3] [--out FILE.json]

figure5      All 55 cells x 3 seeds of `reproduce fig5` with norms and kernels, all cores.
figure6      All 480 nets of `reproduce fig6` with kernels and baselines, all cores, once.
deep         One run at depth 3, alpha = 1e-4, N = 100, d = 1000, to a relative loss of 1e-12.
completion   One completion to a relative loss of 1e-4 as the matrix grows, one thread: 30 % of the
             entries, rank 2, width 4 d.
width        One univariate net of figure 7 (antisymmetric, biases) as it grows, one thread, once.

Seconds are medians; every row says how its runs ended. Other people's solvers are what
`kernelrich bench --peers` is for.
"""

from __future__ import annotations

import argparse
import json
import os
import time

# Settings for one machine's BLAS would change what is measured.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np  # noqa: E402

import kernelrich_fast as krf  # noqa: E402
from kernelrich_fast.bench.machine import describe  # noqa: E402
from kernelrich_fast.experiments import fig5, fig6, fig7  # noqa: E402


def row(what, call, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        out = call()
        times.append(time.perf_counter() - start)
    status = np.asarray(out.status)
    found = {
        "what": what,
        "seconds": float(np.median(times)),
        "spread": float(np.ptp(times)),
        "repeats": repeats,
        "status": {s.name: int(np.sum(status == s)) for s in krf.Status if np.any(status == s)},
    }
    print(f"{what:40}{found['seconds']:10.3g} s ± {found['spread'] / 2:.1g}   {found['status']}",
          flush=True)  # fmt: skip
    return found


def deep():
    X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)
    return krf.flow_diagonal(X, y, alpha=1e-4, depth=3, backend="cpu")


def completion(d):
    data = krf.datasets.low_rank_completion(d, d, 2, round(0.3 * d * d), seed=1)
    return krf.flow_factorization(
        data.y, entries=data.entries, dims=(d, d), alpha=1e-2 / np.sqrt(d), width=4 * d,
        stop_loss=1e-4, num_threads=1, backend="cpu",
    )  # fmt: skip


def univariate(width, alpha):
    rng = np.random.default_rng(0)
    w1, b1 = rng.standard_normal((width, 1)), rng.standard_normal(width)
    w2 = np.sqrt(2.0 / width) * rng.standard_normal((1, width))
    return krf.flow_mlp(
        fig7.X[:, None], fig7.Y, weights0=[w1, w2], biases0=[b1, np.zeros(1)], bias=True,
        antisymmetric=True, alpha=alpha, rtol=1e-3, stop_loss=1e-8, num_threads=1, backend="cpu",
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", help="write JSON here")
    options = parser.parse_args()
    n = options.repeats
    rows = [
        row("figure 5, 165 runs",
            lambda: fig5.completion_data(fig5.WIDTHS, fig5.SEEDS, "cpu", False), n),
        row("figure 6, 480 runs",
            lambda: fig6.circle_data(slice(None), tuple(range(10)), "cpu", False), 1),
        row("depth 3, alpha 1e-4", deep, n),
        *(row(f"completion of {d} x {d}", lambda d=d: completion(d), n if d < 200 else 1)
          for d in (32, 64, 128, 256)),
        *(row(f"univariate net, width {width}, alpha {alpha:g}",
              lambda width=width, alpha=alpha: univariate(width, alpha), 1)
          for width in (1000, 16_384) for alpha in (0.1, 1.0)),
    ]  # fmt: skip
    if options.out:
        with open(options.out, "w") as file:
            json.dump({"machine": describe(), "rows": rows}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
