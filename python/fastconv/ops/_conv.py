"""What the calls of convolutions share: their options, and how images go in and out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastconv._arguments import Array, as_int, as_pair, choice, is_sequence
from fastconv.ops._operands import Operands
from fastconv.ops.activation import activation_name

ALGORITHMS = (
    "auto",
    "reference",
    "im2col",
    "direct",
    "depthwise",
    "strassen",
    "winograd",
    "winograd2",
    "winograd4",
    "winograd6",
)

ACCURACIES = ("fast", "exact", "fastest")
"""What results may differ by from exact arithmetic: docs/accuracy.md."""

PaddingArgument = str | tuple[tuple[int, int], tuple[int, int]]


def padding_argument(value: Any) -> PaddingArgument:
    """A 2-d convolution's padding as ((top, bottom), (left, right)), or the name of a rule."""
    if isinstance(value, str):
        return choice("padding", value, ("same", "valid"))
    if is_sequence(value) and any(is_sequence(v) for v in value):
        if len(value) != 2 or not all(is_sequence(v) and len(v) == 2 for v in value):
            raise ValueError(
                "padding must be an integer, (height, width), ((top, bottom), (left, right)), "
                f"'same' or 'valid', got {value!r}"
            )
        top, bottom = as_pair("padding", value[0])
        left, right = as_pair("padding", value[1])
        return (top, bottom), (left, right)
    height, width = as_pair("padding", value)
    return (height, height), (width, width)


class ConvOptions(NamedTuple):
    """What decides a convolution beside its arrays, as native code takes it."""

    stride: tuple[int, int]
    padding: PaddingArgument
    dilation: tuple[int, int]
    groups: int
    activation: str
    algorithm: str
    accuracy: str


def conv_options(
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    activation: Any = None,
    algorithm: Any = "auto",
    accuracy: Any = "fast",
) -> ConvOptions:
    """The options of `conv2d`, checked."""
    return ConvOptions(
        as_pair("stride", stride),
        padding_argument(padding),
        as_pair("dilation", dilation),
        as_int("groups", groups),
        activation_name(activation),
        choice("algorithm", algorithm, ALGORITHMS),
        choice("accuracy", accuracy, ACCURACIES),
    )


def single(name: str, value: Any) -> int:
    """An integer, or the one in a sequence of one."""
    if is_sequence(value):
        if len(value) != 1:
            raise ValueError(f"{name} must be an integer or a sequence of one, got {value!r}")
        value = value[0]
    return as_int(name, value)


def padding1d_argument(value: Any) -> Any:
    """A 1-d convolution's padding as that of a 2-d convolution."""
    if isinstance(value, str):
        return value
    if is_sequence(value) and len(value) == 1 and is_sequence(value[0]):
        return (0, 0), as_pair("padding", value[0])
    return 0, single("padding", value)


def as_batch(images: Array | None) -> Array | None:
    """A single image as a batch of one."""
    return images[None] if images is not None and images.ndim == 3 else images


def residual_batch(operands: Operands) -> Array | None:
    """The operand `residual` as a batch."""
    residual, dimensions = operands.get("residual"), operands.source("x").ndim
    if residual is not None and residual.ndim != dimensions:
        raise ValueError(
            f"residual must have the output's shape, with {dimensions} dimensions as x has, "
            f"got {residual.shape}"
        )
    return as_batch(residual)


def run_conv(
    operands: Operands,
    call: Callable[[Array | None], Array],
    shape: Callable[[], Sequence[int]],
    out: Array | None,
    *,
    inplace: Sequence[str] = (),
) -> Array:
    """Let ``call(y)`` compute a batch into `y`, or into a new array, and return it; finish it.

    `shape` tells the batch's shape; it is asked where there is an `out` to check.
    """
    ndim = operands.source("x").ndim
    if out is not None:
        operands.check_out(out, shape()[-ndim:], inplace=inplace)
    target = operands.native_out(out)
    result = call(as_batch(target))
    if target is not None:
        return target
    return operands.finish(result if ndim == 4 else result[0], out)
