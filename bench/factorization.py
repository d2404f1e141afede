"""Matrix factorisation on the CPU: figure 5, general solvers, gradient descent, and size.

    python bench/factorization.py [--quick] [--repeats 3] [--out FILE.json]

figure5     All 55 cells x 3 seeds of `reproduce fig5`, to a relative loss of 1e-10, in three calls.
cells       Single cells of figure 5 against SciPy's DOP853 on the same reduced equation
            G' = -(S G + G S) (the width is gone from both) at several tolerances, integrated to the
            time at which the loss is reached. Errors of M are relative, against this package's
            explicit method at rtol 1e-11 (which tests/test_factorization_accuracy.py holds against
            an independent integration of the weights). The factor compares DOP853 with our fastest
            setting that is at least as accurate. Repeats are interleaved; runs of DOP853 beyond
            five seconds are timed once. One thread on both sides.
descent     The paper's gradient descent, step 1e-5 on U and V, in NumPy, compiled to nothing but
            two matrix products a step: timed on a stretch of a cell, run to the end where that
            takes less than two minutes, and extrapolated to the other cells from the time each flow
            needs (steps = t / 1e-5).
size        One run to a relative loss of 1e-4 as the matrix grows to d1 + d2 = 512, entries and
            dense measurements.
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
import scipy  # noqa: E402
from scipy.integrate import solve_ivp  # noqa: E402

import kernelrich_fast as krf  # noqa: E402
from kernelrich_fast.experiments.fig5 import ALPHA2, SEEDS, WIDTHS, completion_data  # noqa: E402
from kernelrich_fast.initialization import gaussian_factor  # noqa: E402

STOP = 1e-10
STEP = 1e-5
CELLS = ((1e-2, 10), (1e-2, 500_000), (1e-4, 1000), (1e-6, 10), (1e-6, 500_000), (1e-8, 10))
OUR_RTOLS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
THEIR_RTOLS = (1e-3, 1e-6)
DATA = krf.datasets.low_rank_completion(10, 10, 1, 60, seed=0)


def error_of(M, expected):
    if not np.all(np.isfinite(M)):
        return float("nan")
    return float(np.linalg.norm(M - expected) / np.linalg.norm(expected))


def ours(alpha, width, t, rtol, method="auto"):
    flow = krf.flow_factorization(
        DATA.y, entries=DATA.entries, dims=(10, 10), alpha=alpha, width=width, t_max=t,
        stop_loss=0.0, rtol=rtol, method=method, max_steps=10**8, num_threads=1, backend="cpu",
    )  # fmt: skip
    return flow.M


def dop853(alpha, width, t, rtol):
    """SciPy on the lifted Gram matrix, with the absolute tolerance its small directions need."""
    W = alpha * gaussian_factor(20, width, 0)
    G0 = W @ W.T
    row, column = DATA.entries

    def field(_, g):
        G = g.reshape(20, 20)
        S = np.zeros((20, 20))
        S[row, column + 10] = 2.0 * (G[row, column + 10] - DATA.y)
        S = S + S.T
        P = S @ G
        return -(P + P.T).ravel()

    out = solve_ivp(
        field, (0.0, t), G0.ravel(), method="DOP853", rtol=rtol, atol=rtol * np.abs(G0).max()
    )
    if not out.success or not np.all(np.isfinite(out.y)):
        return np.full((10, 10), np.nan), out.nfev
    return out.y[:, -1].reshape(20, 20)[:10, 10:], out.nfev


def timed(call, *arguments, **options):
    start = time.perf_counter()
    result = call(*arguments, **options)
    return time.perf_counter() - start, result


def cells(repeats, chosen):
    rows = []
    for alpha2, width in chosen:
        alpha = float(np.sqrt(alpha2))
        end = krf.flow_factorization(
            DATA.y, entries=DATA.entries, dims=(10, 10), alpha=alpha, width=width, stop_loss=STOP
        )
        t = float(end.t)
        exact = ours(alpha, width, t, 1e-11, "dopri5")
        own = {rtol: [] for rtol in OUR_RTOLS}
        peer = {rtol: [] for rtol in THEIR_RTOLS}
        errors, evaluations = {}, {}
        for repeat in range(repeats):
            for rtol in OUR_RTOLS:
                seconds, M = timed(ours, alpha, width, t, rtol)
                own[rtol].append(seconds)
                errors["ours", rtol] = error_of(M, exact)
            for rtol in THEIR_RTOLS:
                if repeat and peer[rtol][0] > 5.0:
                    continue
                seconds, (M, nfev) = timed(dop853, alpha, width, t, rtol)
                peer[rtol].append(seconds)
                errors["dop853", rtol], evaluations[rtol] = error_of(M, exact), nfev
        cell = {"alpha2": alpha2, "width": width, "t": t, "ours": [], "dop853": []}
        for rtol in OUR_RTOLS:
            cell["ours"].append(
                {"rtol": rtol, "seconds": float(np.median(own[rtol])),
                 "error": errors["ours", rtol]}
            )  # fmt: skip
        for rtol in THEIR_RTOLS:
            error, seconds = errors["dop853", rtol], float(np.median(peer[rtol]))
            good = [row["seconds"] for row in cell["ours"] if row["error"] <= error]
            factor = seconds / min(good) if good and np.isfinite(error) else None
            cell["dop853"].append(
                {"rtol": rtol, "seconds": seconds, "error": error, "nfev": evaluations[rtol],
                 "repeats": len(peer[rtol]), "our_factor": factor}
            )  # fmt: skip
        rows.append(cell)
        print(f"alpha^2 = {alpha2:g}, k = {width}, t = {t:.3g}")
        for kind in ("ours", "dop853"):
            for row in cell[kind]:
                factor = f", we are {row['our_factor']:.0f} x" if row.get("our_factor") else ""
                print(
                    f"  {kind:7} rtol {row['rtol']:.0e}: {row['seconds']:9.2e} s, "
                    f"error {row['error']:.1e}{factor}"
                )
    return rows


def descent(quick):
    """Seconds of a step of gradient descent, one cell to its end, the others extrapolated."""
    row, column = DATA.entries

    def steps(U, V, count, stop):
        R = np.zeros((10, 10))
        for i in range(count):
            r = (U @ V.T)[row, column] - DATA.y
            if i % 1000 == 0 and r @ r <= stop:
                return U, V, i
            R[row, column] = 2.0 * STEP * r
            U, V = U - R @ V, V - R.T @ U
        return U, V, count

    stop = STOP * float(DATA.y @ DATA.y)
    out = []
    for alpha2, width in ((1e-2, 1000), (1e-2, 10), (1e-4, 100), (1e-8, 10)):
        W = np.sqrt(alpha2) * np.random.default_rng(0).standard_normal((20, width))
        options = dict(entries=DATA.entries, U0=W[:10], V0=W[10:], stop_loss=STOP, num_threads=1)
        repeats = [timed(krf.flow_factorization, DATA.y, **options) for _ in range(5)]
        flow = repeats[0][1]
        own = float(np.median([seconds for seconds, _ in repeats]))
        sample = 2000 if quick else 20_000
        per_step = timed(steps, W[:10], W[10:], sample, 0.0)[0] / sample
        needed = float(flow.t) / STEP
        result = {
            "alpha2": alpha2, "width": width, "flow_t": float(flow.t), "our_seconds": own,
            "seconds_per_step": per_step, "steps": needed, "descent_seconds": per_step * needed,
            "extrapolated": True,
        }  # fmt: skip
        if per_step * needed < 120.0 and not quick:
            seconds, (U, V, count) = timed(steps, W[:10], W[10:], 10**9, stop)
            result |= {
                "descent_seconds": seconds, "steps": count, "extrapolated": False,
                "distance": error_of(U @ V.T, flow.M),
            }  # fmt: skip
        result["our_factor"] = result["descent_seconds"] / own
        out.append(result)
        print(
            f"gradient descent, alpha^2 = {alpha2:g}, k = {width}: {result['steps']:.2e} steps, "
            f"{result['descent_seconds']:.3g} s"
            f"{' (extrapolated)' if result['extrapolated'] else ''}, ours {own:.2e} s: "
            f"{result['our_factor']:.1e} x"
        )
    return out


def size(quick):
    out = []
    for kind in ("entries", "measurements"):
        for d in (8, 16, 32, 64, 128, 256) if kind == "entries" else (8, 16, 32, 64):
            if quick and d > 32:
                continue
            data = krf.datasets.low_rank_completion(d, d, 2, round(0.3 * d * d), seed=1)
            if kind == "entries":
                where, y = dict(entries=data.entries, dims=(d, d)), data.y
            else:
                rng = np.random.default_rng(0)
                A = rng.standard_normal((4 * d, d, d)) / d
                where, y = dict(measurements=A), np.tensordot(A, data.Y_star, 2)
            seconds, flow = timed(
                krf.flow_factorization, y, **where, alpha=1e-2 / np.sqrt(d), width=4 * d,
                stop_loss=1e-4, num_threads=1,
            )  # fmt: skip
            out.append(
                {"kind": kind, "d": d, "n_samples": len(y), "seconds": seconds,
                 "n_rhs": int(flow.n_rhs), "status": int(flow.status),
                 "seconds_per_rhs": seconds / int(flow.n_rhs)}
            )  # fmt: skip
            print(
                f"{kind}, {d} x {d}, {len(y)} samples: {seconds:.3g} s, {int(flow.n_rhs)} fields, "
                f"status {int(flow.status)}"
            )
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out")
    options = parser.parse_args()
    seeds = SEEDS[:1] if options.quick else SEEDS
    figure5 = []
    for _ in range(options.repeats):
        seconds, ds = timed(completion_data, WIDTHS, seeds, "cpu", False)
        figure5.append(seconds)
    runs = len(ALPHA2) * len(WIDTHS) * len(seeds)
    print(
        f"figure 5: {runs} runs in {np.median(figure5):.2f} s with their norms and kernels "
        f"({int((ds.status != 0).sum())} not converged)"
    )
    result = {
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
                "versions": {"numpy": np.__version__, "scipy": scipy.__version__,
                     "kernelrich_fast": krf.__version__},
        "figure5": {"runs": runs, "seconds": float(np.median(figure5)), "all": figure5},
        "cells": cells(options.repeats, CELLS[:3] if options.quick else CELLS),
        "descent": descent(options.quick),
        "size": size(options.quick),
    }  # fmt: skip
    if options.out:
        with open(options.out, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
