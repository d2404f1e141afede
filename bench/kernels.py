"""The CPU team's dense kernels against BLAS and LAPACK, one thread, time beside error.

    python bench/kernels.py

Ours run through kernelrich_fast._testing, which is built with -C cmake.define.KRF_TESTING=ON,
repeated inside one call so that the packing of the
arguments does not count. Theirs get arrays in their own best layout. For factorisations theirs are
LAPACK's dpotrf + dpotrs and, for the complex symmetric matrix, zgetrf + zgetrs and zsytrf + zsytrs.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import time  # noqa: E402

import numpy as np  # noqa: E402
import scipy.linalg  # noqa: E402
from scipy.linalg import blas, cython_lapack, lapack  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from kernelrich_fast import _testing as parts  # noqa: E402

SIZES = ((40, 400), (100, 1000), (200, 2000), (500, 1000), (1000, 4000), (2000, 4000))


def microseconds(call, repeats):
    """Best of five averages over ``repeats``."""
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        best = min(best, (time.perf_counter() - start) / repeats)
    return 1e6 * best


def ours(call, repeats):
    """The slope of a call's time in its inner repeats: packing and unpacking drop out."""
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        call(1)
        once = time.perf_counter() - start
        start = time.perf_counter()
        call(repeats + 1)
        best = min(best, (time.perf_counter() - start - once) / repeats)
    return 1e6 * best


def error(got, exact):
    return float(np.max(np.abs(got - exact)) / np.max(np.abs(exact)))


def show(name, N, d, own, own_error, peers):
    theirs = "   ".join(f"{peer} {t:9.1f} ({e:.0e}, {t / own:4.1f}x)" for peer, t, e in peers)
    print(f"{name:12} N={N:4} d={d:5}  ours {own:9.1f} us ({own_error:.0e})   {theirs}", flush=True)


def measure(N, d):
    rng = np.random.default_rng(0)
    X, s, V = rng.standard_normal((N, d)), rng.random(d), rng.standard_normal((N, 3))
    root = np.sqrt(s)
    reps = max(3, int(2e8 / (N * N * d)))

    exact = (X * s) @ X.T
    XF = np.asfortranarray(X)
    peers = [
        ("gemm", microseconds(lambda: (X * s) @ X.T, reps), 0.0),
        ("dsyrk", microseconds(lambda: blas.dsyrk(1.0, XF * root, lower=1), reps),
         error(np.tril(blas.dsyrk(1.0, XF * root, lower=1)), np.tril(exact))),
    ]  # fmt: skip
    show(
        "Gram",
        N,
        d,
        ours(lambda r: parts.scaled_gram(X, s, r), reps),
        error(parts.scaled_gram(X, s), exact),
        peers,
    )

    exact = X @ (X.T @ V)
    reps = max(10, int(4e8 / (12 * N * d)))
    peers = [("2 gemm", microseconds(lambda: X @ (X.T @ V), reps), 0.0)]
    own = ours(lambda r: parts.map_features(X, V, r), reps)
    show("pass, 3 cols", N, d, own, error(parts.map_features(X, V), exact), peers)

    A = X @ X.T / d + np.eye(N)
    AF, b = np.asfortranarray(A), V[:, 0].copy()
    exact = np.linalg.solve(A, b)
    reps = max(5, int(1e8 / N**3))

    def potrf():
        L, _ = lapack.dpotrf(AF, lower=1)
        return lapack.dpotrs(L, b, lower=1)[0]

    peers = [("dpotrf+s", microseconds(potrf, reps), error(potrf().ravel(), exact))]
    own = ours(lambda r: parts.solve(A, b, r), reps)
    show("real solve", N, d, own, error(parts.solve(A, b)[0], exact), peers)

    exact = np.linalg.solve(A, V)

    def potri():
        L, _ = lapack.dpotrf(AF, lower=1)
        inverse, _ = lapack.dpotri(L, lower=1)
        return blas.dsymm(1.0, inverse, V, lower=1)

    peers = [("dpotri+symm", microseconds(potri, reps), error(potri(), exact))]
    own = ours(lambda r: parts.inverse(A, V, r), reps)
    show("inverse", N, d, own, error(parts.inverse(A, V)[0], exact), peers)

    Z = np.asfortranarray(A + 2j * np.eye(N))
    exact = np.linalg.solve(Z, b)
    bz = b.astype(complex)

    def getrf():
        lu, pivots, _ = lapack.zgetrf(Z)
        return lapack.zgetrs(lu, pivots, bz)[0]

    def sytrf():
        ldu, pivots, _ = lapack.zsytrf(Z, lower=1)
        return lapack.zsytrs(ldu, pivots, bz, lower=1)[0]

    peers = [
        ("zgetrf+s", microseconds(getrf, reps), error(getrf().ravel(), exact)),
        ("zsytrf", microseconds(sytrf, reps), error(sytrf().ravel(), exact)),
    ]
    real, imaginary = parts.solve_complex(A, 2.0, b)
    own = ours(lambda r: parts.solve_complex(A, 2.0, b, r), reps)
    show("complex", N, d, own, error(real + 1j * imaginary, exact), peers)


def eigenvectors(N):
    """Ours, and LAPACK's as compiled code calls them."""
    X = np.random.default_rng(0).standard_normal((N, 2 * N))
    K = X @ X.T
    seconds = []
    for lapack_of_scipy in (None, cython_lapack.__pyx_capi__["dsyevd"]):
        parts.use_lapack(lapack_of_scipy)
        seconds.append(microseconds(lambda: parts.eigen(K), 1))
    parts.use_lapack(None)
    print(f"eigenvectors N={N:4}  ours {seconds[0]:9.1f} us   dsyevd {seconds[1]:9.1f} us")


def main():
    A = np.random.default_rng(0).standard_normal((1500, 1500))
    with threadpool_limits(1):
        seconds = microseconds(lambda: A @ A, 1) / 1e6
        print(f"dgemm on one thread: {2 * 1500**3 / seconds / 1e9:.1f} GFLOP/s, "
              f"SciPy {scipy.__version__}")  # fmt: skip
        for N, d in SIZES:
            measure(N, d)
        for N in (150, 300, 600, 1000):
            eigenvectors(N)


if __name__ == "__main__":
    main()
