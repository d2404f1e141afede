"""Theory where units differ: small beside large, nearly dependent, at the ends of the doubles."""

from __future__ import annotations

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
    with pytest.raises(ValueError, match="measurement 0"):
        theory.min_nuclear_norm([1.0], measurements=np.zeros((1, 2, 2)), symmetric=True)


def test_what_is_not_certified_is_said():
    y, rows, columns, _ = planted(np.random.default_rng(6), 6, 4)
    with pytest.warns(krf.ConvergenceWarning, match="misfit"):
        theory.min_nuclear_norm(y, entries=(rows, columns), dims=(6, 6), symmetric=True, max_iter=3)


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
