"""`export`: the recorded operators of a module as an ONNX graph of opset 17.

The operators of ONNX: https://github.com/onnx/onnx/blob/main/docs/Operators.md
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv._recording import Operator, record
from fastconv._symbolic import Symbol
from fastconv.nn import Module

if TYPE_CHECKING:
    import onnx

OPSET = 17
_MAX_PROTOBUF = 2**31 - 2**20
"""Bytes of weights that one file can hold; more of them go into a file beside it."""

Pairs = tuple[tuple[int, int], tuple[int, int]]


def export(module: Module, path: str | os.PathLike[str], input_shape: Sequence[int]) -> None:
    """Write a module as an ONNX file, with its weights.

    The graph is what `forward` records for this shape: one operator of ONNX for one of fastconv
    where there is one, nothing folded or fused. Its weights have the names of the state dict, its
    input is called ``"x"`` and its output ``"y"``. Needs the extra ``[onnx]``.

    Parameters
    ----------
    module : Module
        A network that takes one array and returns one.
    path : str or os.PathLike
        The file. Weights of 2 GB and more go into a second one, ``path`` + ``".data"``.
    input_shape : sequence of int
        The shape of the input, which is fixed: usually (N, C, H, W).

    Raises
    ------
    ImportError
        The package onnx is not installed.
    ValueError
        The module does not take this shape, or uses an operator in a way that ONNX cannot say.
    TypeError
        `module` is no module.

    Examples
    --------
    >>> import fastconv
    >>> model = fastconv.create_model("lenet5")
    >>> fastconv.onnx.export(model, "lenet5.onnx", (1, 1, 32, 32))  # doctest: +SKIP
    """
    if not isinstance(module, Module):
        raise TypeError(f"module must be a fastconv.nn.Module, got {type(module).__name__}")
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "fastconv.onnx needs the package onnx; install it: pip install 'fastconv[onnx]'"
        ) from error

    recording = record(module, input_shape)
    graph = _Graph(module, recording.input)
    for operator in recording.operators:
        graph.add(operator)
    output = recording.outputs[""]
    if not isinstance(output, Symbol):
        raise ValueError(
            f"{type(module).__name__} returns {type(output).__name__}; only a network with one "
            f"output can be exported"
        )
    model = graph.model(output)
    external = sum(array.nbytes for array in graph.initializers.values()) > _MAX_PROTOBUF
    path = os.fspath(path)
    onnx.save(
        model,
        path,
        save_as_external_data=external,
        location=os.path.basename(path) + ".data" if external else None,
    )
    onnx.checker.check_model(path, full_check=True)


class _Graph:
    """An ONNX graph under construction; values are named ``v0``, ``v1``, ..."""

    def __init__(self, module: Module, x: Symbol) -> None:
        import onnx

        self._onnx = onnx
        self.dtype = x.dtype
        self.initializers: dict[str, NDArray[Any]] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._values: dict[int, str] = {x.id: "x"}
        self._x = x
        self._known = {id(array): key for key, array in module.state_dict().items()}
        self._alive: list[Any] = []  # so that no id is used twice
        self._count = 0

    def model(self, output: Symbol) -> onnx.ModelProto:
        """Return the finished graph."""
        helper = self._onnx.helper
        element = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        self._nodes.append(helper.make_node("Identity", [self._values[output.id]], ["y"]))
        graph = helper.make_graph(
            self._nodes,
            "fastconv",
            [helper.make_tensor_value_info("x", element, self._x.shape)],
            [helper.make_tensor_value_info("y", element, output.shape)],
            [self._onnx.numpy_helper.from_array(a, n) for n, a in self.initializers.items()],
        )
        opset = [helper.make_opsetid("", OPSET)]
        model: onnx.ModelProto = helper.make_model(
            graph, opset_imports=opset, ir_version=8, producer_name="fastconv"
        )
        return model

    def add(self, operator: Operator) -> None:
        """Add the nodes of a recorded operator."""
        build = _OPERATORS.get(operator.name)
        if build is None:
            raise ValueError(f"the operator {operator.name} cannot be exported to ONNX")
        names = [None if v is None else self._input(v) for v in operator.inputs]
        self._values[operator.output.id] = build(self, operator, names)

    def node(self, kind: str, *inputs: str | None, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = f"v{self._count}"
        self._count += 1
        names = ["" if name is None else name for name in inputs]
        self._nodes.append(self._onnx.helper.make_node(kind, names, [output], **attributes))
        return output

    def constant(self, values: Any, dtype: Any = None, name: str | None = None) -> str:
        """Add an array, by default of the dtype of the network, and return its name."""
        array = np.ascontiguousarray(values, self.dtype if dtype is None else dtype)
        name = name or f"c{len(self.initializers)}"
        self.initializers[name] = array.reshape(np.shape(values))
        return name

    def ints(self, values: Sequence[int]) -> str:
        """Add a list of integers, as shapes and axes are given."""
        return self.constant(list(values), np.int64)

    def activation(self, x: str, kind: str | None, slope: float = 0.01) -> str:
        """Apply an activation by fastconv's name."""
        simple = {"relu": "Relu", "hardswish": "HardSwish", "sigmoid": "Sigmoid", "tanh": "Tanh"}
        if kind in (None, "none"):
            return x
        if kind in simple:
            return self.node(simple[str(kind)], x)
        if kind == "relu6":
            return self.node("Clip", x, self.constant(0), self.constant(6))
        if kind == "leaky_relu":
            return self.node("LeakyRelu", x, alpha=slope)
        if kind == "hardsigmoid":
            return self.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)
        if kind == "silu":
            return self.node("Mul", x, self.node("Sigmoid", x))
        if kind == "gelu":  # the operator Gelu came with opset 20
            scaled = self.node("Div", x, self.constant(math.sqrt(2)))
            share = self.node("Add", self.node("Erf", scaled), self.constant(1))
            return self.node("Mul", self.node("Mul", x, share), self.constant(0.5))
        if kind == "gelu_tanh":
            cube = self.node("Mul", self.node("Mul", x, x), x)
            inner = self.node("Add", x, self.node("Mul", cube, self.constant(0.044715)))
            inner = self.node("Mul", inner, self.constant(math.sqrt(2 / math.pi)))
            share = self.node("Add", self.node("Tanh", inner), self.constant(1))
            return self.node("Mul", self.node("Mul", x, share), self.constant(0.5))
        raise ValueError(f"the activation {kind} cannot be exported to ONNX")

    def _input(self, value: Any) -> str:
        if isinstance(value, Symbol):
            return self._values[value.id]
        name = self._known.get(id(value))
        if name is None:
            self._alive.append(value)
            name = self._known[id(value)] = self.constant(value)
        elif name not in self.initializers:
            self.constant(value, name=name)
        return name


Build = Callable[[_Graph, Operator, "list[str | None]"], str]
_OPERATORS: dict[str, Build] = {}


def _operator(*names: str) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        _OPERATORS.update(dict.fromkeys(names, build))
        return build

    return register


def _finish(graph: _Graph, y: str, residual: str | None, attributes: Mapping[str, Any]) -> str:
    if residual is not None:
        y = graph.node("Add", y, residual)
    return graph.activation(y, attributes.get("activation"))


def _in_shape(operator: Operator) -> tuple[int, ...]:
    x = operator.inputs[0]
    assert x is not None
    return tuple(x.shape)


def _pads(before: Sequence[int], after: Sequence[int]) -> list[int]:
    return [*before, *after]


@_operator("conv2d")
def _conv2d(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    x, weight, bias, residual = inputs
    attributes = operator.attributes
    kernel = _weight_shape(operator)[2:]
    pads = _conv_padding(
        attributes["padding"],
        _in_shape(operator)[2:],
        kernel,
        attributes["stride"],
        attributes["dilation"],
    )
    y = graph.node(
        "Conv",
        *(x, weight, bias) if bias else (x, weight),
        kernel_shape=kernel,
        strides=attributes["stride"],
        dilations=attributes["dilation"],
        group=attributes["groups"],
        pads=_pads(*zip(*pads, strict=True)),
    )
    return _finish(graph, y, residual, attributes)


def _weight_shape(operator: Operator) -> tuple[int, ...]:
    weight = operator.inputs[1]
    assert weight is not None
    return tuple(weight.shape)


def _conv_padding(
    padding: Any, sizes: Sequence[int], kernel: Sequence[int], stride: Any, dilation: Any
) -> Pairs | list[tuple[int, int]]:
    """Return (before, after) of each axis, in numbers."""
    if padding == "valid":
        return [(0, 0)] * 2
    if padding != "same":
        pairs: Pairs = padding
        return pairs
    pads = []
    for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
        total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        pads.append((total // 2, total - total // 2))
    return pads


@_operator("conv_transpose2d")
def _conv_transpose2d(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    x, weight, bias = inputs
    attributes = operator.attributes
    y = graph.node(
        "ConvTranspose",
        *(x, weight, bias) if bias else (x, weight),
        kernel_shape=_weight_shape(operator)[2:],
        strides=attributes["stride"],
        dilations=attributes["dilation"],
        group=attributes["groups"],
        pads=_pads(attributes["padding"], attributes["padding"]),
        output_padding=attributes["output_padding"],
    )
    return _finish(graph, y, None, attributes)


@_operator("linear")
def _linear(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    x, weight, bias, residual = inputs
    if len(_in_shape(operator)) == 2:
        y = graph.node("Gemm", *(x, weight, bias) if bias else (x, weight), transB=1)
    else:
        y = graph.node("MatMul", x, graph.node("Transpose", weight, perm=[1, 0]))
        y = y if bias is None else graph.node("Add", y, bias)
    return _finish(graph, y, residual, operator.attributes)


@_operator("batch_norm")
def _batch_norm(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    x, mean, var, weight, bias = inputs
    channels = _in_shape(operator)[1]
    weight = weight or graph.constant(np.ones(channels))
    bias = bias or graph.constant(np.zeros(channels))
    eps = operator.attributes["eps"]
    y = graph.node("BatchNormalization", x, weight, bias, mean, var, epsilon=eps)
    return _finish(graph, y, None, operator.attributes)


@_operator("layer_norm")
def _layer_norm(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    x, weight, bias = inputs
    sizes = operator.attributes["normalized_shape"]
    weight = weight or graph.constant(np.ones(sizes))
    bias = bias or graph.constant(np.zeros(sizes))
    eps = operator.attributes["eps"]
    return graph.node("LayerNormalization", x, weight, bias, axis=-len(sizes), epsilon=eps)


@_operator("local_response_norm")
def _local_response_norm(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    size, alpha, beta, k = (operator.attributes[key] for key in ("size", "alpha", "beta", "k"))
    if size % 2 == 0:
        raise ValueError(
            f"local_response_norm with size={size} cannot be exported: ONNX places windows of even "
            f"size differently"
        )
    return graph.node("LRN", inputs[0], size=size, alpha=alpha, beta=beta, bias=k)


@_operator("activation")
def _activation(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    assert inputs[0] is not None
    slope = operator.attributes.get("negative_slope", 0.01)
    return graph.activation(inputs[0], operator.attributes["kind"], slope)


@_operator("add", "multiply")
def _binary(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    return graph.node("Add" if operator.name == "add" else "Mul", *inputs)


@_operator("max_pool2d")
def _max_pool2d(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    attributes = operator.attributes
    return graph.node(
        "MaxPool",
        inputs[0],
        kernel_shape=attributes["kernel_size"],
        strides=attributes["stride"],
        dilations=attributes["dilation"],
        pads=_pool_pads(operator, attributes["padding"], attributes["dilation"]),
    )


@_operator("avg_pool2d")
def _avg_pool2d(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    attributes = operator.attributes
    x, padding, sizes = inputs[0], attributes["padding"], _in_shape(operator)[2:]
    if attributes["count_include_pad"] and any(padding):
        # As zeros of the image; what ceil_mode adds behind them is never counted.
        x = graph.node("Pad", x, graph.ints([0, 0, *padding] * 2))
        sizes = tuple(size + 2 * pad for size, pad in zip(sizes, padding, strict=True))
        padding = (0, 0)
    return graph.node(
        "AveragePool",
        x,
        kernel_shape=attributes["kernel_size"],
        strides=attributes["stride"],
        pads=_pool_pads(operator, padding, (1, 1), sizes),
    )


def _pool_pads(
    operator: Operator,
    padding: Sequence[int],
    dilation: Sequence[int],
    sizes: Sequence[int] | None = None,
) -> list[int]:
    """Padding under which flooring gives the output's size, so that ceil_mode is not needed."""
    attributes = operator.attributes
    after = []
    for axis, size in enumerate(_in_shape(operator)[2:] if sizes is None else sizes):
        last = (operator.output.shape[2 + axis] - 1) * attributes["stride"][axis]
        window = dilation[axis] * (attributes["kernel_size"][axis] - 1) + 1
        after.append(max(padding[axis], last + window - size - padding[axis]))
    return _pads(padding, after)


@_operator("adaptive_avg_pool2d")
def _adaptive_avg_pool2d(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    sizes, targets = _in_shape(operator)[2:], operator.output.shape[2:]
    if tuple(targets) == (1, 1):
        return graph.node("GlobalAveragePool", inputs[0])
    # The mean of each window, as a product with a matrix from either side.
    rows, columns = (_averages(size, out) for size, out in zip(sizes, targets, strict=True))
    y = graph.node("MatMul", graph.constant(rows), inputs[0])
    return graph.node("MatMul", y, graph.constant(columns.T))


def _windows(size: int, out: int) -> list[tuple[int, int]]:
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def _averages(size: int, out: int) -> NDArray[np.float64]:
    matrix = np.zeros((out, size))
    for i, (begin, end) in enumerate(_windows(size, out)):
        matrix[i, begin:end] = 1 / (end - begin)
    return matrix


@_operator("adaptive_max_pool2d")
def _adaptive_max_pool2d(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    y = inputs[0]
    for axis in (2, 3):
        size, out = _in_shape(operator)[axis], operator.output.shape[axis]
        parts = []
        for begin, end in _windows(size, out):
            part = graph.node(
                "Slice", y, graph.ints([begin]), graph.ints([end]), graph.ints([axis])
            )
            parts.append(graph.node("ReduceMax", part, axes=[axis], keepdims=1))
        y = graph.node("Concat", *parts, axis=axis)
    assert y is not None
    return y


@_operator("mean")
def _mean(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    axes = [int(axis) for axis in operator.attributes["axis"]]
    return graph.node(
        "ReduceMean", inputs[0], axes=axes, keepdims=int(operator.attributes["keepdims"])
    )


@_operator("reshape")
def _reshape(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    return graph.node("Reshape", inputs[0], graph.ints(operator.output.shape))


@_operator("permute")
def _permute(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    return graph.node("Transpose", inputs[0], perm=operator.attributes["order"])


@_operator("slice")
def _slice(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    start, stop, step = (operator.attributes[key] for key in ("start", "stop", "step"))
    # A stop of -1 with a negative step means "down to the first", which ONNX says with a minimum.
    stop = [-(2**62) if s < 0 and e < 0 else e for e, s in zip(stop, step, strict=True)]
    axes = graph.ints(range(len(start)))
    return graph.node(
        "Slice", inputs[0], graph.ints(start), graph.ints(stop), axes, graph.ints(step)
    )


@_operator("concat")
def _concat(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    return graph.node("Concat", *inputs, axis=operator.attributes["axis"])


@_operator("pad")
def _pad(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    mode = operator.attributes["mode"]
    pads = graph.ints(_pads(*zip(*operator.attributes["pad"], strict=True)))
    if mode == "constant":
        return graph.node("Pad", inputs[0], pads, graph.constant(operator.attributes["value"]))
    return graph.node("Pad", inputs[0], pads, mode="edge" if mode == "replicate" else mode)


@_operator("softmax")
def _softmax(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    kind = "LogSoftmax" if operator.attributes["log"] else "Softmax"
    return graph.node(kind, inputs[0], axis=operator.attributes["axis"])


@_operator("interpolate")
def _interpolate(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    attributes = operator.attributes
    mode: dict[str, str] = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    if attributes["mode"] == "bilinear":
        corners = attributes["align_corners"]
        coordinates = "align_corners" if corners else "half_pixel"
        mode = {"mode": "linear", "coordinate_transformation_mode": coordinates}
    sizes = zip(_in_shape(operator)[2:], operator.output.shape[2:], strict=True)
    steps = [s or n / out for s, (n, out) in zip(attributes["scale"], sizes, strict=True)]
    scales = graph.constant([1, 1, *(1 / step for step in steps)], np.float32)
    shape = graph.ints(operator.output.shape)
    if any(attributes["scale"]):
        return graph.node("Resize", inputs[0], None, scales, **mode)
    return graph.node("Resize", inputs[0], None, None, shape, **mode)


@_operator("channel_shuffle")
def _channel_shuffle(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    n, c, *rest = operator.output.shape
    groups = operator.attributes["groups"]
    y = graph.node("Reshape", inputs[0], graph.ints([n, groups, c // groups, *rest]))
    y = graph.node("Transpose", y, perm=[0, 2, 1, *range(3, 3 + len(rest))])
    return graph.node("Reshape", y, graph.ints([n, c, *rest]))


@_operator("pixel_shuffle")
def _pixel_shuffle(graph: _Graph, operator: Operator, inputs: list[str | None]) -> str:
    r = operator.attributes["upscale_factor"]
    return graph.node("DepthToSpace", inputs[0], blocksize=r, mode="CRD")
