"""Large runs: blocked algebra, pieces that threads share, the same bits whoever does them."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
from oracles import weight_space_flow

import kernelrich_fast as krf
from kernelrich_fast.backends import make_batch

pytestmark = pytest.mark.usefixtures("compiled")


def regression(n: int, d: int, seed: int = 0):
    X, y, _ = krf.datasets.sparse_regression(n, d, 5, seed=seed)
    return X, y


# From 400 samples on algebra is blocked; from 131,072 entries of X on passes are cut. Orders that
# are no multiple of a tile, of a panel, of a register.
SHAPES = [(405, 820), (513, 700), (60, 6000)]


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_threads_change_no_bit_of_a_flow(n, d):
    X, y = regression(n, d)
    options = {"alpha": 0.05, "stop_loss": 1e-6, "backend": "cpu"}
    alone = krf.flow_diagonal(X, y, num_threads=1, **options)
    assert alone.status == krf.Status.CONVERGED
    for threads in (2, 3):
        helped = krf.flow_diagonal(X, y, num_threads=threads, **options)
        for name in ("beta", "w_plus", "dual", "loss", "t"):
            assert np.array_equal(getattr(helped, name), getattr(alone, name))


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_threads_change_no_bit_of_a_limit(n, d):
    X, y = regression(n, d)
    ends = [
        krf.limit_diagonal(X, y, alpha=0.01, depth=3, backend="cpu", num_threads=threads)
        for threads in (1, 2, 3)
    ]
    assert ends[0].status == krf.Status.CONVERGED
    for end in ends[1:]:
        assert np.array_equal(end.beta, ends[0].beta)


def test_threads_change_no_bit_of_a_factorization():
    data = krf.datasets.low_rank_completion(40, 40, 2, 900, seed=0)
    flows = [
        krf.flow_factorization(
            data.y, entries=data.entries, dims=(40, 40), alpha=1e-2, width=80, stop_loss=1e-4,
            backend="cpu", num_threads=threads, method="radau5",
        )
        for threads in (1, 2, 3)
    ]  # fmt: skip
    assert flows[0].status == krf.Status.CONVERGED
    for flow in flows[1:]:
        assert np.array_equal(flow.M, flows[0].M)


def test_threads_change_no_bit_of_margins_and_paths():
    X, y = regression(60, 6000)
    labels = np.sign(y)
    flows = [
        krf.flow_diagonal(X, labels, alpha=0.1, loss="exponential", stop_log_loss=-50.0,
                          backend="cpu", num_threads=threads)
        for threads in (1, 3)
    ]  # fmt: skip
    decayed = [
        krf.flow_diagonal(X, labels, alpha=0.1, loss="logistic", weight_decay=[1e-3, 1.0],
                          t_eval=[0.1, 10.0], backend="cpu", num_threads=threads)
        for threads in (1, 3)
    ]  # fmt: skip
    assert np.array_equal(decayed[0].beta, decayed[1].beta)
    paths = [krf.rich_path(X, y, num_threads=threads) for threads in (1, 3)]
    assert np.array_equal(flows[0].beta, flows[1].beta)
    assert np.array_equal(paths[0].beta, paths[1].beta)


def test_threads_help():
    from kernelrich_fast import _core

    if not hasattr(_core, "pieces_of_helpers"):
        pytest.skip("built without KRF_TESTING=ON")
    X, y = regression(513, 700)
    before = _core.pieces_of_helpers()
    krf.limit_diagonal(X, y, alpha=0.01, backend="cpu", num_threads=1)
    assert _core.pieces_of_helpers() == before
    for _ in range(100):  # a helper that gets no core helps nobody
        krf.limit_diagonal(X, y, alpha=0.01, backend="cpu", num_threads=2)
        if _core.pieces_of_helpers() > before:
            return
    raise AssertionError


def test_rows_that_depend_on_others():
    """The basis is rotated, and rows beyond the rank are dropped."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((410, 300)) @ rng.standard_normal((300, 820))
    y = X @ (rng.standard_normal(820) * (rng.random(820) < 0.02))
    for depth in (2, 3):
        ends = [
            krf.limit_diagonal(X, y, alpha=0.05, depth=depth, backend="cpu", num_threads=threads)
            for threads in (1, 2)
        ]
        assert np.array_equal(ends[0].beta, ends[1].beta)
        assert ends[0].status == krf.Status.CONVERGED
        assert np.linalg.norm(y - X @ ends[0].beta) < 1e-8 * np.linalg.norm(y)


def test_networks_before_change_no_bit_of_linear_networks():
    """What decomposes large kernels of networks is not taken by others."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 5)), rng.standard_normal((30, 160))

    def flow():
        return krf.flow_linear(
            X, Y, width=4, alpha=0.3, method="radau5", t_max=0.05, backend="cpu"
        ).M

    before = flow()
    data = krf.datasets.circle_teacher(160)
    krf.flow_mlp(data.X, data.y, depth=2, width=5, alpha=1.0, t_max=1e-4, backend="cpu")
    assert np.array_equal(flow(), before)


def test_threads_change_no_bit_of_a_network():
    """From 150 samples on LAPACK decomposes the tangent kernel."""
    data = krf.datasets.circle_teacher(160)
    flows = [
        krf.flow_mlp(data.X, data.y, depth=2, width=20, alpha=[0.5, 1.0], t_max=0.02,
                     backend="cpu", num_threads=threads)
        for threads in (1, 2, 3)
    ]  # fmt: skip
    for flow in flows[1:]:
        assert np.array_equal(flow.loss, flows[0].loss)
        assert np.array_equal(flow.predict(data.X), flows[0].predict(data.X))


def test_a_run_has_the_same_bits_alone_and_in_any_batch():
    X, y = regression(405, 820)
    alphas = np.array([0.03, 0.1, 0.3])
    options = {"stop_loss": 1e-4, "backend": "cpu"}
    alone = [krf.flow_diagonal(X, y, alpha=a, num_threads=2, **options).beta for a in alphas]
    for threads in (1, 2, 4):
        batch = krf.flow_diagonal(X, y, alpha=alphas, num_threads=threads, **options)
        assert np.array_equal(batch.beta, np.stack(alone))


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_large_flows_against_an_integration_of_the_weights(n, d):
    X, y = regression(n, d)
    t = np.array([0.2, 2.0]) / np.linalg.norm(X, 2) ** 2  # the fastest mode takes 0.7 of that
    flow = krf.flow_diagonal(
        X, y, alpha=0.3, t_eval=t, rtol=1e-8, method="radau5", backend="cpu", num_threads=2
    )
    exact = weight_space_flow(X, y, 0.3 * np.ones(d), 0.3 * np.ones(d), 2, t)
    for got, want in zip(flow.beta, exact, strict=True):
        assert np.linalg.norm(got - want) < 1e-7 * np.linalg.norm(want)


def test_a_large_problem_with_rows_of_unequal_size():
    """Rows whose lengths differ a thousandfold, at depth 6."""
    rng = np.random.default_rng(3)
    n, d = 410, 830
    X = rng.standard_normal((n, d)) * np.geomspace(1.0, 1e-3, n)[:, None]
    y = X[:, :3].sum(axis=1)
    ends = [
        krf.limit_diagonal(X, y, alpha=0.1, depth=6, backend="cpu", num_threads=threads)
        for threads in (1, 3)
    ]
    assert np.array_equal(ends[0].beta, ends[1].beta)
    assert np.linalg.norm(y - X @ ends[0].beta) < 1e-9 * np.linalg.norm(y)


@pytest.mark.parametrize(("n", "d"), [(46_008, 50_000), (3_000, 800_000)])
def test_more_than_32_bits_can_number_is_refused(n, d):
    X = np.broadcast_to(np.ones((1, 1)), (n, d))  # without the memory
    limits = r"X: expected at most (46000 samples|2,130,706,432 entries)"
    with pytest.raises(ValueError, match=limits):
        make_batch(X, np.ones(n), np.array(1.0), np.array(2.0), np.ones(d), np.ones(d))


@pytest.fixture
def clean_memory():
    """Filling a gigabyte with NaN, as all tests do, cannot be interrupted."""
    from kernelrich_fast import _core

    poison = getattr(_core, "poison_memory", lambda on: None)
    poison(False)
    yield
    poison(True)


@pytest.mark.usefixtures("interruptible", "clean_memory")
@pytest.mark.parametrize("what", ["flow", "limit"])
def test_an_interrupt_within_a_large_operation(what):
    """One matrix of this size takes longer than an interrupt may."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 8000))
    y = X[:, :5].sum(axis=1)
    calls = {
        "flow": lambda: krf.flow_diagonal(X, y, alpha=1e-3, method="radau5", backend="cpu"),
        "limit": lambda: krf.limit_diagonal(X, y, alpha=1e-3, depth=3, backend="cpu"),
    }
    sent: list[float] = []

    def interrupt():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(1.5, interrupt)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            calls[what]()
    finally:
        timer.cancel()
        timer.join()
    took = time.perf_counter() - sent[0]
    assert took < 1.0  # 0.1 s where nothing else runs
