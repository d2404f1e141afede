"""Norms, potential and kernel regime of factorisation; its sweep and its data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

import kernelrich_fast as krf
from kernelrich_fast import theory
from kernelrich_fast.theory.matrices import completion_kernel_distance


def smoothed_minimum(data, shape):
    """The least nuclear norm by L-BFGS on sum sqrt(sigma^2 + eps^2) over the unobserved entries."""
    hidden = np.ones(shape, dtype=bool)
    hidden[data.entries] = False
    M = data.Y_star.copy()

    def objective(x, eps):
        M[hidden] = x
        u, s, vt = np.linalg.svd(M, full_matrices=False)
        smooth = np.sqrt(s**2 + eps**2)
        return smooth.sum(), ((u * (s / smooth)) @ vt)[hidden]

    x = M[hidden]
    for eps in 10.0 ** np.arange(-1, -7.5, -0.5):
        options = {"maxiter": 3000, "ftol": 1e-15, "gtol": 1e-10}
        x = minimize(objective, x, (eps,), jac=True, method="L-BFGS-B", options=options).x
    M[hidden] = x
    return np.linalg.norm(M, "nuc")


@pytest.mark.parametrize("seed", [1, 5, 6])
def test_min_nuclear_norm_is_not_beaten(seed):
    data = krf.datasets.low_rank_completion(12, 10, 2, 70, seed)
    M = theory.min_nuclear_norm(data.y, entries=data.entries, dims=(12, 10), tol=1e-7)
    assert np.allclose(M[data.entries], data.y, rtol=1e-13)
    other = smoothed_minimum(data, (12, 10))
    assert np.isclose(theory.nuclear_norm(M), other, rtol=1e-4)
    assert theory.nuclear_norm(M) <= other * (1 + 1e-7)


def test_min_nuclear_norm_of_diagonal_measurements_is_min_l1():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4, 9))
    y = X @ np.r_[1.0, -2.0, np.zeros(7)]
    A = np.zeros((4, 9, 9))
    A[:, np.arange(9), np.arange(9)] = X
    M = theory.min_nuclear_norm(y, measurements=A, tol=1e-10)
    assert np.allclose(M, np.diag(theory.min_l1(X, y)), atol=1e-6)
    # Positive semidefinite: the positive part of the same programme.
    positive = X @ np.r_[1.0, 2.0, np.zeros(7)]
    P = theory.min_nuclear_norm(positive, measurements=A, symmetric=True, tol=1e-10)
    assert np.linalg.eigvalsh(P)[0] > -1e-7
    assert np.allclose(A.reshape(4, -1) @ P.ravel(), positive)


def test_min_nuclear_norm_against_an_interior_point_method():
    cp = pytest.importorskip("cvxpy", reason="cvxpy, the interior-point reference, is missing")
    data = krf.datasets.low_rank_completion(10, 10, 2, 60, 3)
    Z = cp.Variable((10, 10))
    program = cp.Problem(cp.Minimize(cp.normNuc(Z)), [Z[data.entries] == data.y])
    program.solve(solver="CLARABEL")
    M = theory.min_nuclear_norm(data.y, entries=data.entries, dims=(10, 10), tol=1e-7)
    assert np.isclose(theory.nuclear_norm(M), program.value, rtol=1e-6)
    assert np.allclose(M, Z.value, atol=1e-2)


def test_min_nuclear_norm_ends():
    data = krf.datasets.low_rank_completion(10, 10, 1, 60, 0)
    with pytest.warns(krf.ConvergenceWarning, match="duality gap"):
        theory.min_nuclear_norm(data.y, entries=data.entries, dims=(10, 10), tol=1e-12, max_iter=20)
    zero = theory.min_nuclear_norm(0 * data.y, entries=data.entries, dims=(10, 10))
    assert np.all(zero == 0.0)
    with pytest.raises(ValueError, match="y"):
        theory.min_nuclear_norm([1.0, 2.0], measurements=np.ones((2, 3, 3)))
    with pytest.raises(ValueError, match="dims"):
        theory.min_nuclear_norm([1.0], entries=([0], [0]))


def test_flow_from_a_small_start_has_minimum_nuclear_norm():
    data = krf.datasets.low_rank_completion(8, 8, 1, 56, 2)
    where = dict(entries=data.entries, dims=(8, 8))
    least = theory.min_nuclear_norm(data.y, **where, tol=1e-9)
    assert np.allclose(least, data.Y_star, atol=1e-4)
    flow = krf.flow_factorization(
        data.y, **where, alpha=[1e-2, 1e-4, 1e-6], width=16, stop_loss=1e-18
    )
    gaps = np.linalg.norm(flow.M - least, axis=(1, 2)) / np.linalg.norm(least)
    assert gaps[2] < gaps[1] < gaps[0]
    assert gaps[2] < 1e-4


@pytest.mark.parametrize("symmetric", [False, True])
def test_tangent_kernel_and_predictor_by_finite_differences(symmetric):
    rng = np.random.default_rng(1)
    d1, d2, k = (3, 3, 4) if symmetric else (3, 2, 4)
    A = rng.standard_normal((4, d1, d2))
    U = rng.standard_normal((d1, k))
    V = U if symmetric else rng.standard_normal((d2, k))
    W = U if symmetric else np.concatenate([U, V])

    def predict(W):
        M = W @ W.T if symmetric else W[:d1] @ W[d1:].T
        return np.tensordot(A, M, 2)

    J = np.empty((4, W.size))
    for i in range(W.size):
        step = np.zeros(W.size)
        step[i] = 1e-5
        step = step.reshape(W.shape)
        J[:, i] = (predict(W + step) - predict(W - step)) / 2e-5
    where = dict(measurements=A, symmetric=symmetric)
    K = theory.factorization_tangent_kernel(W @ W.T, **where)
    assert np.allclose(K, J @ J.T, rtol=1e-8)
    y = rng.standard_normal(4)
    M = theory.factorization_kernel_predictor(y, W @ W.T, **where)
    move = (np.linalg.pinv(J) @ (y - predict(W))).reshape(W.shape)
    if symmetric:
        expected = W @ W.T + move @ W.T + W @ move.T
    else:
        expected = W[:d1] @ W[d1:].T + move[:d1] @ W[d1:].T + W[:d1] @ move[d1:].T
    assert np.allclose(M, expected, rtol=1e-6, atol=1e-8)


def test_entries_are_unit_measurements():
    rng = np.random.default_rng(2)
    W = rng.standard_normal((7, 5))
    entries = (np.array([0, 0, 2, 3]), np.array([0, 1, 2, 1]))
    A = np.zeros((4, 4, 3))
    A[np.arange(4), *entries] = 1.0
    a = theory.factorization_tangent_kernel(W @ W.T, entries=entries, dims=(4, 3))
    b = theory.factorization_tangent_kernel(W @ W.T, measurements=A)
    assert np.allclose(a, b)
    with pytest.raises(ValueError, match="gram"):
        theory.factorization_tangent_kernel(np.eye(6), entries=entries, dims=(4, 3))


def test_wide_networks_follow_the_kernel_predictor():
    data = krf.datasets.low_rank_completion(5, 4, 1, 12)
    where = dict(entries=data.entries, dims=(5, 4))
    for alpha, close in ((1.0, 0.05), (10.0, 1e-3)):
        flow = krf.flow_factorization(
            data.y, **where, alpha=alpha, width=2000, t_eval=[0.0, 1e3], t_max=1e3
        )
        predictor = theory.factorization_kernel_predictor(data.y, flow.gram[0], **where)
        moved = np.linalg.norm(predictor - flow.M[0])
        assert np.linalg.norm(flow.M[1] - predictor) < close * moved


def test_norms_and_ranks():
    M = np.diag([3.0, 0.0, 1.0])
    assert np.isclose(theory.nuclear_norm(M), 4.0)
    assert np.isclose(theory.effective_rank(np.eye(3)), 3.0)
    assert np.isclose(theory.effective_rank(np.outer([1, 2], [3, 4])), 1.0)
    assert theory.effective_rank(np.zeros((2, 2))) == 0.0
    assert 1.0 < theory.effective_rank(M) < 2.0
    assert np.allclose(theory.nuclear_norm(np.stack([M, 2 * M])), [4.0, 8.0])
    big = theory.schatten_potential(M, [1e-12, 1e6])
    assert np.isclose(big[0] / theory.schatten_potential(2 * M, 1e-12), 0.5, rtol=0.05)
    assert np.isclose(4e12 * big[1], 10.0, rtol=1e-9)  # Frobenius


def test_sweep_dimensions_and_values(backend):
    data = krf.datasets.low_rank_completion(5, 4, 1, 12, seed=1)
    ds = krf.sweep_factorization(
        data.Y_star, alpha=[1e-3, 0.3], width=[3, 20], seeds=[1, 2], n_observed=12,
        keep=("norms", "M"), backend=backend, progress=False,
    )  # fmt: skip
    assert dict(ds.sizes) == {"width": 2, "alpha": 2, "seed": 2, "row": 5, "column": 4}
    assert ds.loss.dims == ("width", "alpha", "seed")
    assert ds.attrs["backend"] == backend
    where = dict(entries=data.entries, dims=(5, 4), width=20, alpha=0.3, seed=1, backend=backend)
    flow = krf.flow_factorization(data.y, **where)
    start = krf.flow_factorization(data.y, **where, t_eval=[0.0])
    at = ds.sel(width=20, alpha=0.3, seed=1)
    assert np.array_equal(at.M, flow.M)
    assert at.t == flow.t
    hidden = np.ones((5, 4), dtype=bool)
    hidden[data.entries] = False
    moved = (flow.M - start.M[0])[hidden]
    assert np.isclose(at.unobserved_movement, np.linalg.norm(moved))
    assert np.isclose(at.unobserved_rms, np.sqrt(np.mean(moved**2)))
    error = (flow.M - data.Y_star)[hidden]
    assert np.isclose(at.test_rmse, np.sqrt(np.mean(error**2)))
    excess = theory.nuclear_norm(flow.M) - theory.nuclear_norm(data.Y_star)
    assert np.isclose(at.excess_nuclear_norm, excess)
    kernels = [
        theory.factorization_tangent_kernel(G, entries=data.entries, dims=(5, 4))
        for G in (start.gram[0], flow.gram)
    ]
    assert np.isclose(at.kernel_distance, theory.kernel_distance(*kernels), rtol=1e-12)


def distance_by_definition(start, end, seen):
    """1 - cos of kernels whose entries are written out one by one, in extended precision."""
    d1 = len(seen)
    entries = list(zip(*np.nonzero(seen), strict=True))

    def direction(G):
        G = G.astype(np.longdouble)
        K = np.zeros((len(entries), len(entries)), dtype=np.longdouble)
        for s, (i, j) in enumerate(entries):
            for t, (k, m) in enumerate(entries):
                K[s, t] = (i == k) * G[d1 + j, d1 + m] + (j == m) * G[i, k]
        return K / np.sqrt(np.sum(K**2))

    return float(0.5 * np.sum((direction(start) - direction(end)) ** 2))


@pytest.mark.parametrize("moved", [1.0, 1e-4, 1e-9])
@pytest.mark.parametrize("scale", [1.0, 1e-130])
def test_kernel_distance_without_the_kernels(moved, scale):
    """For patterns with full, empty and partly observed rows and columns."""
    rng = np.random.default_rng(3)
    seen = (rng.random((4, 1, 5, 3)) < 0.5).astype(float)
    seen[0], seen[1, :, 2], seen[2, :, :, 1] = 1.0, 0.0, 0.0
    W = rng.standard_normal((4, 6, 8, 9))
    U = W + moved * rng.standard_normal(W.shape)
    start, end = (scale**2 * A @ np.swapaxes(A, -1, -2) for A in (W, U))
    found = completion_kernel_distance(start, end, seen)
    assert found.shape == (4, 6)
    for index in np.ndindex(found.shape):
        expected = distance_by_definition(start[index], end[index], seen[index[0], 0])
        assert abs(found[index] - expected) < 1e-15 * np.sqrt(expected) + 1e-30
        assert np.array_equal(
            completion_kernel_distance(start[index], end[index], seen[index[0], 0]), found[index]
        )


@pytest.mark.usefixtures("compiled")  # the fallback promises less
def test_a_sweep_completes_a_matrix_of_ones_own(tmp_path):
    data = krf.datasets.low_rank_completion(5, 4, 1, 12, seed=1)
    mask = np.zeros((5, 4), dtype=bool)
    mask[data.entries] = True
    grid = {"alpha": [1e-3, 0.3], "width": 3, "seeds": [1, 2], "progress": False}
    drawn = krf.sweep_factorization(data.Y_star, n_observed=12, **grid).sel(seed=1)
    rows, columns = np.nonzero(mask)
    by_mask = krf.sweep_factorization(data.Y_star, mask=mask, **grid)
    by_entries = krf.sweep_factorization(data.Y_star, entries=(rows, columns), **grid)
    assert by_mask.drop_attrs().equals(by_entries.drop_attrs())
    for name in drawn.data_vars:  # the same entries in another order
        assert np.allclose(by_mask[name].sel(seed=1), drawn[name], rtol=1e-4, atol=1e-9), name
    holes = np.where(mask, data.Y_star, np.nan)
    unknown = krf.sweep_factorization(holes, mask=mask, store=tmp_path / "s.zarr", **grid)
    assert "test_rmse" not in unknown
    assert "excess_nuclear_norm" not in unknown
    assert np.array_equal(unknown.nuclear_norm, by_mask.nuclear_norm)
    assert unknown.attrs["n_observed"] == 12
    again = krf.sweep_factorization(holes, mask=mask, store=tmp_path / "s.zarr", **grid)
    assert np.array_equal(again.loss, unknown.loss)
    each = np.stack([holes, data.Y_star])  # one seed's matrix is not known: none is compared
    assert "test_rmse" not in krf.sweep_factorization(each, mask=mask, **grid)
    for name, change in (
        ("mask", {"mask": mask, "n_observed": 12}),
        ("n_observed", {}),
        ("mask", {"mask": mask[:2]}),
        ("mask", {"mask": mask.astype(int)}),
        ("entries", {"entries": ([0, 0], [1, 1])}),
        ("Y_star", {"mask": ~mask}),
    ):
        with pytest.raises(ValueError, match=f"^{name}: "):
            krf.sweep_factorization(holes, **change, **grid)


def test_sweep_of_scalars_and_refusals():
    data = krf.datasets.low_rank_completion(3, 3, 1, 9)
    ds = krf.sweep_factorization(data.Y_star, alpha=0.1, width=4, n_observed=9, keep=())
    assert not ds.sizes
    assert np.isnan(ds.test_rmse)  # nothing is unobserved
    assert set(ds.data_vars) == {"loss", "t", "status", "n_steps", "test_rmse"}
    several = krf.sweep_factorization(
        np.stack([data.Y_star] * 2), alpha=0.1, width=4, seeds=[0, 1], n_observed=5
    )
    assert dict(several.sizes) == {"seed": 2}
    good = dict(alpha=0.1, width=4, n_observed=5)
    for name, change, error in (
        ("n_observed", {"n_observed": 10}, ValueError),
        ("alpha", {"alpha": [[1.0]]}, ValueError),
        ("width", {"width": 0}, ValueError),
        ("seeds", {"seeds": -1}, ValueError),
        ("keep", {"keep": "beta"}, ValueError),
        ("t_eval", {"t_eval": [1.0, 0.5]}, ValueError),
    ):
        with pytest.raises(error, match=name):
            krf.sweep_factorization(data.Y_star, **(good | change))
    with pytest.raises(ValueError, match="Y_star"):
        krf.sweep_factorization(np.zeros((3, 3, 3)), **good, seeds=[0, 1])


def test_data():
    few = krf.datasets.low_rank_completion(6, 5, 2, 10, seed=3)
    more = krf.datasets.low_rank_completion(6, 5, 2, 20, seed=3)
    assert np.linalg.matrix_rank(few.Y_star) == 2
    assert np.array_equal(few.Y_star, more.Y_star)
    assert np.array_equal(few.y, more.y[:10])
    assert len(set(zip(*more.entries, strict=True))) == 20
    assert np.array_equal(more.Y_star[more.entries], more.y)
    with pytest.raises(ValueError, match="n_observed"):
        krf.datasets.observed_entries(2, 2, 5)
    with pytest.raises(ValueError, match="rank"):
        krf.datasets.low_rank_completion(3, 3, 4, 5)


def test_image():
    pytest.importorskip("sklearn", reason="scikit-learn (extra [data]) is missing")
    crop = krf.datasets.image("china", 16, (5, 7))
    assert crop.shape == (16, 16)
    assert 0.0 <= crop.min() < crop.max() <= 1.0
    assert np.array_equal(crop, krf.datasets.image("china", 40)[5:21, 7:23])
    assert not np.array_equal(crop, krf.datasets.image("flower", 16, (5, 7)))
    for name, arguments in (
        ("name", ("cat",)),
        ("size", ("china", 500)),
        ("corner", ("china", 400, (100, 0))),
    ):
        with pytest.raises(ValueError, match=name):
            krf.datasets.image(*arguments)
