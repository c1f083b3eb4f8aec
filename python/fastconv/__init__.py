"""The fastest and simplest way to run a convolutional network from NumPy."""

from typing import TYPE_CHECKING, Any

from fastconv import cuda, models, nn, ops, weights
from fastconv._version import __version__
from fastconv.config import get_num_threads, num_threads, set_num_threads, show_config, trim
from fastconv.models import create_model, list_models
from fastconv.network import Network
from fastconv.ops import *  # noqa: F403
from fastconv.preprocess import preprocess

if TYPE_CHECKING:
    from fastconv import analysis

__all__ = [
    "Network",
    "__version__",
    "analysis",
    "create_model",
    "cuda",
    "get_num_threads",
    "list_models",
    "models",
    "nn",
    "num_threads",
    "ops",
    "preprocess",
    "set_num_threads",
    "show_config",
    "trim",
    "weights",
    *ops.__all__,
]


def __getattr__(name: str) -> Any:
    """Import `fastconv.analysis`, which running networks does not need, when it is first used."""
    if name == "analysis":
        import fastconv.analysis

        return fastconv.analysis
    raise AttributeError(f"module 'fastconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
