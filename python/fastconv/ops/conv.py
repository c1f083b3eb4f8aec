"""Convolutions."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv.ops._args import Array, Operands, activation_name, as_int, as_pair, choice

ALGORITHMS = (
    "auto",
    "reference",
    "im2col",
    "direct",
    "depthwise",
    "winograd",
    "winograd2",
    "winograd4",
    "winograd6",
)

PaddingArgument = str | tuple[tuple[int, int], tuple[int, int]]


def padding_argument(value: Any) -> PaddingArgument:
    """A 2-d convolution's padding as ((top, bottom), (left, right)), or the name of a rule."""
    if isinstance(value, str):
        return choice("padding", value, ("same", "valid"))
    if hasattr(value, "__len__") and len(value) == 2 and all(hasattr(v, "__len__") for v in value):
        top, bottom = as_pair("padding", value[0])
        left, right = as_pair("padding", value[1])
        return (top, bottom), (left, right)
    height, width = as_pair("padding", value)
    return (height, height), (width, width)


def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Any = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    residual: ArrayLike | None = None,
    algorithm: str = "auto",
    accuracy: str = "fast",
    out: Array | None = None,
    device: str | None = None,
) -> Array:
    """2-d convolution."""
    operands = Operands(x=x, weight=weight, bias=bias, residual=residual)
    result = _core.conv2d(
        operands["x"],
        operands.contiguous("weight"),
        operands.get("bias"),
        operands.get("residual"),
        None,
        as_pair("stride", stride),
        padding_argument(padding),
        as_pair("dilation", dilation),
        as_int("groups", groups),
        activation_name(activation),
        choice("algorithm", algorithm, ALGORITHMS),
        choice("accuracy", accuracy, ("fast", "exact")),
    )
    return operands.finish(result, out)
