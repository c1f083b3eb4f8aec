"""What the families of mobile networks share: padding as an argument, initial values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv import nn
from fastconv._arguments import choice
from fastconv.nn.module import Array


def conv_padding(padding: str) -> str | None:
    """Return the `padding` that blocks take for that of a network.

    Parameters
    ----------
    padding : {"symmetric", "same"}
        ``kernel_size // 2`` on every side, as weights trained in torch need it, or TensorFlow's,
        which pads strided convolutions more at the bottom and right.

    Raises
    ------
    TypeError, ValueError
        If it is no string, or another one.

    Examples
    --------
    >>> conv_padding("same"), conv_padding("symmetric")
    ('same', None)
    """
    return "same" if choice("padding", padding, ("symmetric", "same")) == "same" else None


def reset_mobile_parameters(
    model: nn.Module,
    rng: np.random.Generator | int | None,
    linear_weight: Callable[[tuple[int, ...], np.random.Generator], Array],
) -> None:
    """Draw convolutions by `kaiming_normal` (fan out), linear weights as given; biases are 0."""
    rng = np.random.default_rng(rng)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight = nn.init.kaiming_normal(layer.weight.shape, rng)
        elif isinstance(layer, nn.Linear):
            layer.weight = linear_weight(layer.weight.shape, rng)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters(rng)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            layer.bias = nn.init.constant(layer.bias.shape, 0)
