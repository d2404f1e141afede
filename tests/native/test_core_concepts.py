"""The contracts of csrc/core: what a team, a system, a method and events must have."""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from host_block import COMPILER, SOURCES

CORE = SOURCES.parents[1] / "csrc" / "core"
HEADERS = sorted(CORE.rglob("*.hpp"))

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


def errors_of(source: Path) -> str:
    command = [COMPILER, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@needs_compiler
def test_every_member_that_is_missing_is_noticed():
    assert errors_of(SOURCES / "concepts.cpp") == ""


@needs_compiler
@pytest.mark.parametrize(
    ("concept", "member", "use"),
    [
        ("StiffSystem", "solve", "Radau5<Broken> method(system, arena);"),
        ("FlowSystem", "loss", "Radau5<Broken> method(system, arena);"),
        ("DenseSystem", "keep_in_domain", "Radau5<Broken> method(system, arena);"),
        ("ExplicitSystem", "evaluate", "Dopri5<Broken> method(system, arena);"),
    ],
)
def test_the_error_names_the_concept_and_the_member(tmp_path, concept, member, use):
    source = tmp_path / "broken.cpp"
    source.write_text(
        f"""
        #include "{CORE}/diagonal/family.hpp"
        #include "{SOURCES}/host_block.hpp"
        struct Broken : DualSystem<HostTeam, Depth2Mirror> {{
          using DualSystem<HostTeam, Depth2Mirror>::DualSystem;
          struct {member} {{}};
        }};
        void check(Broken &system, Arena &arena) {{ {use} }}
        """
    )
    errors = errors_of(source)
    assert concept in errors
    assert re.search(rf"s\.{member}\b", errors), errors


@pytest.fixture(scope="module")
def errors_alone(tmp_path_factory):
    """Of every header what the compiler says where nothing is included before it."""
    folder = tmp_path_factory.mktemp("alone")
    sources = [folder / f"{number}.cpp" for number in range(len(HEADERS))]
    for source, header in zip(sources, HEADERS, strict=True):
        source.write_text(f'#include "{header}"\n')
    # The slow tests run one after the other: this one uses all cores itself.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(HEADERS, pool.map(errors_of, sources), strict=True))


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.relative_to(CORE).as_posix())
def test_every_header_includes_what_it_uses(errors_alone, header):
    assert errors_alone[header] == ""


def test_no_team_system_or_mirror_is_unconstrained():
    assert len(HEADERS) > 30
    for path in HEADERS:
        heads = re.findall(r"template <([^>]*)>\s*(\w+)", path.read_text())
        for parameters, what in heads:
            if what != "concept":
                assert not re.search(r"class (Team|System|Mirror|Loss)", parameters), path
