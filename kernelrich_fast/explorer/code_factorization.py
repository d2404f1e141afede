"""The code behind the pictures of factorisations."""

from __future__ import annotations

from .code_lines import ALONG_TIME, GOOD, grid_line, phase_lines, plot_lines, times_line
from .controls import OVER
from .factorization import RTOL, STOP_LOSS, observed
from .files import UserData
from .problems import MAX_STEPS
from .state import State
from .tables import Now

__all__ = ["factorization_lines"]


def factorization_lines(state: State, view: str, now: Now, user: UserData | None) -> list[str]:
    d, r = state.features, min(state.sparsity, state.features)
    data = f"krf.datasets.low_rank_completion({d}, {d}, {r}, {{n}}, seed={state.seed})"
    noise = f"{state.noise!r} * np.random.default_rng({state.seed}).standard_normal(({d}, {d}))"
    lines = [
        f"data = {data.format(n=observed(state))}",
        f"Y = data.Y_star + {noise}",
    ]
    seeds = f"seeds={state.seed}"
    if view in ALONG_TIME:
        lines += [
            times_line(now),
            "run = krf.sweep_factorization(\n"
            f"    Y, entries=data.entries, alpha={state.alpha!r}, width={state.width}, {seeds},\n"
            f'    t_eval=t, keep=("norms", "M"), max_steps={MAX_STEPS}, progress=False\n)',
            "M = run.M.values  # (time, row, column)",
        ]
        return lines + _along_factorization(view, r)
    keep = '("norms", "M")' if view != "phase" else "()"
    call = (
        f"alpha=alpha, width={{width}}, {seeds},\n    keep={keep}, "
        f"stop_loss={STOP_LOSS!r}, rtol={RTOL!r},\n    "
        f"max_steps={MAX_STEPS}, progress=False"
    )
    lines.append(grid_line("factorization", view))
    if view == "phase":
        rows = [int(row) for row in OVER["factorization"][state.over]]
        width = "row" if state.over == "width" else str(state.width)
        body = []
        if state.over == "samples":
            body.append(f"    data = {data.format(n=f'max(1, round(row * {d * d} / 100))')}")
        body.append(
            "    ends = krf.sweep_factorization(\n    Y, entries=data.entries, "
            f"{call.format(width=width)}\n    )"
        )
        return lines + phase_lines(rows, body, "ends.test_rmse.values", state.over)
    lines.append(
        "ends = krf.sweep_factorization(\n    Y, entries=data.entries, "
        f"{call.format(width=state.width)}\n)"
    )
    lines.append(GOOD)
    if view == "error_alpha":
        return [*lines, "error = ends.test_rmse.values", *plot_lines("alpha", "error", log=True)]
    if view == "kernel_alpha":
        lines.append("kernel_distance = ends.kernel_distance.values")
        return [*lines, *plot_lines("alpha", "kernel_distance", log=True)]
    name = "ends.nuclear_norm"
    return [
        *lines,
        f"nuclear = ({name} / ({name} - ends.excess_nuclear_norm)).values",
        "frobenius = np.linalg.norm(ends.M.values, axis=(1, 2)) / np.linalg.norm(Y)",
        *plot_lines("alpha", "nuclear", "frobenius", log=True),
    ]


def _along_factorization(view: str, rank: int) -> list[str]:
    if view == "paths":
        return [
            "singular = np.linalg.svd(M, compute_uv=False)",
            f"support, others = singular[:, :{rank}], singular[:, {rank}:]",
            'plt.semilogx(t, others, color="0.75", linewidth=0.6)',
            "plt.semilogx(t, support)",
            'plt.xlabel("t")',
        ]
    if view == "loss":
        return ["loss = run.loss.values", *plot_lines("t", "loss", log=True)]
    if view == "kernel":
        return ["kernel_distance = run.kernel_distance.values", *plot_lines("t", "kernel_distance")]
    names = ("nuclear_norm", "nuclear_norm_of_truth", "frobenius_norm", "frobenius_norm_of_truth")
    return [
        "nuclear_norm, frobenius_norm = run.nuclear_norm.values, np.linalg.norm(M, axis=(1, 2))",
        "nuclear_norm_of_truth = np.full(t.size, krf.theory.nuclear_norm(Y))",
        "frobenius_norm_of_truth = np.full(t.size, np.linalg.norm(Y))",
        *plot_lines("t", *names),
    ]
