"""Ends a worker of xdist after an error of the device, since every later call of it would fail."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

# As in bench/device/supervise.py. Where there is no memory the device still works.
DEVICE_FAULT = re.compile(r"csrc/cuda/|cudaError(?!MemoryAllocation)|CUDA_ERROR_(?!OUT_OF_MEMORY)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> Iterator[None]:
    """Where bench/gpu.sh asks for it.

    The report has been sent by now; xdist says besides that the worker crashed during this test,
    and starts another one.
    """
    result = yield
    if report.failed and {"KRF_END_AFTER_DEVICE_FAULT", "PYTEST_XDIST_WORKER"} <= os.environ.keys():
        crashes = [crash for _, crash, _ in getattr(report.longrepr, "chain", ()) if crash]
        said = [crash.message for crash in crashes if not crash.message.startswith("MemoryError")]
        if any(DEVICE_FAULT.search(message) for message in said):
            os._exit(3)
    return result
