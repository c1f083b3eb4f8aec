"""Which axes are dynamic, and which sizes inside a network follow from them.

Nothing in a recording says where a size came from: a reshape to (1, 64) may be meant for one image,
or for any batch. So a module is recorded again at other sizes of its dynamic axes. What is the same
in all recordings is constant; what changes has to be said in terms of sizes that the exported
network sees when it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from fastconv._arguments import as_axis
from fastconv.graph import Graph, Node
from fastconv.graph._recording import record
from fastconv.nn import Module

DynamicAxes = Mapping[str, Mapping[int, str] | Sequence[int]]

Size = tuple[int, ...]
"""The size of an axis in each of the recordings."""

_STEPS = (1, 2, 3, 4, 8, 16, 31, 32)
"""What is added to a size, for other sizes of its axis.

Networks divide sizes by powers of two up to 32, and round. From a multiple of 32, one more is the
least that can be rounded up, and 31 more the most that can be rounded down.
"""

_FIX = "Leave the axis out of dynamic_axes ({}: all sizes are fixed)"


def is_fixed(size: Size) -> bool:
    """Whether the size is the same in all recordings."""
    return len(set(size)) == 1


def parse(dynamic_axes: DynamicAxes | None, ranks: Mapping[str, int]) -> dict[str, dict[int, str]]:
    """Check the argument `dynamic_axes`; return the names of axes by input or output and axis.

    `ranks` are the numbers of dimensions by the names of inputs and outputs, the first of which is
    the input.
    """
    if dynamic_axes is None:
        x, rank = next(iter(ranks.items()))
        return {name: {0: "batch"} if name == x and rank > 1 else {} for name in ranks}
    if not isinstance(dynamic_axes, Mapping):
        raise TypeError(
            f"dynamic_axes must be a mapping such as {{'x': {{0: 'batch'}}}}, got "
            f"{type(dynamic_axes).__name__}"
        )
    parsed: dict[str, dict[int, str]] = {name: {} for name in ranks}
    for key, given in dynamic_axes.items():
        if key not in ranks:
            raise ValueError(
                f"dynamic_axes names {key!r}, which is neither the input 'x' nor the output 'y'"
            )
        what = f"dynamic_axes[{key!r}]"
        if isinstance(given, str) or not isinstance(given, Mapping | Sequence):
            raise TypeError(
                f"{what} must be a mapping from axes to names or a list of axes, got {given!r}"
            )
        names = given if isinstance(given, Mapping) else {}
        for i, value in enumerate(given):
            axis = as_axis(f"an axis of {what}", value, ranks[key])
            name = names.get(value, f"{key}_dynamic_axes_{i + 1}")  # as torch calls them
            if not isinstance(name, str) or not name:
                raise TypeError(f"{what} must give axis {axis} a name, got {name!r}")
            if axis in parsed[key]:
                raise ValueError(f"{what} names axis {axis} twice")
            parsed[key][axis] = name
    return parsed


@dataclass(frozen=True)
class Call:
    """An operator of a network, as it was recorded at every size."""

    nodes: Sequence[Node]
    """The first is that of the sizes that were asked for."""

    @property
    def node(self) -> Node:
        """The operator at the sizes that were asked for."""
        return self.nodes[0]

    @property
    def attributes(self) -> Mapping[str, Any]:
        """At the sizes that were asked for."""
        return self.node.fields

    def all(self, attribute: str) -> list[Any]:
        """Return an attribute at every size."""
        return [node.fields[attribute] for node in self.nodes]

    def in_sizes(self, i: int = 0) -> list[Size]:
        """Return the sizes of each axis of an input, by default the first."""
        return _sizes([node.inputs[i] for node in self.nodes])

    def out_sizes(self) -> list[Size]:
        """Return the sizes of each axis of the output."""
        return _sizes(self.nodes)


def _sizes(values: Sequence[Any]) -> list[Size]:
    return list(zip(*(value.shape for value in values), strict=True))


def record_calls(
    module: Module, base: Graph, axes: Mapping[int, str]
) -> tuple[dict[int, list[Size]], list[Call]]:
    """Record a module at other sizes of the named axes of its input.

    Returns the sizes of every value, by its id in `base`, and the operators.

    Raises
    ------
    ValueError
        If the module does not take other sizes, or does something else at them.
    """
    graphs = [base]
    shape = base.inputs[0].shape
    for name in dict.fromkeys(axes.values()):
        own = [axis for axis in axes if axes[axis] == name]
        sizes = sorted({shape[axis] for axis in own})
        if len(sizes) > 1:
            raise ValueError(f"dynamic_axes calls axes of the sizes {sizes} of 'x' {name!r}")
        graphs += _at_other_sizes(module, shape, own, name)
    for other in graphs[1:]:
        _compare(base, other)
    calls = [Call(nodes) for nodes in zip(*graphs, strict=True)]
    return (
        {call.node.id: call.out_sizes() for call in calls if not call.node.is_constant},
        [call for call in calls if call.node.inputs],
    )


def _at_other_sizes(
    module: Module, shape: Sequence[int], axes: Sequence[int], name: str
) -> list[Graph]:
    """Record at multiples of a size and at larger ones, which the module need not take."""
    size = shape[axes[0]]
    multiples = {2 * size, 3 * size}
    graphs = []
    for other in sorted(multiples.union(size + step for step in _STEPS)):
        sizes = [other if axis in axes else n for axis, n in enumerate(shape)]
        try:
            graphs.append(record(module, sizes).graph())
        except Exception as error:  # whatever forward raises at sizes that it does not take
            if other not in multiples:
                continue
            raise ValueError(
                f"axis {', '.join(map(str, axes))} of 'x' cannot be dynamic (dynamic_axes calls it "
                f"{name!r}): with the size {other} instead of {size}, {_layer(module, error)} "
                f"raises: {error}. {_FIX}"
            ) from error
    return graphs


def _layer(module: Module, error: BaseException) -> str:
    """Return the name of the innermost layer that an error came from."""
    paths = {id(child): path for path, child in module.named_modules()}
    found, trace = "", error.__traceback__
    while trace is not None:
        found = paths.get(id(trace.tb_frame.f_locals.get("self")), "") or found
        trace = trace.tb_next
    return f"the layer {found}" if found else type(module).__name__


def _compare(base: Graph, other: Graph) -> None:
    """Check that two recordings differ in sizes alone."""

    def ids(nodes: Iterable[Node | None]) -> list[int | None]:
        return [None if node is None else node.id for node in nodes]

    def differ(a: Node, b: Node) -> bool:
        if (a.op, a.ndim, ids(a.inputs)) != (b.op, b.ndim, ids(b.inputs)):
            return True
        return a.is_constant and not np.array_equal(base.array(a), other.array(b), equal_nan=True)

    pairs = list(zip(base, other, strict=False))
    # A constant is found out by the operator that takes it, whose layer it belongs to.
    different = {a.id for a, b in pairs if differ(a, b)}
    for a, _ in pairs:
        if a.is_constant or different.isdisjoint(
            [a.id, *(i for i in ids(a.inputs) if i is not None)]
        ):
            continue
        _refuse(base, other, a.name)
    if len(base) != len(other) or ids(base.outputs) != ids(other.outputs):
        _refuse(base, other, "")


def _refuse(base: Graph, other: Graph, layer: str) -> NoReturn:
    where = f"the layer {layer}" if layer else "forward"
    raise ValueError(
        f"{where} uses different operators or constants for an input of shape "
        f"{base.inputs[0].shape} and for one of {other.inputs[0].shape}, which one ONNX graph "
        f"cannot say. {_FIX}"
    )
