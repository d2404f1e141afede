"""The CUDA backend against the CPU backend on all cores, and diffrax on the same device.

    python bench/gpu.py --out FILE.jsonl [--only flow,limit] [--runs 64,528,4096] [--repeats 3,2]
                        [--seeds 1000,200,3] [--limit 30] [--peer-limit 60]

flow           N = 100, d = 1000, depth 2, alpha 1e-6 .. 1, to relative loss 1e-12 at rtol 1e-6, for
               each number of runs.
limit          The limits of the same runs.
margin         The same problem with the logistic loss of the signs of y, to log(1e-12), for those
               numbers of runs that are at most 1024.
decay          The same flow as far as t = 10, with weight decay up to t = 5, for as many.
large          32 flows with N = 512 and d = 2048 to relative loss 1e-6.
crossover      Seconds of flows of four families for 1, 4, 16, .. 1024 runs on both backends: below
               some number the CPU is faster.
crossover_margin, crossover_linear
               The same of margin losses and of linear networks, for 16 runs and more.
figure5        The runs of `reproduce fig5`, with as many seeds as the first of --seeds, once.
figure6        Those of `reproduce fig6`, once: depth 2 with as many as the second, then depths 3
               and 5 with as many as the third.
peers          The flow of 64 runs by us and by diffrax, on the weights (Tsit5) and on the dual
               (Kvaerno5), vmapped and jitted, as `kernelrich bench` has them, each in a process of
               its own.

A row has the median seconds of both backends (data on the host at both ends; both in turn, the
device after a call that is not timed) with half the range where there are several (--repeats: of
the device and of the CPU), and the seconds of these within the backend alone. It has the distance
of the results and, for the first four, the largest error of 64 of the runs against the CPU at rtol
1e-11 (limits: at tol 1e-13); for diffrax and us beside it, the error of all. The share of the
attainable rate in double precision (a 8192 x 8192 product through CuPy) is that which the counted
operations reach.

A row that fails, or of which a call takes longer than --limit, says why and has the times so far.
The next follows, after an error of the device in another process. Rows are appended to FILE as
lines of JSON, after one that says where. ``--backend cpu`` runs the same where there is no device.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from functools import partial
from operator import attrgetter
from pathlib import Path

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

sys.path.insert(0, str(Path(__file__).resolve().parent / "device"))

import numpy as np  # noqa: E402
import problems  # noqa: E402
from compare import Comparison  # noqa: E402
from peer_rows import ask_peer, peers  # noqa: E402


def flow(found, options):
    compare_hundred(found, options, "flow")


def limit(found, options):
    compare_hundred(found, options, "limit")


def margin(found, options):
    compare_hundred(found, options, "margin", most=1024)


def decay(found, options):
    compare_hundred(found, options, "decay", most=1024)


def compare_hundred(found, options, name, most=np.inf):
    solve = getattr(problems.hundred(), name)
    if name == "flow":
        _ = problems.hundred().ends  # in the time of no row
    for count in (count for count in options.runs if count <= most):
        alpha = problems.scales(count)
        some = np.unique(np.linspace(0, count - 1, 64).astype(int))
        exact = partial(solve, alpha[some], "cpu", **problems.Hundred.tight[name])
        found.add(
            f"{name}, {count} runs", partial(solve, alpha), attrgetter("beta"),
            accurate=(some, exact),
        )  # fmt: skip


def large(found, options):
    found.add("flow, N = 512, 32 runs", problems.large_flow, attrgetter("beta"), repeats=(2, 2))


def crossover(found, options):
    count_runs(found, options, "diagonal, 100 x 1000", problems.hundred().flow, "beta", 1e-4)
    count_runs(found, options, "diagonal, 20 x 50", problems.small_flow, "beta", 1e-4)
    count_runs(found, options, "completion, 10 x 10", problems.completion_flow, "loss", 1e-2)
    count_runs(found, options, "networks, width 30", problems.network_flow, "loss", 1e-2)


def crossover_margin(found, options):
    solve = problems.hundred().margin
    count_runs(found, options, "logistic loss, 100 x 1000", solve, "beta", 1e-4, least=16)


def crossover_linear(found, options):
    count_runs(found, options, "linear, 10 x 10", problems.linear_flow, "M", 1e-2, least=16)


def count_runs(found, options, name, solve, field, smallest, least=1):
    for count in (1, 4, 16, 64, 256, 1024):
        if least <= count <= max(options.runs):
            found.add(
                f"crossover, {name}, {count} runs",
                partial(solve, np.geomspace(smallest, 1.0, count)),
                attrgetter(field),
                repeats=(2, 2),
            )


def figure5(found, options):
    seeds = options.seeds[0]
    found.add(
        f"figure 5, {seeds} seeds",
        lambda backend: problems.figure5(seeds, backend),
        attrgetter("test_rmse"),
        repeats=(1, 1),
        first=lambda backend: problems.figure5(1, backend, widths=(10,)),
    )


def figure6(found, options):
    many, few = options.seeds[1:]
    for depth, seeds in ((2, many), (3, few), (5, few)):
        found.add(
            f"figure 6, depth {depth}, {seeds} seeds",
            partial(problems.figure6, depth, seeds),
            attrgetter("test_rmse"),
            repeats=(1, 1),
            # The largest scale takes the fewest steps.
            first=partial(problems.figure6, depth, 1, columns=slice(-1, None)),
        )


ROWS = (
    flow, limit, margin, decay, large, crossover, crossover_margin, crossover_linear, figure5,
    figure6, peers,
)  # fmt: skip


def numbers(text):
    return [int(each) for each in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out")
    parser.add_argument("--only", help=f"rows, with commas between: {[f.__name__ for f in ROWS]}")
    parser.add_argument("--runs", type=numbers, default=[64, 528, 4096])
    parser.add_argument("--seeds", type=numbers, default=[1000, 200, 3])
    parser.add_argument("--repeats", type=numbers, default=[3, 2])
    parser.add_argument("--limit", type=float, default=30.0)
    parser.add_argument("--peer-limit", type=float, default=60.0)
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        peer, formulation, rtol = options.ask
        ask_peer(peer, formulation, float(rtol))
        return 0
    known = {each.__name__: each for each in ROWS}
    wanted = options.only.split(",") if options.only else list(known)
    if not options.out or not known.keys() >= set(wanted):
        parser.error("--out is missing" if not options.out else f"--only: expected {list(known)}")
    found = Comparison(options)
    for done, row in enumerate(wanted, 1):
        try:
            known[row](found, options)
        except Exception as error:  # in what the row needs before its first call
            found.fail(row, error)
        if found.broken and wanted[done:]:
            # No later call of this process can succeed.
            rest = ["--only", ",".join(wanted[done:])]
            subprocess.run([sys.executable, *sys.argv, *rest], check=False)
            break
    return found.failed > 0


if __name__ == "__main__":
    sys.exit(main())
