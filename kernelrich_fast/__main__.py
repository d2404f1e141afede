"""The command ``kernelrich``, which is also ``python -m kernelrich_fast``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["main"]

_FIGURES = (
    "fig1", "fig2", "fig3", "fig5", "fig6", "fig6c", "fig6d", "fig7", "image", "saddles", "lasso",
    "decay", "depths", "margins", "all",
)  # fmt: skip
_WITH_DATA = {"fig6c", "fig6d", "all"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        if options.command is None:
            parser.print_help()
            status = 0
        elif options.command == "info":
            status = _info()
        else:
            run = {"bench": _bench, "explore": _explore, "reproduce": _reproduce}[options.command]
            status = run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, head say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("kernelrich: interrupted", file=sys.stderr)
        return 130  # as shells say it
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kernelrich", description="Gradient flow of small models, from kernel to rich."
    )
    parser.add_argument("--version", action="version", version=f"kernelrich {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="info | reproduce | explore | bench")
    commands.add_parser("info", help="list versions, paths, threads and working backends")
    figures = commands.add_parser("reproduce", help="compute figures of the paper")
    figures.add_argument(
        "figures", nargs="+", choices=_FIGURES, metavar="FIGURE", help=", ".join(_FIGURES)
    )
    figures.add_argument("--out", default=".", metavar="DIR", help="directory to write to")
    figures.add_argument("--quick", action="store_true", help="make small versions, in seconds")
    figures.add_argument("--backend", default="auto", metavar="B", help="auto, cuda, cpu or numpy")
    figures.add_argument("--seed", type=int, default=0, help="first seed of random data (0)")
    figures.add_argument(
        "--jobs", type=int, metavar="N", help="number of threads, at least 1 (all cores)"
    )
    figures.add_argument(
        "--data", metavar="PATH", help="fig6c: MNIST as an .npz file; fig6d: the folder of CIFAR-10"
    )
    figures.add_argument(
        "--force",
        action="store_true",
        help="replace also files that reproduce did not write, or wrote with other settings",
    )
    page = commands.add_parser("explore", help="open a page of sliders and pictures in the browser")
    page.add_argument("--port", type=int, default=0, metavar="N", help="port; a free one if absent")
    page.add_argument("--no-show", action="store_true", help="do not open a browser")
    bench = commands.add_parser("bench", help="measure times and errors")
    bench.add_argument(
        "--family",
        action="append",
        metavar="F",
        help="diagonal, factorization, linear, mlp or margins (default: all)",
    )
    bench.add_argument(
        "--backends", metavar="B,B", help="cuda, cpu, numpy, separated by commas (those that work)"
    )
    bench.add_argument("--peers", action="store_true", help="measure other solvers too")
    bench.add_argument(
        "--quick", action="store_true", help="small cases, to check that all of them run"
    )
    bench.add_argument("--repeats", type=int, default=5, help="timed repeats per row (5)")
    bench.add_argument("--limit", type=float, default=30.0, help="seconds allowed per run (30)")
    bench.add_argument(
        "--out", default="bench-results", metavar="DIR", help="directory to write to"
    )
    return parser


def _version() -> str:
    try:
        return version("kernelrich_fast")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"


def _in_options(error: Exception, options: argparse.Namespace) -> str:
    """The message of an error, with the option of this command in place of Python's argument."""
    name, colon, rest = str(error).partition(":")
    option = {"num_threads": "jobs", "families": "family"}.get(name, name)
    return f"--{option}:{rest}" if colon and option in vars(options) else str(error)


# Modules are imported where they are used, so that --help answers at once.
def _info() -> int:
    from .config import show_config

    print(show_config())
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from ._bars import interactive
    from .errors import BackendUnavailableError
    from .experiments import files_of, prepare, reproduce

    figures = ["all"] if "all" in options.figures else list(dict.fromkeys(options.figures))
    if options.data is not None and not _WITH_DATA & set(figures):
        print("kernelrich: --data: expected only for fig6c and fig6d", file=sys.stderr)
        return 1

    def given(figure: str) -> dict[str, Any]:
        return {
            "quick": options.quick, "backend": options.backend, "progress": interactive(),
            "data": options.data if figure in _WITH_DATA else None, "seed": options.seed,
            "num_threads": options.jobs, "force": options.force,
        }  # fmt: skip

    try:
        for figure in figures:  # before the first is computed
            prepare(figure, options.out, **given(figure))
        for figure in figures:
            print(reproduce(figure, options.out, **given(figure)))
            for files in files_of(figure, options.quick).values():
                print(f"written to {os.path.expanduser(options.out)}: {', '.join(files)}")
    except BrokenPipeError:
        raise
    except (BackendUnavailableError, ImportError, ValueError, OSError) as error:
        print(f"kernelrich: {_in_options(error, options)}", file=sys.stderr)
        return 1
    return 0


def _explore(options: argparse.Namespace) -> int:
    from .explorer import explore

    try:
        explorer = explore(port=options.port, show=not options.no_show)
    except (ImportError, ValueError, OSError) as error:
        print(f"kernelrich: {_in_options(error, options)}", file=sys.stderr)
        return 1
    print(f"the page is at {explorer.url}, for this machine alone; Ctrl-C ends it", flush=True)
    explorer.wait()
    return 0


def _bench(options: argparse.Namespace) -> int:
    from .bench import files_of, run_bench
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
        print(f"kernelrich: {_in_options(error, options)}", file=sys.stderr)
        return 1
    files = ", ".join(files_of(result))
    print(f"written to {os.path.expanduser(options.out)}: {files}")
    for line in result["wrong"]:
        print(f"kernelrich: error above what is promised: {line}", file=sys.stderr)
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
