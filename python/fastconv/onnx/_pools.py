"""Pooling in ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastconv.onnx._dynamic import Call, Size, is_fixed
from fastconv.onnx._graph import Graph, operator


@operator("max_pool2d")
def _max_pool2d(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    dilation = call.attributes["dilation"]
    attributes = {**_windows(call, dilation), "dilations": dilation}
    return graph.node("MaxPool", inputs[0], **attributes)


@operator("avg_pool2d")
def _avg_pool2d(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    counted = call.attributes["count_include_pad"] and any(call.attributes["padding"])
    attributes = {**_windows(call, (1, 1), counted=counted), "count_include_pad": int(counted)}
    return graph.node("AveragePool", inputs[0], **attributes)


def _windows(call: Call, dilation: Sequence[int], *, counted: bool = False) -> dict[str, Any]:
    """Return the attributes of ONNX for the windows of a pool.

    Those of ceil_mode are said by padding with which flooring gives the output's size: libraries
    differ in ceil_mode. That takes sizes that are fixed, and padding that is not counted.
    """
    attributes = call.attributes
    padding: Sequence[int] = attributes["padding"]
    symmetric = (*padding, *padding)
    windows = {"kernel_shape": attributes["kernel_size"], "strides": attributes["stride"]}
    sizes = zip(*call.in_sizes()[2:], *call.out_sizes()[2:], strict=True)
    pads = {
        (*padding, *_padding_after(attributes, dilation, (h, w), (out_h, out_w)))
        for h, w, out_h, out_w in sizes
    }
    if len(pads) > 1 or (counted and symmetric not in pads):
        return {**windows, "pads": symmetric, "ceil_mode": 1}
    return {**windows, "pads": pads.pop()}


def _padding_after(
    attributes: Mapping[str, Any],
    dilation: Sequence[int],
    sizes: Sequence[int],
    out: Sequence[int],
) -> list[int]:
    after = []
    for axis in (0, 1):
        last = (out[axis] - 1) * attributes["stride"][axis]
        window = dilation[axis] * (attributes["kernel_size"][axis] - 1) + 1
        padding = attributes["padding"][axis]
        after.append(max(padding, last + window - sizes[axis] - padding))
    return after


@operator("adaptive_avg_pool2d", varying=["output_size"])
def _adaptive_avg_pool2d(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return _adaptive(graph, call, inputs[0], "AveragePool", "ReduceMean")


@operator("adaptive_max_pool2d", varying=["output_size"])
def _adaptive_max_pool2d(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return _adaptive(graph, call, inputs[0], "MaxPool", "ReduceMax")


def _adaptive(graph: Graph, call: Call, x: str | None, pool: str, reduce: str) -> str:
    sizes, out = call.in_sizes()[2:], call.out_sizes()[2:]
    if all(set(size) == {1} for size in out):
        return graph.node(f"Global{pool}", x)
    if sizes == out:
        return graph.node("Identity", x)
    for size, target in zip(sizes, out, strict=True):
        if size != target and set(target) != {1} and not (is_fixed(size) and is_fixed(target)):
            raise ValueError(
                f"the output size {target[0]} divides a dynamic axis into windows that ONNX cannot "
                f"say: only the output size 1 can have dynamic input"
            )
    if all(map(is_fixed, sizes)) and all(n[0] % m[0] == 0 for n, m in zip(sizes, out, strict=True)):
        kernel = [n[0] // m[0] for n, m in zip(sizes, out, strict=True)]
        return graph.node(pool, x, kernel_shape=kernel, strides=kernel)
    for axis, size, target in zip((2, 3), sizes, out, strict=True):
        if size != target:
            x = _divide(graph, x, axis, size, target, reduce)
    assert x is not None
    return x


def _divide(graph: Graph, x: str | None, axis: int, size: Size, out: Size, reduce: str) -> str:
    """Reduce windows along one axis."""
    if set(out) == {1}:
        return graph.node(reduce, x, axes=[axis], keepdims=1)
    parts = []
    for i in range(out[0]):
        begin, end = i * size[0] // out[0], -(-(i + 1) * size[0] // out[0])
        part = graph.node("Slice", x, graph.ints([begin]), graph.ints([end]), graph.ints([axis]))
        parts.append(graph.node(reduce, part, axes=[axis], keepdims=1))
    return graph.node("Concat", *parts, axis=axis)
