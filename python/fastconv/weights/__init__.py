"""Read and write network weights, without torch and without running anything that a file names.

`load` reads safetensors, torch's ``.pth``/``.pt`` in both of its formats, and ``.npz``; `save`
writes safetensors and ``.npz``.
"""

from typing import TYPE_CHECKING, Any

from fastconv.weights._common import WeightsError

if TYPE_CHECKING:
    from fastconv.weights._load import load
    from fastconv.weights._save import save

__all__ = ["WeightsError", "load", "save"]


def __getattr__(name: str) -> Any:
    """Import the code that reads and writes files at its first use."""
    from importlib import import_module

    if name not in ("load", "save"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}._{name}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
