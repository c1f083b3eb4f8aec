"""Arithmetic, comparisons and functions of single elements in ONNX."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from fastconv.onnx._dynamic import Call
from fastconv.onnx._graph import Graph, operator
from fastconv.ops._programs import recognise

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


def _trunc(graph: Graph, x: str | None) -> str:
    negative = graph.node("Less", x, graph.constant(0))
    return graph.node("Where", negative, graph.node("Ceil", x), graph.node("Floor", x))


_COMPOSED: dict[str, Callable[..., str]] = {
    "not_equal": lambda graph, a, b: graph.node("Not", graph.node("Equal", a, b)),
    "clip": lambda graph, x, low, high: graph.node("Min", graph.node("Max", x, low), high),
    "square": lambda graph, x: graph.node("Mul", x, x),
    "rsqrt": lambda graph, x: graph.node("Reciprocal", graph.node("Sqrt", x)),
    "expm1": lambda graph, x: graph.node("Sub", graph.node("Exp", x), graph.constant(1)),
    "log1p": lambda graph, x: graph.node("Log", graph.node("Add", x, graph.constant(1))),
    "trunc": _trunc,
}
"""`clip` is Clip only where its bounds are single numbers."""


def _instruction(graph: Graph, name: str, inputs: Sequence[str | None]) -> str:
    if name in _NAMES:
        return graph.node(_NAMES[name], *inputs)
    return _COMPOSED[name](graph, *inputs)


@operator(*_NAMES, *_COMPOSED)
def _single(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return _instruction(graph, call.node.op, inputs)


# ---- Programs ------------------------------------------------------------------------------------


def _threshold(graph: Graph, x: str, threshold: float, value: float) -> str | None:
    return graph.node("ThresholdedRelu", x, alpha=threshold) if value == 0 else None


def _softplus(graph: Graph, x: str, beta: float, threshold: float) -> str:
    scaled = x if beta == 1 else graph.node("Mul", x, graph.constant(beta))
    y = graph.node("Softplus", scaled)
    y = y if beta == 1 else graph.node("Div", y, graph.constant(beta))
    if threshold >= 20:  # where the two differ by less than float32 can tell
        return y
    return graph.node("Where", graph.node("Greater", scaled, graph.constant(threshold)), x, y)


_FUNCTIONS: dict[str, Callable[..., str | None]] = {
    "celu": lambda graph, x, alpha: graph.node("Celu", x, alpha=alpha),
    "elu": lambda graph, x, alpha: graph.node("Elu", x, alpha=alpha),
    "glu": lambda graph, x, gates: graph.node("Mul", x, graph.node("Sigmoid", gates)),
    "hardshrink": lambda graph, x, lambd: graph.node("Shrink", x, lambd=lambd, bias=0.0),
    "hardtanh": lambda graph, x, min_val, max_val: graph.node(
        "Clip", x, graph.constant(min_val), graph.constant(max_val)
    ),
    "logsigmoid": lambda graph, x: graph.node("Neg", graph.node("Softplus", graph.node("Neg", x))),
    "prelu": lambda graph, x, slopes: graph.node("PRelu", x, slopes),
    "selu": lambda graph, x: graph.node("Selu", x),
    "softplus": _softplus,
    "softshrink": lambda graph, x, lambd: graph.node("Shrink", x, lambd=lambd, bias=lambd),
    "softsign": lambda graph, x: graph.node("Softsign", x),
    "tanhshrink": lambda graph, x: graph.node("Sub", x, graph.node("Tanh", x)),
    "threshold": _threshold,
}
"""By function of `fastconv.ops`: of its inputs and numbers; `None` where ONNX lacks it."""


@operator("pointwise")
def _program(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    program = call.attributes["program"]
    if (known := recognise(program)) is not None:
        name, numbers = known
        if (y := _FUNCTIONS[name](graph, *inputs, **numbers)) is not None:
            return y
    values: dict[str, str | None] = {f"x{i}": name for i, name in enumerate(inputs)}
    y = ""
    for result, name, operands in re.findall(r"(?:(\w+) = )?(\w+)\(([^)]*)\)", program):
        words = operands.split(", ")
        given = [values[w] if w in values else graph.constant(float(w)) for w in words]
        values[result] = y = _instruction(graph, name, given)
    return y
