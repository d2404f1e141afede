"""Rows of both backends on the same call, written as they come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager

import numpy as np
from supervise import is_device_fault

from kernelrich_fast.backends import get_backend
from kernelrich_fast.bench.machine import describe


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def summary(times):
    """The median, and half the range where there are several."""
    if not times:
        return None, None
    return float(np.median(times)), float(np.ptp(times)) / 2 if len(times) > 1 else None


def farthest(a, b, axes_of_runs):
    """The largest distance of a run of a from that of b, relative to b."""
    within = tuple(range(axes_of_runs, b.ndim))
    size = np.sqrt(np.sum(b**2, axis=within))
    return float(np.max(np.sqrt(np.sum((a - b) ** 2, axis=within)) / size))


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


class Stopwatch:
    """Counts the seconds of a backend's `solve`: of a sweep's call, what is not NumPy's."""

    def __init__(self, name):
        self.seconds = 0.0
        backend = get_backend(name)
        solve = backend.solve

        def counted(*arguments):
            start = time.perf_counter()
            try:
                return solve(*arguments)
            finally:
                self.seconds += time.perf_counter() - start

        backend.solve = counted


class Side:
    """What was measured of one backend."""

    def __init__(self, backend, watch, repeats):
        self.backend, self.watch, self.repeats = backend, watch, repeats
        self.times, self.solves, self.result = [], [], None

    def run(self, call):
        self.result, before = None, self.watch.seconds  # room for the next
        seconds, self.result = timed(lambda: call(self.backend))
        self.times.append(seconds)
        self.solves.append(self.watch.seconds - before)


class Comparison:
    """Rows of both backends on the same call; the first says what is measured where."""

    grace = 10.0  # seconds from TimeoutError to the end of a process that does not hear of it

    def __init__(self, options):
        self.backend, self.out, self.limit = options.backend, options.out, options.limit
        self.repeats = options.repeats[0], options.repeats[-1]
        self.failed, self.broken = 0, False  # rows; whether the device answers no more
        self.warm, self.rate = False, None
        self.watches = {name: Stopwatch(name) for name in {self.backend, "cpu"}}
        if self.backend == "cuda":
            try:
                with self.limited("the rate of dgemm"):
                    self.rate = fp64_rate()
            except Exception as error:
                self.fail("the rate of dgemm", error)
        build = json.loads(os.environ.get("KRF_BUILD", "null"))
        self.keep(
            case="head", rows=options.only, device=device(), machine=describe(), build=build,
            fp64_flops=self.rate,
        )  # fmt: skip

    def add(self, label, call, field, *, repeats=None, first=None, accurate=None):
        """A row; ``call(backend)`` gives results whose ``field`` is compared, runs first.

        ``repeats`` are those of the device and of the CPU. ``first``, by default ``call``, is
        called before and not timed; on the CPU that is needed but once in a process.
        ``accurate`` are the index of some runs, and a call for a solution to compare them with.
        """
        sides = [
            Side(backend, self.watches[backend], count)
            for backend, count in zip((self.backend, "cpu"), repeats or self.repeats, strict=True)
        ]
        try:
            for side in sides if not self.warm else sides[:1]:
                with self.limited(label):
                    (first or call)(side.backend)
            self.warm = True
            for turn in range(max(side.repeats for side in sides)):
                for side in sides:
                    if turn < side.repeats:
                        with self.limited(label, sides):
                            side.run(call)
            row = self.compare(*sides, field)
            self.keep(case=label, **row, **self.errors(label, sides, field, accurate))
        except BaseException as error:  # a time-out of the step too, and whatever CuPy raises
            self.fail(label, error, sides)
            if not isinstance(error, Exception):
                raise

    def compare(self, there, here, field):
        a, b = (np.asarray(field(side.result)) for side in (there, here))
        status = [np.asarray(side.result.status) for side in (there, here)]
        flops = getattr(there.result, "n_flops", None)
        row = {"runs": int(status[1].size), **seconds(there, here)}
        return row | {
            "factor": row["cpu_seconds"] / row["seconds"],
            "difference": farthest(a, b, status[1].ndim),
            "unlike_status": int(np.sum(status[0] != status[1])),
            "share_of_fp64": None
            if flops is None or self.rate is None
            else float(np.sum(flops) / row["seconds"] / self.rate),
        }

    def errors(self, label, sides, field, accurate):
        """Of both sides, where there is something to compare them with."""
        if accurate is None:
            return {}
        index, solve = accurate
        try:
            with self.limited(label, sides):
                exact = solve()
        except Exception as error:  # the times are good for all that
            self.failed += 1
            return {"failed": f"the accurate solution: {type(error).__name__}: {error}"[:600]}
        there, here = (
            farthest(np.asarray(field(side.result))[index], np.asarray(field(exact)), 1)
            for side in sides
        )
        return {"error": there, "cpu_error": here, "error_of_runs": len(index)}

    @contextmanager
    def limited(self, label, sides=()):
        """Ends what takes too long: by TimeoutError or, where nothing answers, the process."""

        def late(*_):
            raise TimeoutError(f"not done in {self.limit:g} s")

        def stuck():
            self.fail(label, TimeoutError(f"no answer for {self.limit + self.grace:g} s"), sides)
            os._exit(3)

        timer = threading.Timer(self.limit + self.grace, stuck)
        timer.daemon = True
        before = signal.signal(signal.SIGALRM, late)
        timer.start()
        signal.setitimer(signal.ITIMER_REAL, self.limit)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
            timer.cancel()

    def keep(self, **row):
        line = json.dumps(row)
        print(line, flush=True)
        with open(self.out, "a") as file:  # after every row: time may run out
            file.write(line + "\n")

    def fail(self, label, error, sides=()):
        """A row with why it failed, and the times so far."""
        self.failed += 1
        text = f"{type(error).__name__}: {error}"[:600]
        self.broken = self.broken or is_device_fault(text)
        self.keep(case=label, **(seconds(*sides) if sides else {}), failed=text)


def seconds(there, here):
    """Medians of both sides with half their ranges; the part of the backends alone."""
    row = {}
    for prefix, side in (("", there), ("cpu_", here)):
        row[f"{prefix}seconds"], row[f"{prefix}half_range"] = summary(side.times)
        row[f"{prefix}solve_seconds"], _ = summary(side.solves)
    return row
