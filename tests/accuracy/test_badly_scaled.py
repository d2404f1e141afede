"""Theory where units differ: small beside large, nearly dependent, at the ends of the doubles."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast import theory


def completed(y, rows, columns, d, **options):
    """The positive semidefinite completion, found positive semidefinite and of a good fit."""
    y, rows, columns = np.array(y, dtype=float), np.array(rows), np.array(columns)
    M = theory.min_nuclear_norm(y, entries=(rows, columns), dims=(d, d), symmetric=True, **options)
    assert np.array_equal(M, M.T)
    positive = np.diag(M) > 0.0
    assert np.all(M[~positive] == 0.0)
    np.linalg.cholesky(M[np.ix_(positive, positive)])  # raises unless M is positive semidefinite
    root = np.sqrt(np.diag(M))
    assert np.all(np.abs(M[rows, columns] - y) <= 1e-8 * root[rows] * root[columns])
    return M


@pytest.mark.parametrize("small", [1.0, 0.01, 1e-8, 1e-100])
def test_a_corner_and_its_neighbour(small):
    # M_11 >= M_01^2 / M_00 with equality at the minimum.
    M = completed([small, 1.0], [0, 0], [0, 1], 2, tol=1e-9)
    assert np.isclose(M[1, 1], 1.0 / small, rtol=1e-8)


def test_an_entry_off_the_diagonal():
    for y in (3.0, -3e-9):
        M = completed([y], [0], [1], 2, tol=1e-9)
        assert np.allclose(np.diag(M), abs(y), rtol=1e-8)


def test_a_zero_on_the_diagonal_empties_its_row():
    M = completed([0.0, 0.0, 4.0, 2.0], [0, 0, 1, 1], [0, 2, 1, 2], 3, tol=1e-9)
    assert np.allclose(M, [[0, 0, 0], [0, 4, 2], [0, 2, 1]], atol=1e-8)
    assert np.all(completed([0.0, 0.0], [0, 1], [1, 1], 2) == 0.0)


def planted(rng, d, decades):
    """Entries of a rank-one M = D v v^T D, with the S that proves that its trace is least.

    S = D^-1 (c 1 - B) D^-1 is positive semidefinite, zero off the observed entries and S M = 0.
    """
    while True:
        B = np.triu(rng.standard_normal((d, d)) * (rng.random((d, d)) < 0.6), 1)
        vectors = np.linalg.eigh(B + B.T).eigenvectors
        if np.abs(vectors[:, -1]).min() > 1e-3:
            break
    w = vectors[:, -1] * 10.0 ** rng.uniform(-decades / 2, decades / 2, d)
    rows, columns = np.nonzero(np.eye(d) + np.abs(B))
    return w[rows] * w[columns], rows, columns, w


@pytest.mark.parametrize("decades", [0, 4, 10])
def test_planted_minima(decades):
    rng = np.random.default_rng(decades)
    for _ in range(10):
        d = int(rng.integers(2, 12))
        y, rows, columns, w = planted(rng, d, decades)
        M = completed(y, rows, columns, d, tol=1e-8)
        assert np.isclose(np.trace(M), w @ w, rtol=1e-7)


def test_units_of_rows_scale_the_measurements():
    """With X_i = D A_i D the observed M is that of A_i in other units, whatever they are."""
    rng = np.random.default_rng(4)
    for decades in (0.0, 4.0, 8.0):
        d = 5
        unit, row = 10.0 ** rng.uniform(-decades / 2, decades / 2, (2, d))
        W = rng.standard_normal((d, 2))
        true = (W @ W.T) / unit[:, None] / unit
        A = rng.standard_normal((d, d, d)) * unit[:, None] * unit * row[:, None, None]
        y = np.tensordot(A, true, 2)
        M = theory.min_nuclear_norm(y, measurements=A, symmetric=True, tol=1e-7)
        np.linalg.cholesky(M)
        root = np.sqrt(np.diag(M))
        A = 0.5 * (A + A.mT)
        terms = np.tensordot(np.abs(A), np.outer(root, root), 2)
        assert np.all(np.abs(np.tensordot(A, M, 2) - y) <= 1e-8 * terms)
        assert np.trace(M) <= np.trace(true) * (1 + 1e-7)


@pytest.mark.parametrize(
    ("y", "rows", "columns", "d"),
    [
        ([-1.0], [0], [0], 1),
        ([1.0, -1e-9], [0, 1], [0, 1], 2),
        ([0.0, 1.0], [0, 0], [0, 1], 2),
        ([1.0, 2.0, 1.0], [0, 0, 1], [0, 1, 1], 2),
        ([1e-9, 1e9, 1.001], [0, 1, 0], [0, 1, 1], 2),
        # Correlations 0.9, 0.9 and -0.9: every minor of two rows is positive, that of three is not.
        ([1.0, 1.0, 1.0, 0.9, 0.9, -0.9], [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2], 3),
    ],
)
def test_contradictions_are_refused(y, rows, columns, d):
    with pytest.raises(ValueError, match="y: expected targets that some positive semidefinite"):
        theory.min_nuclear_norm(y, entries=(rows, columns), dims=(d, d), symmetric=True)


def test_contradicting_measurements_are_refused():
    rng = np.random.default_rng(5)
    A = rng.standard_normal((3, 4, 4))
    positive = A @ A.mT
    with pytest.raises(ValueError, match="y: expected targets that some positive semidefinite"):
        theory.min_nuclear_norm([1.0, -1.0, 1.0], measurements=positive, symmetric=True)
    twice = np.concatenate([A, A[:1] * 1e-9])
    y = np.tensordot(twice, np.diag([1.0, 2.0, 3.0, 4.0]), 2)
    M = theory.min_nuclear_norm(y, measurements=twice, symmetric=True)
    assert np.allclose(np.tensordot(A, M, 2), y[:3], rtol=1e-8)
    with pytest.raises(ValueError, match="y: expected targets that some matrix fits"):
        theory.min_nuclear_norm([*y[:3], 2.0 * y[3]], measurements=twice, symmetric=True)
    with pytest.raises(ValueError, match="y: expected targets that some matrix fits"):
        theory.min_nuclear_norm([1.0], measurements=np.zeros((1, 2, 2)), symmetric=True)


def test_what_is_not_certified_is_said():
    y, rows, columns, _ = planted(np.random.default_rng(6), 6, 4)
    with pytest.warns(krf.ConvergenceWarning, match="misfit"):
        theory.min_nuclear_norm(y, entries=(rows, columns), dims=(6, 6), symmetric=True, max_iter=3)


def test_the_splitting_for_many_samples_says_what_it_is_not_sure_of(monkeypatch):
    """What lies outside the cone has a negative gap, which is no certificate."""
    monkeypatch.setattr(theory.nuclear, "_MOST_DENSE", 0)
    where = dict(entries=([0, 0], [0, 1]), dims=(2, 2), symmetric=True, max_iter=500)
    with pytest.warns(krf.ConvergenceWarning, match="duality gap"):
        theory.min_nuclear_norm([0.01, 1.0], **where)
    M = theory.min_nuclear_norm([1.0, 2.0], **where)
    assert np.isclose(M[1, 1], 4.0, rtol=1e-3)
    assert np.linalg.eigvalsh(M)[0] >= -1e-5 * np.linalg.eigvalsh(M)[1]


def test_positive_completion_against_an_interior_point_method():
    cp = pytest.importorskip("cvxpy", reason="cvxpy, the interior-point reference, is missing")
    rng = np.random.default_rng(7)
    outcomes = set()
    for trial in range(40):
        d = int(rng.integers(2, 8))
        W = rng.standard_normal((d, int(rng.integers(1, d + 1))))
        true = W @ W.T - (trial % 2) * rng.uniform() * np.eye(d)
        pairs = np.array(np.triu_indices(d))
        count = int(rng.integers(1, pairs.shape[1] + 1))
        rows, columns = pairs[:, rng.choice(pairs.shape[1], count, replace=False)]
        y = true[rows, columns]
        Z = cp.Variable((d, d), PSD=True)
        program = cp.Problem(cp.Minimize(cp.trace(Z)), [Z[rows, columns] == y])
        program.solve(solver="CLARABEL")
        outcomes.add(program.status)
        if program.status == "optimal":
            M = completed(y, rows, columns, d, tol=1e-7)
            assert np.isclose(np.trace(M), program.value, rtol=1e-6, atol=1e-7)
        else:
            with pytest.raises(ValueError, match="y: expected targets"):
                completed(y, rows, columns, d)
    assert outcomes == {"optimal", "infeasible"}


def test_one_small_measurement_beside_large_ones():
    rng = np.random.default_rng(8)
    A = rng.standard_normal((3, 3, 2))
    A[0] *= 1e-14
    y = np.tensordot(A, np.outer([1.0, 2.0, 3.0], [1.0, -1.0]), 2)
    M = theory.min_nuclear_norm(y, measurements=A)
    assert np.allclose(np.tensordot(A, M, 2), y, rtol=1e-12, atol=0.0)


# Minimum l1: rows, columns and weights of any size.


def fitting_l1(X, y, weights=None):
    """The minimiser, which fits row by row."""
    beta = theory.min_l1(X, y, weights)
    terms = np.abs(X) @ np.abs(beta) + np.abs(y)
    assert np.all(np.abs(X @ beta - y) <= 1e-9 * terms)
    return beta


def test_one_large_feature_and_one_small_row():
    assert np.allclose(theory.min_l1(np.diag([1.0, 1e10]), [1.0, 1.0]), [1.0, 1e-10], rtol=1e-14)
    assert np.allclose(theory.min_l1(np.diag([1.0, 1e-9]), [1.0, 1e-9]), [1.0, 1.0], rtol=1e-14)
    assert np.allclose(theory.min_l1([[1.0, 1e10, 2e10]], [1.0]), [0.0, 0.0, 5e-11], rtol=1e-14)
    assert np.allclose(theory.min_l1([[1e140, 1e139]], [1e-140]), [1e-280, 0.0], rtol=1e-14)


@pytest.mark.parametrize("decades", [0, 6, 9])
def test_min_l1_does_not_depend_on_units(decades):
    """Units of rows change nothing; those of a column, with its weight, are those of its beta."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((8, 30))
        y = X[:, :2] @ [1.0, -2.0] if seed % 2 else rng.standard_normal(8)
        plain = fitting_l1(X, y)
        row, column = (10.0 ** rng.uniform(-decades / 2, decades / 2, n) for n in (8, 30))
        scaled = fitting_l1(X * row[:, None] * column, y * row, column)
        assert np.allclose(scaled * column, plain, rtol=1e-9, atol=1e-11)


def test_a_time_stamp_among_the_features():
    """Optimality by the KKT conditions in units where the stamp is of the size of the others."""
    rng = np.random.default_rng(9)
    X = rng.standard_normal((10, 25))
    X[:, 0] = 1.7e9 + 1e7 * rng.random(10)
    beta = fitting_l1(X, rng.standard_normal(10))
    support = beta != 0.0
    assert support.sum() == 10
    unit = np.r_[1e-9, np.ones(24)]
    A = X * unit
    nu = np.linalg.solve(A[:, support].T, (unit * np.sign(beta))[support])
    assert np.all(np.abs(nu @ A) <= unit * (1 + 1e-7))


@pytest.mark.parametrize("factor", [1e-9, 1e-100, 1e100])
def test_units_of_all_of_x(factor):
    rng = np.random.default_rng(10)
    X, y = rng.standard_normal((4, 9)), rng.standard_normal(4)
    beta = fitting_l1(factor * X, y)
    assert np.allclose(factor * beta, theory.min_l1(X, y), rtol=1e-10, atol=1e-12)


def test_a_sweep_in_small_units():
    data = krf.datasets.sparse_regression(5, 12, 2, seed=0)
    plain = krf.sweep_diagonal(data.X, data.y, alpha=1e-2, limit=True)
    small = krf.sweep_diagonal(1e-9 * data.X, 1e-9 * data.y, alpha=1e-2, limit=True)
    for name in ("excess_l1", "excess_l2"):
        assert np.isclose(small[name], plain[name], rtol=1e-6)


def test_inconsistent_rows_are_refused_in_any_unit():
    rng = np.random.default_rng(11)
    X = rng.standard_normal((4, 9))
    X[3] = X[0] - 2.0 * X[1]
    y = X @ rng.standard_normal(9)
    for row in (np.ones(4), np.array([1.0, 1e8, 1.0, 1e-9]), np.array([1e-9, 1.0, 1e9, 1e-9])):
        fitting_l1(X * row[:, None], y * row)
        wrong = y * row * np.array([1.0, 1.0, 1.0, 1.0 + 1e-6])
        with pytest.raises(ValueError, match="y: expected targets that some beta fits"):
            theory.min_l1(X * row[:, None], wrong)
    with pytest.raises(ValueError, match="y: expected targets that some beta fits"):
        theory.min_l1(np.diag([1.0, 0.0]), [1.0, 1e-12])


def test_lost_digits_are_said():
    rng = np.random.default_rng(12)
    weights = 10.0 ** rng.uniform(-60, 60, 40)
    with pytest.warns(krf.ConvergenceWarning, match="min_l1: reached a misfit"):
        theory.min_l1(rng.standard_normal((10, 40)), rng.standard_normal(10), weights)


def exact_minimum_norm(A, y):
    """A^T (A A^T)^-1 y in 60 digits, for the doubles that A and y are."""
    with mpmath.workdps(60):
        A, y = mpmath.matrix(A.tolist()), mpmath.matrix(y.tolist())
        x = A.T * mpmath.lu_solve(A * A.T, y)
        return np.array([float(v) for v in x])


@pytest.mark.parametrize("distance", [1.0, 1e-3, 1e-6, 1e-9])
def test_min_l2_loses_the_condition_number_once(distance):
    rng = np.random.default_rng(13)
    X, y = rng.standard_normal((5, 12)), rng.standard_normal(5)
    X[1] = X[0] + distance * X[1]
    for row in (np.ones(5), np.array([1.0, 1.0, 1e-15, 1e15, 1.0])):
        beta = theory.min_l2(X * row[:, None], y * row)
        expected = exact_minimum_norm(X * row[:, None], y * row)
        assert np.linalg.norm(beta - expected) <= 1e-14 / distance * np.linalg.norm(expected)


def test_min_l2_with_weights_at_the_ends_of_the_doubles():
    X, y = np.array([[1.0, 2.0]]), [2.0]
    for size in (1e-300, 1.0, 1e300):
        assert np.allclose(theory.min_l2(X, y, [size, size]), [0.4, 0.8], rtol=1e-15)
    assert np.allclose(theory.min_l2(X, y, [1e-300, 1e300]), [2.0, 0.0], rtol=1e-15)
    for size in ([1e-200, 1e-200], [1e200, 1e200]):
        assert np.allclose(theory.kernel_predictor(X, y, size, size, 3), [0.4, 0.8], rtol=1e-15)
    with pytest.raises(ValueError, match="w_plus: expected w_plus"):
        theory.kernel_predictor(X, y, [1e200, 1.0], [1.0, 1.0], depth=3)


# Linearised models at inputs that lie close together.


def exact_features(layers, x, last_alone):
    """Output and derivatives by the weights of a ReLU network with one output, in 60 digits."""
    layers, inputs = [mpmath.matrix(W.tolist()) for W in layers], [mpmath.matrix(x.tolist())]
    for W in layers[:-1]:
        inputs.append((W * inputs[-1]).apply(lambda v: max(v, mpmath.mpf(0))))
    delta, gradients = mpmath.matrix([1]), []
    for W, a in zip(layers[::-1], inputs[::-1], strict=True):
        gradients += [d * v for d in delta for v in a]
        delta = W.T * delta
        delta = mpmath.matrix(
            [d if v > 0 else mpmath.mpf(0) for d, v in zip(delta, a, strict=True)]
        )
        if last_alone:
            break
    return (layers[-1] * inputs[-1])[0], gradients


def exact_predictor(layers, X, y, X_new, last_alone):
    with mpmath.workdps(60):
        at, new = ([exact_features(layers, x, last_alone) for x in each] for each in (X, X_new))
        J = mpmath.matrix([g for _, g in at])
        r = mpmath.matrix([mpmath.mpf(float(t)) - f for t, (f, _) in zip(y, at, strict=True)])
        w = J.T * mpmath.lu_solve(J * J.T, r)
        return np.array([float(f + mpmath.fdot(g, w)) for f, g in new])


@pytest.mark.parametrize("distance", [1e-2, 1e-6, 1e-7, 1e-9])
@pytest.mark.parametrize("shape", [(8, 3), (20, 3)])
def test_predictors_at_inputs_that_nearly_agree(distance, shape):
    rng = np.random.default_rng(14)
    layers = [rng.standard_normal(shape), rng.standard_normal((1, shape[0]))]
    X, X_new, y = rng.standard_normal((5, 3)), rng.standard_normal((4, 3)), rng.standard_normal(5)
    X[1] = X[0] + distance * X[1]
    for predictor, last_alone in (
        (theory.mlp_kernel_predictor, False),
        (theory.last_layer_predictor, True),
    ):
        if last_alone and shape[0] < 20:
            continue  # too few units are alive to fit
        expected = exact_predictor(layers, X, y, X_new, last_alone)
        found = predictor(layers, X, y, X_new)
        close = max(1e-10, 1e-14 / distance)  # the kernel itself is used where that is enough
        assert np.abs(found - expected).max() <= close * np.abs(expected).max()


def test_predictors_where_samples_are_repeated():
    """The same input twice: fitted if the targets agree, else in the mean."""
    rng = np.random.default_rng(15)
    layers = [rng.standard_normal((20, 3)), rng.standard_normal((1, 20))]
    X, y = rng.standard_normal((4, 3)), rng.standard_normal(4)
    twice, both = np.concatenate([X, X[:1]]), np.append(y, y[0] + 2.0)
    for predictor in (theory.mlp_kernel_predictor, theory.last_layer_predictor):
        found = predictor(layers, twice, both, X)
        assert np.allclose(found, y + np.eye(4)[0], rtol=1e-10, atol=1e-10)


def test_a_dead_network_predicts_what_it_says():
    layers = [-np.ones((3, 2)), np.ones((1, 3))]
    X = np.ones((2, 2))
    for predictor in (theory.mlp_kernel_predictor, theory.last_layer_predictor):
        assert np.array_equal(predictor(layers, X, [1.0, 2.0], X), [0.0, 0.0])


@pytest.mark.parametrize("symmetric", [False, True])
def test_factorization_predictor_at_measurements_that_nearly_agree(symmetric):
    rng = np.random.default_rng(16)
    d1, d2, distance = 3, 3, 1e-7
    A = rng.standard_normal((4, d1, d2))
    A[1] = A[0] + distance * A[1]
    A = A + A.mT if symmetric else A
    W = rng.standard_normal((d1 if symmetric else d1 + d2, 9))
    G, y = W @ W.T, rng.standard_normal(4)
    with mpmath.workdps(60):
        exact = [mpmath.matrix(a.tolist()) for a in A]
        full = mpmath.matrix(G.tolist())
        start = full if symmetric else full[:d1, d1:]
        images = [
            2 * (a * full + full * a) if symmetric else a * full[d1:, d1:] + full[:d1, :d1] * a
            for a in exact
        ]

        def inner(a, b):
            return mpmath.fsum(a[i, j] * b[i, j] for i in range(d1) for j in range(d2))

        K = mpmath.matrix([[inner(image, a) for a in exact] for image in images])
        r = mpmath.matrix([mpmath.mpf(t) - inner(a, start) for t, a in zip(y, exact, strict=True)])
        c = mpmath.lu_solve(K, r)
        M = start
        for weight, image in zip(c, images, strict=True):
            M = M + weight * image
        expected = np.array(M.tolist(), dtype=float)
    found = theory.factorization_kernel_predictor(y, G, measurements=A, symmetric=symmetric)
    assert np.abs(found - expected).max() <= 1e-14 / distance * np.abs(expected).max()
