"""Compiled networks: what `Module.compile` returns, and what calling a module runs."""

from fastconv.network._compile import compile_module as compile_module
from fastconv.network._network import Network as Network
from fastconv.network._steps import Steps as Steps

__all__ = ["Network", "Steps"]
