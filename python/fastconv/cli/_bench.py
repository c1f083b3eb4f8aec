"""``fastconv bench``: how long networks take on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastconv.benchmark import networks, session
from fastconv.benchmark.runner import REFERENCE

_EXAMPLES = f"""\
examples:
  fastconv bench
  fastconv bench resnet50 mobilenet_v2 --threads 1 2 --batch 1 8
  fastconv bench resnet50 --device cpu cuda --size 288 --out results
  fastconv bench --quick --json > before.json
  fastconv bench --compare before.json after.json

Networks have random weights and run in a process of their own. Times are minima over rounds. The
rounds end once three have come close to the minimum, or the budget is spent. --compare divides the
times by those of a fixed kernel, so that another clock rate is no change. Its exit code is 1 if a
network has become slower. The default models are {", ".join(networks.DEFAULT)}.
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command ``bench``."""
    parser = commands.add_parser(
        "bench",
        help="time networks, and compare the times before and after a change",
        description="Time compiled networks on this machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "models", metavar="MODEL", nargs="*", help="a model of fastconv, such as resnet50"
    )
    session.add_case_options(parser)
    session.add_output_options(parser)
    parser.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("BEFORE", "AFTER"),
        help="time nothing, but show what has become slower between two JSON files",
    )
    session.add_threshold_option(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.compare is not None:
        before, after = arguments.compare
        if arguments.models:
            raise ValueError("--compare: expected two reports and no models")
        return session.print_comparison(before, after, arguments.threshold)
    default = networks.QUICK if arguments.quick else networks.DEFAULT
    cases = networks.cases(
        arguments.models or default,
        arguments.batch,
        session.usable_devices(arguments.device),
        arguments.precision,
        arguments.size,
    )
    peers = {REFERENCE: session.PEERS[REFERENCE]}
    results = session.race(cases, networks.prepare, peers, arguments)
    session.finish(arguments, "models", results, Path(__file__))
    return 0
