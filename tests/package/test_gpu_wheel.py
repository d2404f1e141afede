"""The wheel for a lent machine: what is wrong with it is found before that machine starts."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from test_gpu_script import BENCH, WHEEL, write_wheel


@pytest.fixture
def prepare(monkeypatch):
    monkeypatch.delenv("CUDACXX", raising=False)
    spec = importlib.util.spec_from_file_location("prepare", BENCH / "device" / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository of two commits, the second of which changes a kernel."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@b")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    root = tmp_path / "repository"
    micro = root / "bench" / "device" / "micro"
    micro.mkdir(parents=True)
    (root / "csrc").mkdir()
    git(root, "init", "-q")
    for kernel in "ab":
        (root / "csrc" / "kernel.cu").write_text(kernel)
        (micro / "micro.cu").write_text(kernel)
        git(root, "add", ".")
        git(root, "commit", "-q", "-m", kernel)
    return root


def git(root, *words):
    done = subprocess.run(["git", "-C", root, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_wheel_that_would_not_do_is_found_before_a_machine_starts(prepare, repository, capsys):
    root, head = repository, git(repository, "rev-parse", "HEAD")
    assert prepare.check(root)
    assert "got none" in capsys.readouterr().out
    write_wheel(root, commit=head)
    assert not prepare.check(root)
    assert "nvcc -O3" in capsys.readouterr().out  # .whl/micro is missing
    for missing in ("_core", "_cuda", "_testing"):
        modules = {"_core", "_cuda", "_testing"} - {missing}
        write_wheel(root, modules=modules, commit=head)
        assert prepare.faults(root) == [f"{WHEEL}: has no {missing}"]
    write_wheel(root, commit=git(root, "rev-parse", "HEAD^"))
    assert "sources are not those of HEAD" in prepare.faults(root)[0]
    capsys.readouterr()
    write_wheel(root, commit="0" * 40)  # one that this repository, cloned without history, has not
    assert prepare.faults(root) == []
    assert "git does not know 000" in capsys.readouterr().out
    write_wheel(root, commit=head)
    with zipfile.ZipFile(root / ".whl" / WHEEL, "a") as archive:
        archive.writestr("more", "")
    assert "another wheel" in prepare.faults(root)[0]
    write_wheel(root, commit=head)
    (root / "README.md").touch()
    git(root, "add", "README.md")
    git(root, "commit", "-q", "-m", "what is in no wheel")
    assert prepare.faults(root) == []
    (root / ".whl" / "kernelrich_fast-0.9-cp312-cp312-linux_x86_64.whl").touch()
    assert "kernelrich_fast-0.9" in prepare.faults(root)[0]
    (root / ".whl" / "kernelrich_fast-0.9-cp312-cp312-linux_x86_64.whl").unlink()
    (root / ".whl" / "BUILD").write_text("{")
    assert "expected what `build` writes" in prepare.faults(root)[0]


def test_a_build_is_of_what_is_committed_and_says_so(prepare, repository, monkeypatch):
    root, run = repository, prepare.run
    write_wheel(root, "kernelrich_fast-0.9-cp312-cp312-linux_x86_64.whl")
    (root / "csrc" / "kernel.cu").write_text("not committed")
    called = []

    def stand_in(*command, **options):
        if command[0] == "git":
            return run(*command, **options)
        called.append(command)
        if command[0] == "nvcc":
            return Path(command[-1]).touch(mode=0o755)
        source, out = Path(command[7]), Path(command[6])
        assert (source / "csrc" / "kernel.cu").read_text() == "b"
        write_wheel(out.parent)
        out.mkdir()
        return (out.parent / ".whl" / WHEEL).rename(out / WHEEL)

    monkeypatch.setattr(prepare, "run", stand_in)
    monkeypatch.setattr(prepare, "PYTHON", sys.version_info[:2])
    prepare.build(root, ["--no-build-isolation"])
    assert prepare.faults(root) == []
    assert sorted(each.name for each in (root / ".whl").iterdir()) == ["BUILD", WHEEL, "micro"]
    made = json.loads((root / ".whl" / "BUILD").read_text())
    assert made["commit"] == git(root, "rev-parse", "HEAD")
    assert {"KRF_TESTING=ON", "KRF_CUDA=ON", "--no-build-isolation"} <= set(made["flags"])
    assert [command[0] for command in called] == [sys.executable, "nvcc"]
    assert "cmake.define.KRF_CUDA_ARCHITECTURES=90-real" in called[0]
