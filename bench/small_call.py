"""What a call of one small run is made of.

    python bench/small_call.py

The cell of figure 5 at alpha^2 = 1e-2 and width 500,000, in the kernel regime, at rtol 1e-2 on one
thread; medians of 500 calls in microseconds. Steps are what the native call takes beyond one that
may make a single step, Python what the whole takes beyond the native call.
"""

from __future__ import annotations

import statistics
import time
from unittest import mock

from kernelrich_fast import _core
from kernelrich_fast.bench.problems.factorization import Completions

CALLS = 500


def microseconds(call):
    call()
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)


def main():
    cell = Completions(cells=((1e-2, 500_000),))
    steps = cell.ours(1e-2, "cpu").steps
    with mock.patch.object(_core, "run", wraps=_core.run) as native:
        cell.ours(1e-2, "cpu")
    (family, arguments), options = native.call_args
    whole = microseconds(lambda: cell.ours(1e-2, "cpu"))
    inside = microseconds(lambda: _core.run(family, arguments, **options))
    one_step = arguments | {"max_steps": 1}
    short = microseconds(lambda: _core.run(family, one_step, **options))
    print(f"whole call {whole:.0f} us, {steps} steps: Python {whole - inside:.0f}, ", end="")
    print(f"steps {inside - short:.0f}, start, thread and one step {short:.0f}")


if __name__ == "__main__":
    main()
