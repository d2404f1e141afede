"""Data sets of the user's: read from a file's bytes or given as arrays, checked, and kept."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import _validate as check
from .._types import ArrayLike, FloatArray

__all__ = ["MOST_BYTES", "UserData", "read_file", "user_data"]

MOST_BYTES = 16 * 2**20
_USE = "load it in Python and call krf.explore(X, y) instead"
_HEADER = "a header line such as x1,x2,y, or none"


@dataclass(frozen=True, eq=False)
class UserData:
    """Inputs (n_samples, n_features), targets (n_samples,), and where they come from.

    ``delimiter``, ``header_lines`` and ``index_column`` say how a table was read: the last whether
    its first column, an index without a name, was left out.
    """

    name: str
    X: FloatArray
    y: FloatArray
    beta_star: FloatArray | None = None
    from_file: bool = False
    delimiter: str = ","
    header_lines: int = 0
    index_column: bool = False

    @property
    def key(self) -> str:
        """A name for the page's address, the same for the same numbers."""
        digest = hashlib.sha256()
        for array in (self.X, self.y):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return "user-" + digest.hexdigest()[:12]

    @property
    def told(self) -> str:
        """What the page says of them, so that a line or a column read as another thing is seen."""
        n, d = self.X.shape
        text = f"{self.name}, {n} samples, {d} feature{'s' if d > 1 else ''}"
        if self.from_file and not self.name.lower().endswith(".npz"):
            text += "; " + (
                "the first line is its header" if self.header_lines else "no header line was found"
            )
            if self.index_column:
                text += "; its first column, an index without a name, was left out"
        return text


def user_data(name: str, X: ArrayLike, y: ArrayLike, beta_star: Any = None) -> UserData:
    """Checked data of the user's.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, what came and what was expected.

    Examples
    --------
    >>> from kernelrich_fast.explorer.files import user_data
    >>> user_data("two rows", [[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0]).X.shape
    (2, 2)
    """
    X, y = check.data_pair(X, y)
    if X.ndim != 2 or y.ndim != 1:
        raise ValueError(
            f"X: expected (n_samples, n_features) and y (n_samples,), got {X.shape} and {y.shape}"
        )
    if len(y) < 2:
        raise ValueError(f"y: expected at least 2 samples, got {len(y)}")
    if not np.any(y):
        raise ValueError("y: expected targets that are not all zero")
    star = None
    if beta_star is not None:
        star = check.real_array("beta_star", beta_star, ndim=1)
        if star.shape != X.shape[1:]:
            raise ValueError(f"beta_star: expected shape {X.shape[1:]}, got {star.shape}")
    return UserData(name, X, y, star)


def read_file(name: str, content: bytes) -> UserData:
    r"""Data from an .npz file with X and y (and beta_star), or a .csv file whose last column is y.

    A first column of the .csv file that has no name in its header is an index, and left out.

    Parameters
    ----------
    name : str
        The file's name; its ending says what it is.
    content : bytes
        What the file holds, at most 16 MiB.

    Returns
    -------
    UserData
        Checked arrays. No objects are unpickled.

    Raises
    ------
    ValueError, TypeError
        With a message for the page: what was expected, what came, what to do.

    Examples
    --------
    >>> from kernelrich_fast.explorer.files import read_file
    >>> read_file("two.csv", b"a,b,y\n1,2,3\n4,5,6\n").y
    array([3., 6.])
    """
    if len(content) > MOST_BYTES:
        raise ValueError(
            f"{name}: expected at most {MOST_BYTES >> 20} MiB, got {len(content) >> 20}; {_USE}"
        )
    lower = name.lower()
    if lower.endswith(".npz"):
        arrays = _arrays_of(name, content)
        return _checked(name, arrays["X"], arrays["y"], arrays.get("beta_star"))
    if lower.endswith((".csv", ".txt")):
        table, mark, header, index = _table_of(name, content)
        read = _checked(name, table[:, :-1], table[:, -1], None)
        return replace(read, delimiter=mark, header_lines=header, index_column=index)
    raise ValueError(f"{name}: expected a file that ends in .npz or .csv")


def _checked(name: str, X: Any, y: Any, beta_star: Any) -> UserData:
    try:
        return replace(user_data(name, X, y, beta_star), from_file=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error


def _arrays_of(name: str, content: bytes) -> dict[str, Any]:
    """The arrays X, y and beta_star; sizes are looked up before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            size = sum(item.file_size for item in packed.infolist())
        if size > 4 * MOST_BYTES:
            raise ValueError(
                f"{name}: expected at most {4 * MOST_BYTES >> 20} MiB unpacked, got "
                f"{size >> 20}; {_USE}"
            )
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            names = list(archive)
            missing = [each for each in ("X", "y") if each not in names]
            if missing:
                raise ValueError(
                    f"{name}: expected arrays X and y, got {', '.join(names)[:200] or 'none'}"
                )
            wanted = [each for each in ("X", "y", "beta_star") if each in names]
            return {each: archive[each] for each in wanted}
    except ValueError as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name}: expected an .npz file of numbers; {error}") from error
    except (zipfile.BadZipFile, OSError, EOFError, KeyError) as error:
        raise ValueError(
            f"{name}: expected an .npz file, as np.savez writes it; {error}"
        ) from error


def _table_of(name: str, content: bytes) -> tuple[FloatArray, str, int, bool]:
    """The numbers of a table, (n_samples, n_features + 1), and how they were read."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: expected text in UTF-8; {error}") from error
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ValueError(f"{name}: expected rows of numbers, got an empty file")
    mark = next((each for each in ("\t", ";", ",") if each in lines[0]), ",")
    header = int(_is_header(lines[0], mark))
    if len(lines) == header:
        raise ValueError(f"{name}: expected rows of numbers below the header, got none")
    index = bool(header) and _names_index(lines[0].split(mark)[0])
    columns = range(1, lines[0].count(mark) + 1) if index else None
    try:
        table = np.loadtxt(
            lines, delimiter=mark, skiprows=header, ndmin=2, comments=None, usecols=columns
        )
    except ValueError as error:
        raise ValueError(
            f"{name}: expected lines of numbers separated by {mark!r} below {_HEADER}; {error}"
        ) from error
    if table.shape[1] < 2:
        raise ValueError(f"{name}: expected at least one feature and, last, the target y")
    return table, mark, header, index


def _names_index(cell: str) -> bool:
    """Whether a column is the index that pandas writes, whose name is missing."""
    return re.fullmatch(r"(Unnamed: \d+)?", cell.strip().strip("\"'").strip()) is not None


def _is_header(line: str, mark: str) -> bool:
    try:
        [float(cell) for cell in line.split(mark)]
    except ValueError:
        return True
    return False
