"""The page's server, on this machine alone, and the function that opens it."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import threading
import weakref
import webbrowser
from importlib.resources import files
from typing import Any

from .. import _validate as check
from .._types import ArrayLike
from .files import user_data
from .store import Store

__all__ = ["Explorer", "explore"]

_HOST = "127.0.0.1"
_MOST_MESSAGE = 32 * 2**20  # a file of 16 MiB in base64, and room


def explore(
    X: ArrayLike | None = None, y: ArrayLike | None = None, *, port: int = 0, show: bool = True
) -> Explorer:
    """Open a page in the browser on which sliders move training from the kernel to the rich regime.

    Parameters
    ----------
    X : array_like, (n_samples, n_features), optional
        Inputs to look at instead of generated ones.
    y : array_like, (n_samples,), optional
        Targets, with X.
    port : int
        Port to listen on, 0 to 65535; 0 takes a free one.
    show : bool
        Whether to open the page in the default browser.

    Returns
    -------
    Explorer
        The running server: ``url``, ``wait()`` and ``close()``. It ends with the process.

    Raises
    ------
    ImportError
        If Bokeh is missing (``pip install 'kernelrich_fast[explore]'``).
    ValueError, TypeError
        For illegal arguments, by name.
    OSError
        If the port is taken.

    Notes
    -----
    The server binds 127.0.0.1 and accepts connections from its own page only; the page loads
    nothing from another host. Data stay in the memory of this process. Whoever may open connections
    on this machine may open the page.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> explorer = krf.explore([[1.0, 2.0], [0.0, 1.0]], [2.0, 1.0], show=False)
    >>> explorer.url.startswith("http://127.0.0.1:")
    True
    >>> explorer.close()
    """
    if importlib.util.find_spec("bokeh") is None:
        raise ImportError(
            "explore: needs Bokeh; install it with pip install 'kernelrich_fast[explore]'"
        )
    if (X is None) != (y is None):
        raise ValueError("X: expected X and y together, or neither")
    number = check.integer("port", port, low=0, high=65535)
    check.flag("show", show)
    store = Store()
    query = ""
    if X is not None and y is not None:
        given = user_data("the arrays given to krf.explore", X, y)
        query = f"?data={store.add(given)}"
    explorer = Explorer(store, number, query)
    if show:
        webbrowser.open(explorer.url)
    return explorer


class Explorer:
    """A server of the page, in a thread of this process.

    Attributes
    ----------
    url : str
        The address of the page.
    port : int
        The port it listens on.
    """

    def __init__(self, store: Store, port: int, query: str) -> None:
        self._store = store
        self._sessions: weakref.WeakSet[Any] = weakref.WeakSet()
        try:
            self._socket = socket.create_server((_HOST, port), backlog=128)
        except OSError as error:
            raise OSError(
                error.errno,
                f"port: {port} cannot be listened on; take another, or 0 for a free one",
            ) from error
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://{_HOST}:{self.port}/{query}"
        self._loop: Any = None
        self._ended = threading.Event()
        self._error: BaseException | None = None
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._serve, args=(started,), name="kernelrich explore server", daemon=True
        )
        self._thread.start()
        started.wait()
        if self._error is not None:
            raise self._error

    def __repr__(self) -> str:
        return f"Explorer({self.url}, {'closed' if self._ended.is_set() else 'open'})"

    def wait(self) -> None:
        """Return when the server is closed, or when Ctrl-C is pressed."""
        try:
            while not self._ended.wait(0.5):
                pass
        except KeyboardInterrupt:
            self.close()

    def close(self) -> None:
        """Stop the server; open pages no longer answer."""
        if not self._ended.is_set():
            self._loop.add_callback(self._loop.stop)
            self._thread.join()

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        try:
            from bokeh.application import Application
            from bokeh.application.handlers.function import FunctionHandler
            from bokeh.server.server import BaseServer
            from bokeh.server.tornado import BokehTornado
            from tornado.httpserver import HTTPServer
            from tornado.ioloop import IOLoop

            app = BokehTornado(
                Application(FunctionHandler(self._new_page)),
                extra_websocket_origins=[f"{_HOST}:{self.port}", f"localhost:{self.port}"],
                websocket_max_message_size_bytes=_MOST_MESSAGE,
            )
            http = HTTPServer(app)
            http.add_sockets([self._socket])
            self._loop = IOLoop.current()
            server = BaseServer(self._loop, app, http)
            server.start()
        except BaseException as error:
            self._error = error
            started.set()
            return
        self._loop.add_callback(started.set)
        try:
            self._loop.start()
        finally:
            server.stop(wait=False)
            http.stop()
            for session in list(self._sessions):
                session.close()
            self._ended.set()
            self._loop.close(all_fds=True)

    def _new_page(self, doc: Any) -> None:
        from .page import fill

        self._sessions.add(fill(doc, self._store, files(__package__)))
