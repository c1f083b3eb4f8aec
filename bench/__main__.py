"""Time fastconv and its peers, and compare what came out before and after a change."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastconv.benchmark import compare, machine, plots, report
from fastconv.benchmark.runner import REFERENCE, Result, Settings, run_case
from fastconv.benchmark.worker import PeerError, Worker

from bench.peers import PEERS, environment
from bench.suites import kernels, layers, models, startup

SUITES = {"models": models, "layers": layers}

_EXAMPLES = """\
examples:
  python -m bench models --peers onnxruntime,openvino,torch --threads 2 --out results
  python -m bench models resnet50 --threads 1 2 --batch 1 8
  python -m bench layers mobilenet_v2 --peers torch-eager
  python -m bench kernels
  python -m bench compare before.json after.json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (ValueError, OSError, ImportError) as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Time fastconv and its peers on this machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="SUITE")
    for name, text in (("models", "whole networks"), ("layers", "single convolutions")):
        suite = commands.add_parser(name, help=text)
        suite.add_argument("networks", nargs="*", metavar="NETWORK", help="default: a fixed list")
        suite.add_argument(
            "--peers",
            default="",
            metavar="A,B",
            help=f"to compare with: {', '.join(p for p in PEERS if p != REFERENCE)}",
        )
        suite.add_argument("--batch", type=int, nargs="+", default=[1])
        suite.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        suite.add_argument("--quick", action="store_true", help="two networks, a small budget")
        suite.add_argument("--budget", type=float, metavar="S", help="seconds for a case, at most")
        suite.add_argument("--tolerance", type=float, default=0.05, help="width of the intervals")
        suite.set_defaults(run=_race, suite=name)
    for name, module, text in (
        ("kernels", kernels, "kernels against the machine's limits"),
        ("startup", startup, "import, load and first answer; memory and size"),
    ):
        suite = commands.add_parser(name, help=text)
        suite.set_defaults(run=_alone, suite=name, module=module)
    for suite in commands.choices.values():
        suite.add_argument("--threads", type=int, nargs="+", default=[1])
        suite.add_argument("--out", type=Path, metavar="DIR", help="write JSON, Markdown, plots")
    comparison = commands.add_parser("compare", help="what has become slower")
    comparison.add_argument("before", type=Path)
    comparison.add_argument("after", type=Path)
    comparison.add_argument(
        "--threshold", type=float, default=0.10, help="slower by this share counts (default 0.10)"
    )
    comparison.set_defaults(run=_compare)
    return parser


def _race(options: argparse.Namespace) -> int:
    suite = SUITES[options.suite]
    names = options.networks or (models.QUICK if options.quick else suite.DEFAULT)
    peers = [name for name in options.peers.split(",") if name]
    for name in peers:
        if name not in PEERS:
            raise ValueError(f"--peers: no peer {name!r}; expected some of {', '.join(PEERS)}")
    device = _device(options.device)
    budget = options.budget or (8.0 if options.quick else 30.0)
    settings = Settings(budget=budget, tolerance=options.tolerance)
    cases = suite.cases(names, options.batch, device)
    results = []
    with _progress(len(cases) * len(options.threads)) as step:
        for threads in options.threads:
            with contextlib.ExitStack() as stack:
                workers = _workers([REFERENCE, *peers], threads, stack)
                for case in cases:
                    step(f"{case.name}, {threads} threads")
                    results.append(_run(suite, case, threads, workers, settings))
    _finish(options, results)
    return 0


def _device(device: str) -> str:
    if device == "cuda":
        print("bench: this build of fastconv has no CUDA: going on with the CPU", file=sys.stderr)
    return "cpu"


def _workers(names: Sequence[str], threads: int, stack: contextlib.ExitStack) -> dict[str, Worker]:
    workers = {}
    for name in dict.fromkeys(names):
        try:
            worker = Worker(PEERS[name], threads, environment(threads))
        except PeerError as error:
            raise ImportError(f"the peer {name} cannot start: {error}") from error
        workers[name] = stack.enter_context(worker)
    return workers


def _run(
    suite: Any, case: Any, threads: int, workers: dict[str, Worker], settings: Settings
) -> Result:
    with tempfile.TemporaryDirectory(prefix="fastconv-bench-") as folder:
        suite.prepare(case, Path(folder))
        return run_case(
            {**case.to_dict(), "threads": threads},
            workers,
            lambda worker: worker.load(case, Path(folder)),
            settings,
        )


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Yield a function that shows what runs next: a bar of rich where it is installed."""
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


def _finish(options: argparse.Namespace, results: Sequence[Result]) -> None:
    """Print the table, and write all forms of the report."""
    content = {
        "environment": machine.environment(),
        "command": " ".join(sys.argv[1:]),
        "limits": [machine.limits(threads) for threads in options.threads],
        "results": [result.to_dict() for result in results],
    }
    table = report.markdown(content)
    print(table)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        report.write_json(options.out / f"{options.suite}.json", content)
        (options.out / f"{options.suite}.md").write_text(table, encoding="utf-8")
        plots.write(options.out, options.suite, content)


def _alone(options: argparse.Namespace) -> int:
    _finish(options, options.module.run(options.threads))
    return 0


def _compare(options: argparse.Namespace) -> int:
    before, after = (report.read_json(path) for path in (options.before, options.after))
    changes = compare.compare(before, after, options.threshold)
    print(compare.table(changes))
    return 1 if any(change.slower for change in changes) else 0


if __name__ == "__main__":
    sys.exit(main())
