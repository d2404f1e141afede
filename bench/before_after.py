"""Two builds of the package side by side: seconds, steps, evaluations and the distance of results.

    python bench/before_after.py BEFORE AFTER [--reps 9] [--hard] [--errors] [--suite quick|full]

BEFORE and AFTER are folders that hold an importable ``kernelrich_fast``, such as targets of
``pip install --target``.  Runs alternate, on one thread; the ratio is the median over pairs, with
its standard error; `apart` is the largest relative distance of the two results of a run, which
where rows are nearly dependent is that of their last steps.  With --errors instead of times: the
largest error at twelve times along each flow, against the same build's at rtol 1e-10, in rtol.
With --suite: our own side of every case of the bench, at each of its tolerances.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SCALES = np.geomspace(1e-6, 1.0, 13).tolist()
CASES = [
    {"name": "N=20 d=50", "N": 20, "d": 50, "alpha": SCALES * 8},
    {"name": "N=100 d=1000", "N": 100, "d": 1000, "alpha": SCALES},
    {"name": "N=100 d=1000 radau5", "N": 100, "d": 1000, "alpha": SCALES, "method": "radau5"},
    {"name": "N=100 d=1000 rtol 1e-3", "N": 100, "d": 1000, "alpha": SCALES, "rtol": 1e-3},
    {"name": "N=100 d=1000 rtol 1e-9", "N": 100, "d": 1000, "alpha": SCALES[::3], "rtol": 1e-9},
    {"name": "N=300 d=1200", "N": 300, "d": 1200, "alpha": SCALES[::3]},
    {"name": "N=300 d=1200 depth 3", "N": 300, "d": 1200, "alpha": [0.03, 0.3], "depth": 3},
    {"name": "N=500 d=2000", "N": 500, "d": 2000, "alpha": SCALES[::3]},
]
# Rows of condition up to 1e6, to depth 8: many of these end at the most steps in any build.
HARD = [
    {"name": f"condition {condition:.0e} depth {depth} alpha {alpha}", "N": 30, "d": 90,
     "condition": condition, "depth": depth, "alpha": alpha, "method": "radau5", "max_steps": 3000}
    for condition in (1e2, 1e4, 1e6) for depth in (2, 3, 4, 8)
    for alpha in ([1e-6, 1e-4], [1e-2, 0.3])
]  # fmt: skip


def worker():
    """Answers cases from the standard input with the package on the path."""
    import time
    import warnings

    import kernelrich_fast as krf

    warnings.simplefilter("ignore", krf.ConvergenceWarning)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    suite = {}
    for line in sys.stdin:
        case = json.loads(line)
        if "suite" in case:
            print(json.dumps(run_suite_case(suite, case)), flush=True)
            continue
        X, y, beta = krf.datasets.sparse_regression(case["N"], case["d"], 5, seed=0)
        if "condition" in case:
            rng = np.random.default_rng(0)
            Q = np.linalg.qr(rng.standard_normal((case["N"], case["N"])))[0]
            X = Q @ (np.geomspace(1.0, 1.0 / case["condition"], case["N"])[:, None] * (Q.T @ X))
            y = X @ beta
        options = {k: case[k] for k in ("depth", "rtol", "method", "max_steps") if k in case}
        options |= {"alpha": np.array(case["alpha"]), "backend": "cpu", "num_threads": 1}
        if case["errors"]:
            print(json.dumps(largest_error(krf, X, y, options)), flush=True)
            continue
        start = time.perf_counter()
        flow = krf.flow_diagonal(X, y, **options)
        seconds = time.perf_counter() - start
        np.save(case["out"], flow.beta)
        print(json.dumps({
            "seconds": seconds, "steps": int(flow.n_steps.sum()), "rhs": int(flow.n_rhs.sum()),
            "status": sorted({int(s) for s in np.ravel(flow.status)}),
        }), flush=True)  # fmt: skip


def run_suite_case(suite, case):
    """Of ``kernelrich bench``, in the process of one build; ``suite`` keeps its problems."""
    import time

    from kernelrich_fast.bench.cases import FAMILIES, cases_of

    cases = {c.name: c for c in cases_of(FAMILIES, case["suite"] == "quick")}
    if "name" not in case:
        return {"cases": [[c.name, list(c.rtols)] for c in cases.values()]}
    if case["name"] not in suite:
        suite[case["name"]] = cases[case["name"]].build()
    problem = suite[case["name"]]
    times = 0
    start = time.perf_counter()
    while times == 0 or time.perf_counter() - start < 0.05:
        outcome = problem.ours(case["rtol"], "cpu")
        times += 1
    seconds = (time.perf_counter() - start) / times
    return {"seconds": seconds, "steps": int(outcome.steps or 0),
            "error": float(problem.error(outcome.answer))}  # fmt: skip


def compare_suite(builds, which, reps):
    for name, rtols in ask(builds[0], {"suite": which})["cases"]:
        for rtol in rtols:
            case = {"suite": which, "name": name, "rtol": rtol}
            pairs = [[ask(build, case) for build in builds] for _ in range(reps + 1)][1:]
            ratios = np.divide(*np.array([[a["seconds"] for a in pair] for pair in pairs]).T)
            before, after = pairs[-1]
            print(
                f"{name:20s} rtol {rtol:.0e}  {np.median(ratios):5.2f} +- "
                f"{ratios.std() / np.sqrt(reps):.2f} times   steps {before['steps']:7d} "
                f"{after['steps']:7d}   error {before['error']:.1e} {after['error']:.1e}",
                flush=True,
            )


def largest_error(krf, X, y, options):
    rtol, worst = options.get("rtol", 1e-6), 0.0
    for alpha in options["alpha"]:
        options |= {"alpha": alpha, "max_steps": 100_000}
        end = krf.flow_diagonal(X, y, **options | {"rtol": 1e-10}).t
        times = {"t_eval": end * np.geomspace(1e-3, 1.0, 12)}
        exact = krf.flow_diagonal(X, y, **options | times | {"rtol": 1e-10}).beta
        beta = krf.flow_diagonal(X, y, **options | times).beta
        error = np.linalg.norm(beta - exact, axis=-1) / np.linalg.norm(exact, axis=-1)
        worst = max(worst, float(error.max()) / rtol)
    return worst


def start(folder):
    env = dict(os.environ, PYTHONPATH=str(Path(folder).resolve()))
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        env.pop(name, None)
    command = [sys.executable, str(Path(__file__).resolve()), "--worker"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=env, cwd=tempfile.gettempdir()
    )


def ask(process, case):
    process.stdin.write(json.dumps(case) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def compare(builds, case, reps, folder):
    seconds, answer, beta = [], [], []
    for _ in range(reps):
        pair = []
        for k, build in enumerate(builds):
            out = folder / f"{k}.npy"
            pair.append(ask(build, dict(case, out=str(out))))
        answer = pair
        seconds.append([a["seconds"] for a in pair])
    beta = [np.load(folder / f"{k}.npy") for k in range(2)]
    ratios = np.divide(*np.array(seconds).T)
    apart = np.linalg.norm(beta[0] - beta[1], axis=-1) / np.linalg.norm(beta[0], axis=-1)
    before, after = answer
    print(
        f"{case['name']:40s} {np.median(ratios):5.2f} +- {ratios.std() / np.sqrt(reps):.2f} times"
        f"   steps {before['steps']:6d} {after['steps']:6d}"
        f"   rhs {before['rhs']:7d} {after['rhs']:7d}"
        f"   apart {apart.max():.1e}   status {before['status']} {after['status']}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--reps", type=int, default=9)
    parser.add_argument("--errors", action="store_true", help="of both, instead of times")
    parser.add_argument("--hard", action="store_true", help="ill-conditioned rows, great depths")
    parser.add_argument("--suite", choices=["quick", "full"], help="the cases of the bench")
    options = parser.parse_args()
    builds = [start(options.before), start(options.after)]
    if options.suite:
        return compare_suite(builds, options.suite, options.reps)
    with tempfile.TemporaryDirectory() as folder:
        for case in HARD if options.hard else CASES:
            case["errors"] = options.errors
            if options.errors:
                before, after = (ask(build, case) for build in builds)
                print(f"{case['name']:40s} error in rtol {before:5.2f} {after:5.2f}", flush=True)
            else:
                compare(builds, case, options.reps, Path(folder))
    for build in builds:
        build.stdin.close()
        build.wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        worker()
    else:
        main()
