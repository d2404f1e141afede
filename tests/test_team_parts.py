"""The primitives of a CUDA block's team against NumPy, at sizes that fit no tile.

One body (csrc/cuda/team_parts.hpp) runs on the device, where there is one, and on host threads.
"""

from __future__ import annotations

import numpy as np
import pytest
from host_block import build, call

from kernelrich_fast.backends import available_backends

GRAM, SWEEP, SOLVE, SOLVE_COMPLEX, PRODUCTS, REDUCE, SELECT, REFLECT = range(8)
SIZES = [1, 31, 33, 100, 127, 128, 129]


class HostBlock:
    def __init__(self, program, threads):
        self.program, self.threads = program, threads

    def __call__(self, part, n, m, A, B, length):
        sizes = [A.size, B.size, length]
        return call(self.program, self.threads, [part, n, m], sizes, A, B)


class DeviceBlock:
    def __init__(self):
        import cupy

        from kernelrich_fast import _cuda

        self.cp, self.cuda = cupy, _cuda

    def __call__(self, part, n, m, A, B, length):
        cp = self.cp
        A, B, out = cp.asarray(A), cp.asarray(B), cp.zeros(length)
        room, never = cp.zeros(self.cuda.part_room(n, m)), cp.zeros(1, dtype=np.int32)
        addresses = (each.data.ptr for each in (A, B, out, room, never))
        self.cuda.part(part, n, m, *addresses, cp.cuda.get_current_stream().ptr)
        return cp.asnumpy(out)


def need_device():
    reason = available_backends()["cuda"]
    if reason is not None:
        pytest.skip(f"cuda: {reason}")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build("block_parts", tmp_path_factory.mktemp("plain"))


@pytest.fixture(params=["cuda", "host, 1 thread", "host, 3 threads"])
def block(request, program):
    if request.param == "cuda":
        need_device()
        return DeviceBlock()
    if program is None:
        pytest.skip("no C++20 compiler to build tests/cpp/block_parts.cpp with")
    return HostBlock(program, int(request.param.split()[1]))


def padded(count):
    return -(-count // 8) * 8


def rows(A, count=None):
    """Rows padded to a multiple of eight, and ``count`` of them."""
    out = np.zeros((count or len(A), padded(A.shape[1])))
    out[: len(A), : A.shape[1]] = A
    return out


def close(got, expected, scale=1.0):
    return np.abs(got - expected).max() <= 1e-13 * scale * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m", [1, 7, 33, 200])
def test_gram_and_sweep(block, n, m):
    rng = np.random.default_rng(n + 1000 * m)
    X, weight = rng.standard_normal((m, n)), rng.uniform(-1.0, 1.0, m)
    ld = padded(n)
    G = block(GRAM, n, m, rows(X, padded(m)), weight, ld * ld).reshape(ld, ld).T[:n, :n]
    assert close(np.tril(G), np.tril(X.T @ (weight[:, None] * X)), np.sqrt(m))
    V = rng.standard_normal((3, n))
    out = block(SWEEP, n, m, rows(X, padded(m)), rows(V), 3 * ld).reshape(3, ld)
    assert close(out[:, :n], 2.0 * V @ X.T @ X, n)
    assert np.all(out[:, n:] == 0.0)
    v = rng.standard_normal(n)
    v /= np.linalg.norm(v)
    out = block(REFLECT, n, m, rows(X, padded(m)), rows(v[None]), padded(m) * ld)
    assert close(out.reshape(-1, ld)[:m, :n], X - 2.0 * np.outer(X @ v, v))


@pytest.mark.parametrize("n", SIZES)
def test_factors_and_solves(block, n):
    rng = np.random.default_rng(n)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    A = (Q * np.geomspace(1.0, 1e3, n)) @ Q.T
    A, b = 0.5 * (A + A.T), rng.standard_normal(n)
    ld = padded(n)
    out = block(SOLVE, n, 1, rows(A), rows(b[None]), ld + 1)
    assert np.linalg.norm(A @ out[:n] - b) < 1e-12 * np.linalg.norm(b) * np.sqrt(n)
    pivots = np.diag(np.linalg.cholesky(A)) ** 2
    assert out[ld] == pytest.approx((pivots / np.diag(A)).min(), rel=1e-10)
    out = block(SOLVE_COMPLEX, n, 1, rows(A), rows(b[None]), 2 * ld)
    x = out[:n] + 1j * out[ld : ld + n]
    assert np.linalg.norm(A @ x + 1j * x - b) < 1e-12 * np.linalg.norm(b) * np.sqrt(n)
    A[n // 2, n // 2] = -1.0
    assert block(SOLVE, n, 1, rows(A), rows(b[None]), ld + 1)[ld] == -1.0


@pytest.mark.parametrize("n", SIZES)
def test_reductions_products_and_choices(block, n):
    rng = np.random.default_rng(n)
    A, B = rng.standard_normal((2, 9, n))
    out = block(PRODUCTS, n, 9, rows(A), rows(B), 81).reshape(9, 9)
    assert close(out, A @ B.T, np.sqrt(n))
    a, b = A[0], B[0]
    total, most, dot = block(REDUCE, n, 1, rows(a[None]), rows(b[None]), 3)
    assert close(total, a.sum(), n)
    assert most == a.max()
    assert close(dot, a @ b, n)
    for a in (A[0], -np.ones(n), np.ones(n)):
        out = block(SELECT, n, 1, rows(a[None]), np.zeros(1), 3 + n)
        positive = np.flatnonzero(a > 0)
        assert out[0] == len(positive)
        assert np.array_equal(out[3 : 3 + len(positive)], positive)
        assert out[1] == (np.argmax(a) if len(positive) else -1)
        assert out[2] == (len(positive) > 0)


def test_no_member_of_a_part_races_another(tmp_path):
    program = build("block_parts", tmp_path, "-fsanitize=thread", "-g")
    if program is None:
        pytest.skip("no C++20 compiler with ThreadSanitizer")
    A = np.eye(16) + 0.1
    for part in range(8):
        call(program, 3, [part, 9, 7], [A.size, 48, 256], A, np.ones(48))


@pytest.mark.parametrize("count", [*SIZES, 5000])
def test_every_run_of_a_queue_is_drawn_once(count):
    need_device()
    import cupy as cp

    from kernelrich_fast import _cuda

    order = cp.asarray(np.random.default_rng(count).permutation(count))
    drawn, counter = cp.zeros(count, dtype=np.int32), cp.zeros(1, dtype=np.int64)
    queue = {"order": order.data.ptr, "count": count, "next": counter.data.ptr}
    none = cp.zeros(8)
    stream = cp.cuda.get_current_stream().ptr
    _cuda.draw(queue, min(count, 300), drawn.data.ptr, none.data.ptr, stream)
    assert np.all(cp.asnumpy(drawn) == 1)
