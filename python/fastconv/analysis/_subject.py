"""What is analysed: a module or a model's name, recorded at a shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastconv.graph._recording import Recording
from fastconv.graph._recording import record as record_shape
from fastconv.models import ImageClassifier, create_model
from fastconv.nn import Conv1d, Module, init

_SIZE = 224
"""Height and width of the input that modules without a `default_cfg` are recorded with."""


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
    """Record ``module.forward`` on one input.

    Parameters
    ----------
    module : Module
    input_shape : sequence of int, optional
        By default one image of the size in the module's `default_cfg`, else one of 224 pixels and
        as many channels as its first layer takes.

    Raises
    ------
    TypeError, ValueError
        If `input_shape` is no shape, or the module does not take it, or takes more than one.
    """
    if input_shape is not None:
        recording = record_shape(module, input_shape)
        if (count := len(recording.native.inputs)) > 1:
            raise ValueError(
                f"input_shape has {count} inputs: only what depends on one input is analysed"
            )
        return recording
    shape = _default_shape(module)
    try:
        return record_shape(module, shape)
    except ValueError as error:
        raise ValueError(
            f"{type(module).__name__} does not take an input of the shape {shape}: pass another "
            f"input_shape ({error})"
        ) from error


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
