"""``fastconv summary``: the modules of a model, with shapes, parameters, MACs, receptive fields."""

from __future__ import annotations

import argparse
import json
from typing import Any

import fastconv

_EXAMPLES = """\
examples:
  fastconv summary resnet50 --depth 1
  fastconv summary mobilenet_v2 --input-shape 3 160 160 --batch 8
  fastconv summary vgg16 --json

Multiply-accumulates (MACs) are those of convolutions, linear layers and matmul. A * marks a
receptive field whose elements are scaled by values computed from the whole image
(squeeze-and-excitation).
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command ``summary``."""
    parser = commands.add_parser(
        "summary",
        help="list the modules of a model: shapes, parameters, MACs, receptive fields",
        description="List the modules of a model: shapes, parameters, MACs, receptive fields.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a model of fastconv, such as resnet50")
    parser.add_argument(
        "--input-shape",
        type=_positive,
        nargs=3,
        metavar=("C", "H", "W"),
        help="channels, height and width of an image (default: the model's)",
    )
    parser.add_argument(
        "--batch", type=_positive, default=1, metavar="N", help="images (default: 1)"
    )
    parser.add_argument(
        "--depth", type=_depth, metavar="N", help="list modules down to this depth (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.set_defaults(run=_run)


def _positive(text: str) -> int:
    return _integer(text, 1, "a positive integer")


def _depth(text: str) -> int:
    return _integer(text, 0, "an integer of at least 0")


def _integer(text: str, least: int, expected: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if number < least:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return number


def _run(arguments: argparse.Namespace) -> None:
    image = arguments.input_shape
    if image is None:
        image = fastconv.analysis.summary(arguments.model, depth=0).input_shape[1:]
    shape = (arguments.batch, *image)
    summary = fastconv.analysis.summary(arguments.model, shape, arguments.depth)
    if arguments.json:
        print(json.dumps({"model": arguments.model, **summary.to_dict()}, indent=2))
    else:
        print(summary)
