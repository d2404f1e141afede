from collections.abc import Callable
from typing import Any

_Arrays = dict[str, Any]
_Progress = Callable[[int], None] | None

def device_count() -> int: ...
def plan_diagonal_flow(batch: _Arrays, /) -> dict[str, int]: ...
def plan_diagonal_limit(batch: _Arrays, /) -> dict[str, int]: ...
def plan_factor_flow(batch: _Arrays, /) -> dict[str, int]: ...
def plan_mlp_flow(batch: _Arrays, /) -> dict[str, int]: ...
def pack(X: int, count: int, n: int, d: int, packed: int, norm: int, stream: int, /) -> None: ...
def diagonal_flow(
    batch: _Arrays,
    settings: _Arrays,
    results: _Arrays,
    queue: _Arrays,
    plan: dict[str, int],
    workspace: int,
    stream: int,
    progress: _Progress,
    /,
) -> None: ...
def diagonal_limit(
    batch: _Arrays,
    tolerance: float,
    max_iterations: int,
    results: _Arrays,
    queue: _Arrays,
    plan: dict[str, int],
    workspace: int,
    stream: int,
    progress: _Progress,
    /,
) -> None: ...
def factor_flow(
    batch: _Arrays,
    settings: _Arrays,
    results: _Arrays,
    queue: _Arrays,
    plan: dict[str, int],
    workspace: int,
    stream: int,
    progress: _Progress,
    /,
) -> None: ...
def mlp_flow(
    batch: _Arrays,
    settings: _Arrays,
    results: _Arrays,
    queue: _Arrays,
    plan: dict[str, int],
    workspace: int,
    stream: int,
    progress: _Progress,
    /,
) -> None: ...
