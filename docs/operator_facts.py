"""What docs/operators.md says of an operator, found out by compiling and exporting its sample."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from fastconv import _core
from fastconv.graph import Graph, Node
from fastconv.onnx import _export  # noqa: F401 - its imports register operators
from fastconv.onnx._dynamic import Call
from fastconv.onnx._graph import _BUILDERS
from fastconv.onnx._graph import Graph as OnnxGraph
from operator_samples import DTYPES, OPERANDS, Sample


class Unfit(ValueError):
    """An operator does not take these operands."""


def _add(graph: Any, op: str, inputs: Sequence[int | None], attributes: Any) -> int:
    try:
        return graph.add(op, inputs, attributes)
    except ValueError as error:
        raise Unfit(error) from error


def kinds_of(op: str, sample: Sample) -> str:
    """Return an f for each float among the operands, an m for each mask."""
    return OPERANDS.get(op, "f" * len(sample[0]))


def _place(kinds: str) -> int:
    """Return the place of the value among constants: the first float, if there is one."""
    return max(kinds.find("f"), 0)


def _constant(graph: Any, shape: Sequence[int], dtype: Any = np.float32) -> int:
    number = 0.375 if np.issubdtype(dtype, np.floating) else 1
    return graph.constant(np.full(shape, number, dtype))


def add_sample(
    graph: Any, op: str, sample: Sample, dtype: Any = np.float32, x: int | None = None
) -> int:
    """Add an operator of constants and one value to a graph: `x`, or else an input."""
    shapes, attributes = sample
    if op == "constant":
        return _constant(graph, shapes[0], dtype)
    kinds = kinds_of(op, sample)
    at = _place(kinds)
    inputs: list[int | None] = []
    for i, (shape, kind) in enumerate(zip(shapes, kinds, strict=True)):
        own = np.dtype(np.bool_ if kind == "m" else dtype)
        if shape is None:
            inputs.append(None)
        elif i != at:
            inputs.append(_constant(graph, shape, own))
        else:
            inputs.append(graph.input(shape, own) if x is None else x)
    return inputs[0] if op == "input" else _add(graph, op, inputs, attributes)


def dtypes(op: str, sample: Sample) -> dict[str, str]:
    """Return the dtypes that compile on the CPU, with that of the result for each."""
    found = {}
    for name, dtype in DTYPES.items():
        if "f" not in kinds_of(op, sample) and dtype != np.bool_:
            continue
        graph = _core.Graph()
        y = add_sample(graph, op, sample, dtype)
        try:
            _core.Network.plan(graph, [y], "fast", None)
        except ValueError as error:
            if "has no kernel for" not in str(error):
                raise
            continue
        result = graph.dtype(y)
        found[name] = result.names[0] if result.names else result.name
    return found


def onnx_nodes(op: str, sample: Sample) -> list[str]:
    """Return the kinds of the nodes that an ONNX file has for it, without the package onnx."""
    if op not in _BUILDERS:
        return []
    native = _core.Graph()
    native.set_outputs([add_sample(native, op, sample)])
    graph = Graph(native)
    make_node = SimpleNamespace(make_node=lambda kind, *_, **__: kind)
    with mock.patch.dict(sys.modules, onnx=SimpleNamespace(helper=make_node)):
        exported = OnnxGraph(graph, (), ())
    exported.add(Call(graph.outputs))
    return list(dict.fromkeys(exported._nodes))


# ---- Layouts -------------------------------------------------------------------------------------


def _steps(graph: Any, y: int) -> list[tuple[str, str]]:
    plan = _core.Network.plan(graph, [y], "fast", None)
    return [(step["op"], step["reason"]) for step in plan]


def _blocks(graph: Any, shape: Sequence[int]) -> int:
    """Add a convolution whose result is in channel blocks, and into which nothing can be fused."""
    weight = _constant(graph, (shape[1], shape[1], 1, 1))
    return graph.add("conv2d", [graph.input(shape, np.float32), weight], {"activation": "relu"})


def layout(op: str, sample: Sample) -> str:
    """Return what it reads and writes on the CPU; the words are those of the page's legend."""
    graph = _core.Graph()
    y = add_sample(graph, op, sample)
    if op in ("input", "constant") or graph.dtype(y) != np.float32:
        return "plain"
    if [step for step, _ in _steps(graph, graph.add("cumsum", [y], {"axis": 0}))] == ["cumsum"]:
        return "view"
    shape = sample[0][0]
    if shape is None or len(shape) != 4:
        return "plain"
    graph = _core.Graph()
    y = add_sample(graph, op, sample, x=_blocks(graph, shape))
    if ("copy", "to a contiguous array") in _steps(graph, y):
        return "plain"
    if len(graph.shape(y)) != 4:
        return "from blocks"
    both = graph.add("maximum", [y, _blocks(graph, graph.shape(y))], {})
    return "from blocks" if ("copy", "to channel blocks") in _steps(graph, both) else "blocks"


# ---- What is fused -------------------------------------------------------------------------------

_HOSTS = ("conv2d", "conv_transpose2d", "linear", "batch_norm", "exp", "less")
"""Operators that keep shapes, beside which each operator is tried."""

Way = Callable[[Any, str, Sample, int], int]
"""Adds an operator of a value to a graph, with some kind of other operands."""


def _host(graph: Any, op: str, x: int) -> int:
    shape = graph.shape(x)
    if len(shape) < 2:
        raise Unfit(f"{op} of {shape}")
    c, last = shape[1], shape[-1]
    own = {"linear": [(last, last)], "batch_norm": [(c,), (c,)], "exp": [], "less": [()]}
    shapes = own.get(op, [(c, c, 1, 1)])
    return _add(graph, op, [x, *(_constant(graph, shape) for shape in shapes)], {})


def _with_values(graph: Any, op: str, sample: Sample, x: int) -> int:
    kinds = kinds_of(op, sample)
    dtypes = (np.bool_ if kind == "m" else np.float32 for kind in kinds)
    values = [graph.input(graph.shape(x), dtype) for dtype in dtypes]
    values[_place(kinds)] = x
    return _add(graph, op, values, sample[1])


def _with_constants(shape_of: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Way:
    def way(graph: Any, op: str, sample: Sample, x: int) -> int:
        shape = graph.shape(x)
        shapes = [shape, *(shape_of(shape) for _ in sample[0][1:])]
        return add_sample(graph, op, (shapes, sample[1]), x=x)

    return way


def _as_in_sample(graph: Any, op: str, sample: Sample, x: int) -> int:
    return add_sample(graph, op, sample, x=x)


_WAYS: tuple[Way, ...] = (
    _as_in_sample,
    _with_values,
    _with_constants(lambda shape: ()),
    _with_constants(lambda shape: (shape[1], *(1 for _ in shape[2:]))),
    _with_constants(lambda shape: shape[-1:]),
)


def fusions(op: str, sample: Sample) -> set[tuple[str, str]]:
    """Return what the operator becomes, a word of the page's legend, and of which operator."""
    found: set[tuple[str, str]] = set()
    shape = sample[0][0]
    if op in ("input", "constant"):
        return found
    shapes = (shape, (3, *shape[1:2]))  # of a vector, channels are the last axis
    for of_x, host, way, first in itertools.product(shapes, _HOSTS, _WAYS, (False, True)):
        graph = _core.Graph()
        x = graph.input(of_x, np.float32)
        try:
            if first:
                alone = way(graph, op, sample, x)
                y = _host(graph, host, alone)
            else:
                y = way(graph, op, sample, _host(graph, host, x))
        except Unfit:
            continue
        computed = _computed(graph, y)
        of_itself = {n.op for n in _computed(graph, alone)} if first else set()
        if len(computed) == 1 and computed[0].op not in of_itself:
            found.add((_word(computed[0]), computed[0].op))
    return found


def _computed(graph: Any, value: int) -> list[Node]:
    return [n for n in Graph(graph.optimized([value])) if n.inputs]


def _word(node: Node) -> str:
    if node.op == "pointwise":
        return "program"
    if node.fields.get("activation", "none") != "none":
        return "activation"
    if any(node.fields.get("padding", ())):
        return "padding"
    return "residual" if len(node.inputs) > 3 and node.inputs[3] is not None else "weights"
