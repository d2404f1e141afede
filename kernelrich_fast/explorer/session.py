"""One open page: what its reader asks for, computed in threads and drawn when it is there."""

from __future__ import annotations

import base64
import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource

from .code import code
from .controls import OVER
from .diagonal import phase_rows
from .files import UserData, read_file
from .models import model_of
from .packing import Frame, packed
from .state import GENERATED, State, default_state, parse_state, to_query
from .store import Store
from .tables import Now, Partial, Table, to_csv
from .views import Pictures
from .words import OVER_ALPHA, VIEWS

__all__ = ["Session"]

_PAUSE = 0.15  # seconds between two looks at a computation in the background


class Session:
    """The state of one page and what has been computed for it.

    ``request`` and ``reply`` carry messages in JSON between the page's script and this object.
    """

    def __init__(self, doc: Any, store: Store, workers: tuple[Any, Any]) -> None:
        self._doc, self._store = doc, store
        self._now_worker, self._later_worker = workers
        self.pictures = Pictures()
        self.request = ColumnDataSource({"message": [""]}, name="request")
        self.reply = ColumnDataSource(name="reply")
        self.request.on_change("data", lambda _attr, _old, new: self._heard(new["message"][0]))
        self.state = default_state()
        self._open = True
        self._user: UserData | None = None
        self._now: Now | None = None
        self._data: tuple[Any, Any] = (None, None)
        self._later: dict[str, Table] = {}
        self._wanted: dict[str, State] = {}
        self._finished: dict[str, State] = {}
        self._labelled: Any = None

    def close(self) -> None:
        """End the threads."""
        self._open = False
        for worker in (self._now_worker, self._later_worker):
            worker.close()

    def _heard(self, message: str) -> None:
        """Answer a message of the page."""
        asked = json.loads(message)
        try:
            answers: dict[str, Callable[[dict[str, Any]], None]] = {
                "state": self._set_state, "code": self._give_code, "data": self._give_data,
                "file": self._take_file,
            }  # fmt: skip
            answers[asked["kind"]](asked)
        except (ValueError, TypeError, KeyError) as error:
            self._say(kind="error", id=asked.get("id"), messages=[str(error)])

    def _say(self, frame: Frame | None = None, **answer: Any) -> None:
        """Send the page a message, with what is to be drawn."""
        layout, numbers = packed(frame or {})
        self.reply.tags = [json.dumps({**answer, "frame": layout}), numbers]

    def _in_page(self, action: Callable[[], None]) -> None:
        """Do something to the document from another thread, unless the page is closed."""
        if self._open:
            self._doc.add_next_tick_callback(action)

    def _set_state(self, asked: dict[str, Any]) -> None:
        state, messages = parse_state({str(k): str(v) for k, v in asked["query"].items()})
        user = None if state.generated else self._store.get(state.data)
        if user is None and not state.generated:
            messages.append(
                f"data: this server does not hold {state.data[:40]!r}; choose the file again. "
                "Generated data are shown instead"
            )
            state = replace(state, data=GENERATED)
        if user is not None and state.model == "factorization":
            messages.append(
                "data: the factorisation completes generated matrices; the samples (X, y) are "
                "kept for the other models"
            )
            state = replace(state, data=GENERATED)
            user = None
        self._now_worker.submit(lambda: self._compute(state, user, messages, asked["id"]))

    def _compute(
        self, state: State, user: UserData | None, messages: list[str], number: int
    ) -> Iterator[None]:
        """The present flow, in a thread."""
        begin = time.perf_counter()
        try:
            model = model_of(state)
            data = self._problem(state, user)
            now = model.now(state, data)
        except Exception as error:  # whatever it is, the page says it and goes on
            if not isinstance(error, (ValueError, TypeError, MemoryError)):
                traceback.print_exc()
            said = [*messages, f"{type(error).__name__}: {error}"]
            self._in_page(partial(self._say, kind="error", id=number, messages=said))
            return
        seconds = time.perf_counter() - begin
        self._in_page(partial(self._show, state, user, data, now, messages, number, seconds))
        yield

    def _problem(self, state: State, user: UserData | None) -> Any:
        """The data of a state, drawn anew only if what they depend on has changed."""
        key = replace(state, alpha=1.0, depth=2.0, shape=0.0, width=1, over="")
        if self._data[0] != key:
            self._data = (key, model_of(state).problem(state, user))
        return self._data[1]

    def _show(
        self, state: State, user: UserData | None, data: Any, now: Now, messages: list[str],
        number: int, seconds: float,
    ) -> None:  # fmt: skip
        """Draw the present flow, and start what takes longer unless it is there already."""
        self.state, self._user, self._now = state, user, now
        if self._labelled != (state.model, state.over):
            self._labelled = (state.model, state.over)
            self.pictures.label(*self._labelled)
        self._say(
            self.pictures.frame_of(state.alpha, now, _row_of(state, user)),
            kind="now", id=number, messages=messages, facts=list(now.facts), query=to_query(state),
            seconds=seconds, known=user.told if user is not None else "",
        )  # fmt: skip
        self._start_later(state, user, data)

    def _start_later(self, state: State, user: UserData | None, data: Any) -> None:
        """Compute in the background what the pictures over alpha do not show yet."""
        model = model_of(state)
        varied: dict[str, Any] = {state.over: 0}
        wanted = {
            "curves over α": replace(state, alpha=1.0, over=""),
            "phase diagram": replace(state, alpha=1.0, **varied),
        }
        if wanted == self._wanted:
            return
        self._wanted = wanted
        works = {
            "curves over α": lambda: model.over_alpha(state, data),
            "phase diagram": lambda: model.phase(state, data, user),
        }
        missing = [name for name in works if self._finished.get(name) != wanted[name]]
        for name in missing:
            self._finished.pop(name, None)
            for view in (OVER_ALPHA, ("phase",))[name == "phase diagram"]:
                self._later.pop(view, None)
        self._later_worker.submit(
            lambda: self._compute_later({name: works[name] for name in missing}, wanted)
        )

    def _compute_later(
        self, works: dict[str, Callable[[], Iterator[Partial]]], wanted: dict[str, State]
    ) -> Iterator[None]:
        """Curves over alpha and the phase diagram, in a thread, piece by piece."""
        for name, work in works.items():
            try:
                shown = -np.inf
                for part in work():
                    if part.done >= 1.0 - 1e-9 or time.monotonic() - shown > _PAUSE:
                        shown = time.monotonic()
                        self._in_page(partial(self._show_part, name, part, wanted))
                    yield
            except Exception as error:
                traceback.print_exc()
                said = [f"{name}: {type(error).__name__}: {error}"]
                self._in_page(partial(self._say, kind="message", messages=said))
        self._in_page(partial(self._say, kind="progress", done=1.0, what=""))

    def _show_part(self, name: str, part: Partial, wanted: dict[str, State]) -> None:
        if wanted[name] != self._wanted.get(name):
            return
        self._later |= part.tables
        if part.done >= 1.0 - 1e-9:
            self._finished[name] = wanted[name]
        frame: Frame = {}
        for view, table in part.tables.items():
            if view == "phase":
                self.pictures.draw_phase(table)
            else:
                frame |= self.pictures.curves(view, table)
        self._say(frame, kind="progress", done=part.done, what=name)

    def _table(self, view: str) -> Table:
        """What a view shows at present."""
        if view not in VIEWS or self._now is None:
            raise ValueError(f"view: expected one of {', '.join(VIEWS)}, got {view[:40]!r}")
        table = self._now.tables.get(view) or self._later.get(view)
        if table is None:
            raise ValueError(f"{view}: still being computed; try again in a moment")
        return table

    def _give_code(self, asked: dict[str, Any]) -> None:
        self._table(asked["view"])
        assert self._now is not None
        text = code(self.state, asked["view"], self._now, self._user)
        self._say(kind="code", id=asked["id"], view=asked["view"], text=text)

    def _give_data(self, asked: dict[str, Any]) -> None:
        text = to_csv(_flat(self._table(asked["view"])))
        self._say(kind="data", id=asked["id"], view=asked["view"], text=text)

    def _take_file(self, asked: dict[str, Any]) -> None:
        # Reading a large table takes seconds, in which the server has other things to do.
        threading.Thread(target=self._read, args=(asked,), daemon=True).start()

    def _read(self, asked: dict[str, Any]) -> None:
        try:
            content = base64.b64decode(asked["content"], validate=True)
            data = read_file(str(asked["name"]), content)
        except (ValueError, TypeError, MemoryError) as error:
            self._in_page(partial(self._say, kind="error", messages=[str(error)]))
            return
        key = self._store.add(data)
        self._in_page(partial(self._say, kind="file", name=data.name, key=key))


def _row_of(state: State, user: UserData | None) -> float:
    """Where the present state lies on the second axis of the phase diagram, in rows."""
    if state.model == "diagonal":
        rows = phase_rows(state, user)
    else:
        rows = np.array(OVER[state.model][state.over], dtype=float)
    value = float(getattr(state, state.over))
    if user is not None and state.over == "samples":
        value = rows[-1]
    return float(np.interp(value, rows, np.arange(rows.size)))


def _flat(table: Table) -> Table:
    """A table of columns of one length; the phase diagram as error_N for each row of it."""
    if "rows" not in table:
        return table
    named = {f"error_at_{row:g}": column for row, column in zip(
        table["rows"], table["error"].T, strict=True)}  # fmt: skip
    return {"alpha": table["alpha"], **named}
