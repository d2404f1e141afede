"""Linear networks against SciPy on their weights, closed forms, and what the flow conserves."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import kernelrich_fast as krf
from kernelrich_fast.backends import available_backends
from kernelrich_fast.status import Status


def on_weights(X, Y, W1, W2, times, rtol=1e-11):
    """M at the times, by an explicit method of order 8 on both layers."""
    S, C = X.T @ X, Y.T @ X

    def field(t, state):
        first, second = state[: W1.size].reshape(W1.shape), state[W1.size :].reshape(W2.shape)
        R = 2.0 * (second @ first @ S - C)
        return -np.concatenate([(second.T @ R).ravel(), (R @ first.T).ravel()])

    start = np.concatenate([W1.ravel(), W2.ravel()])
    found = scipy.integrate.solve_ivp(
        field, (0.0, times[-1]), start, t_eval=times, rtol=rtol, atol=1e-14, method="DOP853"
    )
    assert found.success
    first, second = np.split(found.y.T, [W1.size], axis=1)
    return second.reshape(-1, *W2.shape) @ first.reshape(-1, *W1.shape)


def drawn(n_samples, d_in, d_out, width, scale=0.3, seed=0):
    rng = np.random.default_rng([n_samples, d_in, d_out, width, seed])
    X, Y = rng.standard_normal((n_samples, d_in)), rng.standard_normal((n_samples, d_out))
    W1 = scale * rng.standard_normal((width, d_in))
    W2 = scale * rng.standard_normal((d_out, width))
    return X, Y, W1, W2


def error(found, expected):
    norms = np.linalg.norm(expected, axis=(-2, -1))
    return float(np.max(np.linalg.norm(found - expected, axis=(-2, -1)) / norms))


@pytest.mark.parametrize(
    "shape", [(12, 4, 3, 5), (3, 5, 2, 7), (20, 6, 4, 30), (4, 1, 1, 1), (5, 2, 6, 3)]
)
@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
def test_the_flow_on_the_weights(backend_and_method, shape, rtol):
    backend, method = backend_and_method
    X, Y, W1, W2 = drawn(*shape)
    times = np.array([0.003, 0.02, 0.1, 0.5])
    flow = krf.flow_linear(
        X, Y, W1=W1, W2=W2, t_eval=times, rtol=rtol, backend=backend, method=method
    )
    expected = on_weights(X, Y, W1, W2, times)
    assert error(flow.M, expected) < 10.0 * rtol
    loss = ((X @ np.swapaxes(flow.M, -1, -2) - Y) ** 2).sum(axis=(-2, -1))
    assert np.allclose(flow.loss, loss, rtol=1e-9)


def test_a_wide_network_is_that_of_few_columns(backend):
    X, Y, W1, W2 = drawn(8, 3, 2, 400, scale=0.05)
    times = np.array([0.01, 0.05, 0.2])
    flow = krf.flow_linear(X, Y, W1=W1, W2=W2, t_eval=times, rtol=1e-8, backend=backend)
    assert error(flow.M, on_weights(X, Y, W1, W2, times)) < 1e-7
    assert flow.W1 is None
    W = np.concatenate([W2, W1.T])
    start = krf.flow_linear(X, Y, W1=W1, W2=W2, t_eval=[0.0], backend=backend)
    assert np.allclose(start.gram[0], W @ W.T, rtol=1e-12, atol=1e-13)


def test_moments_stand_for_samples(backend):
    X, Y, W1, W2 = drawn(9, 4, 3, 6)
    common = dict(W1=W1, W2=W2, t_eval=[0.01, 0.1], rtol=1e-8, backend=backend)
    flow = krf.flow_linear(X, Y, **common)
    moments = dict(S=X.T @ X, C=Y.T @ X)
    whole = krf.flow_linear(**moments, y_norm2=np.sum(Y * Y), **common)
    assert error(whole.M, flow.M) < 1e-7
    assert np.allclose(whole.loss, flow.loss, rtol=1e-6)
    excess = krf.flow_linear(**moments, **common)
    least = np.sum((X @ np.linalg.lstsq(X, Y, rcond=None)[0] - Y) ** 2)
    assert np.allclose(excess.loss, flow.loss - least, rtol=1e-6)


def test_every_mode_has_its_time(backend):
    """Balanced and aligned starts keep the modes apart: u' = 4 u (s - u) each, in closed form."""
    s, u0 = np.array([3.0, 1.0, 0.2]), 1e-3
    root = np.sqrt(u0) * np.eye(3)
    times = np.array([0.3, 1.0, 3.0, 10.0])
    flow = krf.flow_linear(
        np.eye(3), np.diag(s), W1=root, W2=root, t_eval=times, rtol=1e-8, backend=backend
    )
    grown = np.exp(4.0 * s * times[:, None])
    exact = s * grown / (grown - 1.0 + s / u0)
    assert np.allclose(np.diagonal(flow.M, axis1=1, axis2=2), exact, rtol=1e-7)


def test_the_riccati_solution(backend):
    """W2^T W2 - W1 W1^T = lam I and S = I: Q = [W1^T; W2] Q^T has a closed form.

    Its exponentials cancel later on, so it serves as long as exp(2 |F| t) eps is small.
    """
    rng = np.random.default_rng(0)
    d_in, d_out, k, lam = 4, 3, 2, 0.7
    Y = rng.standard_normal((d_out, d_in))
    W1 = 0.4 * rng.standard_normal((k, d_in))
    # W2^T W2 = lam I + W1 W1^T
    values, vectors = np.linalg.eigh(lam * np.eye(k) + W1 @ W1.T)
    frame = np.linalg.qr(rng.standard_normal((d_out, k)))[0]
    W2 = frame @ (vectors * np.sqrt(values)) @ vectors.T
    F = np.block([[-0.5 * lam * np.eye(d_in), Y.T], [Y, 0.5 * lam * np.eye(d_out)]])
    Q0 = np.concatenate([W1.T, W2])
    times = np.array([0.1, 0.25, 0.5])
    # The formula is for half our loss.
    exact = []
    for t in 2.0 * times:
        grown = scipy.linalg.expm(F * t) @ Q0
        middle = Q0.T @ (scipy.linalg.expm(2.0 * F * t) - np.eye(len(F))) @ np.linalg.solve(F, Q0)
        G = grown @ np.linalg.solve(np.eye(k) + 0.5 * middle, grown.T)
        exact.append(G[d_in:, :d_in])
    flow = krf.flow_linear(
        S=np.eye(d_in), C=Y, W1=W1, W2=W2, t_eval=times, rtol=1e-9, backend=backend
    )
    assert error(flow.M, np.array(exact)) < 1e-8


def test_many_outputs_take_the_steps_of_dense_measurements(compiled):
    """Blocks of the tangent kernel stand for the whole of it: the same steps, the same M."""
    rng = np.random.default_rng(0)
    d_in, d_out = 7, 5
    X, Y = rng.standard_normal((20, d_in)), rng.standard_normal((20, d_out))
    W1, W2 = 0.1 * rng.standard_normal((4, d_in)), 0.1 * rng.standard_normal((d_out, 4))
    A = np.einsum("ni,oq->noqi", X, np.eye(d_out)).reshape(-1, d_out, d_in)
    options = dict(method="radau5", rtol=1e-6, t_eval=[0.01, 0.1, 1.0], backend="cpu")
    blocks = krf.flow_linear(X, Y, W1=W1, W2=W2, **options)
    dense = krf.flow_factorization(Y.ravel(), measurements=A, U0=W2, V0=W1.T, **options)
    assert error(blocks.M, dense.M) < 1e-6
    assert abs(int(blocks.n_steps) - int(dense.n_steps)) <= 0.2 * int(dense.n_steps)


def test_balance_is_conserved(backend):
    X, Y, W1, W2 = drawn(6, 3, 4, 5)
    flow = krf.flow_linear(X, Y, W1=W1, W2=W2, t_eval=[0.1, 1.0, 10.0], backend=backend)
    assert flow.W1.shape == (3, 5, 3)
    assert np.allclose(flow.W2 @ flow.W1, flow.M, rtol=1e-12, atol=1e-13)
    balance = np.swapaxes(flow.W2, -1, -2) @ flow.W2 - flow.W1 @ np.swapaxes(flow.W1, -1, -2)
    tolerance = 1e-10 if backend != "numpy" else 1e-4
    assert np.abs(balance - (W2.T @ W2 - W1 @ W1.T)).max() < tolerance


def test_data_that_no_matrix_fits_end_at_least_squares(backend):
    X, Y, *_ = drawn(20, 4, 3, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow = krf.flow_linear(X, Y, width=50, alpha=[0.01, 0.5], backend=backend)
    assert np.all(flow.status == Status.STATIONARY)
    best = np.linalg.lstsq(X, Y, rcond=None)[0]
    assert error(flow.M, np.broadcast_to(best.T, flow.M.shape)) < 1e-5
    assert np.allclose(flow.loss, np.sum((X @ best - Y) ** 2), rtol=1e-9)


def test_data_that_some_matrix_fits_converge(backend):
    X, Y, *_ = drawn(5, 8, 3, 1)
    flow = krf.flow_linear(X, Y, width=50, alpha=[1e-3, 1.0], seed=[[0], [1]], backend=backend)
    assert flow.converged.all()
    assert np.all(flow.loss <= 1e-12 * np.sum(Y * Y))


def test_singular_values_that_moments_lose(compiled):
    """Samples of condition number 1e6: X^T X has lost digits of its smallest mode, X has not."""
    U, _, Vt = np.linalg.svd(np.random.default_rng(0).standard_normal((6, 3)), full_matrices=False)
    X = U * [1.0, 1e-3, 1e-6] @ Vt
    truth = np.random.default_rng(1).standard_normal((2, 3))
    Y = X @ truth.T
    options = dict(width=100, alpha=1.0, stop_loss=0.0)
    flow = krf.flow_linear(X, Y, **options)
    assert flow.status == Status.STATIONARY
    assert error(flow.M[None], truth[None]) < 1e-9
    moments = krf.flow_linear(S=X.T @ X, C=Y.T @ X, **options)
    assert 1e-6 < error(moments.M[None], truth[None]) < 1e-2


def test_problems_and_starts_broadcast(backend):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((2, 1, 5, 3)), rng.standard_normal((2, 1, 5, 2))
    options = dict(alpha=[0.1, 1.0, 0.5], t_eval=[0.05, 0.2], rtol=1e-8, backend=backend)
    flow = krf.flow_linear(X, Y, width=[[[2]], [[40]]], seed=3, **options)
    assert flow.M.shape == (2, 2, 3, 2, 2, 3)
    for index in np.ndindex(2, 2, 3):
        w, p, a = index
        one = krf.flow_linear(
            X[p, 0], Y[p, 0], width=(2, 40)[w], seed=3, **options | {"alpha": options["alpha"][a]}
        )
        assert np.array_equal(flow[index].M, one.M)
    named = flow.to_dataset(["width", "problem", "alpha"])
    assert named.M.dims == ("width", "problem", "alpha", "time", "output", "input")


@given(
    seed=st.integers(0, 10**6),
    d_in=st.integers(1, 4),
    d_out=st.integers(1, 4),
    c=st.floats(0.1, 10.0),
)
@settings(max_examples=25, deadline=None)
def test_rotations_and_units(seed, d_in, d_out, c):
    """Rotated inputs and outputs rotate M; data in other units run on another clock."""
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((4, d_in)), rng.standard_normal((4, d_out))
    W1, W2 = rng.standard_normal((3, d_in)), rng.standard_normal((d_out, 3))
    Q, P = (scipy.linalg.qr(rng.standard_normal((d, d)))[0] for d in (d_in, d_out))
    times = np.array([0.01, 0.1])

    def flow(X, Y, W1, W2, t_eval):
        try:
            return krf.flow_linear(X, Y, W1=W1, W2=W2, t_eval=t_eval, rtol=1e-9).M
        except krf.ConvergenceWarning:
            # The fallback says so where M passes zero and too few of its digits are left.
            if available_backends()["cpu"] is None:
                raise
            reject()

    M = flow(X, Y, W1, W2, times)
    turned = flow(X @ Q.T, Y @ P.T, W1 @ Q.T, P @ W2, times)
    scaled = flow(c * X, c * Y, W1, W2, times / c**2)
    # M itself may be near zero where it changes sign.
    size = np.linalg.norm(W2) * np.linalg.norm(W1)
    assert np.abs(turned - P @ M @ Q.T).max() < 1e-7 * size
    assert np.abs(scaled - M).max() < 1e-7 * size


@pytest.mark.parametrize("size", [1e-49, 1e49])
def test_data_at_the_ends_of_their_range(backend, size):
    """Other units of inputs and targets are another unit of time."""
    X, Y, *_ = drawn(3, 4, 2, 1)
    one, other = (
        krf.flow_linear(c * X, c * Y, alpha=0.5, width=7, backend=backend) for c in (1.0, size)
    )
    assert one.converged
    assert other.converged
    assert error(other.M[None], one.M[None]) < 1e-5
    assert other.t * size**2 == pytest.approx(float(one.t), rel=0.1)


@pytest.mark.parametrize("zero", ["X", "Y", "W"])
def test_zeros(compiled, zero):
    X, Y, W1, W2 = drawn(5, 3, 2, 4)
    data = {"X": X, "Y": Y, "W1": W1, "W2": W2}
    data |= {name: 0.0 * data[name] for name in data if name.startswith(zero)}
    flow = krf.flow_linear(**data)
    assert flow.status == Status.STATIONARY
    if zero == "Y":
        assert np.abs(flow.M).max() < 1e-9
    else:
        assert np.allclose(flow.M, data["W2"] @ data["W1"])
        assert flow.loss == pytest.approx(np.sum((data["X"] @ flow.M.T - Y) ** 2))


BAD = [
    ("X", dict(X=None)),
    ("X", dict(S=np.eye(3), C=np.ones((2, 3)))),
    ("y_norm2", dict(y_norm2=1.0)),
    ("Y", dict(Y=np.ones((4, 2)))),
    ("W1", dict(W1=np.ones((4, 3)), W2=np.ones((2, 4)))),
    ("W2", dict(alpha=None, width=None, W2=np.ones((2, 4)))),
    ("W2", dict(alpha=None, width=None, W1=np.ones((4, 3)), W2=np.ones((5, 4)))),
    ("W1", dict(alpha=None, width=None, W1=np.ones((5, 3)), W2=np.ones((2, 4)))),
    ("W1", dict(alpha=None, width=None, W1=np.ones((4, 7)), W2=np.ones((2, 4)))),
    ("alpha", dict(alpha=None)),
    ("width", dict(width=None)),
    ("alpha", dict(alpha=1e-150)),
    ("X", dict(X=np.full((5, 3), 1e51))),
    ("X", dict(X=np.full((5, 3), 1e-51))),
    ("Y", dict(Y=np.full((5, 2), 1e51))),
    ("S", dict(X=None, Y=None, S=1e101 * np.eye(3), C=np.ones((2, 3)))),
    ("Y", dict(X=np.ones((2, 5, 3)), Y=np.ones((3, 5, 2)))),
    ("S", dict(X=None, Y=None, S=np.triu(np.ones((3, 3))), C=np.ones((2, 3)))),
    ("S", dict(X=None, Y=None, S=-np.eye(3), C=np.ones((2, 3)))),
    ("C", dict(X=None, Y=None, S=np.diag([1.0, 1.0, 0.0]), C=np.ones((2, 3)))),
    ("C", dict(X=None, Y=None, S=np.eye(3), C=np.ones((2, 2)))),
    ("y_norm2", dict(X=None, Y=None, S=np.eye(3), C=np.ones((2, 3)), y_norm2=1.0)),
]


@pytest.mark.parametrize(("name", "change"), BAD)
def test_what_is_wrong_is_named(name, change):
    good = dict(X=np.ones((5, 3)), Y=np.ones((5, 2)), alpha=0.1, width=4)
    with pytest.raises(ValueError, match=f"^{name}"):
        krf.flow_linear(**good | change)


def test_the_stiff_method_says_where_it_ends():
    with pytest.raises(ValueError, match="method: 'radau5' is for d_out times the squared rank"):
        krf.flow_linear(np.eye(300), np.ones((300, 300)), alpha=1.0, width=2, method="radau5")


def test_a_sweep_is_its_flows(compiled, tmp_path):
    X, Y, *_ = drawn(6, 4, 3, 1)
    truth = np.linalg.lstsq(X, Y, rcond=None)[0].T
    options = dict(
        alpha=[1e-2, 1.0], width=[3, 100], seeds=[0, 1], t_eval=[0.0, 0.1, 5.0], M_star=truth,
        keep=("norms", "modes", "M"),
    )  # fmt: skip
    ds = krf.sweep_linear(X, Y, **options, store=tmp_path / "sweep.zarr")
    assert ds.M.dims == ("width", "alpha", "seed", "time", "output", "input")
    flow = krf.flow_linear(
        X, Y, width=[[[3]], [[100]]], alpha=[[1e-2], [1.0]], seed=[0, 1], t_eval=[0.0, 0.1, 5.0]
    )
    assert np.array_equal(ds.M.values, flow.M)
    assert np.array_equal(ds.loss.values, flow.loss)
    assert np.allclose(ds.distance, np.linalg.norm(flow.M - truth, axis=(-2, -1)))
    assert np.allclose(ds.singular_values, np.linalg.svd(flow.M)[1])
    assert np.allclose(ds.nuclear_norm, ds.singular_values.sum("mode"))
    assert np.abs(ds.kernel_distance.isel(time=0)).max() < 1e-14
    # The tangent kernel of all predictions (n, o), formed.
    for index in ((0, 1, 0), (1, 0, 1)):
        kernels = []
        for G in flow[index].gram[[0, 2]]:
            A, B = G[:3, :3], G[3:, 3:]
            kernels.append(np.kron(X @ X.T, A) + np.kron(X @ B @ X.T, np.eye(3)))
        expected = krf.theory.kernel_distance(*kernels)
        assert ds.kernel_distance.values[index][2] == pytest.approx(float(expected), rel=1e-9)
    again = krf.sweep_linear(X, Y, **options, store=tmp_path / "sweep.zarr")
    assert np.array_equal(again.M.values, ds.M.values)
    moments = krf.sweep_linear(S=X.T @ X, C=Y.T @ X, alpha=1.0, width=3)
    assert set(moments.dims) == set()
    for bad, name in ((dict(M_star=np.eye(2)), "M_star"), (dict(alpha=[[1.0]]), "alpha")):
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            krf.sweep_linear(X, Y, **options | bad)
    with pytest.raises(ValueError, match=r"^X: expected one problem"):
        krf.sweep_linear(X[None], Y[None], alpha=1.0, width=3)
