"""``fastconv info``: the configuration of this build, and what it found on this machine."""

from __future__ import annotations

import argparse
import json
from typing import Any

import fastconv


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command ``info``."""
    parser = commands.add_parser(
        "info",
        help="print version, compiler, instruction sets, threads and caches",
        description="Print version, compiler, instruction sets, threads and caches.",
        epilog="examples:\n  fastconv info\n  fastconv info --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.json:
        config: Any = fastconv.show_config(mode="dict")
        print(json.dumps(config, indent=2, default=str))
    else:
        fastconv.show_config()
