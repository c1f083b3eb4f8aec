"""``fastconv explain``: the steps of a compiled model, and why these."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

import fastconv
from fastconv.benchmark.session import positive
from fastconv.ops._conv import ACCURACIES

_EXAMPLES = """\
examples:
  fastconv explain resnet50
  fastconv explain mobilenet_v2 --profile --threads 1
  fastconv explain vgg16 --batch 8 --accuracy exact --verbose
  fastconv explain efficientnet_b0 --autotune --json
  fastconv explain googlenet --graph googlenet.svg

The model's weights are random. MACs are the multiply-accumulates of the definition. Winograd and
Strassen do only a part of these, so they may pass 100% of the peak.
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command ``explain``."""
    parser = commands.add_parser(
        "explain",
        help="list the steps of a model: algorithms, reasons, times",
        description="List the steps of a compiled model: their algorithms, and why these.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a model of fastconv, such as resnet50")
    parser.add_argument(
        "--batch", type=positive, default=1, metavar="N", help="images (default: 1)"
    )
    parser.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="rows and columns of an image (default: the model's)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="threads to use (default: all that are usable)",
    )
    parser.add_argument(
        "--accuracy",
        choices=ACCURACIES,
        default="fast",
        help="how far results may be from exact arithmetic (default: fast)",
    )
    parser.add_argument(
        "--autotune", action="store_true", help="measure which algorithms are the fastest"
    )
    parser.add_argument(
        "--profile", action="store_true", help="run it on random numbers; print times"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="also say which algorithms were rejected, and why"
    )
    parser.add_argument(
        "--graph",
        metavar="FILE",
        help="also draw the network into FILE: .dot, or .svg, .png and .pdf by Graphviz",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    model = fastconv.create_model(arguments.model)
    channels, *size = model.default_cfg["input_size"]
    if arguments.size is not None:
        size = [arguments.size] * 2
    shape = (arguments.batch, channels, *size)
    if arguments.graph is not None:
        model.graph(shape).save(arguments.graph)
    network = model.compile(
        shape,
        threads=arguments.threads,
        accuracy=arguments.accuracy,
        autotune=arguments.autotune,
    )
    if arguments.profile:
        x = np.random.default_rng(0).standard_normal(shape).astype(network.dtype)
        steps = network.profile(x)
    else:
        steps = network.explain()
    steps.verbose = arguments.verbose
    if not arguments.json:
        print(steps)
        return
    result = {
        "model": arguments.model,
        "input_shape": shape,
        "threads": arguments.threads or fastconv.get_num_threads(),
        "accuracy": arguments.accuracy,
        "autotune": arguments.autotune,
        "total": steps.total,
        "steps": steps,
    }
    print(json.dumps(result, indent=2))
