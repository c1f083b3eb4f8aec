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

The columns are the attributes of a `Node` of `model.graph(input_shape)`: `op`, `inputs` in their
order (`?`: may be `None`), and `fields`, with defaults in parentheses. Pairs are (height, width).
Weights and statistics are constants, but those of convolutions and `linear` may be any value, as
other inputs may. Passes make `scale_shift` of batch norms and of products and sums with constants,
and `pointwise` of several operators on single elements. `forward` records the others.

| operator | inputs | fields |
| --- | --- | --- |
"""


def rows() -> Iterator[str]:
    """Yield a line for each operator."""
    for name, _, inputs, attributes in _core.operators():
        fields = [
            f"`{key}`: {kind}" + (f" (`{default!r}`)" if default is not None else "")
            for key, kind, default in attributes
        ]
        yield f"| `{name}` | {inputs} | {'; '.join(fields)} |\n"


if __name__ == "__main__":
    sys.exit(generated.main(FILE, "".join([HEAD, *rows()])))
