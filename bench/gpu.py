"""The CUDA backend against the CPU backend on all cores, and diffrax on the same device.

    python bench/gpu.py --out FILE.json [--runs 4096] [--repeats 3] [--peer-limit 60]

flow           N = 100, d = 1000, depth 2, alpha 1e-6 .. 1, to relative loss 1e-12 at rtol 1e-6, for
               64 runs and for --runs.
limit          The limits of the same runs.
factorization  Figure 5's grid with as many seeds as fill --runs.
networks       Figure 6's grid at depths 2 and 3 with a fourth of --runs.
large          32 flows with N = 512 and d = 2048 to relative loss 1e-6.
crossover      Seconds of the flow for 1, 4, 16, .. runs on both backends.
diffrax        The flow of 64 runs on the weights (Tsit5) and on the dual (Kvaerno5), vmapped and
               jitted, as `kernelrich bench` has them, each in a process of its own.
fp64           The attainable double-precision rate: a 8192 x 8192 matrix product through CuPy.

Every row has seconds (data on the host at both ends, first call not timed), the error against the
CPU backend or, for diffrax and us beside it, against a reference at rtol 1e-11, and the share of
fp64 that the counted operations reach. ``--backend cpu`` runs the same where there is no device.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

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


class Comparison:
    """Rows of both backends on the same call."""

    def __init__(self, backend, repeats, rate, out):
        self.backend, self.repeats, self.rate, self.out = backend, repeats, rate, out
        self.head = {"backend": krf.show_config(), "machine": describe(), "fp64_flops": rate}
        self.rows = []

    def add(self, label, call, field):
        there, gpu = seconds_of(lambda: call(self.backend), self.repeats)
        here, cpu = seconds_of(lambda: call("cpu"), 1)
        a, b = (np.asarray(field(result)) for result in (gpu, cpu))
        axes = tuple(range(cpu.status.ndim, b.ndim))
        size = np.sqrt(np.sum(b**2, axis=axes))
        self.keep(
            case=label,
            runs=cpu.status.size,
            seconds=there,
            cpu_seconds=here,
            factor=here / there,
            difference=float(np.max(np.sqrt(np.sum((a - b) ** 2, axis=axes)) / size)),
            unlike_status=int(np.sum(gpu.status != cpu.status)),
            share=None
            if self.rate is None
            else float(gpu.n_flops.sum() / there / self.rate)
            if hasattr(gpu, "n_flops")
            else None,
        )

    def keep(self, **row):
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        with open(self.out, "w") as file:  # after every row: time may run out
            json.dump({**self.head, "rows": self.rows}, file, indent=1)


def scales(count):
    return np.geomspace(1e-6, 1.0, count)


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
        seconds, outcome = seconds_of(run, 1)
        row |= {"seconds": seconds, "error": problem.error(outcome.answer), "steps": outcome.steps}
    except PeerError as error:
        row["failed"] = str(error)
    print(json.dumps(row))


def peers(comparison, limit):
    problem = peer_problem()
    for rtol in (1e-3, 1e-6, 1e-8):
        seconds, outcome = seconds_of(
            lambda rtol=rtol: problem.ours(rtol, comparison.backend), comparison.repeats
        )
        error = problem.error(outcome.answer)
        label = f"flow, 64 runs, ours at rtol {rtol:g}"
        comparison.keep(case=label, runs=64, seconds=seconds, error=error)
    for name, formulation, rtol in PEERS:
        row = {"case": f"flow, 64 runs, {name} on the {formulation} at rtol {rtol:g}", "runs": 64}
        command = [sys.executable, __file__, "--ask", name, formulation, str(rtol)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=limit, check=False,
                env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
            )  # fmt: skip
            last = done.stdout.strip().splitlines()[-1:] if done.returncode == 0 else []
            row |= json.loads(last[0]) if last else {"failed": done.stderr[-300:]}
        except subprocess.TimeoutExpired:
            row["failed"] = f"not done in {limit} s, compilation and a first call among them"
        comparison.keep(**row)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out")
    parser.add_argument("--runs", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-limit", type=float, default=60.0)
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        name, formulation, rtol = options.ask
        ask_peer(name, formulation, float(rtol))
        return
    if not options.out:
        parser.error("--out is missing")
    rate = fp64_rate() if options.backend == "cuda" else None
    found = Comparison(options.backend, options.repeats, rate, options.out)
    X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)
    few = scales(65)
    ends = krf.flow_diagonal(X, y, alpha=few, stop_loss=1e-12, backend="cpu").t

    def times(alphas):
        """About when relative loss 1e-12 is reached: both backends integrate to the same time."""
        return np.exp(np.interp(np.log(alphas), np.log(few), np.log(ends)))

    def flow(alphas):
        return lambda backend: krf.flow_diagonal(
            X, y, alpha=alphas, t_max=times(alphas), stop_loss=0.0, backend=backend
        )

    for count in (64, options.runs):
        a = scales(count)
        found.add(f"flow, {count} runs", flow(a), lambda result: result.beta)
        found.add(
            f"limit, {count} runs",
            lambda backend, a=a: krf.limit_diagonal(X, y, alpha=a, backend=backend),
            lambda result: result.beta,
        )
    data = krf.datasets.low_rank_completion(10, 10, 1, 60)
    seeds = np.arange(max(1, options.runs // (len(fig5.ALPHA2) * len(fig5.WIDTHS))))
    found.add(
        f"factorization, {len(seeds)} x {len(fig5.ALPHA2) * len(fig5.WIDTHS)} runs",
        lambda backend: krf.flow_factorization(
            data.y,
            entries=data.entries,
            dims=(10, 10),
            stop_loss=fig5.STOP_LOSS,
            rtol=1e-8,
            alpha=np.sqrt(fig5.ALPHA2)[:, None, None],
            width=np.array(fig5.WIDTHS)[:, None],
            seed=seeds,
            backend=backend,
        ),
        lambda result: result.M,
    )
    circle = fig6.scaled_teacher(0)
    for depth in (2, 3):
        alphas = np.array(fig6.ALPHAS[depth - 2])
        nets = np.arange(max(1, options.runs // (8 * len(alphas))))
        found.add(
            f"networks of depth {depth}, {len(nets)} x {len(alphas)} runs",
            lambda backend, depth=depth, alphas=alphas, nets=nets: krf.flow_mlp(
                circle.X, circle.y, depth=depth, width=fig6.WIDTH, alpha=alphas, seed=nets[:, None],
                layer_scales=fig6.LAYER_SCALE, stop_loss=fig6.STOP_LOSS, rtol=1e-6, backend=backend,
            ),
            lambda result: result.predict(circle.X_test),
        )  # fmt: skip
    wide = krf.datasets.sparse_regression(512, 2048, 10)
    found.add(
        "flow, N = 512, 32 runs",
        lambda backend: krf.flow_diagonal(
            wide.X, wide.y, alpha=np.geomspace(1e-3, 1.0, 32), stop_loss=1e-6, backend=backend
        ),
        lambda result: result.beta,
    )
    count = 1
    while count <= min(1024, options.runs):
        call = flow(np.geomspace(1e-4, 1.0, count))
        found.keep(
            case="crossover",
            runs=count,
            seconds=seconds_of(lambda call=call: call(options.backend), options.repeats)[0],
            cpu_seconds=seconds_of(lambda call=call: call("cpu"), 1)[0],
        )
        count *= 4
    if options.peer_limit > 0:
        peers(found, options.peer_limit)


if __name__ == "__main__":
    main()
