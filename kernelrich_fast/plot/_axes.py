"""Axes, colours and lines that all pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "STYLES", "axes_of", "label_of", "line_style"]

# Okabe-Ito: told apart without colour vision; line styles keep them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1)), (0, (5, 1)))


def axes_of(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=(4.0, 3.0), layout="constrained").add_subplot()


# Variables of sweeps in the symbols of the field.
_LABELS = {
    "excess_l1": r"$\|\beta\|_1 - \|\beta_{\ell_1}\|_1$",
    "excess_l2": r"$\|\beta\|_2 - \|\beta_{\ell_2}\|_2$",
    "excess_nuclear_norm": r"$\|M\|_* - \|Y^\star\|_*$",
    "feature_distance": r"gradient distance $1 - \cos(\Phi_0, \Phi_T)$",
    "kernel_distance": r"kernel distance $1 - \cos(K_0, K_T)$",
    "kernel_rmse": "RMSE of the kernel predictor",
    "l1_norm": r"$\|\beta\|_1$",
    "l2_norm": r"$\|\beta\|_2$",
    "loss": "loss $L$",
    "nuclear_norm": r"$\|M\|_*$",
    "population_error": r"population error $\|\beta - \beta^\star\|_2^2$",
    "test_rmse": "test RMSE",
    "unobserved_movement": r"$\|M - M(0)\|_F$, unobserved entries",
    "unobserved_rms": "RMS of $M - M(0)$, unobserved entries",
}


def label_of(variable: str) -> str:
    """How a variable is written on an axis."""
    return _LABELS.get(variable, variable.replace("_", " "))


def line_style(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[index % len(STYLES)]}
