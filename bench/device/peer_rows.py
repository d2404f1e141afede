"""The flow of 64 runs by us and by diffrax on the same device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from compare import summary, timed
from problems import scales

from kernelrich_fast.bench.peers import PeerError, prepare
from kernelrich_fast.bench.problems.diagonal import DiagonalFlows

# Not Tsit5 at 1e-3: its error is 0.14.
PEERS = (
    ("diffrax Tsit5", "weights", 1e-6),
    ("diffrax Kvaerno5", "dual", 1e-3),
    ("diffrax Kvaerno5", "dual", 1e-6),
)


def problem():
    return DiagonalFlows(n=100, d=1000, alphas=scales(64), stop_loss=1e-12)


def ask_peer(name, formulation, rtol):
    """In the child: one JSON row of a peer."""
    import jax

    flows = problem()
    start = time.perf_counter()
    run = prepare(name, flows, formulation, rtol)
    row = {"prepared_in": time.perf_counter() - start, "device": str(jax.devices()[0])}
    try:
        run()
        seconds, outcome = timed(run)
        row |= {"seconds": seconds, "error": flows.error(outcome.answer), "steps": outcome.steps}
    except PeerError as error:
        row["failed"] = str(error)
    print(json.dumps(row))


def ours(found, flows, rtol):
    """A row of ours; none of what it calls is timed on the CPU."""
    label = f"64 runs, ours at rtol {rtol:g}"
    try:
        with found.limited(label):
            flows.ours(rtol, found.backend)
            calls = [
                timed(lambda: flows.ours(rtol, found.backend)) for _ in range(found.repeats[0])
            ]
            seconds, half = summary([each[0] for each in calls])
            error = flows.error(calls[-1][1].answer)
        found.keep(case=label, runs=64, seconds=seconds, half_range=half, error=error)
    except Exception as error:
        found.fail(label, error)


def peers(found, options):
    flows = problem()
    for rtol in (1e-3, 1e-6, 1e-8):
        ours(found, flows, rtol)
    program = os.path.join(os.path.dirname(os.path.dirname(__file__)), "gpu.py")
    for name, formulation, rtol in PEERS:
        row = {"case": f"64 runs, {name} on the {formulation} at rtol {rtol:g}", "runs": 64}
        command = [sys.executable, program, "--ask", name, formulation, str(rtol)]
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
