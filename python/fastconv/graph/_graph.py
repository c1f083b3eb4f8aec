"""Networks as graphs: what `forward` recorded, to be read, printed and drawn."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastconv._core as _core
from fastconv.ops._programs import recognise

__all__ = ["Graph", "Node"]


@dataclass(frozen=True, eq=False)
class Node:
    """A value of a graph, and the operator whose result it is.

    Attributes
    ----------
    id : int
        Its number in the graph. Inputs have smaller numbers.
    op : str
        The operator, ``"conv2d"`` for one; ``"input"`` or ``"constant"`` for what is given.
    fields : mapping of str to object
        The operator's attributes, all of them; docs/operators.md lists them.
    inputs : tuple of Node or None
        What it computes with, in the order of docs/operators.md; `None` for what is absent.
    shape : tuple of int
    dtype : numpy.dtype
        For bfloat16, which NumPy lacks, ``[("bfloat16", numpy.uint16)]``, which holds the bits.
    name : str
        The module whose `forward` computes it, by its name in `named_modules`; of a constant the
        key in the state dict, or ``""``.

    Examples
    --------
    >>> from fastconv import nn
    >>> node = nn.Conv2d(3, 8, 3, stride=2).graph((1, 3, 33, 33)).outputs[0]
    >>> node.op, node.shape, node.fields["stride"], node.inputs[1].shape
    ('conv2d', (1, 8, 16, 16), (2, 2), (8, 3, 3, 3))
    """

    id: int
    op: str
    fields: Mapping[str, Any]
    inputs: tuple[Node | None, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def is_constant(self) -> bool:
        """Whether it is an array that was given, such as a weight."""
        return self.op == "constant"

    def __str__(self) -> str:
        if not self.inputs:
            return f"{self.op}({self.name})" if self.name else self.op
        defaults = _defaults()[self.op]
        arguments = [_label(value) for value in _without_last_nones(self.inputs)]
        arguments += [
            f"{key}={_program(value) if key == 'program' else repr(value)}"
            for key, value in self.fields.items()
            if key not in defaults or value != defaults[key]
        ]
        return f"{self.op}({', '.join(arguments)})"

    def __repr__(self) -> str:
        return f"<%{self.id} = {self}: {_dtype_name(self.dtype)} {self.shape}>"


def _program(text: str) -> str:
    """Return the call that a program is of, or the program itself."""
    if (known := recognise(text)) is None:
        return repr(text)
    name, numbers = known
    return f"{name}({', '.join(f'{key}={number:g}' for key, number in numbers.items())})"


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return dtype.names[0] if dtype.names else str(dtype)


def _label(node: Node | None) -> str:
    if node is None:
        return "None"
    return node.name or f"array{node.shape}" if node.is_constant else f"%{node.id}"


def _without_last_nones(inputs: tuple[Node | None, ...]) -> tuple[Node | None, ...]:
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    return inputs


@functools.cache
def _defaults() -> dict[str, dict[str, Any]]:
    """Return the attributes that have a default, by operator."""
    return {
        name: {key: value for key, _, value in attributes if value is not None}
        for name, _, _, attributes in _core.operators()
    }


class Graph:
    """A recorded network: made by `fastconv.nn.Module.graph`.

    Iterating gives its nodes in the order in which they are computed. Printed, it is a table
    without the constants, which stand where they are used.

    Examples
    --------
    >>> from fastconv import nn
    >>> graph = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU()).graph((1, 3, 32, 32))
    >>> [node.op for node in graph]
    ['input', 'constant', 'conv2d', 'activation']
    >>> print(graph)
    %0  input                        (1, 3, 32, 32)
    %2  conv2d(%0, 0.weight)         (1, 8, 30, 30)  0
    %3  activation(%2, kind='relu')  (1, 8, 30, 30)  1
    returns %3
    """

    def __init__(self, native: Any) -> None:
        self._native = native
        self._nodes: list[Node] = []
        for i in range(len(native)):
            op, inputs, fields, shape, dtype, name = native.node(i)
            values = tuple(None if j is None else self._nodes[j] for j in inputs)
            self._nodes.append(Node(i, op, fields, values, shape, dtype, name))

    def nodes(self) -> tuple[Node, ...]:
        """Return all nodes, in the order in which they are computed."""
        return tuple(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, node_id: int) -> Node:
        return self._nodes[node_id]

    @property
    def inputs(self) -> tuple[Node, ...]:
        """What the network is called with."""
        return tuple(self._nodes[i] for i in self._native.inputs)

    @property
    def outputs(self) -> tuple[Node, ...]:
        """What it returns."""
        return tuple(self._nodes[i] for i in self._native.outputs)

    def array(self, node: Node) -> NDArray[Any]:
        """Return the values of a constant; they cannot be written to.

        Raises
        ------
        ValueError
            If the node is no constant of this graph.
        """
        if not (node.is_constant and self._nodes[node.id : node.id + 1] == [node]):
            raise ValueError(f"node must be a constant of this graph, got {node!r}")
        values: NDArray[Any] = self._native.constant_array(node.id)
        return values

    def optimized(self) -> Graph:
        """Return the graph as it is lowered: simplified and fused, see docs/graph.md."""
        return Graph(self._native.optimized(self._native.outputs))

    def __str__(self) -> str:
        values = [node for node in self if not node.is_constant]
        several = len({_dtype_name(node.dtype) for node in values}) > 1  # then it says which
        rows = [
            (
                f"%{node.id}",
                str(node),
                f"{_dtype_name(node.dtype)} {node.shape}" if several else str(node.shape),
                node.name,
            )
            for node in values
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        returned = ", ".join(f"%{node.id}" for node in self.outputs)
        return "\n".join([*lines, f"returns {returned}"])

    def to_dot(self) -> str:
        """Return the graph in Graphviz's language DOT, the modules as boxes around their nodes.

        Examples
        --------
        >>> from fastconv import nn
        >>> nn.ReLU().graph((1, 3, 8, 8)).to_dot().splitlines()[0]
        'digraph network {'
        """
        lines = [
            "digraph network {",
            '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=Helvetica];',
        ]
        lines += _boxes([node for node in self if not node.is_constant], "", 1)
        for node in self:
            lines += [
                f"  n{value.id} -> n{node.id};"
                for value in node.inputs
                if value is not None and not value.is_constant
            ]
        return "\n".join([*lines, "}", ""])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Draw it into a file.

        Parameters
        ----------
        path : str or os.PathLike
            Ends in ``.dot``, which needs nothing else, or in ``.svg``, ``.png`` or ``.pdf``, which
            need Graphviz's command ``dot``.

        Raises
        ------
        ValueError
            If the name ends otherwise.
        RuntimeError
            If Graphviz is not installed, or fails.
        OSError
            If the file cannot be written.
        """
        import shutil
        import subprocess

        from fastconv._files import replacing

        kind = os.path.splitext(os.fspath(path))[1]
        if kind not in (".dot", ".svg", ".png", ".pdf"):
            raise ValueError(f"path must end in .dot, .svg, .png or .pdf, got {os.fspath(path)!r}")
        text = self.to_dot()
        if kind != ".dot" and shutil.which("dot") is None:
            raise RuntimeError(
                f"Graphviz's command dot, which draws {kind}, is not installed: install graphviz, "
                f"or write a .dot file"
            )
        with replacing(path) as new:
            if kind == ".dot":
                with open(new, "w", encoding="utf-8") as file:
                    file.write(text)
                return
            command = ["dot", f"-T{kind[1:]}", "-o", new]
            done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"Graphviz failed: {done.stderr.strip()}")


def _boxes(nodes: list[Node], prefix: str, depth: int) -> list[str]:
    """Return the nodes of a module, those of the modules in it in boxes of their own."""
    space = "  " * depth
    lines = []
    inside: dict[str, list[Node]] = {}
    for node in nodes:
        rest = node.name.removeprefix(f"{prefix}.") if prefix else node.name
        if node.name in ("", prefix):
            lines.append(f"{space}n{node.id} [label={_quoted(_caption(node))}];")
        else:
            child = rest.partition(".")[0]
            inside.setdefault(f"{prefix}.{child}" if prefix else child, []).append(node)
    for name, own in inside.items():
        lines.append(f"{space}subgraph {_quoted(f'cluster {name}')} {{")
        lines.append(f"{space}  label={_quoted(name)}; style=rounded; color=gray;")
        lines += _boxes(own, name, depth + 1)
        lines.append(f"{space}}}")
    return lines


def _caption(node: Node) -> str:
    weights = [
        f"{value.name or 'array'} {value.shape}"
        for value in node.inputs
        if value is not None and value.is_constant
    ]
    return "\n".join([f"%{node.id} {node.op}", *weights, str(node.shape)])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
