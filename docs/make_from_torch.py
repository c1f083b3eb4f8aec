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
argument of torch that fastconv lacks is never ignored: if its value would change the result, it is
an error that says what to do instead. `tests/oracle/test_torch_signatures_oracle.py` compares this
with torch's own signatures.

If NumPy and torch mean different things by one name, NumPy's meaning counts:

| | here, as in NumPy | in torch |
| --- | --- | --- |
| `x.transpose(...)` | takes all axes; `x.swapaxes(1, 2)` exchanges two | exchanges two |
| `x.squeeze(1)` | an error unless that axis has size 1 | leaves another size alone |
| `x.mean(axis)`, `x.sum(axis)` | an int or a tuple, and `keepdims` | also a list, and `keepdim` |
| `max(x, axis)`, `min(x, axis)` | the values; `argmax` gives the indices | a pair of both |
| `x.var(axis)`, `x.std(axis)` | divide by the number of elements | divide by one less |
| `x.repeat(2, 1)` | each element of axis 1 twice | all of `x` twice along axis 0 |
| `take(x, i, axis)` | takes along an axis, as `index_select` | takes from the flat array |
| `scatter_add(x, i, u, axis)` | is `numpy.add.at`, or `index_add` | needs an index an element |
| `x.size` | a number; symbolic values lack it | a function that returns the shape |
| `softmax(x)` | along the last axis | by the number of dimensions, with a warning |

`inplace=True` is accepted and writes nothing: use what is returned. `+=`, `-=`, `*=` and `/=`
change the array itself, as in NumPy: all variables that refer to it see the change. On inputs of
`forward` they are errors. While a network is recorded, they are also errors on views (`x[:, 1:]`,
`x.reshape(...)` and the like), on values that have views, and on values without dimensions. Write
`x = x + y`, or begin with `x.copy()`.

## Functions

The first column has the arguments that may be passed by place; docstrings have those that are
passed by name alone, such as `eps` and `out`. The second column lists other names and arguments of
torch that are accepted too. `no x` marks an argument of torch that is an error here.
"""

ARGUMENTS = """
## Arguments without a counterpart

These arguments are accepted with the values of the second column, which change nothing at
inference. All other values are errors, which say what the third column says.

| argument | values | instead of others |
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

Torch's methods are errors, and so are names that end in `_`, such as `relu_`. The message names
what works on arrays and on symbolic values. A number or array of another dtype is an error if NumPy
would compute in float64 with it: in a float32 network, write `x * float(numpy.sqrt(2))`.

Random numbers are errors too: they would be drawn once, when the network is compiled. Pass them as
an input. One kind is not noticed: single numbers (a slope, the toss of a coin) from a generator
that fastconv cannot find. It finds the global generators of NumPy, Python and torch, those that
modules hold, and those in variables of `forward` and of functions that `forward` names.

The table says what to write instead of torch's functions and methods. Where NumPy has the name too,
NumPy's arguments work.

| torch | write |
| --- | --- |
"""

MODULES = """
## Modules

- No `super().__init__()` and no `nn.Parameter` is needed: an array that is assigned is a parameter,
  and so is a tensor in host memory. If it replaces a parameter, it must have the same shape,
  and is converted to the same dtype. Values that would take part in the computation but not be
  saved are a `TypeError`: lists of modules (use `nn.ModuleList`), lists of arrays (use
  `nn.ParameterList`), arrays of integers, tensors on a device.
- `load_state_dict(torch_module.state_dict())` takes torch's tensors; `fastconv.weights.load(path)`
  reads torch's files without torch.
- There is only inference: `eval()` and `train(False)` return the module, `train()` is an error.
- `to`, `float`, `double`, `cpu` convert or return the module; a device is an argument of `compile`.

| torch | use |
| --- | --- |
"""

MISSING = """
Names of `torch.nn` that `fastconv.nn` lacks. Others are errors too, which name a general way:

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
        shown = shown or "never accepted"
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
