"""Threads, forked and spawned processes, sub-interpreters; memory and Ctrl-C over many calls."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import families
import numpy as np
import pytest
from fallback_cases import fallback_takes
from threadpoolctl import threadpool_info, threadpool_limits

import kernelrich_fast as krf
from kernelrich_fast._blas import one_blas_thread
from kernelrich_fast.backends import available_backends

X, Y, _ = krf.datasets.sparse_regression(6, 12, 2)
CIRCLE = krf.datasets.circle_teacher(5)
FAMILIES = {
    **{name: family.batch for name, family in families.FAMILIES.items()},
    "limit": lambda **o: krf.limit_diagonal(X, Y, alpha=[1e-6, 1e-2, 1.0], **o),
}
BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(missing is not None, reason=f"{name}: {missing}"))
    for name, missing in available_backends().items()
]


def same(first, second):
    """Whether two results have the same bits."""
    for field in dataclasses.fields(first):
        pair = getattr(first, field.name), getattr(second, field.name)
        lists = [each if isinstance(each, list) else [each] for each in pair]
        if not all(np.array_equal(a, b) for a, b in zip(*lists, strict=True)):
            return False
    return True


@pytest.mark.parametrize("family", FAMILIES)
def test_results_do_not_depend_on_what_memory_held(family):
    """All other tests run with NaN in new memory; this one sees that zeros give the same bits."""
    _core = pytest.importorskip("kernelrich_fast._core")
    if not hasattr(_core, "poison_memory"):
        pytest.skip("built without KRF_TESTING=ON")
    poisoned = FAMILIES[family](backend="cpu")
    try:
        _core.poison_memory(False)
        assert same(FAMILIES[family](backend="cpu"), poisoned)
    finally:
        _core.poison_memory(True)


def program(text, folder):
    """Run a program of its own; returns what it printed."""
    file, here = folder / "program.py", Path(__file__).parent
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=300, cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# The fallback has one thread, whatever it is asked for.
@fallback_takes({"family": "diagonal"}, {"family": "limit"})
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_bits_do_not_depend_on_threads(family, backend):
    one, two, seven = (FAMILIES[family](backend=backend, num_threads=n) for n in (1, 2, 7))
    assert same(one, two)
    assert same(one, seven)


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls_from_many_threads(backend):
    """Twelve threads, every family at once: what each gets alone."""
    alone = {name: call(backend=backend) for name, call in FAMILIES.items()}
    names = list(FAMILIES) * (12 if backend == "cpu" else 1)
    random.Random(0).shuffle(names)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda name: FAMILIES[name](backend=backend, num_threads=2), names))
    for name, result in zip(names, found, strict=True):
        assert same(result, alone[name])


def test_one_blas_thread_whoever_asks():
    """Also in a thread that does not own BLAS, and the number is as before when all are done."""
    before = blas_threads()
    inside, leave = threading.Event(), threading.Event()
    seen = []

    def use():
        with one_blas_thread():
            seen.append(blas_threads())
            inside.set()
            leave.wait(10)

    with threadpool_limits(2, user_api="blas"):  # this thread owns it
        limited = blas_threads()
        other = threading.Thread(target=use)
        other.start()
        inside.wait(10)
        with one_blas_thread():
            leave.set()
            other.join()
            seen.append(blas_threads())
        assert blas_threads() == limited
    assert blas_threads() == before
    assert seen == [{1}, {1}]


def blas_threads():
    return {
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_children(tmp_path):
    """Children that begin after native calls, their threads and BLAS have run compute the same."""
    out = program(
        """
import os, warnings
from test_concurrency import FAMILIES, same

warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside other threads: that is it
alone = {name: call() for name, call in FAMILIES.items()}
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if all(same(call(), alone[name]) for name, call in FAMILIES.items()) else 1)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
""",
        tmp_path,
    )
    assert out.strip() == "[0, 0, 0]"


FORKS = int(os.environ.get("KRF_FORKS", "12"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_children_forked_at_any_moment_beside_threads_that_work(tmp_path):
    """They neither hang nor keep BLAS on one thread, and compute the same bits."""
    out = program(
        f"""
import os, random, sys, threading, time, warnings
import numpy as np
from threadpoolctl import threadpool_info
import kernelrich_fast as krf
from kernelrich_fast._blas import one_blas_thread

warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside other threads: that is it
X, y, _ = krf.datasets.sparse_regression(20, 40, 3)
store = os.path.join(os.getcwd(), "sweep.zarr")

def sweep():
    ds = krf.sweep_diagonal(X, y, alpha=[0.1, 1.0], limit=True, progress=False, num_threads=1)
    return ds.l1_norm.values.tobytes()

def flow():
    return krf.flow_diagonal(X, y, alpha=0.1, num_threads=1).beta.tobytes()

def stored():
    krf.sweep_diagonal(X, y, alpha=[0.1, 1.0], progress=False, store=store, num_threads=1)

def blas():
    return [m["num_threads"] for m in threadpool_info() if m["user_api"] == "blas"]

stored()
expected, before = (sweep(), flow()), blas()
stop = threading.Event()

def work(call):
    while not stop.is_set():
        call()

threads = [threading.Thread(target=work, args=(call,)) for call in (sweep, flow, stored)]
for each in threads:
    each.start()
random.seed(0)
codes = []
for _ in range({FORKS}):
    time.sleep(random.uniform(0.0, 0.03))
    child = os.fork()
    if child == 0:
        try:
            fine = blas() == before and (sweep(), flow()) == expected and blas() == before
        except BaseException:
            fine = False
        os._exit(0 if fine else 1)
    end = time.monotonic() + 60.0
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            codes.append(os.waitstatus_to_exitcode(status))
            break
        if time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            codes.append("hangs")
            break
        time.sleep(0.005)
stop.set()
for each in threads:
    each.join()
print(sum(code == 0 for code in codes), [code for code in codes if code != 0])
""",
        tmp_path,
    )
    assert out.strip() == f"{FORKS} []"


def test_spawned_children(tmp_path):
    out = program(
        """
import multiprocessing
from test_concurrency import FAMILIES

def bits(name):
    found = FAMILIES[name]()
    return found.loss.tobytes(), found.status.tobytes()

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(bits, FAMILIES) == [bits(name) for name in FAMILIES])
""",
        tmp_path,
    )
    assert out.strip() == "True"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="one interpreter's own GIL came with 3.12")
def test_sub_interpreters_are_refused(tmp_path):
    """NumPy takes one interpreter per process; the second gets an ImportError, not a crash."""
    out = program(
        """
import kernelrich_fast as krf
import kernelrich_fast._core
try:
    from concurrent import interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

CODE = '''
try:
    import kernelrich_fast._core
    print("taken", flush=True)
except ImportError as error:
    print("refused:", error, flush=True)
'''
other = interpreters.create()
other.exec(CODE) if hasattr(other, "exec") else interpreters.run_string(other, CODE)
print(krf.flow_diagonal([[1.0]], [1.0], alpha=0.5).status == krf.Status.CONVERGED)
""",
        tmp_path,
    )
    assert "refused:" in out
    assert out.strip().endswith("True")


def resident():
    """Resident memory of this process in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc on this system")
def test_memory_stays_flat_over_ten_thousand_calls():
    native = "cpu" if available_backends()["cpu"] is None else "numpy"
    row, one = {"X": [[1.0, 2.0]], "y": [1.0], "backend": native}, {"y": [1.0], "backend": native}
    calls = [
        lambda: krf.flow_diagonal(**row, alpha=1.0),
        lambda: krf.limit_diagonal(**row, alpha=1.0),
        lambda: krf.flow_factorization(**one, entries=([0], [0]), dims=(1, 1), alpha=1.0, width=1),
        lambda: krf.flow_mlp(**row, width=1, seed=3),
    ]
    for call in calls * 250:
        call()
    before = resident()
    for call in calls * 2500:
        call()
    assert resident() - before < 2 * 2**20


def again_and_again(call):
    while True:
        call()


def started_by(timer, call):
    timer.start()  # may be interrupted itself
    again_and_again(call)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(available_backends()["cpu"] is not None, reason="no compiled module")
def test_interrupted_a_hundred_times():
    """At random moments of calls that would go on: KeyboardInterrupt, and all is as before."""
    X, y, _ = krf.datasets.sparse_regression(30, 100, 3)
    data = krf.datasets.low_rank_completion(8, 8, 1, 40)
    endless = [
        lambda: krf.flow_diagonal(X, y, alpha=np.full(3000, 1e-3), depth=3, backend="cpu"),
        lambda: krf.limit_diagonal(X, y, alpha=np.full(100_000, 1e-6), backend="cpu"),
        lambda: krf.flow_factorization(
            data.y, entries=data.entries, dims=(8, 8), alpha=np.full(20_000, 1e-3), width=8,
            backend="cpu",
        ),
        lambda: krf.flow_mlp(CIRCLE.X, CIRCLE.y, alpha=np.full(5000, 0.3), backend="cpu"),
    ]  # fmt: skip
    expected = FAMILIES["diagonal"]()
    moments = random.Random(1)
    for count in range(100):
        timer = threading.Timer(moments.uniform(0.0, 0.1), os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            started_by(timer, endless[count % len(endless)])
        timer.join()
        if count % 10 == 9:
            assert same(FAMILIES["diagonal"](), expected)
