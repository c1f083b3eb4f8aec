"""Time fastconv and its peers, and compare what came out before and after a change."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from fastconv.benchmark import session
from fastconv.benchmark.networks import QUICK
from fastconv.benchmark.runner import REFERENCE, Result

from bench.peers import PEERS, environment
from bench.suites import kernels, layers, models, startup

_EXAMPLES = """\
examples:
  python -m bench models --peers onnxruntime,openvino,torch --threads 2 --out results
  python -m bench models resnet50 --threads 1 2 --batch 1 8 --precision fp32 fp64
  python -m bench models --device cpu cuda --peers onnxruntime,torch-cuda-compiled
  python -m bench layers mobilenet_v2 --peers torch-eager
  python -m bench kernels
  python -m bench startup --peers onnxruntime,openvino
  python -m bench compare before.json after.json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.suite is None:
            return session.print_comparison(options.before, options.after, options.threshold)
        session.finish(options, options.suite, options.run(options), Path(__file__))
        return 0
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
    for name, module, text in (
        ("models", models, "whole networks"),
        ("layers", layers, "single convolutions"),
    ):
        suite = commands.add_parser(name, help=text)
        suite.add_argument("networks", nargs="*", metavar="NETWORK", help="default: a fixed list")
        _add_peers(suite, PEERS)
        session.add_case_options(suite)
        suite.set_defaults(run=_race, module=module)
    suite = commands.add_parser("kernels", help="kernels against the machine's limits")
    suite.set_defaults(run=lambda options: kernels.run(options.threads))
    suite = commands.add_parser("startup", help="import and first answer; memory and size")
    _add_peers(suite, startup.LIBRARIES)
    suite.set_defaults(run=lambda options: startup.run(_peers(options), options.threads))
    for name, suite in commands.choices.items():
        session.add_output_options(suite)
        suite.set_defaults(suite=name)
    comparison = commands.add_parser("compare", help="what has become slower")
    comparison.add_argument("before", type=Path)
    comparison.add_argument("after", type=Path)
    session.add_threshold_option(comparison)
    comparison.set_defaults(suite=None)
    return parser


def _add_peers(suite: argparse.ArgumentParser, known: Iterable[str]) -> None:
    others = ", ".join(name for name in known if name != REFERENCE)
    suite.add_argument("--peers", default="", metavar="A,B", help=f"to compare with: {others}")
    suite.set_defaults(known=known)


def _peers(options: argparse.Namespace) -> list[str]:
    """Return the contenders, `REFERENCE` first and each once."""
    names = [name for name in options.peers.split(",") if name]
    for name in names:
        if name not in options.known:
            raise ValueError(
                f"--peers: no peer {name!r}; expected some of {', '.join(options.known)}"
            )
    return list(dict.fromkeys([REFERENCE, *names]))


def _race(options: argparse.Namespace) -> list[Result]:
    cases = options.module.cases(
        options.networks or (QUICK if options.quick else options.module.DEFAULT),
        options.batch,
        session.usable_devices(options.device),
        options.precision,
        options.size,
    )
    peers = {name: PEERS[name] for name in _peers(options)}
    return session.race(cases, options.module.prepare, peers, options, environment)


if __name__ == "__main__":
    sys.exit(main())
