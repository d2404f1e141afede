"""Parts of the CPU team, on every instruction set this processor has."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

parts = pytest.importorskip("kernelrich_fast._testing", reason="built without KRF_TESTING=ON")
SIZES = [1, 7, 8, 9, 31, 33, 64, 100, 127, 128, 129]


# From 400 on the algebra is blocked, in tiles and panels of 128 and registers of up to 16.
LARGE = [392, 393, 400, 401, 511, 513, 520, 1003]


@pytest.mark.parametrize("n", SIZES + LARGE)
def test_dense_parts_against_numpy(n):
    rng = np.random.default_rng(n)
    d = 2 * n + 3
    X, s, V = rng.standard_normal((n, d)), rng.random(d), rng.standard_normal((n, 3))
    assert np.allclose(parts.scaled_gram(X, s), (X * s) @ X.T, rtol=1e-13, atol=1e-12)
    assert np.allclose(parts.map_features(X, V), X @ (X.T @ V), rtol=1e-12, atol=1e-10)
    A, b = X @ X.T + np.eye(n), rng.standard_normal(n)
    x, kept = parts.solve(A, b)
    assert np.allclose(A @ x, b, atol=1e-12 * np.linalg.cond(A))
    assert 0 < kept <= 1
    x, left = parts.inverse(np.tril(A), V)
    assert np.allclose(A @ x, V, atol=1e-12 * np.linalg.cond(A))
    assert left == pytest.approx(kept, rel=1e-9)
    real, imaginary = parts.solve_complex(A, 2.0, b)
    z = np.linalg.solve(A + 2j * np.eye(n), b)
    assert np.allclose(real + 1j * imaginary, z, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("m", [1, 3, 4, 5, 31, 33])
@pytest.mark.parametrize("length", SIZES)
def test_products_against_numpy(m, length):
    rng = np.random.default_rng(m + length)
    A, B = rng.standard_normal((m, length)), rng.standard_normal((2 * m + 1, length))
    assert np.allclose(parts.products(A, B), A @ B.T, rtol=1e-13, atol=1e-12)


def test_graded_matrices_keep_their_small_block():
    rng = np.random.default_rng(0)
    R = np.triu(rng.standard_normal((12, 12))) + 4 * np.eye(12)
    s = np.geomspace(1e10, 1e-30, 12)
    A = (R * s) @ R.T
    b = R @ (s * (R.T @ np.ones(12)))
    x, kept = parts.solve(A, b)
    assert kept > 0.1
    assert np.allclose(x, 1.0, rtol=1e-9)


def test_indefinite_matrix_is_reported():
    assert parts.solve(-np.eye(3), np.ones(3))[1] <= 0
    assert parts.inverse(-np.eye(3), np.ones((3, 3)))[1] <= 0
    # In any panel.
    for at in (0, 200, 409):
        A = np.eye(410)
        A[at, at] = -1.0
        assert parts.solve(A, np.ones(410))[1] <= 0
        assert parts.inverse(A, np.ones((410, 3)))[1] <= 0


@pytest.mark.parametrize("n", SIZES)
def test_eigenvectors_against_numpy(n):
    rng = np.random.default_rng(n)
    for A in (
        rng.standard_normal((n, n)), np.eye(n), np.zeros((n, n)), np.ones((n, n)),
        np.diag(np.geomspace(1, 1e-12, n)) @ rng.standard_normal((n, n)),
    ):  # fmt: skip
        K = A @ A.T
        value, vector = parts.eigen(K)
        assert np.allclose(np.sort(value), np.linalg.eigvalsh(K), atol=1e-14 * n * np.trace(K))
        assert np.allclose(vector @ vector.T, np.eye(n), atol=1e-13)
        assert np.allclose((vector.T * value) @ vector, K, atol=1e-14 * n * (1 + np.trace(K)))


def test_eigenvectors_of_a_small_diagonal():
    for K in (
        np.array([[1e-300, 1.0], [1.0, 1e-300]]),
        np.array([[1e-300, 1.0, 2.0], [1.0, -1e-300, 3.0], [2.0, 3.0, 1e-300]]),
    ):
        value, vector = parts.eigen(K)
        assert np.allclose(np.sort(value), np.linalg.eigvalsh(K), atol=1e-14)
        assert np.allclose((vector.T * value) @ vector, K, atol=1e-14)


@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1e170, 1e300])
def test_eigenvectors_do_not_depend_on_units(unit):
    A = np.random.default_rng(0).standard_normal((12, 12))
    K = A @ A.T
    value, vector = parts.eigen(unit * K)
    assert np.allclose(np.sort(value) / unit, np.linalg.eigvalsh(K), atol=1e-13 * np.trace(K))
    assert np.allclose(vector @ vector.T, np.eye(12), atol=1e-13)
    assert np.allclose((vector.T * (value / unit)) @ vector, K, atol=1e-13 * np.trace(K))


@pytest.mark.parametrize("n", [149, 150, 151, 200, 403])
def test_large_eigenvectors_by_lapack_and_without(n):
    from scipy.linalg import cython_lapack

    rng = np.random.default_rng(n)
    A = rng.standard_normal((n, 2 * n)) * np.geomspace(1.0, 1e-3, n)[:, None]
    K = A @ A.T
    try:
        for lapack in (cython_lapack.__pyx_capi__["dsyevd"], None):
            parts.use_lapack(lapack)
            value, vector = parts.eigen(K)
            assert np.allclose(np.sort(value), np.linalg.eigvalsh(K), atol=1e-14 * np.trace(K))
            assert np.allclose(vector @ vector.T, np.eye(n), atol=1e-12)
            assert np.allclose((vector.T * value) @ vector, K, atol=1e-14 * n * np.trace(K))
        parts.use_lapack(cython_lapack.__pyx_capi__["dsyevd"])
        if n < 150:
            return
        for bad in (np.nan, np.inf):  # LAPACK promises nothing of these
            K[1, 1] = bad
            with pytest.raises(RuntimeError, match="no convergence"):
                parts.eigen(K)
    finally:
        parts.use_lapack(None)


def test_another_function_than_dsyevd_is_refused():
    from scipy.linalg import cython_lapack

    with pytest.raises(ValueError, match="dsyevd: expected 32-bit integers"):
        parts.use_lapack(cython_lapack.__pyx_capi__["dpotrf"])


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_phi_functions_against_mpmath(k):
    x = np.concatenate([[0.0], np.geomspace(1e-300, 1e300, 61), np.linspace(0.01, 40, 400)])
    with mpmath.workdps(150):
        for value in x:
            exact = mpmath.mpf(1) / mpmath.factorial(k)
            y = -mpmath.mpf(value)
            if value > 1e-20:
                exact = mpmath.exp(y)
                for j in range(k):
                    exact = (exact - 1 / mpmath.factorial(j)) / y
            assert abs(parts.phi(k, value) / exact - 1) < 1e-14


FUNCTIONS = {
    0: (mpmath.exp, np.concatenate([np.linspace(-700, 700, 301), [-1e-300, 0.0, 1e-17]])),
    1: (mpmath.expm1, np.concatenate([np.linspace(-3, 3, 301), np.geomspace(1e-300, 0.3, 50)])),
    2: (mpmath.log, np.concatenate([np.geomspace(1e-300, 1e300, 301), np.linspace(0.5, 2, 301)])),
    3: (mpmath.log1p, np.concatenate([np.linspace(-0.25, 0.25, 301), [1e-300, -1e-18]])),
    4: (mpmath.sinh, np.concatenate([np.linspace(-1, 1, 301), [1e-300, -1e-18]])),
}


@pytest.mark.parametrize("which", sorted(FUNCTIONS))
def test_elementary_functions_against_mpmath(which):
    mpmath.mp.dps = 40
    exact, x = FUNCTIONS[which]
    got = parts.elementary(which, x)
    for xi, yi in zip(x, got, strict=True):
        expected = exact(mpmath.mpf(float(xi)))
        assert abs(mpmath.mpf(float(yi)) - expected) <= 4.5e-16 * abs(expected) + 1e-323


def test_elementary_functions_at_the_ends():
    assert np.array_equal(parts.elementary(0, np.array([800.0, -800.0])), [np.inf, 0.0])
    assert parts.elementary(0, np.array([-740.0]))[0] == pytest.approx(np.exp(-740.0), rel=1e-2)
