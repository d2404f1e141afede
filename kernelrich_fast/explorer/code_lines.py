"""Lines of the code that views hand out, as far as models share them."""

from __future__ import annotations

from .files import UserData
from .problems import fitted_samples
from .state import State
from .tables import N_ALPHAS, N_PHASE_ALPHAS, Now, alphas

__all__ = [
    "ALONG_TIME", "GOOD", "grid_line", "phase_lines", "plot_lines", "times_line", "user_lines",
]  # fmt: skip

# Views of the present flow; the others are over alpha.
ALONG_TIME = ("paths", "loss", "norms", "kernel", "function")
# Runs that did not end as they should are left blank.
GOOD = "ends = ends.where(ends.status < krf.Status.MAX_STEPS)"


def times_line(now: Now) -> str:
    first, last = float(now.times[0]), float(now.times[-1])
    return f"t = np.geomspace({first!r}, {last!r}, {now.times.size})"


def grid_line(model: str, view: str) -> str:
    count = N_PHASE_ALPHAS if view == "phase" else N_ALPHAS
    grid = alphas(model, count)
    return f"alpha = np.geomspace({float(grid[0])!r}, {float(grid[-1])!r}, {count})"


def user_lines(state: State, user: UserData, known: bool) -> list[str]:
    """Lines that read the user's data, and hold samples out unless the truth is known."""
    name = user.name
    if user.from_file and name.lower().endswith(".npz"):
        lines = [f"file = np.load({name!r})", 'X, y = file["X"], file["y"]']
        lines += ['beta_star = file["beta_star"]'] if known else []
    elif user.from_file:
        own = f", usecols=range(1, {user.X.shape[1] + 2})" if user.index_column else ""
        lines = [f"table = np.loadtxt({name!r}, delimiter={user.delimiter!r}, "
                 f"skiprows={user.header_lines}, ndmin=2, encoding='utf-8-sig'{own})",
                 "X, y = table[:, :-1], table[:, -1]"]  # fmt: skip
    else:
        lines = ["# X and y are the arrays that krf.explore(X, y) was called with."]
    if known:
        return lines
    n = len(user.y)
    fitted = fitted_samples(n, state.held_out)
    return [
        *lines,
        f"order = np.random.default_rng({state.seed}).permutation({n})",
        f"X_test, y_test = X[order[{fitted}:]], y[order[{fitted}:]]",
        f"X, y = X[order[:{fitted}]], y[order[:{fitted}]]",
    ]


def plot_lines(x: str, *names: str, log: bool = False) -> list[str]:
    draw = "loglog" if log else "semilogx"
    return [f"plt.{draw}({x}, {name}, label={name!r})" for name in names] + [
        f"plt.xlabel({x!r})",
        "plt.legend()",
    ]


def phase_lines(rows: list[int] | list[float], body: list[str], error: str, over: str) -> list[str]:
    return [
        f"rows = {rows!r}",
        "error = []",
        "for row in rows:",
        *body,
        f"    {GOOD}",
        f"    error.append({error})",
        "error = np.transpose(error)  # (alpha, row)",
        "plt.pcolormesh(alpha, range(len(rows)), np.log10(error.T))",
        "plt.yticks(range(len(rows)), rows)",
        'plt.xscale("log")',
        f'plt.xlabel("alpha")\nplt.ylabel({over!r})\nplt.colorbar(label="log10 of the error")',
    ]
