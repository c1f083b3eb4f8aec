"""The results so far, in one JSON file that later runs add to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_SOURCES = ("CMakeLists.txt", "cmake", "include", "src", "python", "tests", "bench")
_SUFFIXES = {".cc", ".cu", ".cuh", ".h", ".py", ".txt", ".cmake", ".map"}


def fingerprint() -> str:
    """Return a digest of the sources: results of others are not theirs."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in _SUFFIXES:
                digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


class Record:
    """``gpu_check.json``: for each stage its items' results by name, and what has not run.

    A result is a dictionary with ``status``: ``"passed"``, ``"failed"``, or ``"missing"`` where
    this machine lacks what it needs.
    """

    def __init__(self, folder: Path, sources: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "gpu_check.json"
        self.data: dict[str, Any] = {"schema": 1, "sources": sources, "machine": {}, "stages": {}}
        if self.path.exists():
            old = json.loads(self.path.read_text(encoding="utf-8"))
            if (old.get("schema"), old.get("sources")) == (1, sources):
                self.data = old

    def stage(self, name: str) -> dict[str, Any]:
        """Return the entry of a stage, for reading and writing."""
        empty: dict[str, Any] = {"results": {}, "not_run": {}}
        entry: dict[str, Any] = self.data["stages"].setdefault(name, empty)
        return entry

    def add(self, stage: str, item: str, result: Mapping[str, Any]) -> None:
        """Write the result of an item."""
        entry = self.stage(stage)
        entry["results"][item] = dict(result)
        entry["not_run"].pop(item, None)
        self.save()

    def save(self) -> None:
        """Replace the file, so that it is whole at any time."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.data, indent=1) + "\n", encoding="utf-8")
        new.replace(self.path)

    def failures(self) -> list[str]:
        """Return what has failed, as ``stage: item``."""
        return [
            f"{stage}: {item}"
            for stage, entry in self.data["stages"].items()
            for item, result in entry["results"].items()
            if result["status"] == "failed"
        ]
