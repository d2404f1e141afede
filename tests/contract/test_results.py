"""Results: short descriptions, runs by index, labelled arrays and tables."""

from __future__ import annotations

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
        "layers": krf.flow_linear(data.X, data.X[:, :2], seed=[0, 1, 2], width=3, **grid),
        "nets": krf.flow_mlp(
            circle.X, circle.y, seed=[0, 1, 2], width=4, depth=3, bias=True, antisymmetric=True,
            t_eval=TIMES, rtol=1e-3, **grid,
        ),
    }  # fmt: skip


KINDS = ("flow", "limit", "cells", "layers", "nets")


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


def test_every_array_of_a_result_is_in_its_dataset(results):
    assert results["flow"].to_dataset().beta.dims == ("batch_0", "batch_1", "time", "feature")
    assert results["cells"].to_dataset().M.dims == ("batch_0", "batch_1", "row", "column")
    nets = results["nets"].to_dataset()
    assert nets.weights_2.dims == ("batch_0", "batch_1", "time", "copy", "unit_2", "unit_1")
    assert nets.weights0_1.dims == ("batch_0", "batch_1", "copy", "unit_1", "unit_0")
    assert nets.biases_3.dims == ("batch_0", "batch_1", "time", "copy", "unit_3")


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
    assert repr(status[0, 0]) == repr(np.int64(0))
    for plain in (status == krf.Status.CONVERGED, status + 1, status < 3):
        assert type(plain) is np.ndarray
    assert int(status.max()) == 0
    again = pickle.loads(pickle.dumps(results["cells"]))
    assert "CONVERGED" in repr(again.status)
    single = krf.limit_diagonal([[1.0]], [1.0], alpha=1.0).status
    assert repr(single) == "StatusArray(CONVERGED)"
    assert krf.Status(int(single)) == single


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
