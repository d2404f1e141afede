"""Arrays in a CUDA device's memory: CuPy's, or those of any package that speaks DLPack."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._types import FloatArray

__all__ = ["contiguous", "device_view", "namespace", "on_device", "to_host"]

# kDLCUDA and kDLCUDAManaged of DLPack.
_CUDA_MEMORY = (2, 13)


def on_device(value: Any) -> bool:
    """Whether ``value`` is an array that a CUDA device holds."""
    if type(value) is np.ndarray:
        return False
    device = getattr(value, "__dlpack_device__", None)
    if device is None:
        return False
    try:
        return int(device()[0]) in _CUDA_MEMORY
    except Exception:  # it says nothing of a device: whether NumPy reads it is found out next
        return False


def device_view(name: str, value: Any) -> Any:
    """A device's array as CuPy's, over the same memory."""
    try:
        import cupy
    except ImportError as error:
        raise TypeError(
            f"{name}: expected an array in host memory, as CuPy is missing ({error}); got one on a "
            "CUDA device; pip install 'kernelrich_fast[cuda]'"
        ) from None
    if isinstance(value, cupy.ndarray):
        return value
    try:
        return cupy.from_dlpack(value)
    except (BufferError, RuntimeError) as error:  # a tensor that wants gradients, another device
        raise TypeError(f"{name}: expected an array that DLPack can export ({error})") from error


def to_host(value: Any) -> Any:
    """A copy in host memory of a device's array; anything else as it is."""
    if not on_device(value):
        return value
    import cupy

    return cupy.asnumpy(device_view("array", value))


def namespace(*arrays: Any) -> Any:
    """The module, CuPy or NumPy, whose functions take these arrays together."""
    if not any(map(on_device, arrays)):
        return np
    import cupy

    return cupy


def contiguous(array: Any) -> FloatArray:
    """The array row by row, where it is."""
    result: FloatArray = namespace(array).ascontiguousarray(array)
    return result
