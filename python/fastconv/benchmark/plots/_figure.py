"""Shared code of all plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastconv._files import replacing
from fastconv.benchmark.runner import REFERENCE

Rows = Sequence[dict[str, Any]]

BEHIND_TEXT = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # hides the line below it


def new(width: float, height: float) -> tuple[Any, Any]:
    """Return a figure of this size in inches, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def save(figure: Any, path: Path) -> Path:
    """Write the figure as PNG and return where."""
    with replacing(path) as new:
        figure.savefig(new, dpi=120)
    return path


def reference(result: dict[str, Any]) -> dict[str, Any] | None:
    """Return fastconv's part of a case; `None` if it was not timed."""
    for contender in result["contenders"]:
        if contender["name"] == REFERENCE and contender["timing"] is not None:
            found: dict[str, Any] = contender
            return found
    return None
