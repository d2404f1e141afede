"""NumPy's linear algebra on one thread, for results that do not depend on the machine's cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]

_lock = threading.Lock()
_users = 0
_before: list[tuple[Any, int]] = []


@contextmanager
def one_blas_thread() -> Generator[None]:
    """Keep BLAS to one thread: on several, sums depend on how many there are.

    The limit is one of the process, so the last of several users lifts it.
    """
    # SciPy brings a BLAS of its own; one that is loaded after the limit would not know of it.
    import scipy.linalg  # noqa: F401

    global _users
    with _lock:
        if _users == 0:
            libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            for library in libraries:
                _before.append((library, library.num_threads))
                _set_threads(library, 1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _lift()


def _lift() -> None:
    """Give all libraries their own number of threads; those that wait for it are in _before."""
    while _before:
        library, count = _before[-1]
        _set_threads(library, count)
        _before.pop()


def _forget_users() -> None:
    """In a forked child: the threads that held the lock, or the limit, are not there."""
    global _lock, _users
    _lock, _users = threading.Lock(), 0
    _lift()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_users)


def _set_threads(library: Any, count: int) -> None:
    # From 3.8 on threadpoolctl obeys the first thread that set a number, and lets all others
    # believe that they did.  The first and the last user here may be of any thread.
    release = getattr(library, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)
    library.set_num_threads(count)
    if release is not None:
        release(force=True)
