"""Old names of what has moved: they warn, and go with fastconv 0.2, as does this file."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from fastconv import nn, weights
from fastconv.models import blocks

_BLOCKS = [name for name, value in vars(blocks).items() if isinstance(value, type)]
_NAMINGS = ["NATIVE", "Naming", "recognise", "rename"]


def _forward(old: ModuleType, moved: Mapping[str, str]) -> None:
    """Let a module have names of other modules, with a warning; `moved` says where each is now."""
    own = vars(old).get("__getattr__")

    def __getattr__(name: str) -> Any:
        if (new := moved.get(name)) is not None:
            warnings.warn(
                f"{old.__name__}.{name} is now {new}.{name}: the old name goes with fastconv 0.2",
                DeprecationWarning,
                stacklevel=2,
            )
            return getattr(import_module(new), name)
        if own is not None:
            return own(name)
        raise AttributeError(f"module {old.__name__!r} has no attribute {name!r}")

    vars(old)["__getattr__"] = __getattr__


def _old(name: str) -> ModuleType:
    """Return a module in the place of one whose file is gone."""
    return sys.modules.setdefault(name, ModuleType(name))


_forward(nn, {**dict.fromkeys(_BLOCKS, "fastconv.models.blocks"), "blocks": "fastconv.models"})
_forward(weights, dict.fromkeys(("naming", "recognise", "to_model_names"), "fastconv.models"))
_forward(_old("fastconv.nn.blocks"), dict.fromkeys(_BLOCKS, "fastconv.models.blocks"))
_forward(_old("fastconv.nn.layers"), dict.fromkeys(nn.__all__, "fastconv.nn"))
_forward(
    _old("fastconv.weights.naming"),
    {**dict.fromkeys(_NAMINGS, "fastconv.models.naming"), "to_model_names": "fastconv.models"},
)
