"""Who wrote a file, and with which settings: one line of text inside every file of `reproduce`.

The line ends with a digest of the whole file, so that a file which somebody has edited since counts
as theirs.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from pathlib import Path

from ..config import __version__

__all__ = ["expect_replaceable", "mark", "read_mark", "replace"]

_START = "kernelrich_fast reproduce "
_ZEROS = b"0" * 64
# No character that PNG, PDF, NetCDF or HTML would write in another way.
_MARK = re.compile(
    _START.encode() + rb"(?P<settings>[a-z0-9]+(?:; [a-z]+=[\w-]+)+); "
    rb"version=[\w.+-]+; sha256=(?P<digest>[0-9a-f]{64})"
)
_PNG = b"\x89PNG"


def mark(figure: str, settings: dict[str, object]) -> str:
    """The line for a file that is to be written; `replace` puts the digest in.

    Examples
    --------
    >>> mark("fig2", {"quick": True, "seed": 0})[:50]
    'kernelrich_fast reproduce fig2; quick=True; seed=0'
    """
    given = "; ".join([figure, *(f"{name}={value}" for name, value in settings.items())])
    version = re.sub(r"[^\w.+-]", "-", __version__)
    return f"{_START}{given}; version={version}; sha256={_ZEROS.decode()}"


def replace(path: Path, content: bytes) -> None:
    """Write a file at once: an interrupt or a full disk leaves the one that was there."""
    content = _with_digest(content, hashlib.sha256(content).hexdigest().encode())
    path = Path(os.path.realpath(path))  # a link stays a link
    draft = path.with_name(f".{path.name}.kernelrich-draft")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _with_digest(content: bytes, digest: bytes) -> bytes:
    """Put another digest into the line; in a PNG, the checksum of that chunk follows."""
    found = _MARK.search(content)
    if found is None:
        raise ValueError("the file has no mark")
    start, end = found.span("digest")
    content = content[:start] + digest + content[end:]
    if content.startswith(_PNG):
        chunk = content.rindex(b"tEXt", 0, start)
        end = chunk + 4 + int.from_bytes(content[chunk - 4 : chunk], "big")
        checksum = zlib.crc32(content[chunk:end]).to_bytes(4, "big")
        content = content[:end] + checksum + content[end + 4 :]
    return content


def read_mark(content: bytes) -> list[str] | None:
    """Figure and settings with which the content was written; None if it was not, or was edited."""
    found = _MARK.search(content)
    if found is None:
        return None
    try:
        blank = _with_digest(content, _ZEROS)
    except ValueError:  # a PNG with the line in another place
        return None
    if hashlib.sha256(blank).hexdigest().encode() != found["digest"]:
        return None
    return found["settings"].decode().split("; ")


def expect_replaceable(path: Path, line: str, *, force: bool) -> None:
    """Refuse a file that is not the same figure with the same settings as ``line`` says."""
    if not path.exists():
        return
    if not path.is_file():
        raise FileExistsError(
            f"out: expected a file or nothing at {path}, got a directory or a device; "
            "choose another directory"
        )
    if not os.access(path, os.W_OK):
        raise PermissionError(
            f"out: {path} is read-only; choose another directory, or make it writable"
        )
    if force:
        return
    remedy = (
        "nothing was written. Choose another directory, move the file, or replace it with "
        "force=True (--force)"
    )
    now = line.removeprefix(_START).split("; version=")[0].split("; ")
    before = read_mark(path.read_bytes())
    if before is None:
        raise FileExistsError(
            f"out: {path} exists and was not written by reproduce, or was edited since; {remedy}"
        )
    if before != now:
        old, new = (
            ", ".join(x for x in one if x not in other)
            for one, other in ((before, now), (now, before))
        )
        raise FileExistsError(
            f"out: {path} exists and was written with other settings, {old} instead of {new}; "
            f"{remedy}"
        )
