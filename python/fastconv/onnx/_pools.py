"""Pooling in ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv.onnx._dynamic import Call, Size, is_fixed
from fastconv.onnx._graph import Graph, operator


@operator("max_pool2d")
def _max_pool2d(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    x, kernel, dilation = inputs[0], call.attributes["kernel_size"], call.attributes["dilation"]
    before = call.attributes["padding"]
    after = _padding_after(call, dilation)
    if any(pad >= k for pad, k in zip(after, kernel, strict=True)):  # not allowed in MaxPool
        pads = graph.ints([0, 0, *before, 0, 0, *after])
        x = graph.node("Pad", x, pads, graph.constant(-np.inf))
        before, after = (0, 0), [0, 0]
    return graph.node(
        "MaxPool",
        x,
        kernel_shape=kernel,
        strides=call.attributes["stride"],
        dilations=dilation,
        pads=[*before, *after],
    )


@operator("avg_pool2d")
def _avg_pool2d(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    x, padding = inputs[0], call.attributes["padding"]
    before, after = padding, _padding_after(call)
    counted = call.attributes["count_include_pad"] and any(padding)
    if counted and after != [*padding]:
        # As zeros of the image; what ceil_mode adds behind them is never counted.
        x = graph.node("Pad", x, graph.ints([0, 0, *padding] * 2))
        before, after = (0, 0), [n - pad for n, pad in zip(after, padding, strict=True)]
        counted = False
    return graph.node(
        "AveragePool",
        x,
        kernel_shape=call.attributes["kernel_size"],
        strides=call.attributes["stride"],
        pads=[*before, *after],
        count_include_pad=int(counted),
    )


def _padding_after(call: Call, dilation: Sequence[int] = (1, 1)) -> list[int]:
    """Return the padding under which flooring gives the windows of ceil_mode.

    Libraries differ in ceil_mode. It rounds up, which ``stride - 1`` more elements do, but has no
    window that begins behind the image and its padding: what ``window - 1`` elements leave out.
    Fixed sizes may need less.
    """
    padding: Sequence[int] = call.attributes["padding"]
    if not call.attributes["ceil_mode"]:
        return list(padding)
    after = []
    for axis, (size, out) in enumerate(zip(call.in_sizes()[2:], call.out_sizes()[2:], strict=True)):
        pad, stride = padding[axis], call.attributes["stride"][axis]
        reach = dilation[axis] * (call.attributes["kernel_size"][axis] - 1)  # window - 1
        if is_fixed(size):
            after.append(max(pad, (out[0] - 1) * stride + reach + 1 - size[0] - pad))
        else:
            after.append(min(pad + stride - 1, reach))
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
    for size, target in zip(sizes, out, strict=True):
        if size != target and set(target) != {1} and not (is_fixed(size) and is_fixed(target)):
            raise ValueError(
                f"the output size {target[0]} divides a dynamic axis into windows that ONNX cannot "
                f"say: only the output size 1 can have dynamic input"
            )
    if (
        sizes != out
        and all(map(is_fixed, sizes))
        and all(n[0] % m[0] == 0 for n, m in zip(sizes, out, strict=True))
    ):
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
