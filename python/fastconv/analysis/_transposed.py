"""Formulas for transposed convolutions: output size, MACs, FLOPs."""

from __future__ import annotations

import fastconv._core as _core
from fastconv._arguments import as_pair, is_sequence
from fastconv.analysis._sizes import IntPair, positive_pair, weight_size


def conv_transpose_output_size(
    size: IntPair,
    kernel_size: IntPair,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    dilation: IntPair = 1,
) -> IntPair:
    """Return the size of a transposed convolution's result.

    ``(size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1``

    Parameters
    ----------
    size, kernel_size, stride, padding, output_padding, dilation : int or (int, int)
        Along one axis, or along height and width.

    Returns
    -------
    int or (int, int)
        A pair if one of the arguments is a pair, else an int.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type or out of range.

    Examples
    --------
    >>> from fastconv.analysis import conv_transpose_output_size
    >>> conv_transpose_output_size(7, kernel_size=2, stride=2)
    14
    """
    x = (1, 1, *positive_pair("size", size))
    weight = (1, 1, *positive_pair("kernel_size", kernel_size))
    height, width = _core.conv_transpose_output_shape(
        x,
        weight,
        as_pair("stride", stride),
        as_pair("padding", padding),
        as_pair("output_padding", output_padding),
        as_pair("dilation", dilation),
        1,
    )[2:]
    arguments = (size, kernel_size, stride, padding, output_padding, dilation)
    return (height, width) if any(map(is_sequence, arguments)) else height


def conv_transpose_macs(
    size: IntPair, in_channels: int, out_channels: int, kernel_size: IntPair, groups: int = 1
) -> int:
    """Return the multiply-accumulates of a transposed convolution of one image.

    ``height * width * in_channels * out_channels / groups * kernel_height * kernel_width``, with
    the height and width of the input: each of its elements is multiplied by a whole window,
    whatever the stride. Products that fall into the padding are counted. For parameters see
    `conv_parameters`.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the input; an int stands for both.
    in_channels, out_channels, kernel_size, groups
        As `fastconv.nn.ConvTranspose2d` takes them.

    Returns
    -------
    int

    Examples
    --------
    >>> from fastconv.analysis import conv_transpose_macs
    >>> conv_transpose_macs(7, 64, 32, kernel_size=2)
    401408
    """
    height, width = positive_pair("size", size)
    return height * width * weight_size(in_channels, out_channels, kernel_size, groups)


def conv_transpose_flops(
    size: IntPair, in_channels: int, out_channels: int, kernel_size: IntPair, groups: int = 1
) -> int:
    """Return the floating-point operations: ``2 * conv_transpose_macs(...)``.

    Examples
    --------
    >>> from fastconv.analysis import conv_transpose_flops
    >>> conv_transpose_flops(7, 64, 32, kernel_size=2)
    802816
    """
    return 2 * conv_transpose_macs(size, in_channels, out_channels, kernel_size, groups)
