"""Is the CUDA backend right? The checks likeliest to fail come first; each prints a JSON line.

    python bench/device/first_contact.py [--small] [--here] [--pool] [--only NAMES] [--backend cpu]

A check that fails does not end the others. They run in a process of their own, which another one
replaces after an error of the device or a check that does not end; ``--here`` runs them in this
process, where after an error of the device every later check fails too.

Without ``--pool`` every array is allocated on its own, and filled with NaN where the backend takes
it uninitialised: ``compute-sanitizer --tool memcheck`` then sees where arrays end. ``--small`` runs
the checks that are short enough for a sanitizer. ``--backend cpu`` rehearses without a device.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

import kernelrich_fast as krf

HERE = Path(__file__).resolve()
TESTS = HERE.parents[2] / "tests"
sys.path[:0] = [str(HERE.parent), str(TESTS), str(TESTS / "native")]
import test_team_parts as parts  # noqa: E402
from supervise import supervise  # noqa: E402

# Threads a block, blocks a team.
LAYOUTS = {
    f"primitives_{threads}x{blocks}": (threads, blocks)
    for threads, blocks in ((32, 1), (128, 1), (256, 1), (64, 4), (256, 8))
}
RTOL = 1e-6
# Nine samples, and what the runs of small checks with margin losses and weight decay differ in.
SCALES = {"n": 9, "d": 21, "alpha": [1e-2, 1.0], "depth": [[2.0], [2.5], [4.0]]}
DECAY = [(0.0, 0.5), (0.2, 0.0)]


class Wrong(Exception):
    """A result that is not what it has to be."""


def distance(a, b):
    """The largest relative distance of rows."""
    a, b = (np.asarray(x).reshape(-1, np.shape(x)[-1]) for x in (a, b))
    sizes = np.maximum(np.linalg.norm(b, axis=1), 1e-300)
    return float(np.max(np.linalg.norm(a - b, axis=1) / sizes))


class Contact:
    """The checks; those that a rehearsal cannot make are named in DEVICE_ONLY."""

    def __init__(self, backend):
        self.backend = backend

    def both(self, call, field):
        """How far the device's result is from the CPU's; raises where it is too far."""
        got, expected = call(self.backend), call("cpu")
        found = {
            "distance": distance(field(got), field(expected)),
            "steps": int(np.sum(got.n_steps)) if hasattr(got, "n_steps") else None,
            "cpu_steps": int(np.sum(expected.n_steps)) if hasattr(expected, "n_steps") else None,
            "unlike_status": int(np.sum(got.status != expected.status)),
        }
        if not found["distance"] <= 10 * RTOL or found["unlike_status"]:
            raise Wrong(json.dumps(found))
        return found

    def flow(self, n, d, alpha, depth=2, field=lambda flow: flow.beta, **options):
        """With a margin loss the labels are the signs of y."""
        X, y, _ = krf.datasets.sparse_regression(n, d, 2)
        y = np.sign(y) if "loss" in options else y
        return self.both(
            lambda backend: krf.flow_diagonal(
                X, y, alpha=alpha, depth=depth, rtol=RTOL, backend=backend, **options
            ),
            field,
        )

    def device(self):
        import cupy as cp

        runtime = cp.cuda.runtime
        found = runtime.getDeviceProperties(0)
        return {
            "name": found["name"].decode(),
            "processors": found["multiProcessorCount"],
            "l2_bytes": found["l2CacheSize"],
            "driver": runtime.driverGetVersion(),
        }

    def queue(self):
        parts.test_every_run_of_a_queue_is_drawn_once(5000)

    def primitives(self, layout):
        """The primitives of one team against NumPy."""
        block = parts.DeviceBlock(*layout)
        for n in (8, 40, 100, 129):
            parts.test_gram_and_sweep(block, n, 33)
            parts.test_factors_and_solves(block, n)
            parts.test_solves_by_a_stale_inverse(block, n)
            for largest in ("first", "last"):
                parts.test_solves_with_graded_matrices(block, n, largest)
            parts.test_reductions_products_and_choices(block, n)

    def small_flows(self):
        return self.flow(9, 21, [1e-3, 1.0], [[2], [3], [5]], t_max=50.0, stop_loss=0.0)

    def small_limits(self):
        X, y, _ = krf.datasets.sparse_regression(9, 21, 2)
        return self.both(
            lambda backend: krf.limit_diagonal(X, y, alpha=[1e-3, 1.0], backend=backend),
            lambda limit: limit.beta,
        )

    def decay(self):
        """Weight decay that ends, and averages of the predictor."""
        return self.flow(
            **SCALES, weight_decay=DECAY, averaged=True, t_eval=[0.1, 0.5],
            field=lambda flow: np.stack([flow.beta, flow.beta_mean]),
        )  # fmt: skip

    def margins(self):
        return self.flow(**SCALES, loss="logistic", log_loss_eval=[-1.0, -50.0])

    def margins_decay(self):
        return self.flow(**SCALES, loss="logistic", weight_decay=DECAY, t_eval=[0.1, 0.5])

    def factorization(self):
        data = krf.datasets.low_rank_completion(4, 5, 1, 13)
        return self.both(
            lambda backend: krf.flow_factorization(
                data.y, entries=data.entries, dims=(4, 5), alpha=[1e-2, 1.0], width=5,
                t_eval=[1.0, 5.0], rtol=RTOL, backend=backend,
            ),
            lambda flow: np.reshape(flow.M, (4, -1)),
        )  # fmt: skip

    def factorization_margins(self):
        data = krf.datasets.low_rank_completion(4, 5, 1, 13)
        return self.both(
            lambda backend: krf.flow_factorization(
                np.sign(data.y), entries=data.entries, dims=(4, 5), alpha=[1e-2, 1.0], width=5,
                loss="exponential", log_loss_eval=[-1.0, -50.0], rtol=RTOL, backend=backend,
            ),
            lambda flow: np.reshape(flow.M, (4, -1)),
        )  # fmt: skip

    def linear_networks(self):
        X, Y, _ = krf.datasets.sparse_regression(8, 5, 2)
        return self.both(
            lambda backend: krf.flow_linear(
                X, np.stack([Y, -2.0 * Y[::-1]], axis=1), alpha=[1e-2, 1.0], width=[[3], [50]],
                t_eval=[0.1, 1.0], rtol=RTOL, backend=backend,
            ),
            lambda flow: np.reshape(flow.M, (8, -1)),
        )  # fmt: skip

    def networks(self):
        data = krf.datasets.circle_teacher(6)
        return self.both(
            lambda backend: krf.flow_mlp(
                data.X, data.y, width=6, alpha=[0.3, 1.0], t_max=1.0, stop_loss=0.0, rtol=RTOL,
                backend=backend,
            ),
            lambda flow: flow.predict(data.X),
        )  # fmt: skip

    def cluster(self):
        return self.flow(130, 140, [0.5], t_max=1e-2, stop_loss=0.0, method="radau5")

    def cluster_margins(self):
        return self.flow(130, 140, [0.5], loss="logistic", log_loss_eval=[4.0, 1.0])

    def cluster_margins_decay(self):
        decay = [(0.0, 0.5), (0.005, 0.0)]
        return self.flow(130, 140, [0.5], loss="logistic", weight_decay=decay, t_eval=[1e-2])

    def hundred(self):
        return self.flow(100, 1000, np.geomspace(1e-6, 1.0, 8), t_max=10.0, stop_loss=0.0)

    def clusters(self):
        return self.flow(257, 700, np.geomspace(1e-3, 1.0, 4), t_max=1.0, stop_loss=0.0)

    def same_bits(self):
        X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)

        def flow():
            alpha = np.geomspace(1e-6, 1.0, 300)
            return krf.flow_diagonal(X, y, alpha=alpha, stop_loss=1e-12, backend=self.backend)

        a, b = flow(), flow()
        if not (np.array_equal(a.beta, b.beta) and np.array_equal(a.n_steps, b.n_steps)):
            raise Wrong(f"{int(np.sum(np.any(a.beta != b.beta, axis=-1)))} of 300 runs differ")

    def interrupt(self):
        """Seconds from Ctrl-C to the end of the call."""
        X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        wait = 0.7
        alarm = threading.Timer(wait, lambda: os.kill(os.getpid(), signal.SIGINT))
        alpha = np.full(200_000 if self.backend == "cuda" else 2000, 1e-5)
        start = time.perf_counter()
        alarm.start()
        try:
            krf.flow_diagonal(X, y, alpha=alpha, rtol=1e-9, backend=self.backend)
        except KeyboardInterrupt:
            return round(time.perf_counter() - start - wait, 3)
        finally:
            alarm.cancel()
        raise Wrong("it ended before the signal, or in spite of it")

    def threads(self):
        """For each number of threads a block: runs a second, microseconds of a processor a step."""
        import cupy as cp

        X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)
        alpha, found = np.geomspace(1e-6, 1.0, 2112), []
        processors = cp.cuda.runtime.getDeviceProperties(0)["multiProcessorCount"]
        try:
            for threads in (256, 128, 64, 256):
                os.environ["KRF_CUDA_THREADS"] = str(threads)
                start = time.perf_counter()
                flow = krf.flow_diagonal(X, y, alpha=alpha, stop_loss=1e-12, backend=self.backend)
                seconds = time.perf_counter() - start
                step = 1e6 * seconds * processors / flow.n_steps.sum()
                found.append((threads, round(len(alpha) / seconds), round(step, 1)))
        finally:
            del os.environ["KRF_CUDA_THREADS"]
        return found


SMALL = ("device", "queue", *LAYOUTS, "small_flows", "small_limits", "decay", "margins",
         "margins_decay", "factorization", "factorization_margins", "linear_networks", "networks",
         "cluster", "cluster_margins", "cluster_margins_decay")  # fmt: skip
LARGE = ("hundred", "clusters", "same_bits", "interrupt", "threads")
DEVICE_ONLY = ("device", "queue", *LAYOUTS, "threads")


def own_memory():
    """Allocate every array on its own, with NaN in what is taken uninitialised."""
    import cupy as cp

    cp.cuda.set_allocator(None)
    empty = cp.empty

    def poisoned(*shape, **options):
        array = empty(*shape, **options)
        if array.dtype == np.float64:
            array.fill(np.nan)
        return array

    cp.empty = poisoned


def run_here(contact, names):
    """Prints the row of every check; returns how many failed."""
    failed = 0
    for name in names:
        row, start = {"check": name}, time.perf_counter()
        try:
            if name in LAYOUTS:
                row["found"] = contact.primitives(LAYOUTS[name])
            else:
                row["found"] = getattr(contact, name)()
        except BaseException as error:  # an interrupt that comes late, and whatever CuPy raises
            failed += 1
            row["failed"] = f"{type(error).__name__}: {error}"[:600]
        row["seconds"] = round(time.perf_counter() - start, 3)
        print(json.dumps(row), flush=True)
    print(json.dumps({"failed": failed}), flush=True)
    return failed


def chosen(options, parser):
    """The names of the checks that are wanted, and possible on the backend."""
    names = SMALL if options.small else SMALL + LARGE
    if options.only:
        names = options.only.split(",")
        unknown = set(names) - {*SMALL, *LARGE}
        if unknown:
            parser.error(f"--only: got {sorted(unknown)}, expected some of {SMALL + LARGE}")
    return [name for name in names if options.backend == "cuda" or name not in DEVICE_ONLY]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="cuda")
    parser.add_argument(
        "--small", action="store_true", help="only the checks short enough for a sanitizer"
    )
    parser.add_argument("--here", action="store_true", help="in this process")
    parser.add_argument("--pool", action="store_true", help="keep CuPy's pool of memory")
    parser.add_argument("--only", help="names of checks, with commas between")
    options = parser.parse_args()
    names = chosen(options, parser)
    if not options.here:
        command = [sys.executable, str(HERE), "--here", "--backend", options.backend]
        return supervise(command + ["--pool"] * options.pool, names) > 0
    if options.backend == "cuda" and not options.pool:
        own_memory()
    return run_here(Contact(options.backend), names) > 0


if __name__ == "__main__":
    sys.exit(main())
