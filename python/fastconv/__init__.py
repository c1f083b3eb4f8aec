"""The fastest and simplest way to run a convolutional network from NumPy."""

from fastconv import cuda, models, nn, ops, weights
from fastconv._version import __version__
from fastconv.config import get_num_threads, num_threads, set_num_threads, show_config, trim
from fastconv.models import create_model, list_models
from fastconv.network import Network
from fastconv.ops import *  # noqa: F403
from fastconv.preprocess import preprocess

__all__ = [
    "Network",
    "__version__",
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
