"""Arithmetic, comparisons and functions of single elements in ONNX."""

from __future__ import annotations

from fastconv.onnx._dynamic import Call
from fastconv.onnx._graph import Graph, operator

_NAMES = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "power": "Pow",
    "minimum": "Min",
    "maximum": "Max",
    "where": "Where",
    "equal": "Equal",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "logical_and": "And",
    "logical_or": "Or",
    "logical_xor": "Xor",
    "logical_not": "Not",
    "negative": "Neg",
    "abs": "Abs",
    "sign": "Sign",
    "reciprocal": "Reciprocal",
    "sqrt": "Sqrt",
    "exp": "Exp",
    "log": "Log",
    "erf": "Erf",
    "sin": "Sin",
    "cos": "Cos",
    "floor": "Floor",
    "ceil": "Ceil",
    "round": "Round",
}


@operator(*_NAMES)
def _one(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return graph.node(_NAMES[call.node.op], *inputs)


@operator("not_equal")
def _not_equal(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return graph.node("Not", graph.node("Equal", *inputs))


@operator("clip")  # whose bounds are single numbers in ONNX
def _clip(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    x, low, high = inputs
    return graph.node("Min", graph.node("Max", x, low), high)


@operator("square")
def _square(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return graph.node("Mul", inputs[0], inputs[0])


@operator("rsqrt")
def _rsqrt(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return graph.node("Reciprocal", graph.node("Sqrt", *inputs))


@operator("trunc")
def _trunc(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    negative = graph.node("Less", *inputs, graph.constant(0, call.node.dtype))
    return graph.node("Where", negative, graph.node("Ceil", *inputs), graph.node("Floor", *inputs))


@operator("expm1")
def _expm1(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    one = graph.constant(1, call.node.dtype)
    return graph.node("Sub", graph.node("Exp", *inputs), one)


@operator("log1p")
def _log1p(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return graph.node("Log", graph.node("Add", *inputs, graph.constant(1, call.node.dtype)))
