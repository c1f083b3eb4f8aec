"""What a module does to an input of a given shape: its operators, in order, without computing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastconv._randomness import RandomnessCheck
from fastconv._symbolic import Array, Graph, Symbol
from fastconv.models import ImageClassifier, create_model
from fastconv.nn import Conv1d, Module, init
from fastconv.ops._args import as_shape

_SIZE = 224
"""Height and width of the input that modules without a `default_cfg` are recorded with."""


@dataclass(frozen=True)
class Operator:
    """A recorded operator; see the table in `fastconv._symbolic`."""

    name: str
    inputs: Sequence[Symbol | Array | None]
    attributes: Mapping[str, Any]
    output: Symbol


class _Observer(Graph):
    """A graph that also keeps the operators, and notes whose parameters they use."""

    def __init__(self, module: Module) -> None:
        self.paths = {id(child): path for path, child in module.named_modules()}
        self.operators: list[Operator] = []
        self.owners: list[str | None] = []
        self._returned = 0  # how many there were when the last module returned
        self._parameters = {
            id(array): path
            for path, child in module.named_modules()
            for _, array in child._own_arrays()
        }
        super().__init__(module.dtype or np.dtype(np.float32), paths=self.paths)

    def record(
        self,
        op: str,
        inputs: Sequence[Symbol | Array | None],
        attributes: Mapping[str, Any] | None = None,
    ) -> Symbol:
        # Copies, as += makes a symbol stand for another value later.
        given = tuple(v.copy() if isinstance(v, Symbol) else v for v in inputs)
        y = super().record(op, inputs, attributes)
        self.operators.append(Operator(op, given, dict(attributes or {}), y.copy()))
        owners = (self._parameters.get(id(value)) for value in inputs)
        self.owners.append(next((owner for owner in owners if owner is not None), None))
        return y

    def mark_module(self, module: Module, y: Any) -> None:
        # What uses no parameters belongs to the first module that returns after it.
        path = self.paths.get(id(module), "")
        self.owners[self._returned :] = [
            path if owner is None else owner for owner in self.owners[self._returned :]
        ]
        self._returned = len(self.owners)
        super().mark_module(module, y)


@dataclass(frozen=True)
class Recording:
    """The operators of one call of a module."""

    module: Module
    input: Symbol
    operators: list[Operator]
    owners: list[str]
    """The dotted name of the innermost module that each operator belongs to."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """What each module that was called returned last, by its dotted name."""


def build(model: Any) -> Module:
    """Return `model`, or the registered model of this name, without values for its weights."""
    if isinstance(model, Module):
        return model
    if not isinstance(model, str):
        raise TypeError(
            f"model must be a Module or the name of a model, got {type(model).__name__}"
        )
    with init.skip():
        return create_model(model)


def record(module: Module, input_shape: Sequence[int] | None = None) -> Recording:
    """Run ``module.forward`` on a symbolic input.

    Parameters
    ----------
    module : Module
    input_shape : sequence of int, optional
        By default one image of the size in the module's `default_cfg`, else one of 224 pixels and
        as many channels as its first layer takes.

    Raises
    ------
    TypeError, ValueError
        If `input_shape` is no shape, or the module does not take it.
    """
    if input_shape is None:
        shape = _default_shape(module)
    else:
        shape = as_shape("input_shape", input_shape)
        if not shape or min(shape) < 1:
            raise ValueError(
                f"input_shape must be positive sizes such as (1, 3, 224, 224), got {shape}"
            )
        if module.input_ndim is not None and len(shape) == module.input_ndim - 1:
            shape = (1, *shape)
    graph = _Observer(module)
    x = graph.input(shape)
    check = RandomnessCheck(module)
    try:
        module(x)
    except ValueError as error:
        if input_shape is not None:
            raise
        raise ValueError(
            f"{type(module).__name__} does not take an input of the shape {shape}: pass another "
            f"input_shape ({error})"
        ) from error
    check.refuse_random(graph, lambda again: module(again.input(shape)))
    outputs = {graph.paths[key]: y for key, y in graph.taps.items() if key in graph.paths}
    owners = [owner or "" for owner in graph.owners]
    # They refer to the graph, and it to all weights: in a cycle those would stay.
    operators, graph.operators = graph.operators, []
    graph.taps.clear()
    return Recording(module, x, operators, owners, outputs)


def _default_shape(module: Module) -> tuple[int, ...]:
    if isinstance(module, ImageClassifier):
        return (1, *module.default_cfg["input_size"])
    for layer in module.modules():
        if hasattr(layer, "in_features"):
            return (1, layer.in_features)
        channels = getattr(layer, "in_channels", None) or getattr(layer, "num_features", None)
        if channels:
            return (1, channels, *(_SIZE,) * (1 if isinstance(layer, Conv1d) else 2))
    return (1, 3, _SIZE, _SIZE)
