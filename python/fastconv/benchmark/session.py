"""Shared code of the commands that time: options, workers, progress, reports."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastconv.cuda
from fastconv._files import replacing
from fastconv.benchmark import compare, machine, plots, report
from fastconv.benchmark.cases import AGREEMENT, LayerCase, ModelCase
from fastconv.benchmark.runner import REFERENCE, Result, Settings, run_case
from fastconv.benchmark.worker import PeerError, Worker

PEERS = {
    "fastconv": "fastconv.benchmark.peer:Network",
    "fastconv-fastest": "fastconv.benchmark.peer:Fastest",
    "fastconv-functional": "fastconv.benchmark.peer:Functional",
}
"""The classes of fastconv's own contenders, as `Worker` takes them."""


def positive(text: str) -> int:
    """Read a positive integer from the command line."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return number


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to time, and for how long."""
    parser.add_argument(
        "--batch", type=positive, nargs="+", default=[1], metavar="N", help="images (default: 1)"
    )
    for option, choices in (("--device", ("cpu", "cuda")), ("--precision", tuple(AGREEMENT))):
        parser.add_argument(
            option,
            choices=choices,
            nargs="+",
            default=[choices[0]],
            metavar=option[2].upper(),
            help=f"of {', '.join(choices)} (default: {choices[0]})",
        )
    parser.add_argument(
        "--size", type=positive, metavar="PIXELS", help="of images (default: the model's)"
    )
    parser.add_argument("--quick", action="store_true", help="two networks, a small budget")
    parser.add_argument(
        "--budget", type=float, metavar="S", help="seconds for a case at most (30; quick: 8)"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="width of the intervals (default: 0.05)",
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the numbers of threads, and for where results go."""
    parser.add_argument(
        "--threads",
        type=positive,
        nargs="+",
        default=[fastconv.get_num_threads()],
        metavar="N",
        help="default: all that are usable",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write JSON, Markdown and plots")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")


def add_threshold_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says what counts as slower."""
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="a case has become slower beyond this share (default: 0.1)",
    )


def usable_devices(wanted: Sequence[str]) -> list[str]:
    """Return the devices that are there; name a missing one on stderr."""
    if "cuda" in wanted and not fastconv.cuda.is_available():
        text = "fastconv: no CUDA device, or no build that uses it: going on with the CPU"
        print(text, file=sys.stderr)
        return ["cpu"]
    return list(dict.fromkeys(wanted))


def race(
    cases: Sequence[ModelCase | LayerCase],
    prepare: Callable[[Any, Path], object],
    peers: Mapping[str, str],
    options: argparse.Namespace,
    environment: Callable[[int], Mapping[str, str]] = lambda threads: {},
) -> list[Result]:
    """Time cases on all peers with each number of threads.

    Parameters
    ----------
    cases : sequence
        What to time.
    prepare : callable
        Writes the files of a case into a folder.
    peers : mapping of str to str
        Names and classes as `Worker` takes them, `REFERENCE` among them.
    options : Namespace
        Of `add_case_options` and `add_output_options`.
    environment : callable
        Takes the number of threads; returns the environment variables that the libraries read when
        they are imported.

    Raises
    ------
    ImportError
        If a peer cannot start.
    """
    budget = options.budget or (8.0 if options.quick else 30.0)
    settings = Settings(budget=budget, tolerance=options.tolerance)
    results = []
    with _progress(len(cases) * len(options.threads)) as step:
        for threads in options.threads:
            with contextlib.ExitStack() as stack:
                workers = {}
                for name, peer in peers.items():
                    try:
                        worker = Worker(peer, threads, environment(threads))
                    except PeerError as error:
                        raise ImportError(f"the peer {name} cannot start: {error}") from error
                    workers[name] = stack.enter_context(worker)
                for case in cases:
                    step(f"{case.name}, {case.device}, {case.precision}, {threads} threads")
                    results.append(_time(case, prepare, threads, workers, settings))
    return results


def _time(
    case: ModelCase | LayerCase,
    prepare: Callable[[Any, Path], object],
    threads: int,
    workers: Mapping[str, Worker],
    settings: Settings,
) -> Result:
    """Time a case. Other devices and precisions must agree with full precision on the CPU."""
    full = replace(case, device="cpu", precision="fp64" if case.precision == "fp64" else "fp32")
    with tempfile.TemporaryDirectory(prefix="fastconv-bench-") as name:
        folder = Path(name)
        try:
            prepare(case, folder)
        except ValueError as error:  # such as of images that are too small
            raise ValueError(f"{case.name}: {error}") from error
        expected = None if case == full else workers[REFERENCE].load(full, folder)
        return run_case(
            {**case.to_dict(), "threads": threads},
            workers,
            lambda worker: worker.load(case, folder),
            settings,
            expected,
        )


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Yield a function that shows what runs next, by a bar of rich if that is installed."""
    if importlib.util.find_spec("rich") is None:
        yield lambda text: print(text, file=sys.stderr)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=total, completed=-1)
        yield lambda text: bars.update(task, advance=1, description=text)
        bars.update(task, advance=1, description="done")


def finish(
    options: argparse.Namespace, suite: str, results: Sequence[Result], source: Path
) -> None:
    """Print the tables or JSON; with ``--out``, write all forms of the report there.

    Parameters
    ----------
    options : Namespace
        Of `add_output_options`.
    suite : str
        The name of the files.
    results : sequence of Result
        What was timed.
    source : Path
        A file of the clone whose commit is recorded.
    """
    content = {
        "environment": machine.environment(source),
        "command": " ".join(sys.argv[1:]),
        "limits": [machine.limits(threads) for threads in options.threads if options.out],
        "results": [result.to_dict() for result in results],
    }
    text = report.markdown(content)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        for suffix, form in (("json", report.to_json(content)), ("md", text)):
            with replacing(options.out / f"{suite}.{suffix}") as new:
                Path(new).write_text(form, encoding="utf-8")
        plots.write(options.out, suite, content)
        if importlib.util.find_spec("matplotlib") is None:
            text += "\nno plots: matplotlib is missing; pip install 'fastconv[bench]'\n"
    print(report.to_json(content) if options.json else text, end="")


def print_comparison(before: Path, after: Path, threshold: float) -> int:
    """Print what has become slower between two JSON files; return 1 if anything has, else 0.

    Raises
    ------
    ValueError
        If a file is no report, or they have no case in common.
    """
    changes = compare.compare(report.read_json(before), report.read_json(after), threshold)
    print(compare.table(changes))
    return int(any(change.slower for change in changes))
