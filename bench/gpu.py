"""The CUDA backend against the CPU backend on all cores, and diffrax on the same device.

    python bench/gpu.py --out FILE.json [--only flow,limit] [--runs 64,528,4096] [--repeats 3]
                        [--seeds 1000,200] [--peer-limit 60]

flow           N = 100, d = 1000, depth 2, alpha 1e-6 .. 1, to relative loss 1e-12 at rtol 1e-6, for
               each number of runs.
limit          The limits of the same runs.
margin         The same problem with the logistic loss of the signs of y, to log(1e-12), for those
               numbers of runs that are at most 1024.
decay          The same flow as far as t = 10, with weight decay up to t = 5, for as many.
figure5        `reproduce fig5` with as many seeds as the first of --seeds, once.
figure6        `reproduce fig6` with as many seeds as the second, once.
large          32 flows with N = 512 and d = 2048 to relative loss 1e-6.
crossover      Seconds of flows of every family for 1, 4, 16, .. runs on both backends: below some
               number the CPU is faster.
peers          The flow of 64 runs by us and by diffrax, on the weights (Tsit5) and on the dual
               (Kvaerno5), vmapped and jitted, as `kernelrich bench` has them, each in a process of
               its own.

A row has the median seconds of both backends (data on the host at both ends; both in turn, after a
first call of each that is not timed) with half the range beside them, the distance of the results
or, for diffrax and us beside it, the error against a reference at rtol 1e-11, and the share of the
attainable rate in double precision (a 8192 x 8192 product through CuPy) that the counted operations
reach. A row that fails says why, and the next follows. ``--backend cpu`` runs the same where there
is no device.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import subprocess
import sys
import time
from functools import partial

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np  # noqa: E402

import kernelrich_fast as krf  # noqa: E402
from kernelrich_fast.bench.machine import describe  # noqa: E402
from kernelrich_fast.bench.peers import PeerError, prepare  # noqa: E402
from kernelrich_fast.bench.problems.diagonal import DiagonalFlows  # noqa: E402
from kernelrich_fast.experiments import fig5, fig6  # noqa: E402

PEERS = (
    ("diffrax Tsit5", "weights", 1e-3),
    ("diffrax Tsit5", "weights", 1e-6),
    ("diffrax Kvaerno5", "dual", 1e-3),
    ("diffrax Kvaerno5", "dual", 1e-6),
)


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def summary(times):
    return float(np.median(times)), float(np.ptp(times)) / 2


def fp64_rate():
    import cupy

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


def device():
    """Name, driver and memory of the GPU."""
    fields = ("name", "driver_version", "memory.total")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return dict(zip(fields, done.stdout.splitlines()[0].split(", "), strict=True))


class Comparison:
    """Rows of both backends on the same call, written as they come."""

    def __init__(self, options):
        self.backend, self.repeats, self.out = options.backend, options.repeats, options.out
        self.rate = fp64_rate() if options.backend == "cuda" else None
        self.head = {"device": device(), "machine": describe(), "fp64_flops": self.rate}
        self.rows, self.failed = [], 0

    def add(self, label, call, field, repeats=None, warm=True):
        """A row; ``call(backend)`` gives results whose ``field`` is compared, runs first."""
        try:
            times, results = ([], []), [None, None]
            for turn in range((repeats or self.repeats) + warm):
                for side, backend in enumerate((self.backend, "cpu")):
                    results[side] = None  # room for the next
                    seconds, results[side] = timed(lambda backend=backend: call(backend))
                    if turn >= warm:
                        times[side].append(seconds)
            self.keep(case=label, **self.compare(times, *results, field))
        except Exception as error:
            self.fail(label, error)

    def compare(self, times, there, here, field):
        (gpu, gpu_half), (cpu, cpu_half) = map(summary, times)
        a, b = (np.asarray(field(result)) for result in (there, here))
        status = [np.asarray(result.status) for result in (there, here)]
        axes = tuple(range(status[1].ndim, b.ndim))
        distance = np.sqrt(np.sum((a - b) ** 2, axis=axes)) / np.sqrt(np.sum(b**2, axis=axes))
        flops = getattr(there, "n_flops", None)
        return {
            "runs": int(status[1].size),
            "seconds": gpu,
            "half_range": gpu_half,
            "cpu_seconds": cpu,
            "cpu_half_range": cpu_half,
            "factor": cpu / gpu,
            "difference": float(np.max(distance)),
            "unlike_status": int(np.sum(status[0] != status[1])),
            "share_of_fp64": None
            if flops is None or self.rate is None
            else float(np.sum(flops) / gpu / self.rate),
        }

    def keep(self, **row):
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        with open(self.out, "w") as file:  # after every row: time may run out
            json.dump({**self.head, "rows": self.rows}, file, indent=1)

    def fail(self, label, error):
        self.failed += 1
        self.keep(case=label, failed=f"{type(error).__name__}: {error}"[:600])


def scales(count):
    return np.geomspace(1e-6, 1.0, count)


class Hundred:
    """The flow that is measured most, integrated to the same times by both backends."""

    def __init__(self):
        self.X, self.y, _ = krf.datasets.sparse_regression(100, 1000, 5)
        few = scales(65)
        ends = krf.flow_diagonal(self.X, self.y, alpha=few, stop_loss=1e-12, backend="cpu").t
        self.times = lambda alpha: np.exp(np.interp(np.log(alpha), np.log(few), np.log(ends)))

    def flow(self, alpha, backend):
        return krf.flow_diagonal(
            self.X, self.y, alpha=alpha, t_max=self.times(alpha), stop_loss=0.0, backend=backend
        )

    def limit(self, alpha, backend):
        return krf.limit_diagonal(self.X, self.y, alpha=alpha, backend=backend)

    def margin(self, alpha, backend):
        labels = np.sign(self.y)
        return krf.flow_diagonal(self.X, labels, alpha=alpha, loss="logistic", backend=backend)

    def decay(self, alpha, backend):
        return krf.flow_diagonal(
            self.X, self.y, alpha=alpha, t_max=10.0, stop_loss=0.0,
            weight_decay=[(0.0, 0.1), (5.0, 0.0)], backend=backend,
        )  # fmt: skip


def flow(found, options):
    compare_hundred(found, options, "flow")


def limit(found, options):
    compare_hundred(found, options, "limit")


def margin(found, options):
    compare_hundred(found, options, "margin", most=1024)


def decay(found, options):
    compare_hundred(found, options, "decay", most=1024)


def compare_hundred(found, options, name, most=np.inf):
    solve = getattr(Hundred(), name)
    for count in (count for count in options.runs if count <= most):
        found.add(
            f"{name}, {count} runs", partial(solve, scales(count)), lambda result: result.beta
        )


def figure5(found, options):
    seeds = tuple(range(options.seeds[0]))
    found.add(
        f"figure 5, {len(seeds)} seeds",
        lambda backend: fig5.completion_data(fig5.WIDTHS, seeds, backend, False),
        lambda data: data.test_rmse,
        repeats=1,
        warm=False,
    )


def figure6(found, options):
    seeds = tuple(range(options.seeds[1]))
    found.add(
        f"figure 6, {len(seeds)} seeds",
        lambda backend: fig6.circle_data(slice(None), seeds, backend, False),
        lambda data: data.test_rmse,
        repeats=1,
        warm=False,
    )


def large(found, options):
    X, y, _ = krf.datasets.sparse_regression(512, 2048, 10)
    found.add(
        "flow, N = 512, 32 runs",
        lambda backend: krf.flow_diagonal(
            X, y, alpha=np.geomspace(1e-3, 1.0, 32), stop_loss=1e-6, backend=backend
        ),
        lambda result: result.beta,
        repeats=1,
    )


def small_flow(alpha, backend):
    X, y, _ = krf.datasets.sparse_regression(20, 50, 2)
    return krf.flow_diagonal(X, y, alpha=alpha, stop_loss=1e-9, backend=backend)


def completion_flow(alpha, backend):
    data = krf.datasets.low_rank_completion(10, 10, 1, 60)
    return krf.flow_factorization(
        data.y, entries=data.entries, dims=(10, 10), alpha=alpha, width=10, stop_loss=1e-9,
        backend=backend,
    )  # fmt: skip


def network_flow(alpha, backend):
    data = krf.datasets.circle_teacher(10)
    return krf.flow_mlp(
        data.X, data.y, width=30, alpha=alpha, t_max=10.0, stop_loss=0.0, rtol=1e-4, backend=backend
    )


def crossover(found, options):
    cases = (
        ("diagonal, 100 x 1000", Hundred().flow, "beta"),
        ("diagonal, 20 x 50", small_flow, "beta"),
        ("completion, 10 x 10", completion_flow, "loss"),
        ("networks, width 30", network_flow, "loss"),
    )
    for name, solve, field in cases:
        for count in (1, 4, 16, 64, 256, 1024):
            if count <= max(options.runs):
                found.add(
                    f"crossover, {name}, {count} runs",
                    partial(solve, np.geomspace(1e-4 if "diagonal" in name else 1e-2, 1.0, count)),
                    operator.attrgetter(field),
                )


def peer_problem():
    return DiagonalFlows(n=100, d=1000, alphas=scales(64), stop_loss=1e-12)


def ask_peer(name, formulation, rtol):
    """In the child: one JSON row of a peer."""
    import jax

    problem = peer_problem()
    start = time.perf_counter()
    run = prepare(name, problem, formulation, rtol)
    row = {"prepared_in": time.perf_counter() - start, "device": str(jax.devices()[0])}
    try:
        run()
        seconds, outcome = timed(run)
        row |= {"seconds": seconds, "error": problem.error(outcome.answer), "steps": outcome.steps}
    except PeerError as error:
        row["failed"] = str(error)
    print(json.dumps(row))


def peers(found, options):
    problem = peer_problem()
    for rtol in (1e-3, 1e-6, 1e-8):
        label = f"64 runs, ours at rtol {rtol:g}"
        try:
            problem.ours(rtol, found.backend)
            calls = [timed(lambda rtol=rtol: problem.ours(rtol, found.backend))
                     for _ in range(found.repeats)]  # fmt: skip
            seconds, half = summary([each[0] for each in calls])
            error = problem.error(calls[-1][1].answer)
            found.keep(case=label, runs=64, seconds=seconds, half_range=half, error=error)
        except Exception as error:
            found.fail(label, error)
    for name, formulation, rtol in PEERS:
        row = {"case": f"64 runs, {name} on the {formulation} at rtol {rtol:g}", "runs": 64}
        command = [sys.executable, __file__, "--ask", name, formulation, str(rtol)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=options.peer_limit, check=False,
                env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
            )  # fmt: skip
            last = done.stdout.strip().splitlines()[-1:] if done.returncode == 0 else []
            row |= json.loads(last[0]) if last else {"failed": done.stderr[-300:]}
        except subprocess.TimeoutExpired:
            row["failed"] = (
                f"not done in {options.peer_limit} s, compilation and a first call among them"
            )
        found.keep(**row)


ROWS = (flow, limit, margin, decay, figure5, figure6, large, crossover, peers)


def numbers(text):
    return [int(each) for each in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out")
    parser.add_argument("--only", help=f"rows, with commas between: {[f.__name__ for f in ROWS]}")
    parser.add_argument("--runs", type=numbers, default=[64, 528, 4096])
    parser.add_argument("--seeds", type=numbers, default=[1000, 200])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-limit", type=float, default=60.0)
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        name, formulation, rtol = options.ask
        ask_peer(name, formulation, float(rtol))
        return 0
    known = {each.__name__: each for each in ROWS}
    wanted = options.only.split(",") if options.only else list(known)
    if not options.out or not known.keys() >= set(wanted):
        parser.error("--out is missing" if not options.out else f"--only: expected {list(known)}")
    found = Comparison(options)
    for name in wanted:
        try:
            known[name](found, options)
        except Exception as error:  # in what the row needs before its first call
            found.fail(name, error)
    return found.failed > 0


if __name__ == "__main__":
    sys.exit(main())
