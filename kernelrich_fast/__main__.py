"""Command line: ``python -m kernelrich_fast info | reproduce FIGURE | bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="kernelrich", description="From the kernel to the rich regime."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="versions, and which backends work here")
    figures = commands.add_parser("reproduce", help="compute a figure of the paper")
    figures.add_argument(
        "figure", choices=["fig1", "fig2", "fig3", "fig5", "fig6", "fig6c", "fig7", "image", "all"]
    )
    figures.add_argument("--out", default=".", metavar="DIR", help="directory to write to")
    figures.add_argument("--quick", action="store_true", help="a small version")
    figures.add_argument("--backend", default="auto", metavar="B", help="auto, cuda, cpu or numpy")
    figures.add_argument("--data", metavar="PATH", help="fig6c: MNIST as a local .npz file")
    bench = commands.add_parser("bench", help="measure speed, with the error beside it")
    bench.add_argument(
        "--family",
        action="append",
        metavar="F",
        help="diagonal, factorization or mlp; all if absent",
    )
    bench.add_argument(
        "--backends", metavar="B,B", help="cuda, cpu, numpy, with commas; those that work if absent"
    )
    bench.add_argument("--peers", action="store_true", help="other people's solvers too")
    bench.add_argument(
        "--quick", action="store_true", help="small cases, to see that all completes"
    )
    bench.add_argument("--repeats", type=int, default=5, help="timed runs of a row (5)")
    bench.add_argument("--limit", type=float, default=30.0, help="seconds a run may take (30)")
    bench.add_argument(
        "--out", default="bench-results", metavar="DIR", help="directory to write to"
    )
    options = parser.parse_args(argv)

    # Imported here so that --help answers at once.
    if options.command == "info":
        from .config import show_config

        print(show_config())
        return 0
    if options.command == "bench":
        return _bench(options)
    from .errors import BackendUnavailableError
    from .experiments import reproduce

    try:
        text = reproduce(
            options.figure,
            options.out,
            quick=options.quick,
            backend=options.backend,
            progress=True,
            data=options.data,
        )
    except (BackendUnavailableError, ImportError, ValueError, OSError) as error:
        print(f"kernelrich: {error}", file=sys.stderr)
        return 1
    print(text)
    what = "report.html" if options.figure == "all" else f"{options.figure}.png, .pdf and .nc"
    print(f"written to {options.out}: {what}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    from .bench import run_bench
    from .errors import BackendUnavailableError

    try:
        result = run_bench(
            options.out,
            families=options.family,
            backends=options.backends.split(",") if options.backends else None,
            peers=options.peers,
            quick=options.quick,
            repeats=options.repeats,
            limit=options.limit,
            tell=lambda line: print(line, flush=True),
        )
    except (BackendUnavailableError, ValueError, OSError) as error:
        print(f"kernelrich: {error}", file=sys.stderr)
        return 1
    print(f"written to {options.out}: bench.json, table.md and pictures")
    for line in result["wrong"]:
        print(f"kernelrich: error above what is promised: {line}", file=sys.stderr)
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
