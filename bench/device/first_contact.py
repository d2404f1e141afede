"""Is the CUDA backend right? Checks in the order of what is likeliest to fail, a JSON line each.

    python bench/device/first_contact.py [--small] [--pool] [--only WORDS] [--backend cpu]

Every check is caught. An error of the device stays with the process, so that all later checks fail
as well: the first one counts. Without ``--pool`` every array has memory of its own, filled with NaN
where the backend takes it uninitialised, so that ``compute-sanitizer --tool memcheck`` sees where
it ends; ``--small`` are the checks for that. ``--backend cpu`` is a rehearsal without a device.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time

import numpy as np

import kernelrich_fast as krf

PRODUCTS, SOLVE, SOLVE_COMPLEX = 4, 2, 3  # csrc/cuda/team_parts.hpp
LAYOUTS = ((32, 1), (128, 1), (256, 1), (64, 4), (256, 8))  # threads a block, blocks a team
RTOL = 1e-6


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

    def flow(self, n, d, alpha, depth=2, **options):
        X, y, _ = krf.datasets.sparse_regression(n, d, 2)
        return self.both(
            lambda backend: krf.flow_diagonal(
                X, y, alpha=alpha, depth=depth, rtol=RTOL, backend=backend, **options
            ),
            lambda flow: flow.beta,
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
        import cupy as cp

        from kernelrich_fast import _cuda

        count = 5000
        order = cp.asarray(np.random.default_rng(0).permutation(count))
        drawn, counters = cp.zeros(count, dtype=np.int32), cp.zeros(2, dtype=np.int64)
        queue = {
            "order": order.data.ptr, "count": count,
            "next": counters.data.ptr, "finished": counters[1:].data.ptr,
        }  # fmt: skip
        plan = _cuda.plan_part(1, 1, 64, 1) | {"teams": 300}
        room = cp.zeros(plan["teams"] * plan["doubles_per_team"])
        stream = cp.cuda.get_current_stream().ptr
        _cuda.draw(queue, drawn.data.ptr, plan, room.data.ptr, stream)
        if not (cp.asnumpy(drawn) == 1).all():
            raise Wrong(f"drawn {cp.asnumpy(drawn).min()} to {cp.asnumpy(drawn).max()} times")
        return int(counters[1])

    def primitives(self, layout):
        """Products and solves of one team; the largest error and where it is."""
        rng, errors = np.random.default_rng(1), {}
        for n in (8, 40, 100, 129):
            ld = -(-n // 8) * 8
            P, Q = rng.standard_normal((2, 9, n))
            product = part(layout, PRODUCTS, n, 9, padded(P, ld), padded(Q, ld), 81).reshape(9, 9)
            errors[f"product {n}"] = float(np.abs(product - P @ Q.T).max())
            M = rng.standard_normal((n, 2 * n))
            M, b = M @ M.T / n, rng.standard_normal(n)
            x = part(layout, SOLVE, n, 1, padded(M, ld), padded(b[None], ld), ld + 1)[:n]
            errors[f"solve {n}"] = float(np.linalg.norm(M @ x - b) / np.linalg.norm(b))
            z = part(layout, SOLVE_COMPLEX, n, 1, padded(M, ld), padded(b[None], ld), 2 * ld)
            z = z[:n] + 1j * z[ld : ld + n]
            errors[f"complex {n}"] = float(np.linalg.norm(M @ z + 1j * z - b) / np.linalg.norm(b))
        worst = max(errors, key=errors.get)
        if not max(errors.values()) < 1e-9:
            raise Wrong(json.dumps(errors))
        return worst, errors[worst]

    def small_flows(self):
        return self.flow(9, 21, [1e-3, 1.0], [[2], [3], [5]], t_max=50.0, stop_loss=0.0)

    def small_limits(self):
        X, y, _ = krf.datasets.sparse_regression(9, 21, 2)
        return self.both(
            lambda backend: krf.limit_diagonal(X, y, alpha=[1e-3, 1.0], backend=backend),
            lambda limit: limit.beta,
        )

    def factorization(self):
        data = krf.datasets.low_rank_completion(4, 5, 1, 13)
        return self.both(
            lambda backend: krf.flow_factorization(
                data.y, entries=data.entries, dims=(4, 5), alpha=[1e-2, 1.0], width=5,
                t_eval=[1.0, 5.0], rtol=RTOL, backend=backend,
            ),
            lambda flow: np.reshape(flow.M, (4, -1)),
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

    def device_arrays(self):
        """Distance of results on the device from the CPU's, by package."""
        import cupy as cp

        X, y, _ = krf.datasets.sparse_regression(9, 21, 2)
        expected, found = krf.flow_diagonal(X, y, alpha=0.5, backend="cpu").beta, {}
        for name, put in device_packages().items():
            beta = krf.flow_diagonal(put(X), put(y), alpha=0.5).beta
            if not isinstance(beta, cp.ndarray):
                raise Wrong(f"{name}: the result is {type(beta).__name__}")
            found[name] = distance(cp.asnumpy(beta)[None], expected[None])
        if not max(found.values()) <= 10 * RTOL:
            raise Wrong(json.dumps(found))
        return found

    def threads(self):
        """Runs a second, and microseconds of a processor a step, by threads of a team."""
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


SMALL = ("device", "queue", "primitives", "small_flows", "small_limits", "factorization",
         "networks", "cluster")  # fmt: skip
LARGE = ("hundred", "clusters", "same_bits", "interrupt", "device_arrays", "threads")
DEVICE_ONLY = ("device", "queue", "primitives", "device_arrays", "threads")


def padded(A, ld):
    return np.pad(A, ((0, 0), (0, ld - A.shape[1])))


def part(layout, number, n, m, A, B, length):
    """One primitive of csrc/cuda/team_parts.hpp on one team."""
    import cupy as cp

    from kernelrich_fast import _cuda

    A, B, out = cp.asarray(A), cp.asarray(B), cp.zeros(length)
    plan = _cuda.plan_part(n, m, *layout)
    room, never = cp.zeros(plan["doubles_per_team"]), cp.zeros(1, dtype=np.int32)
    _cuda.part(
        number, n, m, A.data.ptr, B.data.ptr, out.data.ptr, plan, room.data.ptr, never.data.ptr,
        cp.cuda.get_current_stream().ptr,
    )  # fmt: skip
    return cp.asnumpy(out)


def device_packages():
    """By name, what puts an array on the device; those that are installed."""
    import cupy as cp

    found = {"cupy": cp.asarray}
    try:
        import torch

        found["torch"] = lambda a: torch.from_numpy(np.array(a)).cuda()
    except ImportError:
        pass
    try:
        import jax

        jax.config.update("jax_enable_x64", True)
        found["jax"] = jax.numpy.asarray
    except ImportError:
        pass
    return found


def own_memory():
    """One allocation an array, NaN in what is taken uninitialised."""
    import cupy as cp

    cp.cuda.set_allocator(None)
    empty = cp.empty

    def poisoned(*shape, **options):
        array = empty(*shape, **options)
        if array.dtype == np.float64:
            array.fill(np.nan)
        return array

    cp.empty = poisoned


def checks(contact, names):
    for name in names:
        if contact.backend != "cuda" and name in DEVICE_ONLY:
            continue
        if name == "primitives":
            for layout in LAYOUTS:
                yield f"primitives {layout}", lambda layout=layout: contact.primitives(layout)
        else:
            yield name, getattr(contact, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--small", action="store_true", help="the checks for a sanitizer alone")
    parser.add_argument("--pool", action="store_true", help="keep CuPy's pool of memory")
    parser.add_argument("--only", help="names of checks, with commas between")
    options = parser.parse_args()
    if options.backend == "cuda" and not options.pool:
        own_memory()
    names = SMALL if options.small else SMALL + LARGE
    if options.only:
        names = options.only.split(",")
    failed = 0
    for name, check in checks(Contact(options.backend), names):
        row, start = {"check": name}, time.perf_counter()
        try:
            row["found"] = check()
        except BaseException as error:  # an interrupt that comes late, and whatever CuPy raises
            failed += 1
            row["failed"] = f"{type(error).__name__}: {error}"[:600]
        row["seconds"] = round(time.perf_counter() - start, 3)
        print(json.dumps(row), flush=True)
    print(json.dumps({"failed": failed}), flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
