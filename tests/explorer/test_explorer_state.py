"""The state of the page: into the address and back; bad addresses; files that are not data."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernelrich_fast as krf
from kernelrich_fast.explorer.controls import CONTROLS, MODELS, OVER
from kernelrich_fast.explorer.files import MOST_BYTES, read_file, user_data
from kernelrich_fast.explorer.models import model_of
from kernelrich_fast.explorer.problems import Problem, split
from kernelrich_fast.explorer.state import default_state, parse_state, to_query
from kernelrich_fast.explorer.store import Store
from kernelrich_fast.explorer.tables import to_csv
from kernelrich_fast.explorer.words import CURVES, TITLES, VIEWS, Y_LABELS


@st.composite
def states(draw):
    model = draw(st.sampled_from(sorted(MODELS)))
    state = default_state(model)
    values = {"over": draw(st.sampled_from(sorted(OVER[model])))}
    for control in CONTROLS[model]:
        if control.whole:
            values[control.name] = draw(st.integers(int(control.low), int(control.high)))
        else:
            value = draw(st.floats(control.low, control.high))
            values[control.name] = float(f"{value:.6g}")
    values["sparsity"] = min(values["sparsity"], values.get("features", 99))
    return replace(state, **values)


@settings(deadline=None)  # the first example imports
@given(states())
def test_the_address_holds_the_whole_state(state):
    read, messages = parse_state(dict(parse_qsl(to_query(state))))
    assert messages == []
    for control in state.controls():
        assert getattr(read, control.name) == getattr(state, control.name)
    assert (read.model, read.data, read.over) == (state.model, state.data, state.over)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"alpha": "1e9"}, "alpha"), ({"alpha": "nan"}, "alpha"), ({"alpha": "x" * 999}, "alpha"),
        ({"samples": "40.5"}, "samples"), ({"model": "transformer"}, "model"),
        ({"over": "noise"}, "over"), ({"hidden": "1"}, "hidden"), ({"depth": "-inf"}, "depth"),
    ],
)  # fmt: skip
def test_a_bad_address_is_a_message_and_a_legal_state(query, name):
    state, messages = parse_state(query)
    assert len(messages) == 1
    assert messages[0].startswith(f"{name}: ")
    assert len(messages[0]) < 200
    assert state == default_state()


EXERCISE = Path(__file__).resolve().parents[2] / "docs" / "explore.md"


def test_the_exercise_in_the_documentation(compiled):
    """Every address of the table is a state, whose line of facts says what is printed."""
    rows = re.findall(r"^\| `\?([^`]+)` \| (.+) \|$", EXERCISE.read_text(), flags=re.M)
    assert len(rows) == 9
    for query, said in rows:
        state, messages = parse_state(dict(parse_qsl(query, strict_parsing=True)))
        assert not messages
        model = model_of(state)
        facts = "; ".join(model.now(state, model.problem(state, None)).facts) + "."
        for part in said.split("; "):
            assert part in facts, (query, part, facts)


def test_every_view_of_every_model_has_its_words():
    for model in MODELS:
        assert set(TITLES[model]) <= set(VIEWS)
        assert set(CURVES[model]) == set(Y_LABELS[model]) == set(TITLES[model]) - {"phase"}


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


X, Y = np.arange(6.0).reshape(3, 2), np.array([1.0, 2.0, 3.0])


def test_files_with_and_without_a_header_hold_the_same():
    for text in (
        "a,b,y\n0,1,1\n2,3,2\n4,5,3\n",
        "0;1;1\n2;3;2\n\n4;5;3",
        "0\t1\t1\n2\t3\t2\n4\t5\t3",
    ):
        data = read_file("own.CSV", text.encode("utf-8-sig"))
        np.testing.assert_array_equal(data.X, X)
        np.testing.assert_array_equal(data.y, Y)
    assert read_file("own.npz", npz(X=X, y=Y)).key == data.key
    assert read_file("own.npz", npz(X=X, y=2.0 * Y)).key != data.key


@pytest.mark.parametrize("index", [["0", "1", "2"], ["7", "7", "9"], ["2019-01-01", "b", ""]])
@pytest.mark.parametrize("header", [",a,b,y", '"",a,b,y', " ,2019,2020,2021", "Unnamed: 0,a,b,y"])
def test_the_index_that_pandas_writes_is_no_feature(index, header):
    rows = ["0,1,1", "2,3,2", "4,5,3"]
    text = "\n".join([header, *(f"{i},{row}" for i, row in zip(index, rows, strict=True))])
    data = read_file("own.csv", text.encode())
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, Y)
    assert data.told == (
        "own.csv, 3 samples, 2 features; the first line is its header; its first column, an index "
        "without a name, was left out"
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("own.csv", b"2019,2020,2021\n1,2,3\n", "2 samples, 2 features; no header line was found"),
        ("own.csv", b"x,y\n1,3\n2,4", "2 samples, 1 feature; the first line is its header"),
        ("own.npz", None, "3 samples, 2 features"),
    ],
)
def test_the_page_says_what_was_read(name, content, said):
    assert read_file(name, content or npz(X=X, y=Y)).told == f"{name}, {said}"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("own.npz", b"not a zip", "as np.savez writes it"),
        ("own.npz", npz(X=X, y=Y)[:-30], "as np.savez writes it"),
        ("own.npz", npz(X=X), "expected arrays X and y, got X"),
        ("own.npz", npz(X=X, y=Y[:2]), "y"),
        ("own.npz", npz(X=X, y=np.array([1.0, np.nan, 2.0])), "y"),
        ("own.npz", npz(X=np.array([{}, {}, {}]), y=Y), "Object arrays cannot be loaded"),
        ("own.npz", npz(X=X, y=Y, beta_star=[1.0]), "beta_star: expected shape (2,), got (1,)"),
        ("own.npz", npz(X=X, y=0.0 * Y), "not all zero"),
        ("own.csv", b"a,b\n", "below the header"),
        ("own.csv", b"", "empty file"),
        ("own.csv", b"a,b\n1,x\n", "expected lines of numbers"),
        ("own.csv", b"1,2\n3\n", "expected lines of numbers"),
        ("own.csv", b"1\n2\n", "at least one feature"),
        ("own.csv", b",y\n0,1\n1,2\n", "at least one feature"),
        ("own.csv", b"\xff\xfe1", "UTF-8"),
        ("own.csv", b"1,2\n3,inf\n", "y"),
        ("own.xlsx", b"", "ends in .npz or .csv"),
        ("own.csv", bytes(MOST_BYTES + 1), "at most 16 MiB"),
        ("own.npz", npz(X=np.zeros((3, 4_000_000)), y=Y), "at most 16 MiB"),
    ],
)  # fmt: skip
def test_a_bad_file_is_a_message_that_names_it(name, content, said):
    with pytest.raises(ValueError, match=r"^own") as caught:
        read_file(name, content)
    assert said in str(caught.value)


def test_a_small_file_that_unpacks_to_much_is_refused():
    file = io.BytesIO()
    np.savez_compressed(file, X=np.zeros((3, 4_000_000)), y=Y)
    assert len(file.getvalue()) < MOST_BYTES
    with pytest.raises(ValueError, match="unpacked"):
        read_file("own.npz", file.getvalue())


def test_held_out_samples_are_the_others():
    user = user_data("own", np.arange(20.0).reshape(10, 2), np.arange(1.0, 11.0))
    for share, count in ((0.2, 8), (0.5, 5)):
        data = split(user, share, seed=3)
        assert isinstance(data, Problem)
        assert data.y.size == count
        assert sorted([*data.y, *data.y_test]) == list(user.y)
        np.testing.assert_array_equal(data.X[:, 0] / 2.0 + 1.0, data.y)
    assert not np.array_equal(split(user, 0.2, seed=4).y_test, split(user, 0.2, seed=3).y_test)


def test_the_store_forgets_the_oldest():
    store = Store(most=2)
    keys = [store.add(user_data("own", X, Y + i)) for i in range(3)]
    assert [store.get(key) is None for key in keys] == [True, False, False]


def test_saved_numbers_are_the_same_doubles():
    rng = np.random.default_rng(0)
    table = {"t": rng.random(5), "beta": rng.standard_normal((5, 3)), "gap": np.full(5, np.nan)}
    read = np.genfromtxt(io.StringIO(to_csv(table)), delimiter=",", names=True)
    assert read.dtype.names == ("t", "beta_0", "beta_1", "beta_2", "gap")
    np.testing.assert_array_equal(read["beta_1"], table["beta"][:, 1])
    np.testing.assert_array_equal(read["gap"], table["gap"])


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"X": X}, ValueError, "X: expected X and y together"),
        ({"X": X, "y": Y[:2]}, ValueError, "y"),
        ({"X": X[None], "y": Y[None]}, ValueError, "X: expected (n_samples, n_features)"),
        ({"port": 70_000}, ValueError, "port"),
        ({"port": "http"}, TypeError, "port"),
        ({"show": 1}, TypeError, "show"),
    ],
)  # fmt: skip
def test_bad_arguments_of_explore(arguments, error, said):
    pytest.importorskip("bokeh")
    with pytest.raises(error) as caught:
        krf.explore(**{"show": False, **arguments})
    assert said in str(caught.value)
