"""The primitives of a CUDA block's team against NumPy, at sizes that fit no tile.

One body (csrc/cuda/team_parts.hpp) runs on the device, where there is one, and on host threads that
are warps of their own or play the lanes of a device's.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from host_block import build, call

from kernelrich_fast.backends import available_backends

PARTS = range(10)
GRAM, SWEEP, SOLVE, SOLVE_COMPLEX, PRODUCTS, REDUCE, SELECT, REFLECT, INVERT, STALE = PARTS
SOURCES = Path(__file__).resolve().parents[2] / "csrc"
SIZES = [1, 31, 33, 100, 127, 128, 129]
# Lanes are threads that wait for each other at every shuffle. Tiles, panels and chunks are 8, 16
# and 32 wide: sizes below, above and of them, and one of more than there are lanes.
LANE_SIZES = [1, 31, 33, 48, 100]
BLOCKS = ["cuda", "cuda, cluster", "host, 1 threads", "host, 3 threads", "host, 96 lanes"]


def each_size(sizes=SIZES):
    """Every block at every size, lanes at theirs."""
    return pytest.mark.parametrize(
        ("block", "n"),
        [
            (block, n)
            for block in BLOCKS
            for n in sorted({*sizes, *LANE_SIZES})
            if n in (LANE_SIZES if "lanes" in block else sizes)
        ],
        indirect=["block"],
    )


class HostBlock:
    def __init__(self, program, threads):
        self.program, self.threads = program, threads

    def __call__(self, part, n, m, A, B, length):
        sizes = [A.size, B.size, length]
        return call(self.program, self.threads, [part, n, m], sizes, A, B)


class DeviceBlock:
    """A thread block, or several that play one where the device has clusters."""

    def __init__(self, threads, cluster):
        import cupy

        from kernelrich_fast import _cuda

        self.cp, self.cuda, self.layout = cupy, _cuda, (threads, cluster)

    def __call__(self, part, n, m, A, B, length):
        cp = self.cp
        A, B, out = cp.asarray(A), cp.asarray(B), cp.zeros(length)
        plan = self.cuda.plan_part(n, m, *self.layout)
        room, never = cp.zeros(plan["doubles_per_team"]), cp.zeros(1, dtype=np.int32)
        data, scratch = (A.data.ptr, B.data.ptr, out.data.ptr), (room.data.ptr, never.data.ptr)
        self.cuda.part(part, n, m, *data, plan, *scratch, cp.cuda.get_current_stream().ptr)
        return cp.asnumpy(out)


def need_device():
    reason = available_backends()["cuda"]
    if reason is not None:
        pytest.skip(f"cuda: {reason}")
    from kernelrich_fast import _cuda

    if not hasattr(_cuda, "part"):
        pytest.skip("cuda: built without KRF_TESTING=ON")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp
    return {
        "threads": build("block_parts", folder("threads")),
        "lanes": build("block_parts", folder("lanes"), "-DKRF_WARPS"),
    }


@pytest.fixture
def block(request, programs):
    if request.param.startswith("cuda"):
        need_device()
        import cupy

        if request.param == "cuda":
            return DeviceBlock(256, 1)
        if int(cupy.cuda.Device().compute_capability) < 90:
            pytest.skip("this device has no clusters")
        return DeviceBlock(64, 4)
    _, count, kind = request.param.split()
    if programs[kind] is None:
        pytest.skip("no C++20 compiler to build tests/cpp/block_parts.cpp with")
    return HostBlock(programs[kind], int(count))


def padded(count):
    return -(-count // 8) * 8


def rows(A, count=None):
    """Rows padded to a multiple of eight, and ``count`` of them."""
    out = np.zeros((count or len(A), padded(A.shape[1])))
    out[: len(A), : A.shape[1]] = A
    return out


def close(got, expected, scale=1.0):
    return np.abs(got - expected).max() <= 1e-13 * scale * max(1.0, np.abs(expected).max())


def test_the_module_for_a_device_takes_every_part():
    """What is compiled for a device alone must not lag behind what is tested here."""
    named = re.search(r"enum class Part : int {(.*?)};", source("cuda/team_parts.hpp"), re.DOTALL)
    assert [int(number) for number in re.findall(r"= (\d+)", named[1])] == list(PARTS)
    count = re.search(r"constexpr int kParts = (\d+);", source("cuda/launch.hpp"))
    assert int(count[1]) == len(PARTS)
    assert "part < 0 || part >= krf::cuda::kParts" in source("bindings/cuda_module.cpp")


def source(name):
    return (SOURCES / name).read_text()


@each_size()
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


@each_size()
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
    V = rng.standard_normal((3, n))
    lower = rows(A) + 7.0 * np.tri(n, ld, -1)  # nothing above the diagonal is read
    lower[:, n:] = 0.0
    out = block(INVERT, n, 1, lower, rows(V), 3 * ld + 1)
    x = out[: 3 * ld].reshape(3, ld)
    assert np.linalg.norm(A @ x[:, :n].T - V.T) < 1e-11 * np.linalg.norm(V) * np.sqrt(n)
    assert np.all(x[:, n:] == 0.0)
    assert out[-1] == pytest.approx((pivots / np.diag(A)).min(), rel=1e-10)
    A[n // 2, n // 2] = -1.0
    assert block(SOLVE, n, 1, rows(A), rows(b[None]), ld + 1)[ld] == -1.0
    assert block(INVERT, n, 1, rows(A), rows(V), 3 * ld + 1)[-1] == -1.0


@each_size()
def test_solves_by_a_stale_inverse(block, n):
    rng = np.random.default_rng(n)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    A = (Q * np.geomspace(1e-3, 1e2, n)) @ Q.T
    A, B = 0.5 * (A + A.T), rng.standard_normal((3, n))
    out = block(STALE, n, 1, rows(A), rows(B), 3 * padded(n)).reshape(3, -1)
    P = A + np.eye(n)  # in whose norm the error counts
    real, complex_ = out[0, :n], out[1, :n] + 1j * out[2, :n]
    for x, b, z in ((real, B[0], 2.0), (complex_, B[1] + 1j * B[2], 1.0 + 3.0j)):
        exact = np.linalg.solve(A + z * np.eye(n), b)
        left = x - exact
        assert (left.conj() @ P @ left).real < 0.05**2 * (exact.conj() @ P @ exact).real


@each_size([31, 100, 129])
@pytest.mark.parametrize("largest", ["first", "last"])
def test_solves_with_graded_matrices(block, n, largest):
    """Entries of every size are found as well as NumPy finds them after scaling."""
    rng = np.random.default_rng(n)
    size = np.geomspace(1e10, 1e-10, n)[:: 1 if largest == "first" else -1]
    B = rng.standard_normal((n, 2 * n))
    well = B @ B.T / n
    A, x = well * np.outer(size, size), rng.standard_normal(n) / size
    b = size * (well @ (size * x))
    out = block(SOLVE, n, 1, rows(A), rows(b[None]), padded(n) + 1)
    assert np.abs(out[:n] / x - 1.0).max() < 1e-11 * np.abs(1.0 / (size * x)).max()


@each_size()
def test_reductions_products_and_choices(block, n):
    rng = np.random.default_rng(n)
    A, B = rng.standard_normal((2, 9, n))
    out = block(PRODUCTS, n, 9, rows(A), rows(B), 81).reshape(9, 9)
    assert close(out, A @ B.T, np.sqrt(n))
    a, b = A[0], B[0]
    total, most, dot, *at_once = block(REDUCE, n, 1, rows(a[None]), rows(b[None]), 5)
    assert close(total, a.sum(), n)
    assert most == a.max()
    assert close(at_once[0], a.sum(), n)
    assert at_once[1] == a.max()
    assert close(dot, a @ b, n)
    for a in (A[0], -np.ones(n), np.ones(n)):
        out = block(SELECT, n, 1, rows(a[None]), np.zeros(1), 3 + n)
        positive = np.flatnonzero(a > 0)
        assert out[0] == len(positive)
        assert np.array_equal(out[3 : 3 + len(positive)], positive)
        assert out[1] == (np.argmax(a) if len(positive) else -1)
        assert out[2] == (len(positive) > 0)


@pytest.mark.slow
def test_no_member_of_a_part_races_another(tmp_path):
    n, ld = 41, 48
    A, B = rows(np.eye(n) + 0.1, ld), np.ones(3 * ld)
    for name, threads, flags in (("threads", 3, []), ("lanes", 64, ["-DKRF_WARPS"])):
        folder = tmp_path / name
        folder.mkdir()
        program = build("block_parts", folder, "-fsanitize=thread", "-g", *flags)
        if program is None:
            pytest.skip("no C++20 compiler with ThreadSanitizer")
        for part in PARTS:
            call(program, threads, [part, n, 39], [A.size, B.size, ld * ld], A, B)


@pytest.mark.parametrize("flags", [[], ["-DKRF_WARPS"], ["-fsanitize=thread", "-g"]])
def test_teams_draw_every_run_once_and_keep_to_their_memory(tmp_path, flags):
    program = build("block_queue", tmp_path, *flags)
    if program is None:
        pytest.skip("no C++20 compiler for this")
    threads = 32 if "-DKRF_WARPS" in flags else 2
    for cluster, teams, count in ((1, 1, 5), (1, 5, 129), (3, 4, 100), (2, 3, 1)):
        order = np.random.default_rng(count).permutation(count)
        out = call(program, threads, [cluster, teams, count, 0], order)
        assert np.all(out[:count] == 1)
        assert out[count] == count
        assert 1 <= out[count + 1] <= count
        assert out[count + 2] == 0
    out = call(program, threads, [2, 2, 9, 1], np.arange(9))  # cancelled
    assert np.all(out == 0)


@pytest.mark.parametrize("count", [*SIZES, 5000])
def test_every_run_of_a_queue_is_drawn_once(count):
    need_device()
    import cupy as cp

    from kernelrich_fast import _cuda

    order = cp.asarray(np.random.default_rng(count).permutation(count))
    drawn, counters = cp.zeros(count, dtype=np.int32), cp.zeros(2, dtype=np.int64)
    queue = {"order": order, "counters": counters}
    plan = _cuda.plan_part(1, 1, 64, 1) | {"teams": min(count, 300)}
    room = cp.zeros(plan["teams"] * plan["doubles_per_team"])
    stream = cp.cuda.get_current_stream().ptr
    _cuda.draw(queue, drawn.data.ptr, plan, room.data.ptr, stream)
    assert np.all(cp.asnumpy(drawn) == 1)
    assert int(counters[1]) == count
