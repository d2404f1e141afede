"""The bench suite: every backend against other people's solvers, time never without error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import _validate as check
from ..backends import BACKENDS, available_backends, get_backend
from ..config import output_folder, writable
from .cases import FAMILIES, Case, cases_of
from .machine import describe, peaks
from .report import files_of, keep_earlier, write_report
from .runner import Row, run_case
from .scaling import as_dicts, measure_scaling

__all__ = ["files_of", "run_bench"]

ROUNDING = 1e-11


def run_bench(
    out: str | Path,
    *,
    families: Sequence[str] | None = None,
    backends: Sequence[str] | None = None,
    peers: bool = False,
    quick: bool = False,
    repeats: int = 5,
    limit: float = 30.0,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure, and write ``bench.json``, ``table.md`` and pictures into a directory.

    Parameters
    ----------
    out : path
        The directory; made if it is not there. Files of an earlier result in it are moved to names
        with the date of their measurement, ``bench-2026-01-31.json`` say, once the new result is
        complete; nothing is removed.
    families : sequence of str, optional
        Of ``"diagonal"``, ``"factorization"``, ``"linear"``, ``"mlp"``, ``"margins"``; all by
        default.
    backends : sequence of str, optional
        Of ``"cuda"``, ``"cpu"``, ``"numpy"``; by default those that work here.
    peers : bool
        Measure other people's solvers too: SciPy, and what the extra ``[bench]`` installs.
    quick : bool
        Small cases, in a minute, to see that everything completes.
    repeats : int
        Timed runs of each row, at least 1, interleaved over all rows of a case.
    limit : float
        Seconds that one run of anything may take; more is a row that says so.
    tell : callable
        Receives a line of text now and then.

    Returns
    -------
    dict
        What ``bench.json`` holds: ``machine``, ``peaks``, ``cases``, ``rows``, ``scaling``, and
        ``wrong``, the rows of ours whose error is above what is promised.

    Raises
    ------
    ValueError, TypeError
        For a wrong argument, an unknown family say.
    OSError
        If ``out`` cannot be written to; this is checked before anything is measured.
    BackendUnavailableError
        For a backend that was asked for and does not work here.

    Notes
    -----
    Every contestant runs in a process of its own, pinned to one core, in float64. A time is the
    median of the repeats, its spread the largest less the smallest; compilation, and a descent's
    search for its step, are timed apart. Errors are relative Euclidean ones against our solver at
    rtol 1e-11 (networks 1e-9), which the tests hold against independent integrations; a factor
    compares with our fastest setting on the CPU that is at least as accurate.

    Examples
    --------
    >>> import tempfile
    >>> from kernelrich_fast.bench import run_bench
    >>> found = run_bench(
    ...     tempfile.mkdtemp(), families=["factorization"], backends=["cpu"], quick=True,
    ...     repeats=1, tell=lambda line: None,
    ... )
    >>> found["wrong"]
    []
    """
    families = FAMILIES if families is None else check.choices("families", families, FAMILIES)
    repeats = check.integer("repeats", repeats, low=1)
    limit = check.scalar("limit", limit, low=0.0)
    if backends is None:
        backends = [name for name, reason in available_backends().items() if reason is None]
    chosen = tuple(get_backend(check.choice("backends", name, BACKENDS)).name for name in backends)
    peers, quick = check.flag("peers", peers), check.flag("quick", quick)
    folder = writable(output_folder(out))

    begin = time.perf_counter()
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(), "quick": quick, "machine": describe(),
        "peaks": peaks(), "repeats": repeats, "limit": limit, "cases": [], "rows": [],
        "scaling": [], "wrong": [],
    }  # fmt: skip
    for case in cases_of(families, quick):
        rows = run_case(case, chosen, peers, repeats, limit)
        _judge(case, rows, result["peaks"])
        result["cases"].append({"name": case.name, "family": case.family, "title": case.title})
        result["rows"] += [row.as_dict() for row in rows]
        result["wrong"] += [
            f"{case.name}, {row.contestant}, rtol {row.rtol:g}: {row.status}, error {row.error}"
            for row in rows
            if not row.peer
            and not row.status.startswith("did not finish")
            and not _within(row, case)
        ]
        tell(f"{case.title}: {len(rows)} rows, {time.perf_counter() - begin:.0f} s so far")
    for family in families:
        result["scaling"] += as_dicts(measure_scaling(family, chosen, quick, repeats))
    result["seconds"] = time.perf_counter() - begin
    for name, kept in keep_earlier(folder, files_of(result)).items():
        tell(f"the earlier {name} is kept as {kept}")
    (folder / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    write_report(result, folder)
    return result


def _within(row: Row, case: Case) -> bool:
    if row.error is None or row.rtol is None:
        return False
    return case.slack is None or row.error <= case.slack * row.rtol


def _judge(case: Case, rows: list[Row], peak: dict[str, float]) -> None:
    """Shares of the machine's peaks, and factors against ours."""
    size = case.build().bytes_of_field() if any(row.fields for row in rows) else 0.0
    own = [row for row in rows if row.contestant == "kernelrich_fast (cpu)" and row.seconds]
    for row in rows:
        if not row.seconds:
            continue
        if row.flops:
            row.dgemm_share = row.flops / row.seconds / peak["dgemm"]
        if row.fields:
            row.copy_share = row.fields * size / row.seconds / peak["copy"]
        # Below the reference's own accuracy nobody is more accurate than another.
        bar = -1.0 if row.error is None else max(row.error, ROUNDING)
        good = [r for r in own if r.error is not None and r.error <= bar]
        if row.peer and good:
            best = min(good, key=lambda r: r.seconds or 0.0)
            row.factor, row.against = row.seconds / (best.seconds or 1.0), f"rtol {best.rtol:g}"
