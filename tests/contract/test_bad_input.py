"""Every illegal argument is refused by name, before any work."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
import scipy.sparse

import kernelrich_fast as krf
from kernelrich_fast.backends import available_backends

X, Y = np.ones((2, 3)), np.ones(2)
NAN, INF = float("nan"), float("inf")
COMMON = [
    ("X", {"X": [[NAN, 1, 1], [1, 1, 1]]}, ValueError),
    ("X", {"X": [[INF, 1, 1], [1, 1, 1]]}, ValueError),
    ("X", {"X": np.ones(3)}, ValueError),
    ("X", {"X": 1.0}, ValueError),
    ("X", {"X": np.ones((0, 3))}, ValueError),
    ("X", {"X": np.ones((2, 3), dtype=complex)}, TypeError),
    ("X", {"X": np.full((2, 3), None)}, TypeError),
    ("X", {"X": [["a", "b", "c"]] * 2}, TypeError),
    ("X", {"X": [[1.0], [1.0, 2.0]]}, TypeError),
    ("X", {"X": np.full((2, 3), 1e200)}, ValueError),
    ("y", {"y": np.ones(3)}, ValueError),
    ("y", {"y": 1.0}, ValueError),
    ("y", {"y": [NAN, 1]}, ValueError),
    ("y", {"y": [1e200, 1]}, ValueError),
    ("y", {"y": np.array([1, 2], dtype="datetime64[s]")}, TypeError),
    ("alpha", {"alpha": 0.0}, ValueError),
    ("alpha", {"alpha": -1.0}, ValueError),
    ("alpha", {"alpha": NAN}, ValueError),
    ("alpha", {"alpha": INF}, ValueError),
    ("alpha", {"alpha": []}, ValueError),
    ("alpha", {"alpha": "big"}, TypeError),
    ("alpha", {"alpha": 1e-160}, ValueError),
    ("alpha", {"alpha": 1e-60, "depth": 8}, ValueError),
    ("alpha", {"alpha": 1e30, "depth": 8}, ValueError),
    ("depth", {"depth": 1}, ValueError),
    ("depth", {"depth": 0}, ValueError),
    ("depth", {"depth": -3}, ValueError),
    ("depth", {"depth": 1.9999}, ValueError),
    ("depth", {"depth": 2.0**20}, ValueError),
    ("depth", {"depth": [2.5, NAN]}, ValueError),
    ("depth", {"depth": "two"}, TypeError),
    ("depth", {"depth": []}, ValueError),
    ("w0", {"w0": np.ones(2)}, ValueError),
    ("w0", {"w0": [1.0, 0.0, 1.0]}, ValueError),
    ("w0", {"w0": [1.0, -1.0, 1.0]}, ValueError),
    ("w_plus0", {"w_plus0": np.ones(5)}, ValueError),
    ("w_plus0", {"w_plus0": [1.0, NAN, 1.0]}, ValueError),
    ("w_minus0", {"w_minus0": [1.0, 1.0, -2.0]}, ValueError),
    ("depth", {"alpha": [1.0, 2.0], "depth": [2, 3, 4]}, ValueError),
    ("alpha", {"X": np.ones((2, 2, 3)), "alpha": [1.0, 2.0, 3.0]}, ValueError),
    ("alpha", {"alpha": True}, TypeError),
    ("depth", {"depth": [True, False]}, TypeError),
    ("w0", {"w0": [True, True, True]}, TypeError),
    ("backend", {"backend": "gpu"}, ValueError),
    ("backend", {"backend": None}, TypeError),
    ("num_threads", {"num_threads": 0}, ValueError),
    ("num_threads", {"num_threads": 1.5}, TypeError),
    ("num_threads", {"num_threads": True}, TypeError),
    ("progress", {"progress": 3}, TypeError),
]
FLOW = [
    ("loss", {"loss": "hinge"}, ValueError),
    ("t_eval", {"t_eval": []}, ValueError),
    ("t_eval", {"t_eval": [1.0, 0.5]}, ValueError),
    ("t_eval", {"t_eval": [-1.0, 0.5]}, ValueError),
    ("t_eval", {"t_eval": [[0.0, 0.5]]}, ValueError),
    ("t_eval", {"t_eval": [0.0, NAN]}, ValueError),
    ("t_eval", {"t_eval": [True]}, TypeError),
    ("rtol", {"rtol": True}, TypeError),
    ("weight_decay", {"weight_decay": True}, TypeError),
    ("weight_decay", {"weight_decay": [(0.0, 0.5, 3.0), (1.0, 0.2, 3.0)]}, ValueError),
    ("t_eval", {"t_eval": [0.0, INF]}, ValueError),
    ("t_max", {"t_max": 0.0}, ValueError),
    ("t_max", {"t_max": -1.0}, ValueError),
    ("t_max", {"t_max": NAN}, ValueError),
    ("stop_loss", {"stop_loss": -1e-3}, ValueError),
    ("stop_loss", {"stop_loss": NAN}, ValueError),
    ("rtol", {"rtol": 0.0}, ValueError),
    ("rtol", {"rtol": 1e-14}, ValueError),
    ("rtol", {"rtol": 0.5}, ValueError),
    ("atol", {"atol": -1.0}, ValueError),
    ("atol", {"atol": [0.0, 1.0]}, TypeError),
    ("method", {"method": "euler"}, ValueError),
    ("method", {"method": 5}, TypeError),
    ("max_steps", {"max_steps": 0}, ValueError),
    ("max_steps", {"max_steps": 1e3}, TypeError),
]
LIMIT = [
    ("tol", {"tol": 0.0}, ValueError),
    ("tol", {"tol": 1.0}, ValueError),
    ("max_iter", {"max_iter": 0}, ValueError),
    ("max_iter", {"max_iter": "many"}, TypeError),
]
PATH = [
    ("max_jumps", {"max_jumps": 0}, ValueError),
    ("max_jumps", {"max_jumps": 2.5}, TypeError),
    ("backend", {"backend": "cuda"}, ValueError),
    ("w0", {"w0": [1e-200, 1.0, 1.0], "depth": 4}, ValueError),
]
SWEEP = [
    ("keep", {"keep": ("everything",)}, ValueError),
    ("beta_star", {"beta_star": np.ones(4)}, ValueError),
    ("beta_star", {"beta_star": np.ones((2, 3))}, ValueError),
    ("alpha", {"alpha": [[1.0]]}, ValueError),
    ("depth", {"depth": [[2]]}, ValueError),
    ("X", {"X": np.ones((1, 1, 2, 3))}, ValueError),
    ("w0", {"w0": np.ones((1, 1, 3))}, ValueError),
]
CASES = [
    *((krf.flow_diagonal, *case) for case in COMMON + FLOW),
    *((krf.limit_diagonal, *case) for case in COMMON + LIMIT),
    *((krf.sweep_diagonal, *case) for case in SWEEP),
    *(
        (lambda alpha, **options: krf.rich_path(**options), *case)
        for case in COMMON + PATH
        if not {"alpha", "w_plus0", "w_minus0"} & set(case[1])
    ),
]


@pytest.mark.parametrize(("function", "name", "bad", "error"), CASES)
def test_refused_by_name(function, name, bad, error):
    with pytest.raises(error, match=f"^{name}"):
        function(**{"X": X, "y": Y, "alpha": 1.0, **bad})


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: krf.datasets.sparse_regression(0, 5, 1), "n_samples"),
        (lambda: krf.datasets.sparse_regression(5, 5, 6), "sparsity"),
        (lambda: krf.datasets.sparse_regression(5, 5, 1, noise_variance=-1.0), "noise_variance"),
        (lambda: krf.theory.q_potential([1.0], 0.0), "alpha"),
        (lambda: krf.theory.q_potential(1.0, 1.0), "beta"),
        (lambda: krf.theory.q_potential([1.0], 1.0, depth=1), "depth"),
        (lambda: krf.theory.min_l1(np.ones((2, 2, 3)), np.ones((2, 2))), "X"),
        (lambda: krf.theory.tangent_kernel(X, [-1.0, 1, 1], [1.0, 1, 1]), "w_plus"),
        (lambda: krf.theory.alpha_for_l2(0.0, [1.0]), "eps"),
    ],
)
def test_theory_refuses_by_name(call, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        call()


def test_missing_backend_says_why():
    if available_backends()["cuda"] is None:
        pytest.skip("the cuda backend works here")
    with pytest.raises(krf.BackendUnavailableError, match=r"backend 'cuda': .*backend='cpu'"):
        krf.flow_diagonal(X, Y, alpha=1.0, backend="cuda")


class Unreadable:
    """As a tensor that wants gradients, or a tracer: NumPy is refused, and so is its device."""

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.\nUse detach().")

    def __dlpack_device__(self):
        raise BufferError("no device")


class Strange:
    """Its numbers are of a kind that NumPy does not know."""

    def __array__(self, *_, **__):
        raise TypeError("Got unsupported ScalarType BFloat16")


def masked(values):
    return np.ma.masked_array(
        values, mask=np.arange(np.size(values)).reshape(np.shape(values)) == 0
    )


X3, Y3 = np.eye(3), np.ones(3)


@pytest.mark.parametrize("value", [Unreadable(), Strange(), masked(X3), scipy.sparse.eye_array(3)])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("X", lambda v: krf.flow_diagonal(v, Y3, alpha=1.0)),
        ("X", lambda v: krf.limit_diagonal(v, Y3, alpha=1.0)),
        ("alpha", lambda v: krf.limit_diagonal(X3, Y3, alpha=v)),
        ("depth", lambda v: krf.limit_diagonal(X3, Y3, alpha=1.0, depth=v)),
        ("X", lambda v: krf.sweep_diagonal(v, Y3, alpha=1.0)),
        ("X", lambda v: krf.flow_mlp(v, Y3)),
        ("X", lambda v: krf.theory.min_l1(v, Y3)),
        ("Y_star", lambda v: krf.sweep_factorization(v, alpha=1.0, width=2, n_observed=4)),
        ("measurements", lambda v: krf.flow_factorization(Y3, measurements=v, alpha=1.0, width=2)),
        (
            "entries",
            lambda v: krf.flow_factorization(Y3, entries=(v, [0, 1]), dims=(3, 3), alpha=1),
        ),
    ],
)
def test_arrays_that_numpy_cannot_read_are_refused_by_name(name, call, value):
    with pytest.raises(TypeError, match=f"^{name}: expected"):
        call(value)


def test_masks_without_a_masked_value_are_ordinary():
    flow = krf.limit_diagonal(np.ma.masked_array(X3), np.ma.masked_array(Y3), alpha=1.0)
    assert np.array_equal(flow.beta, krf.limit_diagonal(X3, Y3, alpha=1.0).beta)


def test_tables_are_arrays_and_their_other_columns_are_named():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X3, columns=["a", "b", "c"])
    flow = krf.limit_diagonal(table, pandas.Series(Y3, index=[7, 8, 9]), alpha=1.0)
    assert np.array_equal(flow.beta, krf.limit_diagonal(X3, Y3, alpha=1.0).beta)
    with pytest.raises(TypeError, match=r"^X: .*the non-numeric columns city"):
        krf.limit_diagonal(table.assign(city=["x", "y", "z"]), Y3, alpha=1.0)


def test_a_column_of_targets_says_what_to_pass():
    with pytest.raises(ValueError, match=r"^y: expected shape \(3,\).*pass y\[\.\.\., 0\]"):
        krf.limit_diagonal(X3, Y3[:, None], alpha=1.0)


def test_depths_beyond_any_network_are_refused_by_name():
    with pytest.raises(ValueError, match=r"^depth: .*at most 1048575"):
        krf.limit_diagonal(X3, Y3, alpha=1.0, depth=2**20)


def test_a_wrong_number_of_features_is_refused_by_name():
    flow = krf.flow_mlp(X3, Y3, width=4, t_max=0.1)
    for call in (
        lambda: flow.predict(np.ones((2, 5))),
        lambda: krf.theory.mlp_predict(flow.weights, np.ones((2, 5))),
        lambda: krf.theory.mlp_tangent_kernel(flow.weights, X3, np.ones((2, 5))),
        lambda: krf.theory.mlp_kernel_predictor(flow.weights, X3, Y3, np.ones((2, 5))),
    ):
        with pytest.raises(ValueError, match=r"^X(_new)?: expected 3 features, got"):
            call()


@pytest.mark.parametrize(
    "bad",
    [-0.1, np.nan, np.inf, "much", [(1.0, 0.1), (0.5, 0.2)], [(-1.0, 0.1)], [(0.0, -0.1)],
     [(0.0, 0.1), (0.0, 0.2)], [[0.1, 0.2, 0.3]], None],
)  # fmt: skip
def test_bad_decay_is_refused_by_name(small, bad):
    X, y, _ = small
    with pytest.raises((ValueError, TypeError), match=r"^weight_decay"):
        krf.flow_diagonal(X, y, alpha=[0.1, 1.0], weight_decay=bad)


@pytest.mark.parametrize("bad", [krf.schedules.exponential(0.1, 1.0), [(0.0, 0.1), (1.0, 0.2)],
                                 [0.0, 0.1]])  # fmt: skip
def test_limits_take_constant_decay(small, bad):
    X, y, _ = small
    with pytest.raises(ValueError, match="weight_decay: expected"):
        krf.limit_diagonal(X, y, alpha=[0.1, 1.0], weight_decay=bad)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((each for each in (0.1, 1.0)), r"a generator; pass list\(\.\.\.\) of it"),
        ({"alpha": 0.1}, "an object of type dict"),
        (Decimal("0.1"), r"an object of type Decimal; pass float\(\.\.\.\) of it"),
        (10**400, "an integer beyond the floating-point numbers"),
        ([0.1, None], "an array of Python objects, among them None"),
        ([0.1, Decimal], "an array of Python objects, among them one of type type"),
        (
            np.array([0.1, 1.0], object),
            r"numbers as Python objects; pass them with \.astype\(float\)",
        ),
        ("0.1", "dtype <U3"),
    ],
)
def test_what_is_no_array_of_numbers_is_named(small, value, said):
    X, y, _ = small
    with pytest.raises(TypeError, match=f"^alpha: expected real numbers, got {said}$"):
        krf.flow_diagonal(X, y, alpha=value)


def test_the_first_tolerance_that_is_out_of_range_is_named(small):
    X, y, _ = small
    with pytest.raises(ValueError, match=r"^rtol: .*, got 1\.0 at index 2$"):
        krf.flow_diagonal(X, y, alpha=0.1, rtol=[1e-3, 1e-3, 1.0])


def test_scales_that_are_advised_are_floating_point_numbers(small):
    X, y, _ = small
    with pytest.raises(ValueError, match=r"^alpha: .*, alpha from 1e-307 to 9\.93e-153, got"):
        krf.flow_diagonal(X, y, alpha=0.1, w0=1e300)
