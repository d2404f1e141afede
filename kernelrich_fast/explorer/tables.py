"""Named columns: what a view draws, and what "save data" writes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import FloatArray
from .controls import CONTROLS

__all__ = ["N_ALPHAS", "N_PHASE_ALPHAS", "Now", "Partial", "Table", "Work", "alphas", "to_csv"]

# One length for all; (rows, many) stands for columns name_0, name_1, ...
Table = dict[str, NDArray[Any]]

N_ALPHAS = 31  # of the curves over alpha
N_PHASE_ALPHAS = 16  # of the phase diagram


def alphas(model: str, count: int) -> FloatArray:
    """Scales from the smallest to the largest that the slider of a model has.

    Examples
    --------
    >>> from kernelrich_fast.explorer.tables import alphas
    >>> alphas("network", 3).round(3).tolist()
    [0.001, 0.1, 10.0]
    """
    control = next(c for c in CONTROLS[model] if c.name == "alpha")
    return np.geomspace(control.low, control.high, count)


@dataclass(frozen=True)
class Now:
    """What is computed at once for a state: a table per view along time, and the present point.

    ``present`` has, per view over alpha, the value of each of its curves at the present scale;
    ``facts`` are lines of text beside the pictures.
    """

    times: FloatArray
    tables: dict[str, Table]
    present: dict[str, tuple[float, ...]]
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Partial:
    """What a long computation has so far: tables by view, and the share that is done."""

    tables: dict[str, Table]
    done: float


Work = Iterator[Partial]


def to_csv(table: Table) -> str:
    """A table as text with a header, numbers such that reading them gives the same doubles.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelrich_fast.explorer.tables import to_csv
    >>> print(to_csv({"t": np.array([0.1]), "beta": np.array([[1.0, 2.0]])}))
    t,beta_0,beta_1
    0.1,1.0,2.0
    <BLANKLINE>
    """
    names, columns = [], []
    for name, values in table.items():
        if values.ndim == 1:
            names.append(name)
            columns.append(values)
        else:
            names += [f"{name}_{index}" for index in range(values.shape[1])]
            columns += list(values.T)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([value.item() for value in row] for row in zip(*columns, strict=True))
    return text.getvalue()
