"""The files of `fastconv` import each other in one direction, and have one subject each.

That arrows point down is checked by import-linter, whose contracts are in pyproject.toml.
"""

import ast
import graphlib
from pathlib import Path

import fastconv
import pytest

PACKAGE = Path(fastconv.__file__).parent
LONGEST = 400  # lines of a file


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# The stubs stand for extension modules.
FILES = {module_name(path): path for path in (*PACKAGE.rglob("*.py"), *PACKAGE.glob("*.pyi"))}


def imported(source: str) -> set[str]:
    """Return the modules of `fastconv` that a source imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in FILES:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
    return found & FILES.keys()


def test_all_imports_are_seen() -> None:
    source = """
import os, fastconv.ops
from fastconv import _core, num_threads
if TYPE_CHECKING:
    from fastconv.nn import Module
def function():
    from fastconv.graph._symbols import Symbol
"""
    assert imported(source) == {
        "fastconv",
        "fastconv._core",
        "fastconv.graph._symbols",
        "fastconv.nn",
        "fastconv.ops",
    }


def test_no_import_is_relative() -> None:
    for path in FILES.values():
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        assert not any(isinstance(node, ast.ImportFrom) and node.level for node in nodes), path


def test_no_files_import_each_other() -> None:
    arrows = {name: imported(path.read_text("utf-8")) - {name} for name, path in FILES.items()}
    graphlib.TopologicalSorter(arrows).prepare()  # a CycleError shows the files


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST
