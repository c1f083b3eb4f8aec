"""The machine: CPU, versions, and the limits of its speed."""

from __future__ import annotations

import datetime
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from fastconv._machine import limits as limits
from fastconv._machine import peak_flops as peak_flops
from fastconv._machine import read_bandwidth as read_bandwidth
from fastconv._version import __version__
from fastconv.config import show_config


def environment(source: Path = Path(__file__)) -> dict[str, Any]:
    """Return everything that a result depends on: CPU, instruction set, versions, date and commit.

    Parameters
    ----------
    source : Path
        A file of the clone whose commit is recorded. Default: this file, which in an installed
        fastconv lies in no clone.
    """
    config = show_config("dict")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": config["cpu"],
        "isa": config["isa"],
        "cores_available": config["cores_available"],
        "caches": {level: config[f"cache_{level}"] for level in ("l1d", "l2", "l3")},
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "fastconv": __version__,
        "compiler": config["compiler"],
        "commit": _commit(source.resolve()),
    }


def _commit(source: Path) -> str | None:
    """Return the commit of a file's repository, with ``+`` if files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source.parent), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", source.name)
        return git("describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
