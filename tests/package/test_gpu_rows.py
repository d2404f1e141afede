"""The checks and rows of bench/ for a GPU: rehearsed on the CPU, and where a device is at fault."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest
from test_gpu_script import BENCH, TESTS, pytest_command, rows_in, script, shows_tests_that_passed

ILLEGAL = "cudaEventQuery(event) at csrc/cuda/runtime.cu:40: an illegal memory access"
FAULTS = [
    f"RuntimeError: {ILLEGAL}",
    "CUDARuntimeError: cudaErrorIllegalAddress: an illegal memory access was encountered",
    "CUDADriverError: CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure",
]
NO_FAULTS = [
    "MemoryError: cudaMalloc(&p, n) at csrc/cuda/runtime.cu:40: out of memory",
    "CUDARuntimeError: cudaErrorMemoryAllocation: out of memory",
    "Wrong: 0.1",
]


@pytest.fixture
def supervise():
    spec = importlib.util.spec_from_file_location("supervise", BENCH / "device" / "supervise.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_errors_of_a_device_are_told_from_other_failures(supervise):
    assert all(map(supervise.is_device_fault, FAULTS))
    assert not any(map(supervise.is_device_fault, NO_FAULTS))
    ours, theirs = (
        re.findall(r"^DEVICE_FAULT = (.*)$", path.read_text(), re.MULTILINE)
        for path in (TESTS / "device_fault.py", BENCH / "device" / "supervise.py")
    )
    assert ours == theirs
    assert len(ours) == 1


def test_a_worker_whose_device_is_at_fault_is_replaced(tmp_path):
    """In place of a device: a flag, and calls that fail after it has been set."""
    pytest.importorskip("xdist")
    (tmp_path / "test_kernels.py").write_text(
        "import pytest\n"
        "broken = []\n"
        "def call(error=None):\n"
        "    assert not broken, 'after an error of the device'\n"
        "    if error is not None:\n"
        "        broken.extend([error] * isinstance(error, RuntimeError))\n"
        "        raise error\n"
        f"@pytest.mark.parametrize('kind', [MemoryError, RuntimeError])\n"
        f"def test_flow(kind): call(kind({ILLEGAL!r}))\n"
        "@pytest.mark.parametrize('number', range(3))\n"
        "def test_passes(number): call()\n"
    )
    asked = dict(re.findall(r"^export (KRF_END\w+)=(\w+)", script(), re.MULTILINE))
    # The process that starts workers must not take itself for one of those that run this test.
    ours = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [*pytest_command(workers=1), "-p", "device_fault", "-c", os.devnull, "."],
        env=ours | asked | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(TESTS)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # That which ends its worker fails twice: by itself, and as what was running then.
    assert re.search(r"^=+ 3 failed, 3 passed", done.stdout, re.MULTILINE), done.stdout
    assert done.stdout.count("replacing crashed worker") == 1
    assert shows_tests_that_passed(done.stdout)


def test_the_tests_of_the_package_end_such_workers(request):
    hooks = request.config.hook.pytest_runtest_logreport.get_hookimpls()
    assert any(hook.function.__module__ == "device_fault" for hook in hooks)


CHILD = """
import json, os, sys, time
for name in sys.argv[2].split(","):
    if name == "crash":
        os._exit(7)
    if name == "hang":
        time.sleep(60)
    row = {"check": name}
    if name == "wrong" or name == "fault" or os.environ.get("BROKEN"):
        row["failed"] = "Wrong: 0.1" if name == "wrong" else FAULT
    if name == "fault":
        os.environ["BROKEN"] = "1"
    print("told besides")
    print(json.dumps(row), flush=True)
"""


def test_checks_go_on_after_an_error_of_the_device(supervise, capfd):
    command = [sys.executable, "-P", "-c", CHILD.replace("FAULT", repr(FAULTS[0]))]
    names = ["first", "wrong", "fault", "second", "crash", "hang", "last"]
    assert supervise.supervise(command, names, silence=1.0) == 4
    out, err = capfd.readouterr()
    *rows, last = map(json.loads, out.splitlines())
    assert [(row["check"], row.get("failed")) for row in rows] == [
        ("first", None), ("wrong", "Wrong: 0.1"), ("fault", FAULTS[0]), ("second", None),
        ("crash", "the process ended with 7"), ("hang", "no answer for 1 s"), ("last", None),
    ]  # fmt: skip
    assert last == {"failed": 4}
    assert "told besides" in err


def test_contact_makes_every_check_of_a_primitive():
    parts = (TESTS / "native" / "test_team_parts.py").read_text()
    checks = re.findall(r"^def (test_\w+)\(block\b", parts, re.MULTILINE)
    contact = (BENCH / "device" / "first_contact.py").read_text()
    assert len(checks) >= 5
    assert [name for name in checks if f"parts.{name}(block" not in contact] == []


def test_contact_is_rehearsed_on_the_cpu():
    done = subprocess.run(
        [sys.executable, str(BENCH / "device" / "first_contact.py"), "--backend", "cpu", "--small"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, rows
    assert [row["check"] for row in rows[:-1]] == [
        "small_flows", "small_limits", "decay", "margins", "margins_decay", "factorization",
        "factorization_margins", "linear_networks", "networks", "cluster", "cluster_margins",
        "cluster_margins_decay",
    ]  # fmt: skip
    assert rows[-1] == {"failed": 0}


def measure(out, *options, **state):
    command = [sys.executable, str(BENCH / "gpu.py"), "--backend", "cpu", "--out", str(out)]
    done = subprocess.run([*command, *options], capture_output=True, check=False, **state)
    head, *rows = rows_in(out)
    assert head["case"] == "head"
    return done.returncode, head, rows


def test_rows_are_rehearsed_on_the_cpu(tmp_path):
    build = {"commit": "abc", "flags": []}
    status, head, rows = measure(
        tmp_path / "rows.jsonl", "--runs", "1,2000", "--repeats", "2,1", "--only", "margin,decay",
        env=os.environ | {"KRF_BUILD": json.dumps(build)},
    )  # fmt: skip
    assert status == 0
    assert head["build"] == build
    assert [(row["case"], row["difference"]) for row in rows] == [
        ("margin, 1 runs", 0.0), ("decay, 1 runs", 0.0),
    ]  # fmt: skip
    for row in rows:
        assert row["half_range"] > 0.0
        assert row["cpu_half_range"] is None  # of one sample
        assert 0.0 < row["solve_seconds"] <= row["seconds"]
        assert 0.0 < row["error"] == row["cpu_error"] < 1e-5
        assert row["error_of_runs"] == 1


def test_a_depth_of_figure_6_is_that_of_the_figure(tmp_path):
    program = (
        f"import sys; sys.path.insert(0, {str(BENCH / 'device')!r})\n"
        "import numpy as np, problems\n"
        "from kernelrich_fast.experiments import fig6\n"
        "one = problems.figure6(2, 1, 'cpu', slice(-1, None))\n"
        "all = fig6.circle_data(slice(-1, None), (0,), 'cpu', False)\n"
        "assert np.array_equal(one.test_rmse.sel(depth=2), all.test_rmse.sel(depth=2))\n"
        "assert one.sizes == dict(all.sizes) | {'depth': 1}\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True)


STAND_INS = """
import ctypes, sys, time, types
sys.path.insert(0, DEVICE)
import numpy as np, compare, kernelrich_fast as krf
options = types.SimpleNamespace(backend="cpu", out=OUT, limit=0.3, repeats=[2, 2], only="-")
found = compare.Comparison(options)
found.grace = 0.5
X, y, _ = krf.datasets.sparse_regression(20, 50, 2)
calls = []

def short(backend):
    return krf.limit_diagonal(X, y, alpha=[0.1, 1.0], backend="cpu")

def long(backend):
    calls.append(backend)
    if len(calls) == 3:
        krf.flow_diagonal(X, y, alpha=np.full(10**6, 1e-5), rtol=1e-9, backend="cpu")
    return short(backend)

def interrupted(backend):
    raise KeyboardInterrupt

def stuck(backend):
    mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)

beta = lambda result: result.beta
found.add("long", long, beta)
found.add("inexact", short, beta, accurate=([0], lambda: time.sleep(9.0)))
try:
    found.add("interrupted", interrupted, beta)
except KeyboardInterrupt:
    found.add("stuck", stuck, beta)
"""


def test_a_row_that_takes_too_long_keeps_its_times_and_the_next_follows(tmp_path):
    out = tmp_path / "rows.jsonl"
    program = STAND_INS.replace("DEVICE", repr(str(BENCH / "device"))).replace(
        "OUT", repr(str(out))
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=False)
    assert done.returncode == 3  # what is stuck ends the process
    long, inexact, interrupted, stuck = rows_in(out)[1:]
    assert long["failed"] == "TimeoutError: not done in 0.3 s"
    assert long["seconds"] is None
    assert inexact["difference"] == 0.0
    assert inexact["seconds"] > 0.0
    assert "accurate solution: TimeoutError" in inexact["failed"]
    assert interrupted["failed"].startswith("KeyboardInterrupt")
    assert stuck["failed"] == "TimeoutError: no answer for 0.8 s"


def test_a_row_that_fails_does_not_end_the_others(tmp_path):
    out = tmp_path / "rows.jsonl"
    words = ["gpu.py", "--backend", "cpu", "--runs", "16", "--out", str(out), "--only"]
    program = (
        f"import os, runpy, sys; os.chdir({str(BENCH)!r})\n"
        f"sys.argv = {[*words, 'limit,limit,crossover_linear']!r}\n"
        "import kernelrich_fast as krf\n"
        f"errors = ['of the row', {ILLEGAL!r}]\n"
        "def broken(*a, **k): raise RuntimeError(errors.pop(0))\n"
        "krf.datasets.sparse_regression = broken\n"  # before the first call of the row
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=False)
    assert done.returncode == 1
    # What is left after an error of the device goes to a process where nothing is broken.
    assert [(row["case"], "failed" in row) for row in rows_in(out)] == [
        ("head", False), ("limit", True), ("limit", True),
        ("head", False), ("crossover, linear, 10 x 10, 16 runs", False),
    ]  # fmt: skip
