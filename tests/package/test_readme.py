"""The README's example runs as printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from matplotlib import image

from kernelrich_fast.bench.report import summary_table

README = Path(__file__).resolve().parents[2] / "README.md"


def test_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
    assert len(blocks) == 1
    exec(compile("\n".join(blocks), "README.md", "exec"), {})
    # The picture shown is the one that the snippet makes.
    made = re.findall(r'savefig\("(\w+\.png)"', "\n".join(blocks))
    shown = re.findall(r"\]\(docs/(\w+\.png)\)", README.read_text())
    assert made == shown == ["population_error.png"]
    for name in made:
        ours, printed = image.imread(tmp_path / name), image.imread(README.parent / "docs" / name)
        assert ours.shape == printed.shape
        assert np.mean(np.abs(ours - printed)) < 0.03, name  # fonts may differ
    assert "0.008" in capsys.readouterr().out


def test_it_is_read_in_two_minutes():
    assert len(README.read_text().splitlines()) <= 120


def test_the_tables_are_what_the_bench_measured():
    result = json.loads((README.parent / "bench" / "results" / "cpu.json").read_text())
    page = README.parent / "docs" / "benchmarks.md"
    few, all_of_it = (
        re.search(r"<!-- bench -->\n(.*?)<!-- /bench -->", file.read_text(), flags=re.S)
        for file in (README, page)
    )
    assert all_of_it[1] == summary_table(result)
    rows = few[1].splitlines()
    assert rows == [row for row in summary_table(result).splitlines() if row in rows]
    assert len(rows) == 7  # two of the head


def test_mentioned_files_exist():
    for name in re.findall(r"`([A-Za-z_/]+\.(?:md|py))`", README.read_text()):
        assert (README.parent / name).exists(), name


def test_every_promise_names_a_test_that_is_there():
    page = (README.parent / "docs" / "promises.md").read_text()
    tests, promised = README.parent / "tests", 0
    for row in (line for line in page.splitlines() if line.startswith("| ")):
        file = None
        for named, test in re.findall(r"`(test_\w+\.py)?::(test_\w+)`", row):
            file = named or file
            assert file, row
            assert f"def {test}(" in next(tests.glob(f"*/{file}")).read_text(), (file, test)
            promised += 1
    assert promised > 50
