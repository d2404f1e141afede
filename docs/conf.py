"""Sphinx configuration. Built by ``sphinx-build -W docs build/docs``."""

from __future__ import annotations

import os
import re
import socket
import warnings
from typing import Any

import kernelrich_fast

project = "kernelrich_fast"
author = "the kernelrich_fast developers"
release = version = kernelrich_fast.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_templates", "gallery", "auto_gallery/*.ipynb", "**.ipynb_checkpoints"]
html_theme = "pydata_sphinx_theme"
html_title = "kernelrich_fast"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
# Pages without pages below them would have an empty column there.
_LEAVES = "index quickstart tasks concepts choosing scaling_out benchmarks gpu how_it_works "
_LEAVES += "add_a_model_family conventions explore promises"
html_sidebars = {name: [] for name in (*_LEAVES.split(), "notebooks/start_a_paper")}

# Pages and notebooks are executed, and an exception in one is an error of the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_show_tb = True
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
templates_path = ["_templates"]  # titles are names without their modules
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1000,
    "remove_config_comments": True,
}
suppress_warnings = ["config.cache"]  # functions of the gallery's options cannot be pickled
warnings.filterwarnings("error", category=kernelrich_fast.ConvergenceWarning)


def _online() -> bool:
    try:
        socket.create_connection(("doi.org", 443), timeout=3.0).close()
    except OSError:
        return False
    return True


# Without a network only links within the documentation are checked.
linkcheck_timeout = 15
linkcheck_retries = 2
if os.environ.get("KRF_OFFLINE") or not _online():
    linkcheck_ignore = [r"https?://.*"]


def _escape_norms(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings write norms as |x|, which would otherwise name a substitution."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith(">>>"):
            pieces = re.split(r"(``.*?``)", line)
            lines[i] = "".join(
                piece if piece.startswith("``") else piece.replace("|", r"\|") for piece in pieces
            )


def _sliders(app: Any) -> None:
    """The first page shows sliders that need no server; all they show is computed here."""
    if app.builder.format == "html":
        from kernelrich_fast.explorer.static import write_static

        write_static(os.path.join(app.outdir, "sliders.html"))


def setup(app: Any) -> None:
    app.connect("builder-inited", _sliders)
    app.connect("autodoc-process-docstring", _escape_norms)
