"""Convolutions, linear layers, norms and activations in ONNX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.onnx._dynamic import Call, is_fixed
from fastconv.onnx._graph import Graph, operator


def _finish(graph: Graph, y: str, residual: str | None, attributes: Mapping[str, Any]) -> str:
    if residual is not None:
        y = graph.node("Add", y, residual)
    return _activate(graph, y, attributes.get("activation"))


def _kernel(call: Call) -> tuple[int, ...]:
    """Return the size of the kernel; weights may be values, whose sizes depend on the input's."""
    sizes = call.in_sizes(1)[2:]
    if not all(map(is_fixed, sizes)):
        raise ValueError("its kernel_size depends on the size of a dynamic axis")
    return tuple(size[0] for size in sizes)


@operator("conv2d", varying=["padding"])
def _conv2d(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    x, weight, bias, residual = inputs
    attributes = call.attributes
    kernel = _kernel(call)
    y = graph.node(
        "Conv",
        *(x, weight, bias) if bias else (x, weight),
        kernel_shape=kernel,
        strides=attributes["stride"],
        dilations=attributes["dilation"],
        group=attributes["groups"],
        **_conv_padding(call, kernel),
    )
    return _finish(graph, y, residual, attributes)


def _conv_padding(call: Call, kernel: Sequence[int]) -> dict[str, Any]:
    """Return the attributes of ONNX for the padding of a convolution."""
    paddings = call.all("padding")
    top, bottom, left, right = paddings[0]
    if all(padding == paddings[0] for padding in paddings):
        return {"pads": [top, left, bottom, right]}
    stride, dilation = call.attributes["stride"], call.attributes["dilation"]
    for shape, padding in zip(zip(*call.in_sizes()[2:], strict=True), paddings, strict=True):
        steps = zip(shape, kernel, stride, dilation, strict=True)
        totals = [max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0) for n, k, s, d in steps]
        if padding != tuple(n for t in totals for n in (t // 2, t - t // 2)):
            raise ValueError("its padding depends on the size of a dynamic axis")
    if any(d > 1 for d in dilation):
        raise ValueError(
            "padding='same' with both a stride and a dilation depends on the size of a dynamic "
            "axis in a way that ONNX Runtime does not take: pad with numbers"
        )
    return {"auto_pad": "SAME_UPPER"}


@operator("conv_transpose2d")
def _conv_transpose2d(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    x, weight, bias = inputs
    attributes = call.attributes
    padding, extra = attributes["padding"], attributes["output_padding"]
    after, rest = padding, (0, 0)
    if any(n >= stride for n, stride in zip(extra, attributes["stride"], strict=True)):
        # More than ONNX Runtime takes: less is cropped, and what is behind the sums is bias alone.
        after = [max(pad - n, 0) for pad, n in zip(padding, extra, strict=True)]
        rest = tuple(max(n - pad, 0) for pad, n in zip(padding, extra, strict=True))
        extra = (0, 0)
    y = graph.node(
        "ConvTranspose",
        *(x, weight, bias) if bias and not any(rest) else (x, weight),
        kernel_shape=_kernel(call),
        strides=attributes["stride"],
        dilations=attributes["dilation"],
        group=attributes["groups"],
        pads=[*padding, *after],
        output_padding=extra,
    )
    if any(rest):
        y = graph.node("Pad", y, graph.ints([0] * 6 + list(rest)))
        if bias:
            y = graph.node("Add", y, graph.node("Unsqueeze", bias, graph.ints([1, 2])))
    return _finish(graph, y, None, attributes)


@operator("linear")
def _linear(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    x, weight, bias, residual = inputs
    if len(call.in_sizes()) == 2:
        y = graph.node("Gemm", *(x, weight, bias) if bias else (x, weight), transB=1)
    else:
        y = graph.node("MatMul", x, graph.node("Transpose", weight, perm=[1, 0]))
        y = y if bias is None else graph.node("Add", y, bias)
    return _finish(graph, y, residual, call.attributes)


@operator("matmul")
def _matmul(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    return graph.node("MatMul", *inputs)


@operator("batch_norm")
def _batch_norm(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    x, mean, var, weight, bias = inputs
    channels = call.node.shape[1]
    weight = weight or graph.constant(np.ones(channels))
    bias = bias or graph.constant(np.zeros(channels))
    eps = float(call.attributes["eps"])
    y = graph.node("BatchNormalization", x, weight, bias, mean, var, epsilon=eps)
    return _finish(graph, y, None, call.attributes)


@operator("layer_norm")
def _layer_norm(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    x, weight, bias = inputs
    sizes = call.node.shape[call.attributes["begin"] :]
    if not all(map(is_fixed, call.out_sizes()[call.attributes["begin"] :])):
        raise ValueError("its normalized_shape depends on the size of a dynamic axis")
    weight = weight or graph.constant(np.ones(sizes))
    bias = bias or graph.constant(np.zeros(sizes))
    eps = float(call.attributes["eps"])
    return graph.node("LayerNormalization", x, weight, bias, axis=-len(sizes), epsilon=eps)


@operator("group_norm")
def _group_norm(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    x, weight, bias = inputs
    sizes, groups = call.in_sizes(), call.attributes["num_groups"]
    channels, eps = call.node.shape[1], float(call.attributes["eps"])
    if groups == channels and len(sizes) > 2:
        weight = weight or graph.constant(np.ones(channels))
        bias = bias or graph.constant(np.zeros(channels))
        return graph.node("InstanceNormalization", x, weight, bias, epsilon=eps)
    # The operator GroupNormalization came with opset 18.
    one, zero = (graph.constant(np.full(groups, value)) for value in (1, 0))
    y = graph.node("Reshape", x, graph.ints([0, groups, -1]))
    y = graph.node("InstanceNormalization", y, one, zero, epsilon=eps)
    y = graph.reshape(y, sizes[:1], sizes)
    for kind, vector in (("Mul", weight), ("Add", bias)):
        if vector is not None and len(sizes) > 2:
            vector = graph.node("Unsqueeze", vector, graph.ints(range(1, len(sizes) - 1)))
        y = y if vector is None else graph.node(kind, y, vector)
    return y


@operator("local_response_norm")
def _local_response_norm(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    x, size = inputs[0], call.attributes["size"]
    alpha, beta, k = (float(call.attributes[key]) for key in ("alpha", "beta", "k"))
    if size % 2:
        return graph.node("LRN", x, size=size, alpha=alpha, beta=beta, bias=k)
    # LRN would place windows of even size one channel further on.
    square = graph.node("Unsqueeze", graph.node("Mul", x, x), graph.ints([1]))
    mean = graph.node(
        "AveragePool",
        square,
        kernel_shape=[size, 1, 1],
        pads=[size // 2, 0, 0, (size - 1) // 2, 0, 0],
        count_include_pad=1,
    )
    energy = graph.node("Mul", graph.node("Squeeze", mean, graph.ints([1])), graph.constant(alpha))
    divisor = graph.node("Pow", graph.node("Add", energy, graph.constant(k)), graph.constant(beta))
    return graph.node("Div", x, divisor)


@operator("activation")
def _activation(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    assert inputs[0] is not None
    slope = float(call.attributes.get("negative_slope", 0.01))
    return _activate(graph, inputs[0], call.attributes["kind"], slope)


_ACTIVATIONS = {"relu": "Relu", "hardswish": "HardSwish", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def _activate(graph: Graph, x: str, kind: str | None, slope: float = 0.01) -> str:
    """Apply an activation by fastconv's name."""
    if kind in (None, "none"):
        return x
    if kind in _ACTIVATIONS:
        return graph.node(_ACTIVATIONS[str(kind)], x)
    if kind == "relu6":
        return graph.node("Clip", x, graph.constant(0), graph.constant(6))
    if kind == "leaky_relu":
        return graph.node("LeakyRelu", x, alpha=slope)
    if kind == "hardsigmoid":
        return graph.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    if kind == "silu":
        return graph.node("Mul", x, graph.node("Sigmoid", x))
    if kind == "mish":  # the operator Mish came with opset 18
        return graph.node("Mul", x, graph.node("Tanh", graph.node("Softplus", x)))
    if kind == "gelu":  # the operator Gelu came with opset 20
        scaled = graph.node("Div", x, graph.constant(math.sqrt(2)))
        share = graph.node("Add", graph.node("Erf", scaled), graph.constant(1))
        return graph.node("Mul", graph.node("Mul", x, share), graph.constant(0.5))
    if kind == "gelu_tanh":
        cube = graph.node("Mul", graph.node("Mul", x, x), x)
        inner = graph.node("Add", x, graph.node("Mul", cube, graph.constant(0.044715)))
        inner = graph.node("Mul", inner, graph.constant(math.sqrt(2 / math.pi)))
        share = graph.node("Add", graph.node("Tanh", inner), graph.constant(1))
        return graph.node("Mul", graph.node("Mul", x, share), graph.constant(0.5))
    raise ValueError(f"there is no operator of ONNX for the activation {kind}")


@operator("softmax", "log_softmax")
def _softmax(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    kind = "Softmax" if call.node.op == "softmax" else "LogSoftmax"
    return graph.node(kind, inputs[0], axis=call.attributes["axis"])
