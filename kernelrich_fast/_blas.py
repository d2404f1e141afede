"""NumPy's linear algebra on one thread, for results that do not depend on the machine's cores."""

from __future__ import annotations

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
            _before[:] = [(library, library.num_threads) for library in libraries]
            for library, _ in _before:
                _set_threads(library, 1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for library, count in _before:
                    _set_threads(library, count)


def _set_threads(library: Any, count: int) -> None:
    # From 3.8 on threadpoolctl obeys the first thread that set a number, and lets all others
    # believe that they did.  The first and the last user here may be of any thread.
    release = getattr(library, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)
    library.set_num_threads(count)
    if release is not None:
        release(force=True)
