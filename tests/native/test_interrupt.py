"""Ctrl-C ends a native call promptly and leaves the process usable."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

import kernelrich_fast as krf


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("what", ["flow", "limit", "factorization", "mlp"])
def test_interrupt(what):
    X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)
    if what == "flow":

        def call():
            krf.flow_diagonal(X, y, alpha=np.full(20, 1e-4), depth=3, rtol=1e-9, backend="cpu")
    elif what == "factorization":
        data = krf.datasets.low_rank_completion(10, 10, 1, 60)

        def call():
            krf.flow_factorization(
                data.y, entries=data.entries, dims=(10, 10), alpha=np.full(20_000, 1e-4), width=10,
                rtol=1e-10, backend="cpu",
            )  # fmt: skip
    elif what == "mlp":
        d = krf.datasets.circle_teacher(10)

        def call():
            krf.flow_mlp(d.X, d.y, depth=5, alpha=np.full(2000, 0.3), rtol=1e-9, backend="cpu")
    else:

        def call():
            krf.limit_diagonal(X, y, alpha=np.full(20_000, 1e-6), backend="cpu")

    sent: list[float] = []

    def interrupt():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.4, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        call()
    took = time.perf_counter() - sent[0]
    timer.join()
    assert took < 0.5
    assert krf.flow_diagonal([[1.0]], [1.0], alpha=0.5).status == krf.Status.CONVERGED


def test_an_error_in_the_progress_callback_arrives():
    from kernelrich_fast.backends import get_backend, make_batch
    from kernelrich_fast.backends.base import LimitOptions

    X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)
    alpha, one = np.full(3000, 1e-6), np.ones(1000)
    batch = make_batch(X, y, alpha, np.full(3000, 2.0), one, one)

    def broken(done):
        raise RuntimeError("no display")

    with pytest.raises(RuntimeError, match="no display"):
        get_backend("cpu").solve("diagonal_limit", batch, LimitOptions(1e-10, 500, 2, broken))
