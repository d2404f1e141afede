from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Real = NDArray[np.float64]
_Index = NDArray[np.int64]

instruction_set: str

class DiagonalBatch:
    def __init__(
        self,
        *,
        X: _Real,
        y: _Real,
        loss_offset: _Real,
        profile_plus: _Real,
        profile_minus: _Real,
        alpha: _Real,
        depth: _Index,
        x_index: _Index,
        y_index: _Index,
        w_index: _Index,
    ) -> None: ...

def flow_diagonal(
    batch: DiagonalBatch,
    *,
    rtol: _Real,
    t_max: _Real,
    stop_loss: _Real,
    atol: float,
    max_steps: int,
    method: int,
    t_eval: _Real,
    threads: int,
    progress: Callable[[int], None] | None,
) -> dict[str, Any]: ...
def limit_diagonal(
    batch: DiagonalBatch,
    *,
    tolerance: float,
    max_iterations: int,
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
    ) -> None: ...

def rich_path(
    batch: RichPathBatch,
    *,
    max_jumps: int,
    threads: int,
    progress: Callable[[int], None] | None,
) -> dict[str, Any]: ...

class FactorBatch:
    def __init__(
        self,
        *,
        n: int,
        p: int,
        q: int,
        c0: int,
        row: NDArray[np.int32],
        column: NDArray[np.int32],
        X: _Real,
        y: _Real,
        starts: _Real,
        start_offset: _Index,
        rank: _Index,
        scale: _Real,
        y_index: _Index,
        start_index: _Index,
        entry_index: _Index,
    ) -> None: ...

def flow_factorization(
    batch: FactorBatch,
    *,
    rtol: _Real,
    t_max: _Real,
    stop_loss: _Real,
    atol: float,
    max_steps: int,
    method: int,
    t_eval: _Real,
    threads: int,
    progress: Callable[[int], None] | None,
) -> dict[str, Any]: ...

class MlpBatch:
    def __init__(
        self,
        *,
        units: list[int],
        copies: int,
        bias: bool,
        loss: int,
        step_size: float,
        X: _Real,
        y: _Real,
        w0: _Real,
        alpha: _Real,
        x_index: _Index,
        y_index: _Index,
        w_index: _Index,
    ) -> None: ...

def flow_mlp(
    batch: MlpBatch,
    *,
    rtol: _Real,
    t_max: _Real,
    stop_loss: _Real,
    atol: float,
    max_steps: int,
    method: int,
    t_eval: _Real,
    threads: int,
    progress: Callable[[int], None] | None,
) -> dict[str, Any]: ...

class parts:
    @staticmethod
    def poison_memory(poison: bool, /) -> None: ...
    @staticmethod
    def elementary(function: int, x: _Real) -> _Real: ...
    @staticmethod
    def products(A: _Real, B: _Real) -> _Real: ...
    @staticmethod
    def scaled_gram(X: _Real, weight: _Real, repeats: int = 1) -> _Real: ...
    @staticmethod
    def map_features(X: _Real, V: _Real, repeats: int = 1) -> _Real: ...
    @staticmethod
    def phi(k: int, x: float) -> float: ...
    @staticmethod
    def eigen(A: _Real) -> tuple[_Real, _Real]: ...
    @staticmethod
    def solve(A: _Real, b: _Real, repeats: int = 1) -> tuple[_Real, float]: ...
    @staticmethod
    def solve_complex(
        A: _Real, shift: float, b: _Real, repeats: int = 1
    ) -> tuple[_Real, _Real]: ...
