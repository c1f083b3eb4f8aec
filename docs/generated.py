"""What the pages that are made from the code have in common: ``make_*.py`` write or check one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(path: Path, text: str) -> int:
    """Write the text into the file, or with ``--check`` return 1 if that has another."""
    script = Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(description=f"Write or check docs/{path.name}.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it is stale")
    if not parser.parse_args().check:
        path.write_text(text, encoding="utf-8")
    elif not path.is_file() or path.read_text("utf-8") != text:
        print(f"{path} is stale: run python docs/{script}", file=sys.stderr)
        return 1
    return 0
