"""The exact Python call behind each picture; its variables are the columns that are drawn."""

from __future__ import annotations

from collections.abc import Callable

from .code_diagonal import diagonal_lines
from .code_factorization import factorization_lines
from .code_network import network_lines
from .files import UserData
from .state import State
from .tables import Now

__all__ = ["code"]

_HEAD = "import matplotlib.pyplot as plt\nimport numpy as np\nimport kernelrich_fast as krf\n"


def code(state: State, view: str, present: Now, user: UserData | None = None) -> str:
    """A program that computes and draws what a view shows.

    Parameters
    ----------
    state : State
        What the reader chose.
    view : str
        "paths", "loss", "norms", "kernel", "function", "error_alpha", "norms_alpha",
        "kernel_alpha" or "phase".
    present : Now
        What was computed for the state; the times of the code are taken from it.
    user : UserData, optional
        The user's data, if the state refers to some.

    Returns
    -------
    str
        Python code. Run, it has a variable for each column of the view's table, of the same values.

    Examples
    --------
    >>> from kernelrich_fast.explorer import diagonal
    >>> from kernelrich_fast.explorer.code import code
    >>> from kernelrich_fast.explorer.state import default_state
    >>> state = default_state()
    >>> now = diagonal.now(state, diagonal.problem(state, None))
    >>> print(code(state, "loss", now).splitlines()[4])
    X, y, beta_star = krf.datasets.sparse_regression(40, 200, 5, noise_variance=0.1**2, seed=0)
    """
    write: dict[str, Callable[..., list[str]]] = {
        "diagonal": diagonal_lines, "factorization": factorization_lines,
        "network": network_lines,
    }  # fmt: skip
    lines = write[state.model](state, view, present, user)
    return "\n".join([_HEAD, *lines, "plt.show()", ""])
