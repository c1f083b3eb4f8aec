"""Checks of the sizes that formulas for layers take."""

from __future__ import annotations

import math

from fastconv._arguments import as_int, as_pair

Pair = tuple[int, int]
IntPair = int | Pair


def positive(name: str, value: int) -> int:
    """`value` if it is an integer of at least 1."""
    if as_int(name, value) < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return int(value)


def positive_pair(name: str, value: IntPair) -> Pair:
    """Height and width, of at least 1."""
    height, width = as_pair(name, value)
    return positive(name, height), positive(name, width)


def weight_size(in_channels: int, out_channels: int, kernel_size: IntPair, groups: int) -> int:
    """The size of a convolution's weight."""
    groups = positive("groups", groups)
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if positive(name, channels) % groups:
            raise ValueError(f"{name} must be a multiple of groups={groups}, got {channels}")
    window = positive_pair("kernel_size", kernel_size)
    return int(out_channels) * (int(in_channels) // groups) * math.prod(window)
