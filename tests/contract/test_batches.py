"""Neighbours in a batch: a run has the bits that it has alone, whatever the others' designs are."""

from __future__ import annotations

import numpy as np
import pytest
from stand_in_device import on_device

import kernelrich_fast as krf

pytestmark = pytest.mark.filterwarnings("ignore::kernelrich_fast.ConvergenceWarning")

RNG = np.random.default_rng(0)


def one_hot(n, d):
    """An intercept beside categories: one column is the sum of others."""
    return np.c_[np.ones(n), np.eye(d - 1)[RNG.integers(0, d - 1, n)]]


def changed(X, rows=slice(None), columns=slice(None), to=0.0):
    """X with the entries of some rows and columns set to others."""
    X = X.copy()
    X[rows, columns] = to
    return X


def designs(n, d):
    """Data of n samples and d features, of full rank and of others."""
    A, B, C = RNG.standard_normal((3, n, d))
    return np.stack([
        A,
        one_hot(n, d),
        changed(A, columns=1),
        changed(B, columns=slice(2, d), to=B[:, :1]),
        B,
        np.zeros((n, d)),
        changed(C, rows=slice(1, n, 2)),
        C[:1] * C[:, :1],
        C * 10.0 ** RNG.integers(-6, 7, d),
    ])  # fmt: skip


TALL, WIDE = designs(17, 5), designs(4, 7)
BOTH = pytest.mark.parametrize("X", [TALL, WIDE], ids=["tall", "wide"])


def targets(X):
    """Some that a beta fits, and some that none does, if there are more samples than features."""
    y = RNG.standard_normal(X.shape[:-1])
    y[::2] = np.einsum("pnd,d->pn", X[::2], np.ones(X.shape[-1]))
    return y


def expect_each_as_alone(solve, names, *data, **options):
    """The problems of a batch (the first axis) have the bits that they have one by one."""
    batch = solve(*data, **options)
    for i, own in enumerate(zip(*data, strict=True)):
        alone = solve(*own, **options)
        for name in names:
            got, expected = getattr(batch[i], name), getattr(alone, name)
            assert np.array_equal(got, expected, equal_nan=True), (i, name)


# The fallback takes long for means.
AVERAGED = {"averaged": True, "alpha": 0.5, "t_eval": [0.01, 0.1]}
FLOW = ("beta", "w_plus", "w_minus", "dual", "loss", "t", "status", "n_steps", "n_rhs", "n_flops")
LIMIT = ("beta", "w_plus", "w_minus", "dual", "loss", "status", "n_iterations")


@BOTH
@pytest.mark.parametrize("asked", [{}, {"t_eval": [0.01, 0.1]}, AVERAGED], ids=str)
def test_flows(X, asked, backend):
    options = {"alpha": [0.1, 1.0], "depth": [[2], [3]], **asked}

    def solve(X, y):
        own = X[..., None, None, :, :], y[..., None, None, :]
        return krf.flow_diagonal(*own, **options, backend=backend)

    names = (*FLOW, "beta_mean") if "averaged" in asked else FLOW
    expect_each_as_alone(solve, names, X, targets(X))


@BOTH
def test_flows_beside_weight_decay(X, backend):
    expect_each_as_alone(
        lambda X, y: krf.flow_diagonal(
            X[..., None, :, :], y[..., None, :], alpha=0.5, depth=3, t_eval=[0.1, 0.5],
            weight_decay=[0.0, 0.1], backend=backend,
        ),
        FLOW, X, targets(X),
    )  # fmt: skip


@BOTH
@pytest.mark.parametrize("options", [{}, {"weight_decay": 1e-2}], ids=str)
def test_limits(X, options, backend):
    expect_each_as_alone(
        lambda X, y: krf.limit_diagonal(X, y, alpha=0.5, **options, backend=backend),
        LIMIT, X, targets(X),
    )  # fmt: skip


@BOTH
def test_margin_flows(X, backend):
    y = np.where(RNG.standard_normal(X.shape[:-1]) < 0.0, -1.0, 1.0)
    expect_each_as_alone(
        lambda X, y: krf.flow_diagonal(
            X, y, alpha=0.3, loss="logistic", t_eval=[0.1, 1.0, 10.0], backend=backend
        ),
        (*FLOW, "margins", "log_loss", "log_t"), X, y,
    )  # fmt: skip


def test_margin_limits():
    """Several scales of one problem are found on one path, each as if it were asked for alone."""
    X, y = RNG.standard_normal((6, 8)), np.sign(RNG.standard_normal(6))
    mu = 10.0 ** RNG.uniform(-9, 4, 12)
    batch = krf.margin_limit(X, y, mu=mu, depth=3)
    for b, each in enumerate(mu):
        alone = krf.margin_limit(X, y, mu=each, depth=3)
        for name in ("beta", "dual", "margins", "n_iterations", "status"):
            assert np.array_equal(getattr(batch, name)[b], getattr(alone, name)), (b, name)


@BOTH
def test_paths(X, host):
    y = targets(X)
    batch = krf.rich_path(X, y, backend=host)
    for i in range(len(X)):
        alone = krf.rich_path(X[i], y[i], backend=host)
        jumps = int(alone.n_jumps)
        assert np.array_equal(batch.jump_times[i, :jumps], alone.jump_times)
        assert np.array_equal(batch.beta[i, : jumps + 1], alone.beta)
        assert np.array_equal(batch.saddle_loss[i, : jumps + 1], alone.saddle_loss)
        for name in ("dual", "loss", "unique", "n_jumps", "n_pivots", "status"):
            assert np.array_equal(getattr(batch[i], name), getattr(alone, name)), (i, name)


@BOTH
def test_linear_networks(X, backend):
    Y = np.stack([targets(X), RNG.standard_normal(X.shape[:-1])], axis=-1)
    names = ("M", "gram", "W1", "W2", "loss", "t", "status", "n_steps", "n_rhs", "n_flops")
    options = {"alpha": 0.3, "width": 2, "t_eval": [0.01, 0.1], "backend": backend}
    expect_each_as_alone(lambda X, Y: krf.flow_linear(X, Y, **options), names, X, Y)
    S, C = np.swapaxes(X, -1, -2) @ X, np.swapaxes(Y, -1, -2) @ X
    # The last one has features of very different units, of which moments lose the small ones.
    S, C = S[:-1], C[:-1]
    expect_each_as_alone(lambda S, C: krf.flow_linear(S=S, C=C, **options), names, S, C)


def test_targets_of_one_axis_and_inputs_of_another(backend):
    y = RNG.standard_normal((3, TALL.shape[1]))
    batch = krf.flow_diagonal(TALL[:, None], y, alpha=0.5, t_eval=[0.1, 1.0], backend=backend)
    for i, j in np.ndindex(len(TALL), len(y)):
        alone = krf.flow_diagonal(TALL[i], y[j], alpha=0.5, t_eval=[0.1, 1.0], backend=backend)
        for name in FLOW:
            assert np.array_equal(getattr(batch[i, j], name), getattr(alone, name)), (i, j, name)


def test_progress_is_that_of_all_sizes(compiled):
    for solve, options in (
        (krf.flow_diagonal, {"alpha": 0.5}), (krf.limit_diagonal, {"alpha": 0.5}),
        (krf.rich_path, {}),
    ):  # fmt: skip
        heard = []
        solve(TALL, targets(TALL), **options, backend="cpu", progress=heard.append)
        assert heard == sorted(heard)
        assert heard[-1] == len(TALL)


@pytest.mark.parametrize("there", [on_device, lambda array: array])
def test_a_device_takes_every_size(stand_in, there):
    stand_in(most_runs=4)
    y = targets(TALL)
    options = {"alpha": 0.5, "t_eval": [0.1, 1.0]}
    expected = krf.flow_diagonal(TALL, y, **options, backend="cpu")
    got = krf.flow_diagonal(there(TALL), there(y), **options, backend="cuda")
    for name in ("beta", "dual"):
        a, b = np.asarray(getattr(got, name)), getattr(expected, name)
        assert np.allclose(a, b, rtol=1e-9, atol=1e-12), name
