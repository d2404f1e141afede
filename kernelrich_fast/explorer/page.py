"""The document of a page: pictures, messages and the page's own HTML."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from bokeh.models import CustomJS
from jinja2 import Environment

from .controls import CONTROLS, MODELS, OVER
from .session import Session
from .store import Store
from .words import OVER_ALPHA, TITLES, VIEWS
from .work import Worker

__all__ = ["fill"]


def fill(doc: Any, store: Store, resources: Any) -> Session:
    """Put a page into a Bokeh document; ``resources`` is the folder of its HTML, CSS and script."""
    now = Worker()
    session = Session(doc, store, (now, Worker(after=now)))
    read = {name: (resources / name).read_text(encoding="utf-8") for name in _FILES}
    for view, picture in session.pictures.by_view.items():
        if view in OVER_ALPHA or view == "phase":
            tapped = CustomJS(
                args={"view": view}, code="window.explorer.tapped(view, cb_obj.x, cb_obj.y)"
            )
            picture.figure.js_on_event("tap", tapped)
        doc.add_root(picture.figure)
    doc.add_root(session.request)
    doc.add_root(session.reply)
    doc.title = "kernelrich explore"
    doc.template = Environment(autoescape=False).from_string(read["page.html"])
    doc.template_variables.update(
        style=read["page.css"], script=read["page.js"], views=VIEWS, settings=_settings()
    )
    doc.on_session_destroyed(lambda _context: session.close())
    return session


_FILES = ("page.html", "page.css", "page.js")


def _settings() -> str:
    """What the script has to know, as JSON that cannot end the element it stands in."""
    known = {
        "models": MODELS,
        "controls": {name: [asdict(c) for c in each] for name, each in CONTROLS.items()},
        "over": OVER,
        "titles": TITLES,
        "views": VIEWS,
    }
    return json.dumps(known).replace("<", "\\u003c")
