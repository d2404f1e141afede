"""Tables in Markdown of what was measured, and the names of all files."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .pictures import draw_all

__all__ = ["files_of", "keep_earlier", "summary_table", "write_report"]


def files_of(result: dict[str, Any]) -> list[str]:
    """The names of the files of a result."""
    timed = {row["case"] for row in result["rows"] if row["seconds"]}
    points = result["scaling"]
    both = {p["family"] for p in points if p["backend"] == "cuda"}
    return [
        "bench.json",
        "table.md",
        *(f"work-precision-{c['name']}.png" for c in result["cases"] if c["name"] in timed),
        *(f"scaling-{family}.png" for family in sorted({p["family"] for p in points})),
        *(f"crossover-{family}.png" for family in sorted(both)),
    ]


def keep_earlier(folder: Path, new: list[str]) -> dict[str, str]:
    """Move the files of an earlier result to names with its date; returns old and new names.

    So are other files which have one of the names ``new``, with the date of their last change.
    """
    names, date = set(new), None
    try:
        earlier = json.loads((folder / "bench.json").read_text())
        names.update(files_of(earlier))
        date = re.fullmatch(r"\d{4}-\d\d-\d\d", earlier["date"])
    except (OSError, ValueError, TypeError, KeyError):
        pass  # none, or of somebody else
    there = sorted(name for name in names if os.path.lexists(folder / name))
    if not there:
        return {}
    changed = datetime.fromtimestamp(max((folder / n).lstat().st_mtime for n in there), UTC)
    day = date[0] if date else changed.date().isoformat()
    moved, count = _dated(there, day), 1
    while any(os.path.lexists(folder / name) for name in moved.values()):
        count += 1
        moved = _dated(there, f"{day}-{count}")
    # The one that says what the others are goes last, should this be interrupted.
    for name in sorted(moved, key=lambda each: each == "bench.json"):
        (folder / name).rename(folder / moved[name])
    return moved


def _dated(names: list[str], day: str) -> dict[str, str]:
    return {name: f"{Path(name).stem}-{day}{Path(name).suffix}" for name in names}


def write_report(result: dict[str, Any], folder: Path) -> None:
    """``table.md`` and the pictures."""
    machine, peak = result["machine"], result["peaks"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    parts = [
        f"# Bench of {result['date']}\n",
        f"{machine['processor']}, {machine['cores']} cores; {machine['system']}, Python "
        f"{machine['python']}; {versions}; commit {machine['commit'] or 'unknown'}.\n",
        f"One core: dgemm {peak['dgemm'] / 1e9:.1f} GFLOP/s, copy {peak['copy'] / 1e9:.1f} GB/s. "
        f"Seconds are medians of {result['repeats']} interleaved repeats on one core, ± half of "
        "their range; errors are relative; a factor compares with our fastest setting on the CPU "
        "that is at least as accurate. Compilation is apart. Limit of a run: "
        f"{result['limit']:g} s.\n",
        "## Summary\n", summary_table(result),
    ]  # fmt: skip
    for case in result["cases"]:
        rows = [row for row in result["rows"] if row["case"] == case["name"]]
        parts += [f"## {case['title']}\n", case_table(rows)]
    if result["scaling"]:
        parts += ["## Scaling\n", scaling_table(result["scaling"])]
    (folder / "table.md").write_text("\n".join(parts))
    draw_all(result, folder)


def summary_table(result: dict[str, Any]) -> str:
    """A row a case: our fastest setting beside the peer that comes closest to it."""
    lines = []
    for case in result["cases"]:
        rows = [row for row in result["rows"] if row["case"] == case["name"]]
        peers = [row for row in rows if row["peer"]]
        ours = [r for r in rows if r["contestant"] == "kernelrich_fast (cpu)" and r["seconds"]]
        if not ours:
            continue
        compared = [row for row in peers if row["factor"]]
        closest = min(compared, key=lambda row: float(row["factor"]), default=None)
        if closest is None:
            best = min(ours, key=lambda row: float(row["seconds"]))
            theirs, factor = "", ""
        else:
            best = next(r for r in ours if f"rtol {r['rtol']:g}" == closest["against"])
            rtol = "" if closest["rtol"] is None else f" rtol {closest['rtol']:.0e}"
            theirs = f"{closest['contestant']}{rtol}: {_time(closest)}, {closest['error']:.0e}"
            factor = f"{closest['factor']:.3g}"
        ended = sum(row["status"] == "ok" for row in peers)
        lines.append(
            (case["title"], f"{_time(best)}, {best['error']:.0e}", theirs, factor,
             f"{ended} of {len(peers)}" if peers else "")
        )  # fmt: skip
    return _table(
        ("case", "ours: seconds, error", "closest peer: seconds, error", "factor",
         "peer rows that finished"),
        lines,
    )  # fmt: skip


def case_table(rows: list[dict[str, Any]]) -> str:
    """Every row of a case."""
    lines = []
    for row in rows:
        tolerance = "" if row["rtol"] is None else f"{row['rtol']:.0e}"
        if row["status"] != "ok":
            lines.append((row["contestant"], tolerance, row["status"], *[""] * 6))
            continue
        lines.append(
            (row["contestant"], tolerance, _time(row), _number(row["error"], ".1e"),
             _number(row["steps"], "d"), _number(row["compile_seconds"], ".2g"),
             _share(row["dgemm_share"]), _share(row["copy_share"]),
             "" if row["factor"] is None else f"{row['factor']:.3g} ({row['against']})")
        )  # fmt: skip
    return _table(
        ("", "rtol", "seconds", "error", "steps", "prepared in", "of dgemm", "of copy", "factor"),
        lines,
    )


def scaling_table(points: list[dict[str, Any]]) -> str:
    """Seconds and seconds a unit of every size."""
    return _table(
        ("family", "backend", "axis", "size", "seconds", "seconds / size"),
        [
            (p["family"], p["backend"], p["axis"], str(p["size"]), _time(p),
             f"{p['seconds'] / p['size']:.2e}")
            for p in points
        ],
    )  # fmt: skip


def _time(row: dict[str, Any]) -> str:
    return f"{row['seconds']:.3g} ± {row['spread'] / 2.0:.1g}"


def _number(value: Any, form: str) -> str:
    return (
        "" if value is None or (form != "d" and not math.isfinite(value)) else format(value, form)
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    rows = [head, tuple("---" for _ in head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
