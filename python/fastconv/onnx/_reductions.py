"""Reductions and cumulative sums in ONNX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv.onnx._dynamic import Call
from fastconv.onnx._graph import Graph, operator

_KINDS = {"mean": "Mean", "prod": "Prod", "max": "Max", "min": "Min", "sum": "Sum"}


def _reduce(graph: Graph, kind: str, x: str | None, axes: list[int], keepdims: bool) -> str:
    if kind == "Sum":  # the only one whose axes are an input in this version of ONNX
        return graph.node("ReduceSum", x, graph.ints(axes), keepdims=int(keepdims))
    # No axes stand for all in ONNX; an array without dimensions has no others.
    given: dict[str, Any] = {"axes": axes} if axes else {}
    return graph.node(f"Reduce{kind}", x, keepdims=int(keepdims), **given)


@operator(*_KINDS)
def _plain(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    (x,) = inputs
    axes = [int(axis) for axis in call.attributes["axis"]]
    if not axes:  # which would stand for all in ONNX
        assert x is not None
        return x
    return _reduce(graph, _KINDS[call.node.op], x, axes, call.attributes["keepdims"])


@operator("argmax", "argmin")
def _index(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    (x,) = inputs
    kind = "ArgMax" if call.node.op == "argmax" else "ArgMin"
    axes = [int(axis) for axis in call.attributes["axis"]]
    keepdims = int(call.attributes["keepdims"])
    if len(axes) == 1:
        return graph.node(kind, x, axis=axes[0], keepdims=keepdims)
    y = graph.node(kind, graph.node("Reshape", x, graph.ints([-1])), axis=0, keepdims=0)
    return graph.node("Reshape", y, graph.ints([1] * len(axes))) if keepdims else y


@operator("norm")
def _norm(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    (x,) = inputs
    axes = [int(axis) for axis in call.attributes["axis"]]
    p, keepdims = float(call.attributes["ord"]), call.attributes["keepdims"]
    if p in (1, 2):
        return _reduce(graph, f"L{p:.0f}", x, axes, keepdims)
    if p == 0:
        return _reduce(graph, "Sum", graph.node("Abs", graph.node("Sign", x)), axes, keepdims)
    magnitudes = graph.node("Abs", x)
    if math.isinf(p):
        return _reduce(graph, "Max" if p > 0 else "Min", magnitudes, axes, keepdims)
    powers = graph.node("Pow", magnitudes, graph.constant(p))
    return graph.node("Pow", _reduce(graph, "Sum", powers, axes, keepdims), graph.constant(1 / p))


@operator("cumsum")
def _cumsum(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return graph.node(
        "CumSum",
        inputs[0],
        graph.constant(call.attributes["axis"], np.int64),
        exclusive=int(call.attributes["exclusive"]),
        reverse=int(call.attributes["reverse"]),
    )
