"""One large run on all cores: threads, dgemm and SciPy in one session, memory, growth with N and d.

    python bench/large.py [--sizes 1000x10000 ...] [--limit 900] [--repeats 2]
        [--parts threads peers] [--ours 1e-1 1e-2 1e-3 1e-4] [--peers 1e-3 1e-5]
        [--methods BDF LSODA] [--growth] [--out bench/results/large.json]

Every measurement is a process of its own, so that its peak of memory is its own; threads, and
ours and peers, are compared in turn. A run goes from alpha = 1e-3 to the time at which the loss
has fallen to 1e-6 of its start; errors are relative, of beta at that time, against our flow at rtol
1e-8. SciPy solves the same reduced equations (nu' = y - X beta(X' nu)) with their Jacobian, BLAS on
all cores.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import argparse  # noqa: E402
import hashlib  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

import kernelrich_fast as krf  # noqa: E402
from kernelrich_fast.bench.machine import cores, describe  # noqa: E402
from kernelrich_fast.bench.peers.scipy_ivp import prepare  # noqa: E402
from kernelrich_fast.bench.problems.diagonal import DiagonalFlows  # noqa: E402

SIZES = ("1000x10000", "2000x20000", "5000x10000")
ALPHA, STOP = 1e-3, 1e-6
OURS = (1e-1, 1e-2, 1e-3, 1e-4)
METHODS = ("BDF", "LSODA")
PARTS = ("threads", "peers")
GROWTH = (("N", 4000, (250, 500, 1000, 2000)), ("d", 500, (1000, 2000, 4000, 8000, 16000)))


class LargeFlow(DiagonalFlows):
    """One scale of the bench's problem, whose reference a file holds."""

    def __init__(self, size: str, reference: Path | None) -> None:
        n, d = (int(part) for part in size.split("x"))
        self.X, self.y, _ = krf.datasets.sparse_regression(n, d, max(5, n // 50), seed=0)
        self.alphas, self.depth, self.stop = np.array([ALPHA]), 2, STOP
        if reference is not None:
            with np.load(reference) as kept:
                self.times, self.reference = kept["t"], kept["beta"]

    def flow(self, rtol: float, threads: int) -> krf.DiagonalFlow:
        end = {"t_max": self.times, "stop_loss": 0.0} if hasattr(self, "times") else {}
        return krf.flow_diagonal(
            self.X, self.y, alpha=self.alphas, rtol=rtol, backend="cpu", num_threads=threads,
            **({"stop_loss": STOP} | end),
        )  # fmt: skip


def child(task: dict[str, Any]) -> dict[str, Any]:
    """One measurement: its seconds, its error, its steps, its peak of memory."""
    if task["what"] == "dgemm":
        return {"gflops": dgemm(task["threads"])}
    kept = Path(task["reference"])
    problem = LargeFlow(task["size"], None if task["what"] == "reference" else kept)
    start = time.perf_counter()
    if task["what"] in ("reference", "flow"):
        flow = problem.flow(task["rtol"], task["threads"])
        out: dict[str, Any] = {"status": flow.status[0].item(), "bits": digest(flow.beta)}
        out |= {"steps": flow.n_steps[0].item(), "fields": flow.n_rhs[0].item()}
        out["gflops"] = flow.n_flops[0].item() / 1e9 / (time.perf_counter() - start)
        answer = flow.beta
    elif task["what"] == "limit":
        limit = krf.limit_diagonal(
            problem.X, problem.y, alpha=ALPHA, backend="cpu", num_threads=task["threads"]
        )
        out = {"status": int(limit.status), "bits": digest(limit.beta)}
        answer = None
    else:
        outcome = prepare(task["what"], problem.formulation("dual"), task["rtol"])()
        out = {"steps": outcome.steps, "fields": outcome.fields}
        answer = outcome.answer
    out["seconds"] = time.perf_counter() - start
    if task["what"] == "reference":
        np.savez(kept, t=flow.t, beta=flow.beta)
    elif answer is not None:
        out["error"] = problem.error(answer)
    out["gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    out["gigabytes of X"] = problem.X.nbytes / 1e9
    return out


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()[:12]


def dgemm(threads: int) -> float:
    """GFLOP/s, best of four."""
    from threadpoolctl import threadpool_limits

    A = np.random.default_rng(0).standard_normal((3000, 3000))
    best = np.inf
    with threadpool_limits(threads):
        for _ in range(4):
            start = time.perf_counter()
            A @ A
            best = min(best, time.perf_counter() - start)
    return 2 * 3000**3 / best / 1e9


def measure(limit: float, **task: Any) -> dict[str, Any]:
    """A child's report; without seconds where it took longer than ``limit``."""
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=True)
        report = json.loads(ran.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        report = {"longer than": limit}
    except subprocess.CalledProcessError as error:
        report = {"failed": (error.stderr.strip().splitlines() or ["killed"])[-1]}
    print(json.dumps(report | {"what": task["what"], "rtol": task["rtol"]}), flush=True)
    return {name: value for name, value in task.items() if name != "reference"} | report


def measure_size(size: str, folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    shared = {"size": size, "reference": str(folder / f"{size}.npz")}

    def one(what: str, rtol: float | None, threads: int) -> None:
        rows.append(measure(args.limit, what=what, rtol=rtol, threads=threads, **shared))

    rows: list[dict[str, Any]] = []
    one("reference", 1e-8, cores())
    for _ in range(args.repeats if "threads" in args.parts else 0):
        for what, rtol in (("dgemm", None), ("flow", 1e-6), ("limit", None)):
            for threads in sorted({1, cores()}):
                one(what, rtol, threads)
    if "threads" in args.parts:
        one("limit", None, 3)
    for _ in range(args.repeats if "peers" in args.parts else 0):
        for rtol in args.ours:
            one("flow", rtol, cores())
        for method in args.methods:
            for rtol in args.peers:
                one(method, rtol, cores())
    return rows


def measure_growth(folder: Path, limit: float) -> list[dict[str, Any]]:
    """Seconds against one size where the other stands still."""
    rows = []
    for axis, other, sizes in GROWTH:
        for each in sizes:
            size = f"{each}x{other}" if axis == "N" else f"{other}x{each}"
            kept = str(folder / f"{size}.npz")
            row = measure(
                limit, what="reference", rtol=1e-3, threads=cores(), size=size, reference=kept
            )
            rows.append(row | {"axis": axis, "at": each, "other": other})
    return rows


def summary(rows: list[dict[str, Any]]) -> str:
    """Of one size: threads, limits and peers, a line each."""

    def of(what: str, threads: int, rtol: float | None) -> np.ndarray:
        chosen = [
            r for r in rows
            if (r["what"], r["threads"], r["rtol"]) == (what, threads, rtol)
            and not {"failed", "longer than"} & r.keys()
        ]  # fmt: skip
        return np.array([r["gflops"] if what == "dgemm" else r["seconds"] for r in chosen])

    many, lines = cores(), []
    if len(gain := of("dgemm", many, None) / of("dgemm", 1, None)):
        lines.append(f"dgemm: {many} threads {spread(gain)} times as fast")
    for what, rtol in (("flow", 1e-6), ("limit", None)):
        one, all_ = of(what, 1, rtol), of(what, many, rtol)
        if not (len(one) == len(all_) > 0):
            lines.append(f"{what}: on one thread not measured, longer than the limit, or failed")
            continue
        lines.append(
            f"{what}: {one.mean():.2f} and {all_.mean():.2f} s on 1 and {many} threads, "
            f"{spread(one / all_)} times as fast"
        )
    flows = [r for r in rows if r["what"] == "flow" and r["threads"] == many and "error" in r]
    errors = {r["rtol"]: r["error"] for r in flows}
    for method, rtol in dict.fromkeys((r["what"], r["rtol"]) for r in rows):
        if method not in METHODS:
            continue
        seconds = of(method, many, rtol)
        if not len(seconds):
            lines.append(f"{method} {rtol:g}: longer than the limit, or failed")
            continue
        error = next(r["error"] for r in rows if (r["what"], r["rtol"]) == (method, rtol))
        as_good = [of("flow", many, r) for r, ours in errors.items() if ours <= error]
        best = min(as_good, key=np.mean) if as_good else np.array([np.nan])
        lines.append(
            f"{method} {rtol:g}: {spread(seconds)} s, error {error:.1e}, ours {spread(best)} s at "
            f"that error: {spread(seconds / best)} times as long"
        )
    if bits := {r["bits"] for r in rows if r["what"] == "limit" and "bits" in r}:
        lines.append(f"limit: {len(bits)} result(s) over 1, {many} and 3 threads, bit by bit")
    return "\n".join(lines)


def spread(values: np.ndarray) -> str:
    """The mean, and half of the range."""
    return f"{values.mean():.2f} ± {np.ptp(values) / 2:.2f}"


def exponents(rows: list[dict[str, Any]]) -> str:
    lines = []
    for axis, other, _ in GROWTH:
        own = [r for r in rows if r["axis"] == axis]
        at, seconds = (np.array([r[key] for r in own], float) for key in ("at", "seconds"))
        slope, _ = np.polyfit(np.log(at), np.log(seconds), 1)
        still = "d" if axis == "N" else "N"
        lines.append(f"seconds grow as {axis}^{slope:.2f} at {still} = {other}")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    axis = figure.subplots()
    for (name, other, _), marker in zip(GROWTH, "os", strict=True):
        own = [r for r in rows if r["axis"] == name]
        at, seconds = (np.array([r[key] for r in own], float) for key in ("at", "seconds"))
        slope, shift = np.polyfit(np.log(at), np.log(seconds), 1)
        still = "d" if name == "N" else "N"
        (line,) = axis.plot(at, seconds, marker, label=f"against ${name}$, ${still}={other}$")
        axis.plot(at, np.exp(shift) * at**slope, color=line.get_color(), linewidth=1,
                  label=rf"$\propto {name}^{{{slope:.2f}}}$")  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="samples $N$ or features $d$", ylabel="seconds")
    axis.set_title(
        rf"a flow from $\alpha=10^{{-3}}$, rtol $10^{{-3}}$, {cores()} threads", fontsize="medium"
    )
    axis.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def keep(found: dict[str, Any], out: Path | None) -> None:
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", default=SIZES)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds of a measurement")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--ours", type=float, nargs="*", default=OURS, help="our rtols, by peers")
    parser.add_argument("--peers", type=float, nargs="*", default=[1e-3, 1e-5], help="their rtols")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS)
    parser.add_argument("--growth", action="store_true", help="time against N and d as well")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        print(json.dumps(child(json.loads(args.child))))
        return
    found: dict[str, Any] = {"machine": describe(), "rows": [], "growth": []}
    with tempfile.TemporaryDirectory() as name:
        for size in args.sizes:
            rows = measure_size(size, Path(name), args)
            found["rows"] += rows
            keep(found, args.out)
            print(f"== {size}\n{summary(rows)}", flush=True)
        if args.growth:
            found["growth"] = measure_growth(Path(name), args.limit)
            print(exponents(found["growth"]), flush=True)
    keep(found, args.out)
    if args.out is not None and args.growth:
        draw(found["growth"], args.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
