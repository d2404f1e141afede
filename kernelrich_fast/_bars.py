"""Progress bars: tqdm's, in a notebook as text where ipywidgets are missing."""

from __future__ import annotations

import os
import sys
import warnings

with warnings.catch_warnings():
    # It would advise to install ipywidgets, in every notebook without them.
    warnings.filterwarnings("ignore", message="IProgress not found")
    from tqdm.auto import tqdm

__all__ = ["interactive", "tqdm"]


def interactive() -> bool:
    """Whether somebody looks: log files are no place for a bar."""
    if "ipykernel" in sys.modules:
        return True
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
