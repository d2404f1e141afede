"""What a bare machine with a GPU installs: built, and checked, before that machine is started.

    python3.12 bench/device/prepare.py build [PIP OPTIONS]   # where nvcc and a compiler are
    python3 bench/device/prepare.py check

`build` compiles what is committed, whatever else has been changed, for an H100 or H200: the wheel
with the CUDA module and what the tests need, and the experiments of bench/device/micro. It leaves
them in .whl/ with the file BUILD, which says of which commit and with which options. `check` says
what is wrong with them, which pip would say where time is short, or nobody. bench/gpu.sh asks the
same before it installs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = (3, 12)
TAG = "cp{}{}".format(*PYTHON)
FLAGS = ("KRF_TESTING=ON", "KRF_CUDA=ON", "KRF_CUDA_ARCHITECTURES=90-real")
MODULES = ("_core", "_cuda", "_testing")
# What a wheel is made of: commits that differ in nothing else have the same wheel.
SOURCES = ("csrc", "kernelrich_fast", "CMakeLists.txt", "pyproject.toml")
MICRO = "bench/device/micro/micro.cu"
NVCC = (os.environ.get("CUDACXX", "nvcc"), "-O3", "-std=c++20", "-arch=sm_90")
ADVICE = f"""\
Make it where nvcc, a C++20 compiler and Python {PYTHON[0]}.{PYTHON[1]} are:

  python{PYTHON[0]}.{PYTHON[1]} bench/device/prepare.py build

Only if the step `build` is named after the stage does bench/gpu.sh build on the machine itself."""


def run(*command, **options):
    return subprocess.run(command, check=True, **options)


def git(root, *words):
    """What git says; None where it fails, or is not there."""
    try:
        done = run("git", "-C", str(root), *words, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def sources_differ(root, commit, head):
    """Whether the wheel's sources differ between the commits; None where git cannot tell."""
    words = ("git", "-C", str(root), "diff", "--quiet", commit, head, "--", *SOURCES)
    done = subprocess.run(words, check=False, capture_output=True)
    return {0: False, 1: True}.get(done.returncode)  # 128: no such commit, as in a shallow clone


def build(root, options):
    """Fills .whl/; what else lies there, wheels of other packages perhaps, stays."""
    if sys.version_info[:2] != PYTHON:
        raise SystemExit(f"this is Python {sys.version.split()[0]}, the wheel is for {TAG}")
    commit = git(root, "rev-parse", "HEAD")
    if commit is None:
        raise SystemExit(f"{root}: expected a git repository, whose HEAD is built")
    target = root / ".whl"
    target.mkdir(exist_ok=True)
    defines = [word for flag in FLAGS for word in ("-C", f"cmake.define.{flag}")]
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "source"), Path(folder, "out")
        archive = Path(folder, "source.tar")
        run("git", "-C", str(root), "archive", "-o", str(archive), commit)
        with tarfile.open(archive) as tar:
            tar.extractall(source, filter="data")
        pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(out), str(source))
        run(*pip, *defines, *options)
        (wheel,) = out.glob("kernelrich_fast-*.whl")
        for old in [*target.glob("kernelrich_fast-*.whl"), target / "BUILD", target / "micro"]:
            old.unlink(missing_ok=True)
        shutil.copy(wheel, target)
        made = {"commit": commit, "flags": [*FLAGS, *options], "wheel": wheel.name}
        made["sha256"] = digest(target / wheel.name)
        (target / "BUILD").write_text(json.dumps(made) + "\n")
        run(*NVCC, str(source / MICRO), "-o", str(target / "micro"))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def faults(root):
    """What is wrong with .whl/; nothing where it can be used."""
    target = root / ".whl"
    wheels = sorted(target.glob(f"kernelrich_fast-*{TAG}*.whl"))
    if len(wheels) != 1:
        found = ", ".join(each.name for each in wheels) or "none"
        return [f".whl: expected one wheel kernelrich_fast-*{TAG}*.whl, got {found}"]
    (wheel,) = wheels
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    missing = [
        name
        for name in MODULES
        if not any(fnmatch(each, f"kernelrich_fast/{name}.*.so") for each in names)
    ]
    found = [f"{wheel.name}: has no {', '.join(missing)}"] if missing else []
    return found + faults_of_build(root, wheel)


def faults_of_build(root, wheel):
    try:
        made = json.loads((root / ".whl" / "BUILD").read_text())
        commit, same = made["commit"], made["sha256"] == digest(wheel)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f".whl/BUILD: expected what `build` writes, got {type(error).__name__}: {error}"]
    if not same:
        return [f".whl/BUILD: is of another wheel than {wheel.name}"]
    head = git(root, "rev-parse", "HEAD")
    differ = None if head is None else sources_differ(root, commit, head)
    if differ is None:
        print(f"git does not know {commit} here: the wheel may be of other sources than these")
    elif differ:
        return [f"{wheel.name}: is of commit {commit}, whose sources are not those of HEAD {head}"]
    return []


def check(root):
    """Prints what is wrong, or BUILD; returns whether something is."""
    found = faults(root)
    for each in found:
        print(each)
    if found:
        print(ADVICE)
        return True
    print((root / ".whl" / "BUILD").read_text(), end="")
    if not os.access(root / ".whl" / "micro", os.X_OK):
        print(
            f".whl/micro: not there; `{' '.join(NVCC)} {MICRO} -o .whl/micro` saves half a minute"
        )
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("build", "check"))
    options, rest = parser.parse_known_args()
    if options.what == "build":
        build(ROOT, rest)
    elif rest:
        parser.error(f"unknown: {rest}")
    return check(ROOT)


if __name__ == "__main__":
    sys.exit(main())
