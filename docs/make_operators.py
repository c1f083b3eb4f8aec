"""Make docs/operators.md: the operators of graphs, as the C++ core declares them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import generated
from fastconv import _core

FILE = Path(__file__).with_name("operators.md")

HEAD = """\
# The operators of graphs

`docs/make_operators.py` writes this page from the operators' declarations, `include/fastconv/op/`.

What a `Node` of `model.graph(input_shape)` has: `op` is the first column, `inputs` are the second
in their order (`?`: may be `None`), `fields` the third, with defaults in parentheses. Pairs are
(height, width). Weights and statistics are constants, all else may be any value. `scale_shift` is
what passes make of batch norms and of products and sums with constants; `forward` records the
others.

| operator | inputs | fields |
| --- | --- | --- |
"""


def rows() -> Iterator[str]:
    """Yield a line for each operator."""
    for name, inputs, attributes in _core.operators():
        fields = [
            f"`{key}`: {kind}" + (f" (`{default!r}`)" if default is not None else "")
            for key, kind, default in attributes
        ]
        yield f"| `{name}` | {inputs} | {'; '.join(fields)} |\n"


if __name__ == "__main__":
    sys.exit(generated.main(FILE, "".join([HEAD, *rows()])))
