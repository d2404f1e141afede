"""The README's example runs as printed."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def test_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
    assert len(blocks) == 4
    exec(compile("\n".join(blocks), "README.md", "exec"), {})
    for name in ("population_error.png", "completion.png", "networks.png"):
        assert (tmp_path / name).stat().st_size > 5000
    assert (tmp_path / "sweep.zarr" / "zarr.json").exists()
    assert "0.008" in capsys.readouterr().out


def test_mentioned_files_exist():
    for name in re.findall(r"`([A-Za-z_/]+\.(?:md|py))`", README.read_text()):
        assert (README.parent / name).exists(), name
