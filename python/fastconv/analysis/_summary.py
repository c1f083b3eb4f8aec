"""A network as a table: output shape, parameters, MACs and receptive field of each module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv._arguments import as_int
from fastconv.analysis._receptive_field import ReceptiveField, receptive_fields
from fastconv.analysis._subject import build, record
from fastconv.graph import Node
from fastconv.nn import Module


@dataclass(frozen=True)
class SummaryRow:
    """A module in `summary`.

    Attributes
    ----------
    name : str
        Its dotted name, ``""`` for the network itself.
    type : str
        The name of its class.
    output_shape : tuple of int or None
        The shape of its last result; `None` if it was not called or returns several values.
    parameters : int
        The number of elements in it and all modules below it, without buffers.
    macs : int
        Multiply-accumulates of all calls of it and of all modules below it, for the whole batch.
    receptive_field : ReceptiveField or None
        That of its last result; `None` if the result is no image or depends on none.
    """

    name: str
    type: str
    output_shape: tuple[int, ...] | None
    parameters: int
    macs: int
    receptive_field: ReceptiveField | None

    @property
    def depth(self) -> int:
        """The number of modules around it."""
        return self.name.count(".") + 1 if self.name else 0


@dataclass(frozen=True)
class Summary:
    """A network's modules and its totals; as text, a table. Made by `summary`.

    Attributes
    ----------
    input_shape : tuple of int
        The input for which everything is counted.
    rows : list of SummaryRow
        The network itself, then its modules in the order of `Module.named_modules`.
    parameters, buffers : int
        Numbers of elements.
    macs : int
        Multiply-accumulates of convolutions, transposed convolutions, linear layers and `matmul`,
        the only ones that are counted.
    activation_bytes : int
        Bytes of the results of all operators but reshapes, if all are kept.
    """

    input_shape: tuple[int, ...]
    rows: list[SummaryRow]
    parameters: int
    buffers: int
    macs: int
    activation_bytes: int

    @property
    def flops(self) -> int:
        """Floating-point operations, ``2 * macs``."""
        return 2 * self.macs

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, numbers and strings, for JSON."""
        return {
            "input_shape": list(self.input_shape),
            "parameters": self.parameters,
            "buffers": self.buffers,
            "macs": self.macs,
            "flops": self.flops,
            "activation_bytes": self.activation_bytes,
            "rows": [
                {
                    "name": row.name,
                    "type": row.type,
                    "output_shape": row.output_shape and list(row.output_shape),
                    "parameters": row.parameters,
                    "macs": row.macs,
                    "receptive_field": row.receptive_field and row.receptive_field.to_dict(),
                }
                for row in self.rows
            ],
        }

    def __str__(self) -> str:
        table = [("name", "type", "output", "parameters", "MMACs", "receptive field")]
        table += [
            (
                row.name or "(model)",
                row.type,
                "x".join(map(str, row.output_shape or ())),
                f"{row.parameters:,}" if row.parameters else "",
                f"{row.macs / 1e6:,.2f}" if row.macs else "",
                _field_text(row.receptive_field),
            )
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        right = (False, False, False, True, True, True)
        lines = [
            "  ".join(
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(row, widths, right, strict=True)
            ).rstrip()
            for row in table
        ]
        lines.insert(1, "-" * (sum(widths) + 2 * len(widths) - 2))
        gated = any(row.receptive_field and row.receptive_field.global_context for row in self.rows)
        return "\n".join(
            [
                *lines,
                "",
                f"input         {'x'.join(map(str, self.input_shape))}",
                f"parameters    {self.parameters:,} (and {self.buffers:,} elements of buffers)",
                f"MACs          {self.macs:,} ({self.flops:,} FLOPs)",
                f"activations   {self.activation_bytes:,} bytes",
                *(["*             scaled by what the whole image shows, besides"] if gated else []),
            ]
        )


def _field_text(f: ReceptiveField | None) -> str:
    if f is None:
        return ""
    if all(map(math.isinf, f.size)):
        return "image"
    sizes = "x".join("image" if math.isinf(size) else str(size) for size in f.size)
    return sizes + ("*" if f.global_context else "")


def summary(
    model: Module | str, input_shape: Sequence[int] | None = None, depth: int | None = None
) -> Summary:
    """List a network's modules: output shapes, parameters, multiply-accumulates, receptive fields.

    A receptive field is the part of the image that an output element depends on. Nothing is
    computed. Given by its name, even a large model takes no memory: that of its weights is
    reserved, but never filled.

    Parameters
    ----------
    model : Module or str
        Any module with one input, or the name of a model.
    input_shape : sequence of int, optional
        The shape of the input, with or without the batch. By default one image of the size in the
        model's `default_cfg`; without that 224 elements along each spatial axis, and as many
        channels as the first layer takes.
    depth : int, optional
        List modules down to this depth; 0 is the network itself, 1 its direct children. Default:
        all. Deeper modules are counted in the modules around them.

    Returns
    -------
    Summary
        ``print`` shows it as a table. ``rows[0]`` is the network itself.

    Raises
    ------
    TypeError, ValueError
        If there is no such model, it does not take `input_shape`, or `depth` is negative.

    Notes
    -----
    Multiply-accumulates (MACs) are counted as torchvision and fvcore do: one for each product of a
    weight and an input element in convolutions, transposed convolutions and linear layers, products
    with padding included, and of two elements in `matmul`; nothing for biases, normalisation,
    activations, pooling and elementwise operators.

    Examples
    --------
    >>> from fastconv.analysis import summary
    >>> result = summary("resnet50")
    >>> result.parameters, result.macs
    (25557032, 4089184256)
    >>> result.rows[1].name, result.rows[1].output_shape, result.rows[1].receptive_field.size
    ('conv1', (1, 64, 112, 112), (7, 7))
    """
    module = build(model)
    if depth is not None and as_int("depth", depth) < 0:
        raise ValueError(f"depth must not be negative, got {depth}")
    recording = record(module, input_shape)
    graph = recording.graph()
    fields = receptive_fields(recording)
    itemsize = (module.dtype or np.dtype(np.float32)).itemsize
    macs: dict[str, int] = {}
    for node in graph:
        owner, count = node.name, operator_macs(node)
        while count:
            macs[owner] = macs.get(owner, 0) + count
            if not owner:
                break
            owner = owner.rpartition(".")[0]
    rows = []
    for name, child in module.named_modules():
        y = recording.taps.get(name)
        row = SummaryRow(
            name,
            type(child).__name__,
            None if y is None else graph[y].shape,
            sum(array.size for array in child.parameters()),
            macs.get(name, 0),
            fields.get(name) if len(graph.inputs[0].shape) > 2 else None,
        )
        if depth is None or row.depth <= depth:
            rows.append(row)
    elements = sum(math.prod(node.shape) for node in graph if node.inputs and node.op != "reshape")
    state = sum(array.size for m in module.modules() for _, array in m._own_arrays())
    parameters = sum(array.size for array in module.parameters())
    return Summary(
        graph.inputs[0].shape,
        rows,
        parameters,
        state - parameters,
        macs.get("", 0),
        elements * itemsize,
    )


def operator_macs(node: Node) -> int:
    """Return the multiply-accumulates of a recorded operator."""
    if node.op not in ("conv2d", "conv_transpose2d", "linear", "matmul"):
        return 0
    x, weight, *_ = node.inputs
    assert x is not None
    assert weight is not None
    if node.op == "matmul":
        return math.prod(node.shape) * x.shape[-1]
    # Each element of the one is multiplied by the weights of its channel.
    elements = x.shape if node.op == "conv_transpose2d" else node.shape
    return math.prod(elements) * math.prod(weight.shape[1:])
