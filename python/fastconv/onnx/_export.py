"""`export`: the recorded operators of a module as an ONNX graph of opset 17.

The operators of ONNX: https://github.com/onnx/onnx/blob/main/docs/Operators.md
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence

from fastconv._files import replacing
from fastconv.graph._recording import record
from fastconv.nn import Module
from fastconv.onnx import (  # noqa: F401 - they register operators
    _elements,
    _layers,
    _moves,
    _pools,
    _reductions,
    _resize,
    _sampling,
)
from fastconv.onnx._dynamic import DynamicAxes, Size, is_fixed, parse, record_calls
from fastconv.onnx._graph import Graph

_MAX_PROTOBUF = 2**31 - 2**24
"""Bytes of weights that one file can hold; more of them go into a file beside it."""


def export(
    module: Module,
    path: str | os.PathLike[str],
    input_shape: Sequence[int],
    *,
    dynamic_axes: DynamicAxes | None = None,
) -> None:
    """Write a module as an ONNX file, with its weights.

    The graph is what `forward` records: one operator of ONNX for one of fastconv where there is
    one, nothing folded or fused. Its weights have the names of the state dict, its input is called
    ``"x"`` and its output ``"y"``. The file appears when it is complete and checked; until then,
    and if anything fails, a file that was there stays. Needs the extra ``[onnx]``.

    Parameters
    ----------
    module : Module
        A network that takes one array and returns one.
    path : str or os.PathLike
        The file. Weights of 2 GB and more go into a second one, ``path`` + ``".data"``; it is
        replaced just before the first.
    input_shape : sequence of int
        The shape of the input with its batch, usually (N, C, H, W). The file takes arrays of as
        many dimensions: one image without a batch, for which `compile` takes (C, H, W), is refused.
    dynamic_axes : mapping, optional
        The axes whose sizes are open, as in `torch.onnx.export`: for ``"x"``, and for ``"y"`` if
        its axes shall have names of their own, a mapping from axes to names or a list of axes.
        ``{"x": {0: "batch", 2: "height", 3: "width"}}`` opens all but the channels. Axes of the
        same name have the same size. Default: ``{"x": {0: "batch"}}``, and none for an input of
        one dimension. With ``{}`` all sizes are fixed.

    Raises
    ------
    ImportError
        The package onnx is not installed.
    ValueError
        The module does not take this shape, uses an operator in a way that ONNX cannot say, or
        cannot take other sizes of a dynamic axis; the message names the layer. Or the shape has no
        batch, or `path` ends in no name.
    TypeError
        `module` is no module, takes more than one input, or an argument is of the wrong type.
    OSError
        The file cannot be written.

    Notes
    -----
    A dynamic axis stays open throughout: the module is recorded at several of its sizes, and what
    changes with them is computed by the exported model. So a reshape to ``(1, -1)`` means what it
    means in `forward`, at every batch size. A layer that takes one size alone, such as a linear
    layer after a flattened map of height and width, is an error where these are dynamic.

    The sizes that are tried are, for each dynamic axis on its own and n in `input_shape`: 2n and
    3n, which the module has to take, and n + 1, 2, 3, 4, 8, 16, 31 and 32, which it need not. What
    `forward` does differently at other sizes only, such as ``if len(x) > 100``, cannot be seen: the
    exported model does there what it does at those.

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
    name = type(module).__name__
    try:
        inspect.signature(module.forward).bind(None)
    except TypeError:
        raise TypeError(
            f"{name}.forward takes {inspect.signature(module.forward)}; only a network with one "
            f"input can be exported"
        ) from None
    recording = record(module, input_shape)
    recorded = recording.graph()
    if len(recorded.inputs) > 1:
        raise ValueError(
            f"input_shape has {len(recorded.inputs)} inputs; only a network with one input can be "
            f"exported"
        )
    x, output = recorded.inputs[0], recorded.outputs[0]
    if x.ndim != len(input_shape):
        raise ValueError(
            f"input_shape must have the {x.ndim} dimensions of a batch, got {x.shape[1:]}: pass "
            f"{x.shape}"
        )
    if (container := recording.returned.container) is not None:
        raise ValueError(
            f"{name} returns {container.__name__}; only a network with one output can be exported"
        )
    axes = parse(dynamic_axes, {"x": x.ndim, "y": output.ndim})
    sizes, calls = record_calls(module, recorded, axes["x"])
    graph = Graph(recorded, module.state_dict(), sizes[x.id])
    for call in calls:
        graph.add(call)
    names = _name_outputs(sizes[x.id], sizes[output.id], axes)
    model = graph.model(
        output,
        [axes["x"].get(axis, size) for axis, size in enumerate(x.shape)],
        [
            size[0] if is_fixed(size) else names.get(axis)
            for axis, size in enumerate(sizes[output.id])
        ],
    )
    external = sum(array.nbytes for array in graph.initializers.values()) > _MAX_PROTOBUF
    with replacing(path) as new:
        onnx.save(
            model,
            new,
            save_as_external_data=external,
            location=os.path.basename(new) + ".data" if external else None,
        )
        onnx.checker.check_model(new, full_check=True)


def _name_outputs(
    x: Sequence[Size], y: Sequence[Size], axes: Mapping[str, Mapping[int, str]]
) -> dict[int, str]:
    """Return the names of the output's dynamic axes, as far as they have any."""
    known = {x[axis]: name for axis, name in axes["x"].items()}
    names = {axis: known[size] for axis, size in enumerate(y) if size in known}
    for axis, name in axes["y"].items():
        if is_fixed(y[axis]):
            raise ValueError(
                f"dynamic_axes calls axis {axis} of 'y' {name!r}, but its size is always "
                f"{y[axis][0]}: it depends on no dynamic axis of 'x'"
            )
        if name in axes["x"].values() and names.get(axis) != name:
            raise ValueError(
                f"dynamic_axes calls axis {axis} of 'y' {name!r}, as an axis of 'x', which has "
                f"another size: give it a name of its own"
            )
    return {**names, **axes["y"]}
