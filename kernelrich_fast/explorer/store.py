"""The user's data sets that a server holds while it runs."""

from __future__ import annotations

import threading
from collections import OrderedDict

from .files import UserData

__all__ = ["Store"]


class Store:
    """Data sets by the name under which an address refers to them; the oldest goes first.

    Parameters
    ----------
    most : int
        How many are kept.

    Examples
    --------
    >>> from kernelrich_fast.explorer.files import user_data
    >>> from kernelrich_fast.explorer.store import Store
    >>> store = Store()
    >>> key = store.add(user_data("mine", [[1.0], [2.0]], [1.0, 2.0]))
    >>> store.get(key).name
    'mine'
    """

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: OrderedDict[str, UserData] = OrderedDict()

    def add(self, data: UserData) -> str:
        """Keep a data set; returns its name."""
        with self._lock:
            self._held[data.key] = data
            self._held.move_to_end(data.key)
            while len(self._held) > self._most:
                self._held.popitem(last=False)
        return data.key

    def get(self, key: str) -> UserData | None:
        """The data set of that name, if it is still held."""
        with self._lock:
            return self._held.get(key)
