"""The bench suite: its equations are those we solve, its rows are true, its failures are rows."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest

import kernelrich_fast.bench as suite
from kernelrich_fast.__main__ import main
from kernelrich_fast.bench import machine, peers, report
from kernelrich_fast.bench.cases import CASES, FAMILIES, QUICK, Against, cases_of
from kernelrich_fast.bench.formulation import Formulation
from kernelrich_fast.bench.pictures import draw_all
from kernelrich_fast.bench.runner import Row, run_case

QUICK_CASES = {case.name: case for case in QUICK}


@pytest.fixture(scope="module")
def problems():
    return {name: case.build() for name, case in QUICK_CASES.items()}


@pytest.mark.parametrize(
    ("case", "formulation"),
    [
        ("quick-flow", "weights"), ("quick-flow", "dual"), ("quick-cells", "Gram"),
        ("quick-nets", "weights"), ("quick-margins", "weights"), ("quick-signs", "weights"),
    ],
)  # fmt: skip
def test_equations_given_to_peers_lead_to_our_answer(problems, case, formulation):
    problem = problems[case]
    method = "SciPy LSODA" if formulation == "dual" else "SciPy DOP853"
    # Explicit methods shrink their steps at every kink.
    rtol = 1e-5 if case == "quick-nets" else 1e-9
    outcome = peers.prepare(method, problem, formulation, rtol)()
    assert problem.error(outcome.answer) < 100 * rtol
    assert outcome.fields >= outcome.steps > 0


def test_equations_of_other_depths_and_of_both_factors():
    by_name = {case.name: case for case in CASES}
    flows = by_name["flow-depth-3"]
    small = {"n": 8, "d": 20, "alphas": np.array([0.3, 1.0])}
    problem = dataclasses.replace(flows, arguments={**flows.arguments, **small}).build()
    assert problem.error(peers.prepare("SciPy DOP853", problem, "weights", 1e-9)().answer) < 1e-6
    assert problem.error(peers.prepare("SciPy LSODA", problem, "dual", 1e-9)().answer) < 1e-6
    cell = by_name["cell-0.01-10"].build()
    # U and V of another start with the same W W^T: only as close as their widths are alike.
    assert cell.error(peers.prepare("SciPy DOP853", cell, "weights", 1e-9)().answer) < 1e-6


@pytest.mark.parametrize(
    ("case", "formulation"),
    [("quick-flow", "weights"), ("quick-cells", "weights"), ("quick-nets", "weights")],
)
def test_descent_goes_down_the_gradient(case, formulation):
    chosen = QUICK_CASES[case]
    if case == "quick-cells":
        chosen = dataclasses.replace(chosen, arguments={"cells": ((1e-2, 10), (1e-4, 10))})
    form = chosen.build().formulation(formulation)
    rng = np.random.default_rng(0)
    for b, start in enumerate(form.start):
        own = tuple(each[b] for each in form.own)
        w = start + 0.1 * np.abs(start).max() * rng.standard_normal(start.shape)
        step = 1e-6 * rng.standard_normal(start.shape)
        slope = form.loss(np, w + step, form.shared, own) - form.loss(
            np, w - step, form.shared, own
        )
        assert slope == pytest.approx(-2.0 * form.field(np, w, form.shared, own) @ step, rel=1e-5)


def test_convex_programs(problems):
    outcome = peers.prepare("HiGHS dual simplex", problems["quick-l1"], None, None)()
    assert problems["quick-l1"].error(outcome.answer) < 1e-10
    pytest.importorskip("cvxpy")
    outcome = peers.prepare("CVXPY + Clarabel", problems["quick-limit"], None, None)()
    assert problems["quick-limit"].error(outcome.answer) < 1e-2


@pytest.mark.parametrize(
    ("name", "package", "formulation"),
    [
        ("diffrax Tsit5", "diffrax", "weights"), ("torchode Tsit5", "torchode", "weights"),
        ("PyTorch descent", "torch", "weights"), ("SUNDIALS CVODE", "sksundae", "dual"),
    ],
)  # fmt: skip
def test_peers_that_may_be_missing(problems, name, package, formulation):
    pytest.importorskip(package)
    problem = problems["quick-flow"]
    outcome = peers.prepare(name, problem, formulation, 1e-6)()
    # A descent's path is not the flow's.
    assert problem.error(outcome.answer) < (0.3 if package == "torch" else 1e-3)


def test_the_command(tmp_path, capsys):
    command = ["bench", "--quick", "--peers", "--family", "factorization", "--backends", "cpu"]
    assert main([*command, "--repeats", "2", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["wrong"] == []
    assert found["peaks"]["dgemm"] > 1e8
    assert found["peaks"]["copy"] > 1e8
    ours = [row for row in found["rows"] if not row["peer"]]
    assert [row["rtol"] for row in ours] == [1e-3, 1e-6, 1e-8]
    for row in found["rows"]:
        assert row["status"] == "ok"
        assert row["repeats"] == 2
        assert row["seconds"] > 0
        assert row["spread"] >= 0
        assert row["steps"] > 0
        assert 0 < row["error"] < 1e-2
        assert row["copy_share"] > 0
        assert row["peer"] or 0 < row["dgemm_share"] < 1
    (peer,) = [row for row in found["rows"] if row["peer"]]
    fastest = min(row["seconds"] for row in ours if row["error"] <= peer["error"])
    assert peer["factor"] == pytest.approx(peer["seconds"] / fastest)
    table = (tmp_path / "table.md").read_text()
    assert "SciPy DOP853, Gram" in table
    assert "3 cells of figure 5" in table
    assert (tmp_path / "work-precision-quick-cells.png").stat().st_size > 5000
    assert (tmp_path / "scaling-factorization.png").stat().st_size > 5000
    written = ", ".join(report.files_of(found))
    assert f"written to {tmp_path}: {written}" in capsys.readouterr().out
    assert sorted(report.files_of(found)) == sorted(path.name for path in tmp_path.iterdir())


@pytest.fixture
def bench_at_once(tmp_path, monkeypatch):
    """The command with the measurements left out; writes bench.json and table.md."""
    monkeypatch.setattr(suite, "peaks", lambda: {"dgemm": 1.0, "copy": 1.0})
    monkeypatch.setattr(suite, "cases_of", lambda families, quick: ())
    monkeypatch.setattr(suite, "measure_scaling", lambda *_: [])
    return lambda *more: main(["bench", "--quick", "--out", str(tmp_path), *more])


def fill(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_an_earlier_result_is_kept_under_its_date(tmp_path, bench_at_once, capsys):
    point = {"family": "diagonal", "backend": "cuda"}
    hours = json.dumps({
        "date": "2024-05-01", "cases": [{"name": "flow"}, {"name": "late"}],
        "rows": [{"case": "flow", "seconds": 1.0}, {"case": "late", "seconds": None}],
        "scaling": [point],
    }).encode()  # fmt: skip
    earlier = {
        "bench.json": hours, "table.md": b"of hours", "work-precision-flow.png": b"picture",
        "scaling-diagonal.png": b"another", "crossover-diagonal.png": b"a third",
    }  # fmt: skip
    users = {
        "notes.md": b"mine", "scaling-mine.png": b"mine too", "table-2024-05-01.md": b"and this",
    }  # fmt: skip
    fill(tmp_path, {**earlier, **users})
    assert bench_at_once() == 0
    # The name of the user's table is taken.
    kept = {name.replace(".", "-2024-05-01-2."): content for name, content in earlier.items()}
    there = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(there) == {*kept, *users, "bench.json", "table.md"}
    assert {name: there[name] for name in (*kept, *users)} == {**kept, **users}
    said = capsys.readouterr().out
    for name in earlier:
        assert f"the earlier {name} is kept as {name.replace('.', '-2024-05-01-2.')}" in said


def test_every_result_of_a_day_is_kept(tmp_path, bench_at_once):
    seen = []
    for repeats in "2345":
        assert bench_at_once("--repeats", repeats) == 0
        seen.append((tmp_path / "bench.json").read_bytes())
    day = json.loads(seen[0])["date"]
    names = [f"bench-{day}.json", f"bench-{day}-2.json", f"bench-{day}-3.json", "bench.json"]
    assert [(tmp_path / name).read_bytes() for name in names] == seen
    assert len(set(seen)) == 4
    assert len(list(tmp_path.iterdir())) == 8  # and a table each


@pytest.mark.parametrize(
    "other", [b"MY THESIS", b"[1]", b"{}", b'{"date": 3, "cases": 4}', b"\xff", None]
)
def test_what_is_no_result_of_ours_is_kept_too(other, tmp_path, bench_at_once):
    files = {"table.md": b"MY THESIS"} | ({} if other is None else {"bench.json": other})
    fill(tmp_path, files)
    for name in files:
        os.utime(tmp_path / name, (1e9, 1e9))
    assert bench_at_once() == 0
    for name, content in files.items():
        assert (tmp_path / name.replace(".", "-2001-09-09.")).read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 2 + len(files)


def test_an_earlier_result_stays_while_the_next_is_measured(tmp_path, bench_at_once, monkeypatch):
    fill(tmp_path, {"bench.json": b"{}", "table.md": b"of hours"})
    monkeypatch.setattr(suite, "measure_scaling", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        bench_at_once()
    assert (tmp_path / "table.md").read_bytes() == b"of hours"
    assert len(list(tmp_path.iterdir())) == 2


def test_an_error_above_what_is_promised_is_found(tmp_path, monkeypatch, capsys):
    small = {"arguments": {"cells": ((1e-2, 10),)}, "rtols": (1e-3,)}
    strict = dataclasses.replace(QUICK_CASES["quick-cells"], slack=1e-9, **small)
    monkeypatch.setattr(suite, "cases_of", lambda families, quick: (strict,))
    monkeypatch.setattr(suite, "measure_scaling", lambda *_: [])
    monkeypatch.setattr(suite, "peaks", lambda: {"dgemm": 1.0, "copy": 1.0})
    command = ["bench", "--quick", "--family", "factorization", "--backends", "cpu"]
    assert main([*command, "--repeats", "1", "--out", str(tmp_path)]) == 1
    assert "error above what is promised: quick-cells" in capsys.readouterr().err


def test_peers_that_fail_are_rows_that_say_so():
    quick = QUICK_CASES["quick-flow"]
    case = dataclasses.replace(
        quick, arguments={**quick.arguments, "alphas": np.full(16, 1e-6)}, rtols=(1e-3,),
        against=(
            Against("SciPy RK45", "weights", (1e-3, 1e-13)),
            Against("SciPy BDF", "no such equation", (1e-3,)),
        ),
    )  # fmt: skip
    # At 1e-13 RK45 takes ten times as long as at 1e-3, and hundreds of times as long as we do.
    rows = run_case(case, ("cpu",), True, 1, 1.0)
    by_name = {(row.contestant, row.rtol): row for row in rows}
    assert by_name["kernelrich_fast (cpu)", 1e-3].status == "ok"
    assert by_name["SciPy RK45, weights", 1e-3].status == "ok"
    assert by_name["SciPy RK45, weights", 1e-3].repeats == 1
    late = by_name["SciPy RK45, weights", 1e-13]
    assert late.status == "did not finish in 1 s"
    assert late.seconds is None
    assert "KeyError" in by_name["SciPy BDF, no such equation", 1e-3].status


def test_tables_and_pictures_where_there_is_a_gpu(tmp_path):
    point = {"family": "diagonal", "spread": 0.1, "axis": "B, all cores"}
    scaling = [
        {**point, "backend": backend, "size": size, "seconds": seconds}
        for backend, times in (("cpu", (1.0, 10.0)), ("cuda", (5.0, 6.0)))
        for size, seconds in zip((1, 10), times, strict=True)
    ]
    row = Row("a", "diagonal", "kernelrich_fast (cuda)", False, 1e-3, seconds=1.0, spread=0.1)
    failed = Row("a", "diagonal", "a peer", True, None, status="not installed (no module)")
    result = {
        "cases": [{"name": "a", "family": "diagonal", "title": "A"}],
        "rows": [dataclasses.replace(row, error=0.0).as_dict(), failed.as_dict()],
        "scaling": scaling,
    }
    draw_all(result, tmp_path)
    for name in ("work-precision-a", "scaling-diagonal", "crossover-diagonal"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert "not installed (no module)" in report.case_table(result["rows"])
    assert report.summary_table(result).count("\n") == 2


def test_cases_are_told_apart_and_bad_arguments_named(tmp_path):
    for chosen in (CASES, QUICK):
        assert len({case.name for case in chosen}) == len(chosen)
        assert {case.family for case in chosen} == set(FAMILIES)
        for case in chosen:
            assert all(a.peer in peers.PEERS for a in case.against)
    assert {case.family for case in cases_of(("mlp",), False)} == {"mlp"}
    with pytest.raises(ValueError, match="families: expected one of diagonal"):
        suite.run_bench(tmp_path, families=["cnn"])
    with pytest.raises(ValueError, match="repeats"):
        suite.run_bench(tmp_path, repeats=0)
    with pytest.raises(ValueError, match="backends"):
        suite.run_bench(tmp_path, backends=["tpu"])


def test_the_machine_is_described(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = machine.describe()
    assert found["commit"] is None
    assert found["cores"] >= 1
    assert found["versions"]["numpy"] == np.__version__


def test_descent_takes_no_step_that_jumps_to_the_goal():
    """Under exp(-m) a step of any size lowers the loss; with `least` it has to follow the flow."""
    pytest.importorskip("torch")
    from kernelrich_fast.bench.peers import torch_descent as descend

    one = Formulation(
        start=np.array([[-3.0]]), times=np.array([1000.0]), atol=np.array([1.0]), shared=(), own=(),
        field=lambda xp, w, shared, own: xp.exp(-w), read=lambda w: w,
        loss=lambda xp, w, shared, own: xp.exp(-w).sum(), goal=np.array([1e-3]),
    )  # fmt: skip
    exact = np.log(1000.0)  # of w at the loss 1e-3
    far = descend.prepare("", one, None)().answer[0, 0]
    near = descend.prepare("", dataclasses.replace(one, least=0.1), None)().answer[0, 0]
    assert far > 2.0 * exact
    assert exact <= near < np.log(1e4)
