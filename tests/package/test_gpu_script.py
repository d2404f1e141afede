"""What bench/gpu.sh makes of a machine, with stand-ins for the programs that a GPU's has."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
TOOLS = ("bash", "timeout", "mktemp", "grep", "tail", "tee", "cut", "wc")

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason="needs the usual shell tools"
)

PYTHON = r"""#!/usr/bin/env bash
case "$*" in
*'import kernelrich_fast._cuda'*) exit "$ABSENT" ;;
*pytest_timeout*) exit 0 ;;
*'pip install'*) exit "$REFUSED" ;;
*'kernelrich_fast info'*) echo "  cuda: $CUDA" ;;
*pytest*) printf '%b\n' "$TESTS" ;;
*first_contact*) echo '{"check": "device", "found": 1}' && sleep "$CONTACT" ;;
*gpu.py*) for word; do last=$word; done; echo '{"rows": []}' >"$last" ;;
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
    (tmp_path / "tree" / "bench").mkdir(parents=True)
    return Path(shutil.copy(BENCH / "gpu.sh", tmp_path / "tree" / "bench")).parents[1]


@pytest.fixture
def start(tmp_path, tree):
    """Starts a stage; gives the process and the folder of its results."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("nvidia-smi", "compute-sanitizer"):
        (programs / name).write_text("#!/usr/bin/env bash\nexit 0\n")
    for name, text in (("nvcc", NVCC), ("python3", PYTHON), ("ncu", NCU)):
        (programs / name).write_text(text)
    for each in programs.iterdir():
        each.chmod(0o755)

    def begin(stage, *names, cuda="works", tests=PASSED, broken="", family="DiagonalFlowFamily",
              absent=0, refused=0, contact=0):  # fmt: skip
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        env = os.environ | {
            "CUDA": cuda, "TESTS": tests, "BROKEN": broken, "FAMILY": family,
            "ABSENT": str(absent), "REFUSED": str(refused), "CONTACT": str(contact),
        }  # fmt: skip
        env["PATH"] = f"{programs}:{env['PATH']}"
        command = ["bash", str(tree / "bench" / "gpu.sh"), str(out), stage, *names]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True), out

    return begin


@pytest.fixture
def machine(start):
    """Runs a stage; gives its exit status, the lines of steps.jsonl and the files it left."""

    def run(*names, **state):
        process, out = start(*names, **state)
        process.communicate()
        steps = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
        return process.returncode, steps, sorted(each.name for each in out.rglob("*"))

    return run


@pytest.mark.parametrize("stage", ["check", "measure"])
def test_a_machine_on_which_all_goes_well(machine, stage):
    status, steps, files = machine(stage)
    # What tells much in little time comes first.
    assert [each["step"] for each in steps] == {
        "check": ["info", "micro_build", "micro", "contact", "parts", "memcheck", "flow", "tests"],
        "measure": ["info", "rows", "ncu", "synccheck", "peers"],
    }[stage]
    assert [each["step"] for each in steps if each.get("rc", 1)] == []
    assert status == 0
    assert ("micro.jsonl" in files) == (stage == "check")
    assert len(files) <= 8  # few enough to carry away whole
    assert "log.txt" in files


def test_a_build_that_leaves_no_executable_is_a_failure(machine):
    status, steps, files = machine("check", broken="yes")
    assert status == 1
    assert [each["step"] for each in steps if each["rc"]] == ["micro"]
    assert "micro.jsonl" not in files


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
    assert steps == [{"step": "wheel", "not_there": True}]
    said = (tmp_path / "out" / "log.txt").read_text()
    for word in ("cp312", "KRF_TESTING=ON", "KRF_CUDA_ARCHITECTURES=90-real", "`build`"):
        assert word in said
    status, steps, _ = machine("check", "build", "contact", absent=1)
    assert status == 0
    assert [each["step"] for each in steps] == ["build", "info", "contact"]


def test_a_wheel_is_installed_or_it_ends(machine, tree):
    (tree / ".whl").mkdir()
    (tree / ".whl" / "kernelrich_fast-1.0-cp312-cp312-linux_x86_64.whl").touch()
    status, steps, _ = machine("check", "contact", absent=1)
    assert status == 0
    assert [each["step"] for each in steps] == ["wheel", "info", "contact"]
    status, steps, _ = machine("check", "contact", absent=1, refused=1)  # of another Python
    assert status == 1
    assert [each["step"] for each in steps] == ["wheel"]


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


def limits(part):
    return {name: int(limit) for name, limit in re.findall(r"\bstep (\w+) (\d+) ", part)}


def test_limits_add_up_to_what_the_header_says():
    before, check, measure = re.split(r"^(?:check|measure)\)$", script(), flags=re.MULTILINE)
    shared = limits(before)
    build = shared.pop("build")
    assert f"{build} s more" in before
    for stage, part in (("check", check), ("measure", measure)):
        total = sum((shared | limits(part)).values())
        assert re.search(rf"OUTDIR {stage} .*  At most {total} s\n", before), total
        assert total < 570, stage  # a command on a lent machine may take 600 s
    rows = (BENCH / "gpu.py").read_text()
    peers = len(re.findall(r'^    \("diffrax', rows, flags=re.MULTILINE))
    most = int(re.search(r"--peer-limit (\d+)", measure)[1])
    assert 0 < peers * most <= limits(measure)["peers"] - 20


def script():
    return (BENCH / "gpu.sh").read_text()


def test_the_rows_that_are_measured_exist():
    known = re.search(r"^ROWS = \((.*)\)$", (BENCH / "gpu.py").read_text(), re.MULTILINE)[1]
    wanted = ",".join(re.findall(r"--only ([\w,]+)", script())).split(",")
    assert set(known.split(", ")) >= set(wanted) >= {"flow", "margin", "decay", "peers"}


def test_a_test_that_hangs_does_not_hide_what_failed(tmp_path):
    pytest.importorskip("pytest_timeout")
    options = " ".join(re.findall(r"tests\+?=\((.*)\)$", script(), re.MULTILINE))
    command = shlex.split(options.replace("--timeout 60", "--timeout 2").replace("-n 8", "-n 2"))
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
    plugins = ["-p", "xdist.plugin", "-p", "xdist.looponfail", "-p", "pytest_timeout"]
    done = subprocess.run(
        ["timeout", "-k", "5", "-s", "INT", "60", sys.executable, *command[1:], *plugins, "."],
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert re.search("crashed while running.*test_hangs", done.stdout)
    assert "assert (1 + 1) == 3" in done.stdout
    on_device = re.search(r"grep -qE '(\(.* passed.*?)'", script())[1]
    assert re.search(on_device, done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    "tests",
    ["==== 11 skipped in 1.00s ====", f"SKIPPED [8] tests/x.py:1: cuda: no device\\n{PASSED}", ""],
)
def test_tests_that_did_not_run_on_the_device_show_nothing(machine, tests):
    status, steps, _ = machine("check", tests=tests)
    assert status == 1
    assert [s["step"] for s in steps if "nothing_ran_on_the_device" in s] == ["parts", "tests"]


def test_without_a_device_nothing_else_is_tried(machine):
    status, steps, _ = machine("measure", cuda="not available: no device")
    assert status == 1
    assert [each["step"] for each in steps] == ["info"]


def test_steps_are_chosen_by_name(machine):
    status, steps, files = machine("check", "contact", "tests")
    assert status == 0
    assert [each["step"] for each in steps] == ["info", "contact", "tests"]
    assert files == ["contact.jsonl", "log.txt", "steps.jsonl"]


def test_an_unknown_stage_is_an_error(machine):
    assert machine("chekc")[0] == 2


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


def test_rows_are_rehearsed_on_the_cpu(tmp_path):
    out = tmp_path / "rows.json"
    subprocess.run(
        [sys.executable, str(BENCH / "gpu.py"), "--backend", "cpu", "--runs", "2,2000",
         "--repeats", "1", "--only", "margin,decay", "--out", str(out)],
        capture_output=True, check=True,
    )  # fmt: skip
    rows = json.loads(out.read_text())["rows"]
    assert [(row["case"], row["difference"]) for row in rows] == [
        ("margin, 2 runs", 0.0), ("decay, 2 runs", 0.0),
    ]  # fmt: skip


def test_a_row_that_fails_does_not_end_the_others(tmp_path):
    out = tmp_path / "rows.json"
    program = (
        f"import runpy, sys; sys.argv = ['gpu.py', '--backend', 'cpu', '--runs', '2', '--repeats',"
        f" '1', '--only', 'limit,flow,limit', '--out', {str(out)!r}]\n"
        "import kernelrich_fast as krf\n"
        "def broken(*a, **k): raise RuntimeError('an illegal memory access')\n"
        "krf.flow_diagonal = broken\n"
        f"runpy.run_path({str(BENCH / 'gpu.py')!r}, run_name='__main__')"
    )
    # `limit` wants the flow's times first, which is what fails here.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    rows = json.loads(out.read_text())["rows"]
    assert done.returncode == 1
    assert len(rows) == 3
    assert all("illegal memory access" in row["failed"] for row in rows)
