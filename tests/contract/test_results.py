"""Results: short descriptions, runs by index, labelled arrays and tables."""

from __future__ import annotations

import copy
import operator
import pickle

import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast.status import StatusArray

TIMES = [0.0, 0.1, 1.0]


@pytest.fixture(scope="module")
def results():
    data = krf.datasets.sparse_regression(6, 12, 2)
    cells = krf.datasets.low_rank_completion(4, 5, 1, 12)
    circle = krf.datasets.circle_teacher(5)
    where = {"entries": cells.entries, "dims": (4, 5)}
    grid = {"alpha": [[0.1], [1.0]]}
    return {
        "flow": krf.flow_diagonal(data.X, data.y, depth=[2, 3, 4], t_eval=TIMES, **grid),
        "limit": krf.limit_diagonal(data.X, data.y, depth=[2, 3, 4], **grid),
        "cells": krf.flow_factorization(cells.y, seed=[0, 1, 2], width=3, **grid, **where),
        "path": krf.rich_path(np.stack([[data.X] * 3, [-data.X] * 3]), data.y, depth=[2, 3, 4]),
        "margins": krf.flow_diagonal(
            data.X, np.sign(data.y), depth=[2, 3, 4], loss="exponential",
            log_loss_eval=[-1.0, -9.0], **grid,
        ),
        "margin_limit": krf.margin_limit(data.X, np.sign(data.y), mu=np.ones((2, 3))),
        "signs": krf.flow_factorization(
            np.sign(cells.y), seed=[0, 1, 2], width=3, loss="logistic", **grid, **where
        ),
        "layers": krf.flow_linear(data.X, data.X[:, :2], seed=[0, 1, 2], width=3, **grid),
        "nets": krf.flow_mlp(
            circle.X, circle.y, seed=[0, 1, 2], width=4, depth=3, bias=True, antisymmetric=True,
            t_eval=TIMES, rtol=1e-3, **grid,
        ),
    }  # fmt: skip


KINDS = ("flow", "limit", "cells", "layers", "nets")
ALL = (*KINDS, "path", "margins", "margin_limit", "signs")


@pytest.mark.parametrize("kind", KINDS)
def test_a_description_is_short_and_names_statuses(kind, results):
    result = results[kind]
    text = repr(result)
    assert len(text.splitlines()) < 14
    assert "6 runs, batch (2, 3)" in text
    counts = {s.name: int(np.sum(result.status == s)) for s in krf.Status}
    for name, count in counts.items():
        assert (f"{name} {count}" in text) == (count > 0)
    assert result.backend in text
    page = result._repr_html_()
    assert page.count("<table>") == page.count("</table>") == 1
    assert f"{type(result).__name__}: 6 runs" in page


@pytest.mark.parametrize("kind", KINDS)
def test_runs_by_index(kind, results):
    result = results[kind]
    assert len(result) == 2
    for index in (0, (1, 2), (slice(None), 1), (..., -1), np.array([True, False])):
        part = result[index]
        assert type(part) is type(result)
        assert np.array_equal(part.status, result.status[index])
        steps = "n_iterations" if kind == "limit" else "n_steps"
        assert np.array_equal(getattr(part, steps), getattr(result, steps)[index])
        runs = np.arange(6).reshape(2, 3)[index]
        assert np.array_equal(part.loss, result.loss.reshape(6, *result.loss.shape[2:])[runs])
    if kind == "nets":
        one = result[1, 2]
        X = np.eye(2)
        assert np.array_equal(one.predict(X), result.predict(X)[1, 2])
        assert np.array_equal(one.weights0[0], result.weights0[0][1, 2])
        assert one.antisymmetric
    with pytest.raises(IndexError):
        result[2]
    with pytest.raises(TypeError, match="no length"):
        len(result[0, 0])
    assert [each.status.shape for each in result] == [(3,), (3,)]


@pytest.mark.parametrize("kind", ALL)
def test_no_runs_are_a_result_too(kind, results):
    """What a selection of failed runs finds in most batches."""
    result = results[kind]
    for index in (result.status == krf.Status.FAILED, slice(0, 0), (slice(None), slice(3, None))):
        none = result[index]
        assert none.status.size == 0
        assert "0 runs" in repr(none)
        assert "no runs" in none._repr_html_()
        assert none.to_dataset().status.size == 0
        assert none.to_dataframe().empty
        assert none.converged.shape == none.status.shape


@pytest.mark.parametrize("kind", ALL)
def test_one_run_is_not_a_sequence(kind, results):
    one = results[kind][0, 0]
    for use in (len, iter, list, lambda each: [*each]):
        with pytest.raises(TypeError, match=r"^a result of one run without a batch axis has no l"):
            use(one)
    assert len(list(results[kind])) == len(results[kind]) == 2


@pytest.mark.parametrize("kind", ALL)
def test_names_of_axes_that_are_taken_are_refused(kind, results):
    ds = results[kind].to_dataset()
    inner = {str(dim) for dim in ds.dims} - {"batch_0", "batch_1"}
    for call in (results[kind].to_dataset, results[kind].to_dataframe):
        # An axis of depths takes the place of that variable.
        for taken in {*inner, *map(str, ds.data_vars)} - {"depth"}:
            with pytest.raises(ValueError, match=f"^dims: '{taken}' is the name of a"):
                call(["a", taken])
        with pytest.raises(ValueError, match=r"^dims: 'a' is the name of another batch axis"):
            call(["a", "a"])
        with pytest.raises(TypeError, match=r"^dims: expected names"):
            call(["a", 1])


@pytest.mark.parametrize("kind", KINDS)
def test_labelled_arrays_and_tables(kind, results):
    result = results[kind]
    ds = result.to_dataset(["alpha", "run"])
    timed = result.loss.ndim > 2
    assert ds.loss.dims == ("alpha", "run", "time")[: 3 if timed else 2]
    assert np.array_equal(ds.loss, result.loss)
    names = dict(zip(ds.status.flag_values, ds.status.flag_meanings.split(), strict=True))
    assert names == {int(s): s.name for s in krf.Status}
    assert ds.attrs["backend"] == result.backend
    table = result.to_dataframe(["alpha", "run"])
    assert len(table) == result.loss.size
    assert set(table["status"]) == {krf.Status(s).name for s in result.status.ravel()}
    assert np.array_equal(np.sort(table["loss"]), np.sort(result.loss.ravel()))
    one = result[0, 0].to_dataframe()
    assert len(one) == (len(TIMES) if timed else 1)
    for bad in (["alpha"], "alpha"):
        with pytest.raises(ValueError, match="dims: expected 2"):
            result.to_dataset(bad)
    shape = result.status.shape
    values = {"alpha": 0.5 ** np.arange(shape[0]), "run": [f"r{i}" for i in range(shape[1])]}
    chosen = result.to_dataset(values).sel(alpha=values["alpha"][-1], run="r0")
    assert np.array_equal(chosen.loss, result.loss[-1, 0])
    assert result.to_dataframe(values).index.names[:2] == ["alpha", "run"]
    with pytest.raises(ValueError, match=rf"^dims: expected {shape[1]} values of 'run'"):
        result.to_dataset(values | {"run": [1.0] * (shape[1] + 1)})


def test_every_array_of_a_result_is_in_its_dataset(results):
    assert results["flow"].to_dataset().beta.dims == ("batch_0", "batch_1", "time", "feature")
    assert results["cells"].to_dataset().M.dims == ("batch_0", "batch_1", "row", "column")
    nets = results["nets"].to_dataset()
    assert nets.weights_2.dims == ("batch_0", "batch_1", "time", "copy", "unit_2", "unit_1")
    assert nets.weights0_1.dims == ("batch_0", "batch_1", "copy", "unit_1", "unit_0")
    assert nets.biases_3.dims == ("batch_0", "batch_1", "time", "copy", "unit_3")


@pytest.mark.parametrize("kind", ["flow", "nets"])
def test_states_are_selected_by_their_time(kind, results):
    """Also in a part of the runs, and in the table."""
    result = results[kind]
    for part in (result, result[1], result[0, 2]):
        ds = part.to_dataset()
        assert ds.time.values.tolist() == TIMES
        assert ds.time.attrs["long_name"] == "gradient-flow time"
        for k, time in enumerate(TIMES):
            assert np.array_equal(ds.loss.sel(time=time), part.loss[..., k])
        with pytest.raises(KeyError):
            ds.sel(time=2)
        assert part.to_dataframe().index.unique("time").tolist() == TIMES
    assert "time" not in results["limit"].to_dataset().coords


@pytest.mark.parametrize("model", ["difference", "product"])  # of which one has another time
def test_the_times_of_a_dataset_are_those_asked_for(model):
    """Whatever a run reached."""
    call = {"alpha": [0.1, 0.1], "t_eval": [0.0, 2.0, 4.0], "model": model, "loss_scale": 0.3}
    flow = krf.flow_diagonal([[1.0, 2.0]], [2.0], t_max=[3.0, np.inf], **call)
    for part, reached in ((flow, [3.0, 4.0]), (flow[0], 3.0)):
        ds = part.to_dataset()
        assert ds.time.values.tolist() == call["t_eval"]
        assert ds.t.sel(time=4.0).values.tolist() == reached


@pytest.mark.parametrize("clock", ["time", "log_t", "log_loss"])
@pytest.mark.parametrize("family", ["diagonal", "factorization"])
def test_states_are_selected_on_the_clock_that_was_asked_for(family, clock):
    asked = [-1.0, -2.0, -9.0] if clock == "log_loss" else [0.5, 1.0, 2.5]
    call = {"alpha": [0.5, 1.0], "loss": "logistic"}
    call["t_eval" if clock == "time" else f"{clock}_eval"] = asked
    if family == "diagonal":
        flow = krf.flow_diagonal([[1.0, 2.0], [1.0, -1.0]], [1.0, 1.0], **call)
    else:
        mask = np.array([[True, True], [True, False]])
        flow = krf.flow_factorization([1.0, -1.0, 1.0], entries=mask, width=2, seed=0, **call)
    for part in (flow, flow[1]):
        ds = part.to_dataset()
        assert ds[clock].dims == (clock,)
        assert ds[clock].values.tolist() == asked
        assert np.array_equal(ds.margins.sel({clock: asked[1]}), part.margins[..., 1, :])
        reached = ds["t" if clock == "time" else f"reached_{clock}"]
        np.testing.assert_allclose(reached, np.broadcast_to(asked, reached.shape), atol=1e-6)
        assert part.to_dataframe().index.unique(clock).tolist() == asked


def test_converged_means_the_loss_that_was_asked_for(results):
    assert results["limit"].converged.all()
    stopped = krf.flow_diagonal([[1.0]], [1.0], alpha=[0.5, 0.5], t_max=[1e-3, np.inf])
    assert stopped.converged.tolist() == [False, True]
    assert type(stopped.converged) is np.ndarray


def test_status_is_integers_that_print_as_names(results):
    status = results["cells"].status
    assert isinstance(status, StatusArray)
    assert status.dtype == np.int64
    assert "CONVERGED" in str(status)
    assert repr(status[0, 0]) == repr(krf.Status.CONVERGED)
    assert isinstance(status[0, 0], np.int64)
    for plain in (status == krf.Status.CONVERGED, status + 1, status < 3):
        assert type(plain) is np.ndarray
    assert int(status.max()) == 0
    again = pickle.loads(pickle.dumps(results["cells"]))
    assert "CONVERGED" in repr(again.status)
    single = krf.limit_diagonal([[1.0]], [1.0], alpha=1.0).status
    assert repr(single) == "StatusArray(CONVERGED)"
    assert krf.Status(int(single)) == single
    assert (single.name, single.names.shape) == ("CONVERGED", ())


@pytest.mark.parametrize("kind", ALL)
def test_statuses_are_compared_with_names(kind, results):
    status = results[kind].status
    for each in krf.Status:
        for compare in (operator.eq, operator.ne):
            for part in (status, status[0], status[1, 2], status[1:, 0]):
                found = compare(part, each.name)
                assert type(found) is type(compare(np.asarray(part)[()], int(each)))
                assert np.array_equal(found, compare(np.asarray(part), int(each)))
    assert np.array_equal(status == [["CONVERGED"], ["T_END"]], status == [[0], [1]])
    assert ("FAILED" in status) == (4 in np.asarray(status))
    ds = results[kind].to_dataset()
    assert np.array_equal(ds.status == 0, status == "CONVERGED")
    for part in (status, status[0], status[0, 0]):
        with pytest.raises(ValueError, match=r"status: expected one of CONVERGED, .*got converged"):
            _ = part == "converged"
        assert not np.any(part == 99)
        assert np.all(part != None)  # noqa: E711


@pytest.mark.parametrize("kind", ALL)
def test_statuses_have_names(kind, results):
    status = results[kind].status
    expected = [[krf.Status(each).name for each in row] for row in np.asarray(status).tolist()]
    assert status.names.tolist() == expected
    assert status.names.dtype.kind == "U"
    for one in (status[1, 2], results[kind][1, 2].status):
        assert type(one.name) is str
        assert one.name == expected[1][2]
    assert status[:0].names.shape == (0, 3)
    with pytest.raises(AttributeError, match=r"^name: .*shape \(2, 3\); use names$"):
        status.name  # noqa: B018
    assert not hasattr(status, "name")


def test_one_status_is_a_number(results):
    """Whatever one does with a NumPy integer."""
    one = results["limit"].status[0, 0]
    assert (one.item(), one.ndim, int(one), f"{one:d}", [7, 8][one]) == (0, 0, 0, "0", 7)
    assert {one: 1}[0] == 1
    assert one in {krf.Status.CONVERGED}
    assert pickle.loads(pickle.dumps(one)) == 0
    assert type(one + 1) is np.int64
    assert np.array([one]).dtype == np.int64


@pytest.mark.parametrize("kind", ALL)
def test_a_status_is_the_same_however_it_was_come_by(kind, results):
    """One run by index, through a file or a copy, one entry, and one of a loop."""
    result = results[kind]
    name = krf.Status(int(np.asarray(result.status)[0, 1])).name
    one = result[0, 1]
    every = [
        one.status, result.status[0, 1], [*result.status[0]][1], [*result[0]][1].status,
        pickle.loads(pickle.dumps(one)).status, copy.deepcopy(one).status,
        pickle.loads(pickle.dumps(one.status)), pickle.loads(pickle.dumps(result.status[0, 1])),
    ]  # fmt: skip
    for status in every:
        assert status.name == str(status) == f"{status}" == name
        assert status == name
        assert f"{status:>12}" == f"{name:>12}"
        assert f"{status:03d}" == f"{int(status):03d}"
    assert f"{result.status[0]}" == str(result.status[0])


@pytest.mark.parametrize("kind", ALL)
def test_a_run_by_index_has_arrays_as_a_single_run_has(kind, results):
    one = results[kind][1, 0]
    for name, value in one._fields():
        for each in value if isinstance(value, list) else [value]:
            assert not isinstance(each, np.generic), name
    assert one.status.names.shape == ()
    for index in (0, slice(None), [True]):
        with pytest.raises(IndexError, match=r"^index: this result is of one run"):
            one[index]
    assert one[...].status == one[()].status == one.status


@pytest.mark.parametrize("kind", ALL)
def test_a_result_is_true_however_many_runs_it_has(kind, results):
    assert all([results[kind], results[kind][0, 0], results[kind][:0]])


def test_one_axis_has_one_name():
    flow = krf.flow_diagonal([[1.0, 2.0]], [2.0], alpha=[0.1, 1.0])
    assert flow.to_dataset("alpha").equals(flow.to_dataset(["alpha"]))
    assert flow.to_dataframe("alpha").index.name == "alpha"
    with pytest.raises(ValueError, match=r"^dims: expected 1 name, one for each batch axis, got 2"):
        flow.to_dataset(["alpha", "depth"])


def test_results_are_compared_by_identity(results):
    assert results["flow"] == results["flow"]
    assert results["flow"] != results["flow"][...]
    assert len({results["flow"], results["flow"]}) == 1


@pytest.mark.parametrize("data", [
    krf.datasets.sparse_regression(40, 100, 2), krf.datasets.low_rank_completion(9, 9, 1, 30),
    krf.datasets.circle_teacher(),
])  # fmt: skip
def test_data_are_described_by_their_shapes(data):
    text = repr(data)
    assert len(text) < 200
    assert text.startswith(type(data).__name__)
    assert str(np.shape(data[0])) in text
