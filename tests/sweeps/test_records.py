"""What a sweep's Dataset says of its call, and what it shares with it: all, and no memory."""

from __future__ import annotations

import functools
import inspect

import numpy as np
import pytest

import kernelrich_fast as krf

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((4, 7)), RNG.standard_normal(4)
LABELS, STAR = np.sign(Y), RNG.standard_normal(7)
PROFILES = RNG.uniform(0.5, 2.0, (2, 7))
MATRIX = np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 0.5])
SEEN = np.array([[True, True, False], [True, True, True], [False, True, True]])
CIRCLE = krf.datasets.circle_teacher(5)
# Options at other values than their defaults; arguments that are data or say what to keep, and
# what results do not depend on, stand in PLAIN.
PLAIN = {"X", "y", "Y", "Y_star", "beta_star", "M_star", "X_test", "y_test", "S", "C", "y_norm2",
         "keep", "store", "client", "progress", "num_threads", "start", "rescale_layers",
         "weights0", "biases0", "measurements", "dims", "symmetric", "U0", "V0", "W1", "W2",
         "entries", "seed"}  # fmt: skip
FLOW = {"rtol": 1e-4, "atol": 1e-9, "max_steps": 40_000, "method": "radau5", "backend": "auto"}
TIMES = np.array([0.0, 0.1])
CALLS = {
    "squared": (krf.sweep_diagonal, krf.flow_diagonal, {
        "X": X, "y": Y, "alpha": np.array([0.1, 0.2]), "depth": 2.0, "w0": np.linspace(1, 2, 7),
        "model": "product", "balance": 0.5, "loss_scale": 0.5, "weight_decay": 0.1,
        "averaged": True, "t_max": np.array([1.0, 2.0]), "stop_loss": 1e-3, "limit": False,
        "loss": "squared", "beta_star": STAR, "keep": ("norms", "beta"), **FLOW,
    }),
    "profiles": (krf.sweep_diagonal, krf.flow_diagonal, {
        "X": X, "y": np.stack([Y, -Y]), "alpha": np.array([0.1, 0.2]), "depth": np.array([2, 3.0]),
        "w_plus0": PROFILES, "w_minus0": PROFILES[0], "t_eval": TIMES, "keep": ("norms", "beta"),
        "beta_star": np.stack([STAR, STAR]), "rtol": np.array([[1e-4], [1e-5]]),
    }),
    "limit": (krf.sweep_diagonal, krf.limit_diagonal, {
        "X": X, "y": Y, "alpha": np.array(0.1), "limit": True, "tol": 1e-9, "max_iter": 400,
        "w0": np.array(2.0), "weight_decay": np.array([0.1, 0.2]), "model": "two_products",
        "backend": "numpy",
    }),
    "margins": (krf.sweep_diagonal, krf.flow_diagonal, {
        "X": X, "y": LABELS, "alpha": np.array([0.1, 0.2]), "depth": 3.0, "loss": "logistic",
        "eps": 0.3, "log_loss_eval": np.array([-1.0, -20.0]),
    }),
    "log times": (krf.sweep_diagonal, krf.flow_diagonal, {
        "X": X, "y": LABELS, "alpha": 0.1, "loss": "exponential",
        "log_t_eval": np.array([1.0, 2.0]),
    }),
    "stopped": (krf.sweep_diagonal, krf.flow_diagonal, {
        "X": X, "y": LABELS, "alpha": 0.1, "loss": "exponential",
        "stop_log_loss": np.array(-20.0),
    }),
    "mask": (krf.sweep_factorization, krf.flow_factorization, {
        "Y_star": MATRIX, "alpha": np.array([0.1, 0.2]), "width": np.array([2, 3]),
        "seeds": np.array([1, 2]), "mask": SEEN, "stop_loss": 1e-3,
        "t_max": np.array([1.0, 2.0]), **FLOW,
    }),
    "entries": (krf.sweep_factorization, krf.flow_factorization, {
        "Y_star": MATRIX, "alpha": 0.1, "width": 2, "entries": np.nonzero(SEEN), "t_eval": TIMES,
        "keep": ("norms", "M"),
    }),
    "drawn": (krf.sweep_factorization, krf.flow_factorization, {
        "Y_star": np.sign(MATRIX), "alpha": 0.1, "width": 2, "seeds": 3, "n_observed": 5,
        "loss": "logistic", "log_t_eval": np.array([1.0, 2.0]),
    }),
    "levels": (krf.sweep_factorization, krf.flow_factorization, {
        "Y_star": np.sign(MATRIX), "alpha": 0.1, "width": np.array(4), "mask": SEEN,
        "loss": "logistic", "log_loss_eval": np.array([-1.0, -20.0]),
    }),
    "stopped matrices": (krf.sweep_factorization, krf.flow_factorization, {
        "Y_star": np.sign(MATRIX), "alpha": 0.1, "width": np.array(4), "n_observed": 5,
        "loss": "exponential", "stop_log_loss": np.array(-20.0),
    }),
    "linear": (krf.sweep_linear, krf.flow_linear, {
        "X": X, "Y": X[:, :2], "alpha": np.array([0.1, 0.2]), "width": 3, "seeds": 4,
        "t_max": 3.0, "stop_loss": np.array([1e-3, 1e-4]), "M_star": np.ones((2, 7)),
        "keep": ("norms", "modes", "M"), **FLOW,
    }),
    "linear times": (krf.sweep_linear, krf.flow_linear, {
        "X": X, "Y": X[:, :2], "alpha": 0.1, "width": np.array([3, 4]), "t_eval": TIMES,
    }),
    "networks": (krf.sweep_mlp, krf.flow_mlp, {
        "X": CIRCLE.X, "y": CIRCLE.y, "depth": np.array([2, 3]), "width": np.array([3, 4]),
        "alpha": np.array([[0.5, 1.0], [0.6, 1.1]]), "seeds": np.array([1, 2]), "bias": True,
        "antisymmetric": True, "init": "he_normal", "loss": "squared",
        "rtol": np.array([1e-3, 1e-2])[:, None, None, None],
        "atol": 1e-9, "max_steps": 40_000, "t_max": 2.0, "stop_loss": 1e-3, "backend": "auto",
        "X_test": CIRCLE.X_test, "y_test": CIRCLE.y_test,
    }),
    "classes": (krf.sweep_mlp, krf.flow_mlp, {
        "X": CIRCLE.X, "y": np.arange(5) % 2, "depth": 2, "width": 3, "alpha": 1.0,
        "loss": "cross_entropy", "n_classes": 3, "rtol": 1e-2, "layer_scales": np.array([1.0, 0.5]),
        "method": "gradient_descent", "step_size": 0.01, "t_eval": TIMES,
    }),
    "paths": (krf.sweep_rich_path, krf.rich_path, {
        "X": X, "y": Y, "depth": np.array([2, 3.0]), "w0": np.linspace(1, 2, 7), "max_jumps": 50,
        "keep": ("norms", "beta", "path"), "n_recorded": 3, "beta_star": STAR, "backend": "numpy",
    }),
    "profiles of paths": (krf.sweep_rich_path, krf.rich_path, {
        "X": X, "y": Y, "w0": PROFILES, "depth": 2.0,
    }),
}  # fmt: skip
# What a Dataset calls the argument, where that is another name.
NAMES = {"seeds": "seed", "t_eval": "time", "log_loss_eval": "log_loss", "log_t_eval": "log_t",
         "model": "model_option", "mask": "observed", "entries": "observed"}  # fmt: skip


def arguments_of(sweep, flow):
    return {*inspect.signature(sweep).parameters, *inspect.signature(flow).parameters} - {
        "flow_options", "path_options"
    }  # fmt: skip


@functools.cache
def swept(call):
    sweep, _, arguments = CALLS[call]
    return sweep(**arguments, progress=False)


def test_the_calls_give_every_option():
    for sweep in {sweep for sweep, _, _ in CALLS.values()}:
        flows = {flow for of, flow, _ in CALLS.values() if of is sweep}
        given = {k for of, _, arguments in CALLS.values() if of is sweep for k in arguments}
        for flow in flows:
            assert arguments_of(sweep, flow) - PLAIN - given == set(), (sweep, flow)


@pytest.mark.parametrize("call", CALLS)
def test_every_option_is_recorded(call):
    ds = swept(call)
    for name, given in CALLS[call][2].items():
        if name in PLAIN - {"entries"} or given is None or name == "backend":
            continue
        if name == "n_recorded":
            assert ds.sizes["jump"] == given
            continue
        there = NAMES.get(name, name)
        if name == "alpha" and np.ndim(given) == 2:
            there = "scale"
        if name == "entries":
            given = SEEN
        kept = ds.coords[there] if there in ds.coords else ds.attrs[there]
        if isinstance(given, str):
            assert kept == given, name
        else:
            assert np.array_equal(kept, np.broadcast_to(given, np.shape(kept))), name


@pytest.mark.parametrize("call", CALLS)
def test_records_survive_netcdf_and_zarr(call):
    """Flags are numbers there, and text is text."""
    for value in swept(call).attrs.values():
        assert isinstance(value, str | int | float | list), value
    assert all(v.dtype.kind in "fiub" for v in swept(call).coords.values())


@pytest.mark.parametrize("call", CALLS)
def test_no_memory_is_shared(call):
    arguments = [
        each
        for value in CALLS[call][2].values()
        for each in (value if isinstance(value, tuple) else (value,))
        if isinstance(each, np.ndarray)
    ]
    for name, variable in swept(call).variables.items():
        for argument in arguments:
            assert not np.shares_memory(variable.values, argument), name


def test_what_a_loss_is_of():
    """Also where it was not given: the data of a linear network, the loss, and where it ends."""
    S, C = X.T @ X, (X[:, :2]).T @ X
    start = {"alpha": 0.1, "width": 2, "progress": False}
    excess = krf.sweep_linear(S=S, C=C, **start)
    whole = krf.sweep_linear(S=S, C=C, y_norm2=100.0, **start)
    assert excess.attrs["data"] == whole.attrs["data"] == "moments"
    assert (excess.attrs.get("y_norm2"), whole.attrs["y_norm2"]) == (None, 100.0)
    assert swept("linear").attrs["data"] == "samples"
    assert swept("linear").attrs["loss"] == swept("mask").attrs["loss"] == "squared"
    ends = krf.sweep_diagonal(X, LABELS, alpha=0.1, loss="logistic", progress=False)
    assert np.isclose(ends.attrs["stop_log_loss"], np.log(1e-12))
    assert "stop_log_loss" not in swept("margins").attrs
