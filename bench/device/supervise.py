"""Runs checks in a process of their own, and what is left in another after an error of the device.

After such an error every later call of the process fails, and a kernel that does not end answers no
signal.  Only the standard library is imported: the process that supervises has no device.
"""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import threading
from contextlib import suppress

# How the module, CuPy and the driver report an error. Where there is no memory the device still
# works. tests/conftest.py has the same words.
DEVICE_FAULT = re.compile(r"csrc/cuda/|cudaError(?!MemoryAllocation)|CUDA_ERROR_(?!OUT_OF_MEMORY)")


def is_device_fault(text):
    """Whether the text of a failure ("Type: message") says that the device cannot be used again."""
    return not text.startswith("MemoryError") and DEVICE_FAULT.search(text) is not None


def supervise(command, names, silence=20.0):
    """Print the row of every check; returns how many failed.

    ``command --only NAMES`` prints, in this order, a JSON line {"check": name, ...} for each name.
    One after which nothing comes for ``silence`` seconds, or during which the process ends, has
    failed.
    """
    waiting, failed = list(names), 0
    while waiting:
        for row in _watch(command, list(waiting), silence):
            waiting.remove(row["check"])
            failed += "failed" in row
            print(json.dumps(row), flush=True)
    print(json.dumps({"failed": failed}), flush=True)
    return failed


def _watch(command, left, silence):
    """The rows of one process, as far as it is of use."""
    child = subprocess.Popen(
        [*command, "--only", ",".join(left)], stdout=subprocess.PIPE, text=True
    )
    lines = queue.Queue()

    def read():
        for line in child.stdout:
            lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while left:
            try:
                line = lines.get(timeout=silence)
            except queue.Empty:
                yield {"check": left[0], "failed": f"no answer for {silence:g} s"}
                return
            if line is None:
                yield {"check": left[0], "failed": f"the process ended with {child.wait()}"}
                return
            row = _row(line)
            if row.get("check") not in left:
                print(line, end="", file=sys.stderr, flush=True)
                continue
            left.remove(row["check"])
            yield row
            if is_device_fault(row.get("failed", "")):
                return
    finally:
        child.kill()
        with suppress(subprocess.TimeoutExpired):  # the driver may keep it for a while
            child.wait(5.0)
            reader.join()
            child.stdout.close()


def _row(line):
    with suppress(ValueError):
        row = json.loads(line)
        if isinstance(row, dict):
            return row
    return {}
