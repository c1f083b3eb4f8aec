"""The fastest and simplest way to run a convolutional network from NumPy."""

import importlib
from typing import TYPE_CHECKING, Any

from fastconv import _moved, cuda, models, nn, ops, weights  # noqa: F401 - _moved: old names
from fastconv._version import __version__
from fastconv.config import get_num_threads, num_threads, set_num_threads, show_config, trim
from fastconv.graph import Graph, Node
from fastconv.models import create_model, list_models
from fastconv.network import Network
from fastconv.ops import *  # noqa: F403
from fastconv.preprocess import preprocess

if TYPE_CHECKING:
    from fastconv import analysis, onnx

__all__ = [
    "Graph",
    "Network",
    "Node",
    "__version__",
    "analysis",
    "create_model",
    "cuda",
    "get_num_threads",
    "list_models",
    "models",
    "nn",
    "num_threads",
    "onnx",
    "ops",
    "preprocess",
    "set_num_threads",
    "show_config",
    "trim",
    "weights",
    *ops.__all__,
]


def __getattr__(name: str) -> Any:
    """Import what running networks does not need when it is first used."""
    if name in ("analysis", "onnx"):
        return importlib.import_module(f"fastconv.{name}")
    from fastconv.graph._substitutes import NAMES, SUBSTITUTES

    hint = NAMES.get(name) or SUBSTITUTES.get(name)
    raise AttributeError(
        f"module 'fastconv' has no attribute {name!r}" + (f": use {hint}" if hint else "")
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
