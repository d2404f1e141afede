"""What bench/gpu.sh makes of a machine, with stand-ins for the programs that a GPU's has."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
TESTS = BENCH.parent / "tests"
TOOLS = ("bash", "timeout", "mktemp", "grep", "tail", "tee", "cut", "wc")
STAGES = ("check", "measure", "tests")

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason="needs the usual shell tools"
)

PYTHON = r"""#!/usr/bin/env bash
case "$*" in
*prepare.py*) exec "$REAL" "$@" ;;
*'import kernelrich_fast._cuda'*) exit "$ABSENT" ;;
*pytest_timeout*) exit 0 ;;
*'pip install'*) echo "$*" && exit "$REFUSED" ;;
*'kernelrich_fast info'*) echo "  cuda: $CUDA" ;;
*'-m pytest'*) printf '%b\n' "$TESTS" ;;
*first_contact*) echo '{"check": "device", "found": 1}' && sleep "$CONTACT" ;;
*gpu.py*) while [ "$1" != --out ]; do shift; done; echo "{\"build\": $KRF_BUILD}" >>"$2" ;;
esac
"""

# Builds, as its last argument, the experiments of bench/device/micro.
NVCC = r"""#!/usr/bin/env bash
for word; do last=$word; done
printf "%s\n" "#!/usr/bin/env bash" "echo {}" >"$last"
[ -n "$BROKEN" ] || chmod +x "$last"
"""

# Profiles the first kernel of the wanted name. That which packs a family's data comes first, and
# a function's name is without what stands between <>. It exits with 0 where it finds none.
NCU = r"""#!/usr/bin/env bash
base=function
while [ $# -gt 0 ]; do
  [ "$1" = --kernel-name-base ] && base=$2
  [ "$1" = -k ] && wanted=${2#regex:}
  shift
done
for kernel in pack_kernel run_kernel; do
  name=$kernel
  [ $base = demangled ] && name="void krf::cuda::$kernel<krf::generic::$FAMILY, (int)0>(int)"
  if [[ $name =~ $wanted ]]; then
    echo "==PROF== Profiling \"$kernel\": 0%....50%....100% - 20 passes"
    exit 0
  fi
done
echo "==WARNING== No kernels were profiled."
"""

PASSED = "==== 3 passed, 1 skipped in 2.00s ===="


@pytest.fixture
def tree(tmp_path):
    """The script where nothing else is: what lies beside it here, a wheel perhaps, is not meant."""
    for name in ("gpu.sh", "device/prepare.py"):
        copy = tmp_path / "tree" / "bench" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(BENCH / name, copy)
    return tmp_path / "tree"


@pytest.fixture
def start(tmp_path, tree):
    """Starts stages; gives the process and the folder of its results."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("nvidia-smi", "compute-sanitizer"):
        (programs / name).write_text("#!/usr/bin/env bash\nexit 0\n")
    for name, text in (("nvcc", NVCC), ("python3", PYTHON), ("ncu", NCU)):
        (programs / name).write_text(text)
    for each in programs.iterdir():
        each.chmod(0o755)

    def begin(*names, cuda="works", tests=PASSED, broken="", family="DiagonalFlowFamily",
              absent=0, refused=0, contact=0):  # fmt: skip
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        env = os.environ | {
            "CUDA": cuda, "TESTS": tests, "BROKEN": broken, "FAMILY": family,
            "ABSENT": str(absent), "REFUSED": str(refused), "CONTACT": str(contact),
            "REAL": sys.executable,
        }  # fmt: skip
        env["PATH"] = f"{programs}:{env['PATH']}"
        command = ["bash", str(tree / "bench" / "gpu.sh"), str(out), *names]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True), out

    return begin


def rows_in(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def machine(start):
    """Runs stages; gives the exit status, the steps of steps.jsonl and the files that are left."""

    def run(*names, **state):
        process, out = start(*names, **state)
        process.communicate()
        steps = [row for row in rows_in(out / "steps.jsonl") if "step" in row]
        return process.returncode, steps, sorted(each.name for each in out.rglob("*"))

    return run


STEPS = {
    "check": ["micro_build", "micro", "contact", "parts", "memcheck", "flow"],
    "measure": ["rows", "margins", "figures", "ncu", "peers", "synccheck"],
    "tests": ["tests"],
}


@pytest.mark.parametrize("stages", [*((stage,) for stage in STAGES), ("check", "measure")])
def test_a_machine_on_which_all_goes_well(machine, stages):
    status, steps, files = machine(*stages)
    # What tells much in little time comes first.
    expected = ["info", *(step for stage in stages for step in STEPS[stage])]
    assert [each["step"] for each in steps] == expected
    assert [each["step"] for each in steps if each.get("rc", 1)] == []
    assert status == 0
    assert ("micro.jsonl" in files) == ("check" in stages)
    assert len(files) <= 8  # few enough to carry away whole
    assert "log.txt" in files


def test_a_build_that_leaves_no_executable_is_a_failure(machine):
    status, steps, files = machine("check", broken="yes")
    assert status == 1
    assert [each["step"] for each in steps if each["rc"]] == ["micro"]
    assert "micro.jsonl" not in files


def test_what_a_step_found_before_its_time_was_over_is_kept(machine, tree, tmp_path):
    (tree / ".whl").mkdir()
    micro = tree / ".whl" / "micro"
    micro.write_text("#!/bin/sh\necho '{\"experiment\": 1}'\nprintf '{\"exp'\nexit 124\n")
    micro.chmod(0o755)
    status, steps, _ = machine("check", "micro")
    assert status == 1
    assert [each["step"] for each in steps] == ["info", "micro"]
    assert rows_in(tmp_path / "out" / "micro.jsonl") == [{"experiment": 1}]


def test_a_profile_of_no_kernel_is_a_failure(machine, tmp_path):
    status, steps, files = machine("measure", "ncu")
    assert status == 0
    assert '==PROF== Profiling "run_kernel"' in (tmp_path / "out" / "ncu.txt").read_text()
    status, steps, files = machine("measure", "ncu", family="RenamedFamily")
    assert status == 1
    assert steps[-1] == {"step": "ncu", "nothing_was_profiled": True}
    assert "ncu.txt" in files


def test_without_a_wheel_it_ends_at_once_and_says_how_to_make_one(machine, tmp_path):
    status, steps, _ = machine("check", absent=1)
    assert status == 1
    assert [(each["step"], each["rc"]) for each in steps] == [("wheel", 1)]
    said = (tmp_path / "out" / "log.txt").read_text()
    for word in ("cp312", "python3.12 bench/device/prepare.py build", "`build`"):
        assert word in said
    status, steps, _ = machine("check", "build", "contact", absent=1)
    assert status == 0
    assert [each["step"] for each in steps] == ["build", "info", "contact"]


def test_the_wheel_is_installed_over_what_is_there_and_named_in_the_results(
    machine, tree, tmp_path
):
    made = write_wheel(tree)
    for absent in (0, 1):
        status, steps, _ = machine("check", "flow", absent=absent)
        assert status == 0
        assert [each["step"] for each in steps] == ["wheel", "install", "info", "flow"]
        for name in ("steps.jsonl", "rows.jsonl"):
            assert {"build": made} in rows_in(tmp_path / "out" / name)
        said = (tmp_path / "out" / "log.txt").read_text()
        assert f"--force-reinstall --no-index --no-deps .whl/{WHEEL}" in said
    status, steps, _ = machine("check", "contact", refused=1)  # of another Python
    assert status == 1
    assert [each["step"] for each in steps] == ["wheel", "install"]
    (tree / ".whl" / "BUILD").unlink()
    status, steps, _ = machine("check", "contact")
    assert status == 1
    assert [each["step"] for each in steps] == ["wheel"]


WHEEL = "kernelrich_fast-1.0-cp312-cp312-linux_x86_64.whl"


def write_wheel(root, name=WHEEL, modules=("_core", "_cuda", "_testing"), commit="0" * 40):
    """A wheel and its BUILD, whose content is returned."""
    (root / ".whl").mkdir(parents=True, exist_ok=True)
    wheel = root / ".whl" / name
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("kernelrich_fast/_cuda.pyi", "")
        for module in modules:
            archive.writestr(f"kernelrich_fast/{module}.cpython-312-x86_64-linux-gnu.so", "")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    made = {"commit": commit, "flags": [], "wheel": name, "sha256": sha256}
    (root / ".whl" / "BUILD").write_text(json.dumps(made))
    return made


def test_what_a_step_says_outlives_the_script(start):
    process, out = start("check", "contact", contact=5)
    log, end = out / "log.txt", time.monotonic() + 30.0
    while not (log.exists() and '{"check": "device"' in log.read_text()):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "=== contact" in log.read_text()
    assert '"contact"' not in (out / "steps.jsonl").read_text()  # it had not ended


LEASE, START, COMMAND = 900, 90, 600  # seconds of a machine, to its start, and of one command


def limits(part):
    found = re.findall(r"\bstep (\w+) (?:\"\$\{\w+:-)?(\d+)", part)
    return {name: int(limit) for name, limit in found}


def test_limits_add_up_to_what_the_header_says():
    before, *parts = re.split(r"^(?:check|measure|tests)\(\) {$", script(), flags=re.MULTILINE)
    shared, stages = limits(before), dict(zip(STAGES, map(limits, parts), strict=True))
    for name, apart in (("build", shared), ("micro_build", stages["check"])):
        assert f"{apart.pop(name)} s more" in before
    total = {stage: sum(each.values()) for stage, each in stages.items()}
    for stage in STAGES:
        assert re.search(rf"OUTDIR {stage} .*  At most {total[stage]} s\n", before), total
    install = sum(shared.values())
    assert f"at most {install} s more to install" in before
    # `check measure`, then `tests` on the same machine.
    first = install + total["check"] + total["measure"]
    assert first < COMMAND
    assert START + first + install + total["tests"] <= LEASE
    rows = (BENCH / "device" / "peer_rows.py").read_text()
    peers = len(re.findall(r'^    \("diffrax', rows, flags=re.MULTILINE))
    most = int(re.search(r"--peer-limit (\d+)", script())[1])
    assert 0 < peers * most <= stages["measure"]["peers"] - 20


def script():
    return (BENCH / "gpu.sh").read_text()


def test_the_rows_that_are_measured_exist():
    known = re.search(r"^ROWS = \((.*?)^\)", (BENCH / "gpu.py").read_text(), re.DOTALL | re.M)[1]
    wanted = ",".join(re.findall(r'"\$\{rows\[@\]\}" ([\w,]+)', script())).split(",")
    assert set(re.findall(r"\w+", known)) == set(wanted)


def test_a_test_that_hangs_does_not_hide_what_failed(tmp_path):
    pytest.importorskip("pytest_timeout")
    command = pytest_command()
    assert "--timeout 60 --timeout-method thread" in script()
    # As a kernel that does not end: Python is not asked again, whatever signal arrives.
    (tmp_path / "test_kernels.py").write_text(
        "import ctypes\n"
        "def test_hangs():\n"
        "    mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)\n"
        "    libc.pthread_mutex_lock(mutex)\n"
        "    libc.pthread_mutex_lock(mutex)\n"
        "def test_fails():\n"
        "    assert 1 + 1 == 3\n"
        "def test_passes():\n"
        "    pass\n"
    )
    limit = ["-p", "pytest_timeout", "--timeout", "2", "--timeout-method", "thread"]
    done = subprocess.run(
        ["timeout", "-k", "5", "-s", "INT", "60", *command, *limit, "."],
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert re.search("crashed while running.*test_hangs", done.stdout)
    assert "assert (1 + 1) == 3" in done.stdout
    assert shows_tests_that_passed(done.stdout)


def shows_tests_that_passed(output):
    pattern = re.search(r"grep -qE '(.* passed.*?)'", script())[1]
    return re.search(pattern, output, re.MULTILINE) is not None


def pytest_command(workers=2):
    """The script's way to call pytest, with fewer workers, and without a limit of time."""
    options = " ".join(re.findall(r"pytest\+?=\((.*)\)$", script(), re.MULTILINE))
    words = shlex.split(re.sub("--timeout.*?(?= -[^-]|$)", "", options).replace("8", str(workers)))
    return [sys.executable, *words[1:], "-p", "xdist.plugin", "-p", "xdist.looponfail"]


@pytest.mark.parametrize(
    "tests",
    [
        "==== 11 skipped in 1.00s ====",
        f"SKIPPED [8] tests/x.py:1: cuda: no device\\n{PASSED}",
        f"[gw0] [ 9%] SKIPPED tests/x.py::test_x[{PASSED}-cuda]\\n==== 11 skipped in 1.00s ====",
        "",
    ],
)
def test_tests_that_did_not_run_on_the_device_show_nothing(machine, tests):
    status, steps, _ = machine("check", "tests", tests=tests)
    assert status == 1
    assert [s["step"] for s in steps if "nothing_ran_on_the_device" in s] == ["parts", "tests"]


def test_without_a_device_nothing_else_is_tried(machine):
    status, steps, _ = machine("measure", cuda="not available: no device")
    assert status == 1
    assert [each["step"] for each in steps] == ["info"]


def test_steps_are_chosen_by_name(machine):
    status, steps, files = machine("check", "measure", "contact", "peers")
    assert status == 0
    assert [each["step"] for each in steps] == ["info", "contact", "peers"]
    assert files == ["contact.jsonl", "log.txt", "rows.jsonl", "steps.jsonl"]


@pytest.mark.parametrize("words", [("chekc",), ("check", "contcat"), ("contact",), ()])
def test_an_unknown_stage_or_step_is_an_error(machine, words):
    assert machine(*words) == (2, [], [])
