"""CIFAR-10 from the files that its authors distribute."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from .convolution import Images

__all__ = ["load_cifar10"]

_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32  # a class, then the pixels
_BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")


class _Arrays(pickle.Unpickler):
    """Reads NumPy's arrays and nothing that could run code."""

    _ALLOWED = (
        ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
        ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    )  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def load_cifar10(folder: Path) -> Images:
    """All images of the folder: the binary version (*.bin), or the one for Python."""
    if not folder.is_dir():
        raise ValueError(f"data: expected a folder with the files of CIFAR-10, got {folder}")
    for inner in ("cifar-10-batches-bin", "cifar-10-batches-py"):
        if (folder / inner).is_dir():
            folder = folder / inner
    read = _binary if (folder / "test_batch.bin").exists() else _pickled
    train = [read(folder, name) for name in _BATCHES]
    pixels, classes = (np.concatenate(parts) for parts in zip(*train, strict=True))
    pixels_test, classes_test = read(folder, "test_batch")
    X, X_test = (p.reshape(-1, *_SHAPE) / 255.0 for p in (pixels, pixels_test))
    return Images(X, classes, X_test, classes_test)


def _binary(folder: Path, name: str) -> tuple[Any, Any]:
    path = folder / f"{name}.bin"
    records = np.frombuffer(_bytes(path), dtype=np.uint8)
    if records.size == 0 or records.size % _RECORD:
        raise ValueError(f"data: expected records of {_RECORD} bytes in {path}, got {records.size}")
    records = records.reshape(-1, _RECORD)
    return _checked(path, records[:, 1:], records[:, 0])


def _pickled(folder: Path, name: str) -> tuple[Any, Any]:
    path = folder / name
    data = _bytes(path)
    try:
        batch = _Arrays(io.BytesIO(data), encoding="bytes").load()
        pixels, classes = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except Exception as error:  # cut short, another format, what is not an array
        raise ValueError(f"data: {path} cannot be read as a batch of CIFAR-10 ({error})") from None
    return _checked(path, pixels, classes)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"data: there is no file {path}") from None


def _checked(path: Path, pixels: Any, classes: Any) -> tuple[Any, Any]:
    if pixels.shape != (len(classes), _RECORD - 1) or pixels.dtype != np.uint8:
        raise ValueError(f"data: expected images of 32 x 32 pixels in {path}")
    classes = classes.astype(np.int64)
    if len(classes) == 0 or classes.min() < 0 or classes.max() > 9:
        raise ValueError(f"data: expected classes 0 to 9 in {path}")
    return pixels, classes
