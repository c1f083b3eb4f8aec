"""Write docs/from-torch.md: what torch's users find under which name, from the tables in the code.

Usage: python docs/make_from_torch.py [--check]

With --check nothing is written: the exit code is 1 if the file is not what it would be.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import fastconv
import generated
from fastconv.graph._substitutes import SUBSTITUTES
from fastconv.nn import _SUBSTITUTES as LAYERS
from fastconv.nn._torch_methods import SUBSTITUTES as METHODS
from fastconv.ops._torch import NEUTRAL

FILE = Path(__file__).with_name("from-torch.md")

HEAD = """\
# Coming from torch

<!-- Written by docs/make_from_torch.py: change that, or the tables that it reads, and run it. -->

Functions are in `fastconv` (`import fastconv.ops as F`), layers in `fastconv.nn`; tensors are NumPy
arrays. Functions and layers take torch's arguments, by torch's names and at torch's places. An
argument that would change a result is never ignored: it is refused, with what to do instead.
`tests/oracle/test_torch_signatures_oracle.py` compares this with torch's own signatures.

If NumPy and torch mean different things by one name, NumPy's meaning counts:

| | here, as in NumPy | in torch |
| --- | --- | --- |
| `x.transpose(...)` | takes all axes; `x.swapaxes(1, 2)` exchanges two | exchanges two |
| `x.squeeze(1)` | an error unless that axis has size 1 | leaves another size alone |
| `x.mean(axis)`, `x.sum(axis)` | an int or a tuple, and `keepdims` | also a list, and `keepdim` |
| `max(x, axis)`, `min(x, axis)` | the values; `argmax` gives the indices | a pair of both |
| `x.var(axis)`, `x.std(axis)` | divided by the number of elements | by one less |
| `x.repeat(2, 1)` | each element of axis 1 twice | all of `x` twice along axis 0 |
| `take(x, i, axis)` | along an axis, as `index_select` | of the flat array alone |
| `scatter_add(x, i, u, axis)` | `numpy.add.at`, torch's `index_add` | an index for each element |
| `x.size` | a number: not in `forward`, write `x.shape` | a function that returns the shape |
| `softmax(x)` | along the last axis | by the number of dimensions, with a warning |

`inplace=True` is accepted and writes nothing: use what is returned. `x += y` and `x *= y` do write,
as in NumPy, and all names of `x` follow. They are errors on inputs of `forward`, and, while a
network is recorded, on a view (`x[:, 1:]`, `x.reshape(...)` and the like) and on a value that has
views. Write `x = x + y`, or begin with `x.copy()`.

## Functions

The first column is the signature here. The second column lists what is accepted besides.
"""

ARGUMENTS = """
## Arguments without a counterpart

They are accepted with the values that change nothing at inference.

| argument | values | else |
| --- | --- | --- |
"""

FORWARD = """
## In `forward`

`forward` runs in two ways: on arrays (`model.eager(x)`), and on symbolic values, which stand for
arrays while a network is recorded. Symbolic values have much of what NumPy's arrays have: `shape`,
`ndim`, `dtype`, `reshape`, `transpose`, `swapaxes`, `squeeze`, `ravel`, `flatten`, `take`,
`repeat`, `clip`, `round`, `mean`, `var`, `std`, `sum`, `prod`, `max`, `min`, `argmax`, `argmin`,
`cumsum`, `copy`, arithmetic, comparisons, basic slicing, and one constant array of integers as an
index, `x[:, [2, 0]]`. NumPy's functions of the same meaning work too, such as `numpy.exp`,
`numpy.concatenate`, `numpy.where`, `numpy.pad` and `numpy.linalg.norm`.

Torch's methods are errors that name what works on both, and so are names that end in `_`, as
`relu_`. Numbers and arrays of another dtype are errors if NumPy would go on in float64 with them,
such as `x * numpy.sqrt(2)` for float32: write `float(...)`.

Random numbers are errors too: they would be drawn once, when the network is compiled. Pass them as
an input. One kind goes unnoticed: numbers that are not an array in the network (a slope, the side
of a coin), if their generator is not NumPy's, Python's or torch's own, no module holds it, and it
is not a variable of `forward` or of a function that `forward` names.

| torch | write |
| --- | --- |
"""

MODULES = """
## Modules

- No `super().__init__()` and no `nn.Parameter` is needed: an array that is assigned is a parameter,
  and so is a tensor in host memory. If it replaces another, it must have the shape of that one, and
  takes its dtype. Values that would take part in the computation but not be saved are a
  `TypeError`: a list of modules (use `nn.ModuleList`) or of arrays (`nn.ParameterList`), integers,
  a tensor on a device.
- `load_state_dict(torch_module.state_dict())` takes torch's tensors; `fastconv.weights.load(path)`
  reads torch's files without torch.
- There is only inference: `eval()` returns the module, `train()` is an error.
- `to`, `float`, `double`, `cpu` convert or return the module; a device is an argument of `compile`.

| torch | use |
| --- | --- |
"""

MISSING = """
Layers that are missing:

| `torch.nn` | use |
| --- | --- |
"""


def functions() -> str:
    """Return the table of the ops that torch has, too."""
    lines = ["| fastconv | as in torch |", "| --- | --- |"]
    for name in sorted(fastconv.ops.__all__):
        function = getattr(fastconv, name)
        if not hasattr(function, "torch_signature"):
            continue
        own = inspect.signature(function).parameters.values()
        places = [p.name for p in own if p.kind is p.POSITIONAL_OR_KEYWORD]
        words = function.torch_signature.replace("*", "").split()
        spelled = [word.partition("=")[::2] for word in words if "=" in word]
        other = [f"`{theirs}` for `{ours}`" for theirs, ours in spelled]
        own_names = {p.name for p in own} | {theirs for theirs, _ in spelled}
        for word in (word for word in words if word.partition("=")[0] not in own_names):
            other.append(f"`{word}`" if NEUTRAL[word].values else f"no `{word}`")
        lines.append(f"| `{name}({', '.join(places)})` | {', '.join(other)} |")
    return "\n".join(lines) + "\n"


def neutral() -> Iterable[str]:
    """Yield a line for each argument that may change nothing."""
    for name, (values, substitute) in NEUTRAL.items():
        distinct = dict.fromkeys(values)  # 1 and 1.0 are one
        shown = ", ".join(f"`{v.__name__ if isinstance(v, type) else v}`" for v in distinct)
        shown = shown or "none"
        yield f"| `{name}` | {shown} | {substitute} |\n"


def table(substitutes: Mapping[str, str]) -> Iterable[str]:
    """Yield a line for each substitute, with the names that have it."""
    names: dict[str, list[str]] = {}
    for name, substitute in substitutes.items():
        names.setdefault(substitute, []).append(f"`{name}`")
    for substitute, group in names.items():
        yield f"| {', '.join(group)} | {substitute} |\n"


def document() -> str:
    """Return the page."""
    public = {name: text for name, text in METHODS.items() if not name.startswith("_")}
    return "".join(
        [
            *(HEAD, "\n", functions(), ARGUMENTS, *neutral(), FORWARD, *table(SUBSTITUTES)),
            *(MODULES, *table(public), MISSING, *table(LAYERS)),
        ]
    )


if __name__ == "__main__":
    sys.exit(generated.main(FILE, document()))
