from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Real = NDArray[np.float64]
_Index = NDArray[np.int64]
# Name, kind ("array", "index", "output", ...), type, and names of the axes.
_Field = tuple[str, str, str, tuple[str, ...]]

instruction_set: str
lapack_order: int

def use_lapack(dsyevd: object) -> None: ...
def families() -> dict[str, tuple[list[_Field], list[_Field]]]: ...
def run(
    family: str,
    arguments: dict[str, Any],
    *,
    threads: int,
    progress: Callable[[int], None] | None,
) -> dict[str, Any]: ...

class RichPathBatch:
    def __init__(
        self,
        *,
        X: _Real,
        y: _Real,
        loss_offset: _Real,
        bound: _Real,
        x_index: _Index,
        y_index: _Index,
        bound_index: _Index,
        reduced: bool = False,
    ) -> None: ...

def rich_path(
    batch: RichPathBatch,
    *,
    max_jumps: int,
    threads: int,
    progress: Callable[[int], None] | None,
) -> dict[str, Any]: ...
