"""Imports and includes point downwards only."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kernelrich_fast"

# Most specific prefix first; a module may import its own layer and those below.
PYTHON = [
    ("__main__", 6), ("__init__", 6),
    ("experiments", 5), ("plot", 5), ("bench", 5), ("explorer", 5),
    ("sweeps", 4), ("config", 4),
    ("theory.critical", 4), ("theory.basis_pursuit", 4), ("theory.__init__", 4),
    ("diagonal", 3), ("factorization", 3), ("mlp", 3), ("mlp_start", 3), ("_runs", 3),
    ("saddle_path", 3), ("diagonal_start", 3), ("diagonal_results", 3), ("decayed_limit", 3),
    ("margin", 3), ("margin_flow", 3), ("margin_clock", 3), ("linear", 3), ("linear_data", 3),
    ("factor_start", 3), ("factorization_results", 3),
    ("backends", 2), ("_core", 1), ("_cuda", 1), ("_testing", 1),
    ("theory", 1), ("datasets", 1), ("equations", 1), ("initialization", 1), ("measurements", 1),
    ("errors", 0), ("_device", 0), ("_validate", 0), ("_blas", 0), ("_types", 0), ("status", 0),
    ("_results", 0), ("_bars", 0), ("schedules", 0), ("_lasso", 0), ("_spelling", 0),
    ("_messages", 0),
]  # fmt: skip
CPP = {
    "core": {"core"},
    "cpu": {"core", "cpu"},
    "cuda": {"core", "cuda"},
    "bindings": {"core", "cpu", "cuda", "bindings"},
}
STANDARD_IN_CORE = {"cmath", "cstdint", "cstring"}
# Folders of csrc/core; files that lie in csrc/core itself count as "base".
CORE = {
    "base": {"base"},
    "ode": {"base", "linalg", "ode"},
    "linalg": {"base", "linalg"},
    "margin": {"base", "ode", "linalg", "margin"},
    "diagonal": {"base", "ode", "linalg", "margin", "diagonal"},
    "factorization": {"base", "ode", "linalg", "margin", "factorization"},
    "linear": {"base", "ode", "linalg", "factorization", "linear"},
    "mlp": {"base", "ode", "linalg", "mlp"},
    "families": {"base", "diagonal", "factorization", "linear", "mlp", "families"},
}


def layer(module: str) -> int:
    for prefix, rank in PYTHON:
        if module == prefix or module.startswith(prefix + "."):
            return rank
    raise AssertionError(f"{module} has no layer: give it a place in tests/package/test_layers.py")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports, as far as they can be told apart."""
    here = list(path.relative_to(PACKAGE).with_suffix("").parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        base = here[: len(here) - node.level]
        target = base + (node.module.split(".") if node.module else [])
        for alias in node.names:
            inner = [*target, alias.name]
            folder = PACKAGE.joinpath(*inner)
            if folder.with_suffix(".py").exists() or folder.with_suffix(".pyi").exists():
                found.add(".".join(inner))
            elif folder.is_dir():
                found.add(".".join([*inner, "__init__"]))
            elif PACKAGE.joinpath(*target).is_dir():
                found.add(".".join([*target, "__init__"]))
            else:
                found.add(".".join(target))
    return found


def test_python_imports_point_downwards():
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 25
    for path in files:
        for target in imports_of(path):
            rank = layer(name_of(path))
            assert layer(target) <= rank, f"{name_of(path)} imports {target}, a higher layer"


def test_the_check_sees_an_upward_import(tmp_path, monkeypatch):
    assert layer("theory.interpolants") < layer("sweeps._measures")
    assert "backends.__init__" in imports_of(PACKAGE / "diagonal.py")
    assert "theory.interpolants" in imports_of(PACKAGE / "sweeps" / "_measures.py")


def test_native_modules_and_cupy_are_imported_by_backends_only():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if re.search(r"import (_core|_cuda|cupy)|from \.+(_core|_cuda)", text):
            assert path.parent.name == "backends" or path.name == "_device.py", path
    assert "_core" not in (PACKAGE / "_device.py").read_text()


def core_folder(path: Path) -> str:
    if path.name == "families.hpp":
        return "families"
    folder = path.relative_to(ROOT / "csrc" / "core").parent.name
    return folder or "base"


def test_includes_point_downwards():
    files = [p for p in (ROOT / "csrc").rglob("*") if p.suffix in {".hpp", ".cpp", ".cu", ".cuh"}]
    assert len(files) > 15
    for path in files:
        part = path.relative_to(ROOT / "csrc").parts[0]
        for kind, target in re.findall(r'#include\s+([<"])([^>"]+)[>"]', path.read_text()):
            if kind == "<":
                assert part != "core" or target in STANDARD_IN_CORE, (path, target)
                assert ("pybind11" in target) <= (part == "bindings"), (path, target)
                continue
            resolved = (path.parent / target).resolve()
            assert resolved.exists(), (path, target)
            assert resolved.relative_to(ROOT / "csrc").parts[0] in CPP[part], (path, target)
            if part == "core":
                assert core_folder(resolved) in CORE[core_folder(path)], (path, target)


def test_files_stay_small():
    for path in [
        *PACKAGE.rglob("*.py"),
        *(ROOT / "csrc").rglob("*.?pp"),
        *ROOT.glob("*/*.py"),
        *ROOT.glob("tests/*/*.py"),
    ]:
        assert len(path.read_text().splitlines()) <= 400, path


def functions_of(path: Path):
    """(lines, first line) of every function of a core header."""
    lines = path.read_text().splitlines()
    start = 0
    while start < len(lines):
        end, depth, opened = start, 0, False
        if "KRF_HD" in lines[start] and not lines[start].startswith("#"):
            for end in range(start, len(lines)):
                depth += lines[end].count("{") - lines[end].count("}")
                opened = opened or "{" in lines[end]
                if depth <= 0 and (opened or lines[end].rstrip().endswith(";")):
                    break
            yield end - start + 1, lines[start].strip()
        start = end + 1


def test_functions_of_core_stay_short():
    found = [(*f, p.name) for p in (ROOT / "csrc" / "core").rglob("*.hpp") for f in functions_of(p)]
    assert len(found) > 300
    assert max(found)[0] <= 40, max(found)
