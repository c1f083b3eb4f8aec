"""Write docs/operators.md: what the operators of graphs are, and where each of them runs.

Usage: python docs/make_operators.py [--check]

With --check nothing is written: the exit code is 1 if the file is not what it would be.
"""

from __future__ import annotations

import inspect
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fastconv
import generated
import operator_facts as facts
from fastconv import _core
from fastconv.ops._programs import PROGRAMS
from operator_samples import DTYPES, OTHER_SAMPLES, SAMPLES, Sample

FILE = Path(__file__).with_name("operators.md")

TORCH = {
    "clip": "clamp",
    "concat": "cat",
    "divide": "div",
    "equal": "eq",
    "gelu_tanh": "gelu(approximate='tanh')",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "max": "amax",
    "min": "amin",
    "multiply": "mul",
    "negative": "neg",
    "norm": "linalg.vector_norm",
    "not_equal": "ne",
    "power": "pow",
    "scatter_add": "index_add",
    "slice": "x[a:b:c]",
    "subtract": "sub",
    "take": "index_select",
}
"""Torch's names, where they differ: tests/oracle/test_opinfo_oracle.py computes with them."""

NOT_ON_CUDA = {
    *("group_norm", "sum", "prod", "max", "min", "argmax", "argmin", "norm", "cumsum"),
    *("grid_sample", "take", "tile", "scatter_add"),
}
PARTLY_ON_CUDA = {"interpolate", "matmul"}
"""What the CUDA back end lacks, which this must say without it: tests/test_docs.py asks it."""

HEAD = """\
# The operators of graphs

<!-- Written by docs/make_operators.py: change that, or the operators, and run it. -->

Graphs are made of these operators: each is the `op` of a `Node` of `model.graph(input_shape)`.
`forward` records all of them but `scale_shift`: a pass makes one of each batch norm, and of
products and sums with constants. Another pass makes `linear` of `matmul`, if its second operand is
a constant matrix. An `activation` has a line for each `kind`. A `pointwise` is a program of several
operators on single elements; functions of `fastconv` that are such programs have a line each.

A sample of each operator ([operator_samples.py](operator_samples.py)) is compiled, alone and beside
others, and exported. That gives the columns *ONNX*, *dtypes*, *layout* and *fused as*. The columns
*torch* and *runs on* are written by hand, and tests check them.

- **torch**: the function with the same meaning in `torch` or `torch.nn.functional`.
  [from-torch.md](from-torch.md) has the arguments.
- **ONNX**: the kinds of nodes that `fastconv.onnx.export` writes. Other arguments can need others.
- **dtypes**, on the CPU. *float* is float32 and float64, *any* is these and
  {others}.
  An arrow leads to the dtype of the result, if that is not the inputs'. On CUDA, networks take and
  return float32 and bool.
- **layout**, on the CPU. With several words it depends on the arguments. [Other
  rules](graph.md#lowering-for-cuda-devices) hold on CUDA.
  - *blocks*: takes images in [channel blocks](graph.md#lowering), and its result lies in them, too
  - *from blocks*: takes images in channel blocks, but its result is contiguous
  - *plain*: takes contiguous arrays; images in blocks are converted first
  - *view*: its result is the memory of its input, if that is contiguous
- **runs on**: the back ends. *In part*: some arguments are errors on CUDA.
- **fused as**: a [pass](graph.md#the-passes) can merge the operator with a neighbour, if nothing
  else uses the value that goes from one to the other. The words say what it becomes there:
"""

FUSED = {
    "activation": "the activation of the {} before it",
    "residual": "the residual of the {} before it, if the other summand is a computed value",
    "weights": "a part of the weights and bias of the {} before it, if its constants are single "
    "numbers or have one number for each channel",
    "padding": "the padding of the {} after it, if it adds zeros",
    "program": "a part of a {}, with neighbours that have this word too; on the CPU only",
}
"""What `operator_facts.fusions` means, of the operators that take it in."""

FIELDS = """
## Inputs and fields

`Node.inputs` are in this order. `?` marks what may be `None`, `...` any number of inputs.
`Node.fields` have defaults in parentheses. Pairs are (height, width). A program is a text such as
`t0 = add(x0, x1); exp(t0)`: `x0` and `x1` are the inputs, and the last instruction is the result.
These inputs must be constants: statistics, slopes, and the weights and biases of norms. All others
may be any value.

"""


class Row(NamedTuple):
    """An operator, or a function that it is with certain attributes."""

    op: str
    function: str
    sample: Sample


def rows() -> Iterator[Row]:
    """Yield what the table has a line for."""
    for op, _, _, attributes in _core.operators():
        shapes, given = SAMPLES[op]
        several = {kind: key for key, kind, default in attributes if default is None}
        if "a program" in several:
            for name, text in PROGRAMS.items():
                program = text.format(**numbers(name))
                inputs = len(set(re.findall(r"\bx\d", program)))
                yield Row(op, name, (shapes[:inputs], {**given, several["a program"]: program}))
            continue
        words = next((kind for kind in several if kind.startswith("one of ")), "")
        for word in words.removeprefix("one of ").split(", ") if words else [op]:
            attribute = {several[words]: word} if words else {}
            if word != "none":
                yield Row(op, word, (shapes, {**given, **attribute}))


def numbers(function: str) -> dict[str, float]:
    """Return numbers for the arguments of a program's function: its defaults, else 0."""
    parameters = inspect.signature(getattr(fastconv, function)).parameters.values()
    return {p.name: 0 if p.default is p.empty else p.default for p in parameters}


def torch_name(function: str) -> str:
    """Return torch's name of a function, or "" if it has none."""
    known = hasattr(getattr(fastconv, function, None), "torch_signature")
    return TORCH.get(function, function if known else "")


def dtypes(row: Row) -> str:
    """Return the dtypes in words."""
    found = facts.dtypes(row.op, row.sample)
    words = ", ".join(found)
    if found.keys() == DTYPES.keys():
        words = "any"
    elif found.keys() == {"float32", "float64"}:
        words = "float and bool" if "m" in facts.kinds_of(row.op, row.sample) else "float"
    results = {result for dtype, result in found.items() if result != dtype}
    return " → ".join([words, *results])


def samples(row: Row) -> list[Sample]:
    """Return the sample, and those of the operator that lie or run elsewhere."""
    return [row.sample, *OTHER_SAMPLES.get(row.op, [])]


def layouts(row: Row) -> str:
    """Return the words for its layouts."""
    return ", ".join(dict.fromkeys(facts.layout(row.op, sample) for sample in samples(row)))


def back_ends(op: str) -> str:
    """Return the back ends in words."""
    if op in NOT_ON_CUDA:
        return "CPU"
    return "CPU, CUDA in part" if op in PARTLY_ON_CUDA else "CPU, CUDA"


def document() -> str:
    """Return the page."""
    lines: list[str] = []
    hosts: dict[str, dict[str, None]] = {word: {} for word in FUSED}
    for row in rows():
        fused = facts.fusions(row.op, row.sample)
        for word, host in sorted(fused):
            hosts[word][host] = None
        cells = (
            f"`{row.op}`" + (f" {row.function}" if row.function != row.op else ""),
            torch_name(row.function),
            ", ".join(facts.onnx_nodes(row.op, row.sample)),
            dtypes(row),
            layouts(row),
            back_ends(row.op),
            ", ".join(word for word in FUSED if word in dict(fused)),
        )
        lines.append(f"| {' | '.join(cells)} |\n")
    columns = ("operator", "torch", "ONNX", "dtypes", "layout", "runs on", "fused as")
    return "".join(
        [
            HEAD.format(others=", ".join(d for d in DTYPES if d not in ("float32", "float64"))),
            *(bullet(word, either(taking)) for word, taking in hosts.items() if taking),
            f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n",
            *lines,
            *fields(),
        ]
    )


def bullet(word: str, operators: str) -> str:
    """Return the meaning of a word for these operators, as an item of an inner list."""
    text = f"*{word}*: {FUSED[word].format(operators)}"
    return textwrap.fill(text, 100, initial_indent="  - ", subsequent_indent="    ") + "\n"


def either(operators: dict[str, None]) -> str:
    """Return "`a`, `b` or `c`"."""
    *names, last = (f"`{name}`" for name in operators)
    return f"{', '.join(names)} or {last}" if names else last


def fields() -> Iterator[str]:
    """Yield the part on inputs and attributes; operators with the same ones share a line."""
    activations = ", ".join(_core.activations())

    def line(operator: tuple[str, str, str, Any]) -> str:
        _, _, inputs, attributes = operator
        shown = [
            f"`{key}`: {'an activation' if kind == f'one of {activations}' else kind}"
            + (f" (`{default!r}`)" if default is not None else "")
            for key, kind, default in attributes
        ]
        return f"{inputs} | {'; '.join(shown)} |\n"

    yield FIELDS
    text = (
        f"An activation is one of {activations}. The field `activation` can also be "
        f"`clip(low, high)`, or `prelu`, whose slopes are an input."
    )
    yield textwrap.fill(text, 100) + "\n\n| operator | inputs | fields |\n| --- | --- | --- |\n"
    for shared, operators in itertools.groupby(_core.operators(), line):
        yield f"| {', '.join(f'`{name}`' for name, *_ in operators)} | {shared}"


if __name__ == "__main__":
    sys.exit(generated.main(FILE, document()))
