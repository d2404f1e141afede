"""NumPy's linear algebra on one thread, for results that do not depend on the machine's cores."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

__all__ = ["one_blas_thread"]

_lock = threading.Lock()
_users = 0
_limit: threadpool_limits | None = None


@contextmanager
def one_blas_thread() -> Generator[None]:
    """Keep BLAS to one thread: on several, sums depend on how many there are.

    The limit is one of the process, so the last of several users lifts it.
    """
    global _limit, _users
    with _lock:
        if _users == 0:
            _limit = threadpool_limits(1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _limit is not None:
                _limit.restore_original_limits()
