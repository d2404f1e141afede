"""Diagonal networks on the CPU: against peers, against the machine, and against size.

    python bench/diagonal.py [--quick] [--repeats 3] [--out FILE.json]

Case: N = 100, d = 1000, depth 2, 13 scales 1e-6 .. 1 in one call, integrated to the times at which
the reference reaches a relative loss of 1e-6 and of 1e-12. Repeats are interleaved; every time
stands beside the worst relative error of beta over the scales, against this package at rtol 1e-11
(which tests/test_flow_accuracy.py holds against an independent weight-space integration). A factor
compares a peer with our fastest setting that is at least as accurate.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time

# Settings for one machine's BLAS would make the comparison unfair.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np  # noqa: E402
import peers  # noqa: E402
import scipy  # noqa: E402

import kernelrich_fast as krf  # noqa: E402

RTOLS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
THREADS = len(os.sched_getaffinity(0))


def ours(rtol, method="auto"):
    def run(X, y, alphas, times, _):
        return krf.flow_diagonal(
            X, y, alpha=alphas, t_max=times, stop_loss=0.0, rtol=rtol, method=method, backend="cpu"
        ).beta

    return run


def worst_error(beta, reference):
    if not np.all(np.isfinite(beta)):
        return float("nan")
    return float(
        np.max(np.linalg.norm(beta - reference, axis=1) / np.linalg.norm(reference, axis=1))
    )


def compare(X, y, alphas, stop, entries, repeats):
    reference = krf.flow_diagonal(X, y, alpha=alphas, stop_loss=stop, rtol=1e-11, method="radau5")
    times = reference.t
    seconds = {name: [] for name, *_ in entries}
    errors = {}
    for name, call, rtol, _ in entries:  # compiles, and measures the error
        errors[name] = worst_error(call(X, y, alphas, times, rtol), reference.beta)
    for repeat in range(repeats):
        for name, call, rtol, slow in entries:
            if slow and repeat > 0:
                continue
            start = time.perf_counter()
            call(X, y, alphas, times, rtol)
            seconds[name].append(time.perf_counter() - start)
    rows = []
    for name, *_ in entries:
        rows.append(
            {
                "name": name,
                "seconds": float(np.median(seconds[name])),
                "spread": float(np.ptp(seconds[name])),
                "repeats": len(seconds[name]),
                "error": errors[name],
            }
        )
    own = [row for row in rows if row["name"].startswith("ours")]
    for row in rows:
        good = [r for r in own if r["error"] <= row["error"]]
        if row not in own and good and np.isfinite(row["error"]):
            best = min(good, key=lambda r: r["seconds"])
            row["factor"] = row["seconds"] / best["seconds"]
            row["against"] = f"{best['name']} ({best['error']:.1e})"
    return rows


def show(title, rows):
    print(f"\n{title}")
    print(f"{'':34}{'seconds':>10}{'spread':>9}{'error':>10}{'factor':>9}")
    for row in rows:
        factor = f"{row['factor']:8.1f}x  vs {row['against']}" if "factor" in row else ""
        print(
            f"{row['name']:34}{row['seconds']:10.4f}{row['spread']:9.4f}{row['error']:10.1e}{factor}",
            flush=True,
        )


def entries_for(stop, quick):
    rows = [(f"ours auto rtol {rtol:g}", ours(rtol), rtol, False) for rtol in RTOLS]
    rows += [("ours radau5 rtol 0.001", ours(1e-3, "radau5"), 1e-3, False)]
    slow = stop < 1e-8
    for rtol in (1e-3, 1e-6):
        rows += [
            (f"SciPy DOP853 weights {rtol:g}", peers.scipy_weights("DOP853"), rtol, slow),
            (f"SciPy RK45 weights {rtol:g}", peers.scipy_weights("RK45"), rtol, slow),
            (f"diffrax Tsit5 weights {rtol:g}", peers.diffrax_weights, rtol, slow),
        ]
    for rtol in (1e-3, 1e-5, 1e-7, 1e-9):
        rows += [
            (f"SciPy BDF dual {rtol:g}", peers.scipy_dual("BDF"), rtol, False),
            (f"SciPy LSODA dual {rtol:g}", peers.scipy_dual("LSODA"), rtol, False),
        ]
    return [row for row in rows if not quick or row[0].startswith(("ours", "SciPy BDF"))]


def median_time(call, repeats):
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def limit_rows(X, y, quick):
    rows = []
    for alpha in (1.0, 1e-1, 1e-2):
        tight = krf.limit_diagonal(X, y, alpha=alpha, tol=1e-12).beta
        call = lambda alpha=alpha: krf.limit_diagonal(X, y, alpha=alpha, num_threads=1)  # noqa: E731
        seconds = median_time(call, 5)
        error = worst_error(call().beta[None], tight[None])
        rows.append(
            {
                "name": f"ours limit alpha {alpha:g}",
                "seconds": seconds,
                "spread": 0.0,
                "error": error,
            }
        )
        if quick:
            continue
        start = time.perf_counter()
        beta = peers.clarabel_limit(X, y, alpha)
        peer = time.perf_counter() - start
        rows.append(
            {
                "name": f"CVXPY+Clarabel alpha {alpha:g}", "seconds": peer, "spread": 0.0,
                "error": worst_error(beta[None], tight[None]),
                "factor": peer / seconds, "against": "ours",
            }
        )  # fmt: skip
    return rows


def machine_rows(X, y, alphas):
    """Share of dgemm that the stiff method's passes over X reach; other work is not counted."""
    A = np.random.default_rng(0).standard_normal((1500, 1500))
    gemm = 2 * 1500**3 / median_time(lambda: A @ A, 5)
    options = dict(alpha=alphas, method="radau5", backend="cpu")
    seconds = median_time(lambda: krf.flow_diagonal(X, y, **options), 5)
    n_rhs = int(krf.flow_diagonal(X, y, **options).n_rhs.sum())
    rate = 4.0 * X.size * n_rhs / seconds
    return {"dgemm_gflops": gemm / 1e9, "stiff_gflops": rate / 1e9, "share": rate / gemm}


def scaling_rows():
    rows = []

    def measure(label, N, d, alphas):
        X, y, _ = krf.datasets.sparse_regression(N, d, 5)
        call = lambda: krf.flow_diagonal(X, y, alpha=alphas, backend="cpu")  # noqa: E731
        rows.append({"what": label, "seconds": median_time(call, 3)})

    for B in (1, 10, 100, 400):
        measure(f"B={B}", 100, 1000, np.full(B, 1e-3))
    for N in (25, 50, 100, 200):
        measure(f"N={N}", N, 1000, np.full(4, 1e-3))
    for d in (250, 500, 1000, 2000, 4000):
        measure(f"d={d}", 100, d, np.full(4, 1e-3))
    return rows


def deep_row():
    X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)
    call = lambda: krf.flow_diagonal(X, y, alpha=1e-4, depth=3, backend="cpu")  # noqa: E731
    return {"what": "D=3 alpha=1e-4, one run", "seconds": median_time(call, 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small problem, fewer peers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", help="write JSON here")
    options = parser.parse_args()
    N, d = (30, 200) if options.quick else (100, 1000)
    X, y, _ = krf.datasets.sparse_regression(N, d, 5)
    alphas = np.geomspace(1e-6, 1.0, 13)
    from importlib.metadata import version

    print(krf.show_config())
    print(
        f"{platform.machine()}, {THREADS} cores, numpy {np.__version__}, scipy {scipy.__version__}"
    )
    result = {
        "machine": platform.machine(), "cores": THREADS,
        "versions": {p: version(p) for p in ("kernelrich_fast", "numpy", "scipy")},
        "case": {"N": N, "d": d, "alphas": alphas.tolist()},
    }  # fmt: skip
    for stop in (1e-6, 1e-12):
        rows = compare(X, y, alphas, stop, entries_for(stop, options.quick), options.repeats)
        show(f"flow of {len(alphas)} scales to relative loss {stop:g}", rows)
        result[f"flow_{stop:g}"] = rows
    result["limit"] = limit_rows(X, y, options.quick)
    show("limit, one scale, one thread", result["limit"])
    result["machine_share"] = machine_rows(X, y, alphas)
    share = result["machine_share"]
    print(
        f"\nstiff solver, passes over X only: {share['stiff_gflops']:.1f} of "
        f"{share['dgemm_gflops']:.1f} dgemm GFLOP/s ({share['share']:.0%})"
    )
    if not options.quick:
        result["scaling"] = [*scaling_rows(), deep_row()]
        for row in result["scaling"]:
            print(f"{row['what']:28}{row['seconds']:10.4f} s")
    if options.out:
        with open(options.out, "w") as file:
            json.dump(result, file, indent=1)
    bad = [r["name"] for k in result if k.startswith("flow") for r in result[k]
           if r["name"].startswith("ours") and not r["error"] < 0.01]  # fmt: skip
    if bad:
        raise SystemExit(f"errors above tolerance: {bad}")


if __name__ == "__main__":
    main()
