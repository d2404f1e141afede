"""What pictures write: symbols of variables, and numbers with enough digits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr

from ..backends import MARGIN_LOSSES

__all__ = ["equations", "label_of", "number", "numbers", "power_of_ten"]

# Variables of sweeps in the symbols of the field.
_LABELS = {
    "beta": r"coefficients $\beta_i$",
    "excess_l1": r"$\|\beta\|_1 - \|\beta_{\ell_1}\|_1$",
    "excess_l2": r"$\|\beta\|_2 - \|\beta_{\ell_2}\|_2$",
    "excess_nuclear_norm": r"$\|M\|_* - \|Y^\star\|_*$",
    "feature_distance": r"$1 - \cos(\Phi_0, \Phi_T)$, tangent features",
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


# Under a margin loss these are of the direction, beta over its least margin.
_OF_MARGINS = {
    "excess_l1": r"$\|\beta\|_1 / \min\|\beta\|_1 - 1$, margins $\geq 1$",
    "excess_l2": r"$\|\beta\|_2 / \min\|\beta\|_2 - 1$, margins $\geq 1$",
    "l1_norm": r"$\|\beta\|_1 / \min_n m_n$",
    "l2_norm": r"$\|\beta\|_2 / \min_n m_n$",
    "population_error": r"population error $\|\beta/\|\beta\| - \beta^\star\|_2^2$",
}


def label_of(variable: str, ds: xr.Dataset | None = None) -> str:
    """How a variable, of that sweep, is written on an axis."""
    of_margins = ds is not None and ds.attrs.get("loss") in MARGIN_LOSSES
    own = _OF_MARGINS if of_margins else {}
    return own.get(variable) or _LABELS.get(variable, variable.replace("_", " "))


def number(value: float, digits: int = 3) -> str:
    r"""For mathtext: 0.1, and 10^{-6} or 2 \times 10^{-3} below 0.01 and from 10,000 on."""
    if value == 0.0 or 0.01 <= abs(value) < 1e4:
        digits = max(digits, len(str(int(abs(value)))))
        return np.format_float_positional(value, digits, fractional=False, trim="-")
    return power_of_ten(value, digits)


def power_of_ten(value: float, digits: int = 3) -> str:
    """For mathtext, in one notation whatever the size."""
    factor, exponent = f"{value:.{digits - 1}e}".split("e")
    factor = factor.rstrip("0").rstrip(".") if "." in factor else factor
    lead = {"1": "", "-1": "-"}.get(factor, rf"{factor} \times ")
    return f"{lead}10^{{{int(exponent)}}}"


def numbers(values: Iterable[float], write: Callable[[float, int], str] = number) -> list[str]:
    """For mathtext, with three digits, or as many as it takes to tell different numbers apart."""
    given = [float(value) for value in values]
    texts: list[str] = []
    for digits in range(3, 18):
        texts = [write(value, digits) for value in given]
        if len(set(texts)) == len(set(given)):
            break
    return texts


def equations(symbol: str, values: Iterable[float]) -> list[str]:
    r"""A label for each value, such as $\alpha=10^{-6}$."""
    return [f"${symbol}={text}$" for text in numbers(values)]
