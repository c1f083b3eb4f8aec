"""`Graph`: an ONNX graph under construction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv import graph as readable
from fastconv.graph import Node
from fastconv.onnx._dynamic import Call, Size, is_fixed

if TYPE_CHECKING:
    import onnx

OPSET = 17

Build = Callable[["Graph", Call, "list[str | None]"], str]
_BUILDERS: dict[str, tuple[Build, frozenset[str]]] = {}


def operator(*names: str, varying: Sequence[str] = ()) -> Callable[[Build], Build]:
    """Register what builds the nodes of these operators; it returns the name of their result.

    `varying` are the attributes that may depend on the size of a dynamic axis.
    """

    def register(build: Build) -> Build:
        _BUILDERS.update(dict.fromkeys(names, (build, frozenset(varying))))
        return build

    return register


class Graph:
    """An ONNX graph under construction; values are named ``v0``, ``v1``, ..."""

    def __init__(
        self, recorded: readable.Graph, keys: Collection[str], sizes: Sequence[Size]
    ) -> None:
        import onnx

        self._onnx = onnx
        self._recorded = recorded
        x = recorded.inputs[0]
        self.dtype = x.dtype
        self.initializers: dict[str, NDArray[Any]] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._values: dict[int, str] = {x.id: "x"}
        self._taken = {"x", "y", *keys}
        self._count = 0
        self._owner = ""
        self._places: dict[Size, tuple[str, int]] = {}  # a value and an axis of each dynamic size
        self._note_sizes("x", sizes)

    def model(
        self, output: Node, x: Sequence[int | str | None], y: Sequence[int | str | None]
    ) -> onnx.ModelProto:
        """Return the finished graph; `x` and `y` are the sizes or names of the axes."""
        helper = self._onnx.helper
        element = [helper.np_dtype_to_tensor_dtype(dtype) for dtype in (self.dtype, output.dtype)]
        self._nodes.append(helper.make_node("Identity", [self._values[output.id]], ["y"], "y"))
        graph = helper.make_graph(
            self._nodes,
            "fastconv",
            [helper.make_tensor_value_info("x", element[0], x)],
            [helper.make_tensor_value_info("y", element[1], y)],
            [self._onnx.numpy_helper.from_array(a, n) for n, a in self.initializers.items()],
        )
        opset = [helper.make_opsetid("", OPSET)]
        model: onnx.ModelProto = helper.make_model(
            graph, opset_imports=opset, ir_version=8, producer_name="fastconv"
        )
        return model

    def add(self, call: Call) -> None:
        """Add the nodes of a recorded operator."""
        node = call.node
        self._owner = node.name
        try:
            if node.op not in _BUILDERS:
                raise ValueError("there is no operator of ONNX for it")
            build, may_vary = _BUILDERS[node.op]
            for key, value in call.attributes.items():
                varies = any(repr(other) != repr(value) for other in call.all(key))  # NaN is NaN
                if key not in may_vary and varies:
                    raise ValueError(f"its {key} depends on the size of a dynamic axis")
            names = [None if value is None else self._input(value) for value in node.inputs]
            y = self._values[node.id] = build(self, call, names)
        except ValueError as error:
            where = f"the layer {node.name}" if node.name else "the network"
            raise ValueError(f"{node.op} of {where} cannot be exported to ONNX: {error}") from error
        self._note_sizes(y, call.out_sizes())

    def node(self, kind: str, *inputs: str | None, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = self._new("v")
        names = ["" if name is None else name for name in inputs]
        name = "/".join(filter(None, (self._owner.replace(".", "/"), f"{kind}_{output}")))
        self._nodes.append(self._onnx.helper.make_node(kind, names, [output], name, **attributes))
        return output

    def constant(self, values: Any, dtype: Any = None, name: str | None = None) -> str:
        """Add an array, by default of the dtype of the network, and return its name."""
        array = np.ascontiguousarray(values, self.dtype if dtype is None else dtype)
        name = name or self._new("c")
        self.initializers[name] = array.reshape(np.shape(values))
        return name

    def ints(self, values: Sequence[int | Size]) -> str:
        """Add a list of integers, as shapes and axes are given; dynamic ones are looked up.

        Raises
        ------
        ValueError
            If no axis of the values so far has one of the dynamic sizes.
        """
        if all(isinstance(value, int) for value in values):
            return self.constant(list(values), np.int64)
        parts = []
        for value in values:
            if isinstance(value, int):
                parts.append(self.constant([value], np.int64))
                continue
            if value not in self._places:
                raise ValueError(
                    f"a size, {value[0]} here, depends on dynamic axes, but is that of no array"
                )
            array, axis = self._places[value]
            parts.append(self.node("Shape", array, start=axis, end=axis + 1))
        return self.node("Concat", *parts, axis=0)

    def reshape(self, x: str | None, source: Sequence[Size], target: Sequence[Size]) -> str:
        """Reshape; dynamic sizes stay dynamic."""
        if any(0 in size for size in target):
            raise ValueError("the array has no elements")
        shape: list[int | Size] = []
        for axis, size in enumerate(target):
            if is_fixed(size):
                shape.append(size[0])
            else:  # in ONNX, 0 stands for the size that this axis has
                shape.append(0 if axis < len(source) and source[axis] == size else size)
        left = [axis for axis, size in enumerate(shape) if isinstance(size, tuple)]
        if left:  # one of them follows from the others
            unknown = [axis for axis in left if shape[axis] not in self._places]
            shape[(unknown or left)[-1]] = -1
        return self.node("Reshape", x, self.ints(shape))

    def _input(self, value: Node) -> str:
        if value.id not in self._values:  # a constant
            name = self._new(f"{value.name}_") if value.name in ("x", "y") else value.name
            array = self._recorded.array(value)
            self._values[value.id] = self.constant(array, value.dtype, name)
        return self._values[value.id]

    def _new(self, prefix: str) -> str:
        """Return a name that nothing has."""
        while (name := f"{prefix}{self._count}") in self._taken:
            self._count += 1
        self._taken.add(name)
        return name

    def _note_sizes(self, name: str, sizes: Sequence[Size]) -> None:
        for axis, size in enumerate(sizes):
            if not is_fixed(size):
                self._places.setdefault(size, (name, axis))
