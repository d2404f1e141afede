from collections.abc import Callable
from typing import Any

_Arguments = dict[str, Any]
# Name, kind ("array", "index", "output", ...), type, and names of the axes.
_Field = tuple[str, str, str, tuple[str, ...]]

def device_count() -> int: ...
def families() -> dict[str, tuple[list[_Field], list[_Field]]]: ...
def plan(family: str, arguments: _Arguments, threads: int) -> dict[str, Any]: ...
def pack(family: str, arguments: _Arguments, packed: Any, stream: int) -> None: ...
def run(
    family: str,
    arguments: _Arguments,
    results: _Arguments,
    packed: Any,
    queue: dict[str, Any],
    launch: dict[str, Any],
    workspace: Any,
    stream: int,
    progress: Callable[[int], None] | None,
) -> None: ...
