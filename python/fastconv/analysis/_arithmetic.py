"""Formulas for convolutions and linear layers: output size, parameters, MACs, FLOPs."""

from __future__ import annotations

from typing import Any, overload

import fastconv._core as _core
from fastconv._arguments import as_bool, as_pair, is_sequence
from fastconv.analysis._sizes import IntPair, Pair, positive, positive_pair, weight_size
from fastconv.ops._conv import padding_argument

# ---- Convolution -------------------------------------------------------------------------------


@overload
def conv_output_size(
    size: int,
    kernel_size: int,
    stride: int = 1,
    padding: int | str | tuple[Pair] = 0,
    dilation: int = 1,
) -> int: ...


@overload
def conv_output_size(
    size: IntPair,
    kernel_size: IntPair,
    stride: IntPair = 1,
    padding: Any = 0,
    dilation: IntPair = 1,
) -> IntPair: ...


def conv_output_size(
    size: IntPair,
    kernel_size: IntPair,
    stride: IntPair = 1,
    padding: Any = 0,
    dilation: IntPair = 1,
) -> IntPair:
    """Return the size of a convolution's result.

    ``floor((size + before + after - dilation * (kernel_size - 1) - 1) / stride + 1)``

    Parameters
    ----------
    size, kernel_size, stride, dilation : int or (int, int)
        Along one axis, or along height and width.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        As `fastconv.conv2d` takes it; or ``((before, after),)`` of one axis.

    Returns
    -------
    int or (int, int)
        A pair if one of the arguments is a pair, else an int.

    Raises
    ------
    ValueError
        If no window fits, or an argument cannot have this value.
    TypeError
        If an argument is of another type.

    Examples
    --------
    >>> from fastconv.analysis import conv_output_size
    >>> conv_output_size(224, kernel_size=3, stride=2)
    111
    >>> conv_output_size((224, 160), 3, stride=2, padding="same")
    (112, 80)
    """
    pairs = [size, kernel_size, stride, dilation]
    if is_sequence(padding) and len(padding) == 1:
        padding = (padding[0], padding[0])
    else:
        pairs.append(padding)
    height, width = _output_size(size, kernel_size, stride, padding, dilation)
    return (height, width) if any(map(is_sequence, pairs)) else height


def _output_size(size: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Pair:
    x = (1, 1, *positive_pair("size", size))
    weight = (1, 1, *positive_pair("kernel_size", kernel_size))
    stride, dilation = as_pair("stride", stride), as_pair("dilation", dilation)
    height, width = _core.conv_output_shape(
        x, weight, stride, padding_argument(padding), dilation, 1
    )[2:]
    return height, width


def conv_parameters(
    in_channels: int, out_channels: int, kernel_size: IntPair, groups: int = 1, bias: bool = True
) -> int:
    """Return the number of parameters of a convolution, transposed or not.

    ``out_channels * (in_channels / groups * kernel_height * kernel_width + 1)``, without the 1 if
    there is no bias.

    Parameters
    ----------
    in_channels, out_channels : int
        Multiples of `groups`.
    kernel_size : int or (int, int)
    groups : int
    bias : bool

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type or not positive, or `groups` does not divide the channels.

    Examples
    --------
    >>> from fastconv.analysis import conv_parameters
    >>> conv_parameters(256, 256, kernel_size=3, bias=False)
    589824
    """
    weight = weight_size(in_channels, out_channels, kernel_size, groups)
    return weight + (int(out_channels) if as_bool("bias", bias) else 0)


def conv_macs(
    size: IntPair,
    in_channels: int,
    out_channels: int,
    kernel_size: IntPair,
    stride: IntPair = 1,
    padding: Any = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> int:
    """Return the multiply-accumulates of a convolution of one image.

    ``out_height * out_width * out_channels * in_channels / groups * kernel_height * kernel_width``.
    Products with padding are counted, the bias is not.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the input; an int stands for both.
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups
        As `fastconv.nn.Conv2d` takes them.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        As `conv_output_size` and `conv_parameters`.

    Examples
    --------
    >>> from fastconv.analysis import conv_macs
    >>> conv_macs(224, 3, 64, kernel_size=7, stride=2, padding=3)  # the first layer of ResNet
    118013952
    """
    height, width = _output_size(size, kernel_size, stride, padding, dilation)
    return height * width * weight_size(in_channels, out_channels, kernel_size, groups)


def conv_flops(
    size: IntPair,
    in_channels: int,
    out_channels: int,
    kernel_size: IntPair,
    stride: IntPair = 1,
    padding: Any = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> int:
    """Return the floating-point operations of a convolution: ``2 * conv_macs(...)``.

    Examples
    --------
    >>> from fastconv.analysis import conv_flops
    >>> conv_flops(224, 3, 64, kernel_size=7, stride=2, padding=3)
    236027904
    """
    return 2 * conv_macs(
        size, in_channels, out_channels, kernel_size, stride, padding, dilation, groups
    )


# ---- Depthwise separable convolution -----------------------------------------------------------


def separable_conv_parameters(
    in_channels: int, out_channels: int, kernel_size: IntPair, bias: bool = True
) -> int:
    """Return the number of parameters of a depthwise separable convolution.

    One window for each input channel, then a 1x1 convolution:
    ``in_channels * kernel_height * kernel_width + in_channels * out_channels``, and the two biases.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, bias
        As in `conv_parameters`. `bias` holds for both steps.

    Returns
    -------
    int

    References
    ----------
    Howard et al., MobileNets (2017), section 3.1.

    Examples
    --------
    >>> from fastconv.analysis import separable_conv_parameters
    >>> separable_conv_parameters(256, 256, kernel_size=3, bias=False)
    67840
    """
    depthwise = conv_parameters(in_channels, in_channels, kernel_size, in_channels, bias)
    return depthwise + conv_parameters(in_channels, out_channels, 1, 1, bias)


def separable_conv_macs(
    size: IntPair,
    in_channels: int,
    out_channels: int,
    kernel_size: IntPair,
    stride: IntPair = 1,
    padding: Any = 0,
    dilation: IntPair = 1,
) -> int:
    """Return the multiply-accumulates of a depthwise separable convolution of one image.

    A fraction ``1 / out_channels + 1 / (kernel_height * kernel_width)`` of those of `conv_macs`.

    Parameters
    ----------
    size, in_channels, out_channels, kernel_size, stride, padding, dilation
        As `conv_macs`; stride, padding and dilation act on the depthwise step.

    Returns
    -------
    int

    References
    ----------
    Howard et al., MobileNets (2017), section 3.1.

    Examples
    --------
    >>> from fastconv.analysis import conv_macs, separable_conv_macs
    >>> separable_conv_macs(14, 512, 512, kernel_size=3, padding=1)
    52283392
    >>> round(conv_macs(14, 512, 512, kernel_size=3, padding=1) / 52283392, 1)
    8.8
    """
    height, width = _output_size(size, kernel_size, stride, padding, dilation)
    return height * width * separable_conv_parameters(in_channels, out_channels, kernel_size, False)


def separable_conv_flops(
    size: IntPair,
    in_channels: int,
    out_channels: int,
    kernel_size: IntPair,
    stride: IntPair = 1,
    padding: Any = 0,
    dilation: IntPair = 1,
) -> int:
    """Return the floating-point operations: ``2 * separable_conv_macs(...)``.

    Examples
    --------
    >>> from fastconv.analysis import separable_conv_flops
    >>> separable_conv_flops(14, 512, 512, kernel_size=3, padding=1)
    104566784
    """
    return 2 * separable_conv_macs(
        size, in_channels, out_channels, kernel_size, stride, padding, dilation
    )


# ---- Linear layer ------------------------------------------------------------------------------


def linear_parameters(in_features: int, out_features: int, bias: bool = True) -> int:
    """Return the number of parameters: ``out_features * (in_features + 1)``.

    Without bias it is ``out_features * in_features``.

    Examples
    --------
    >>> from fastconv.analysis import linear_parameters
    >>> linear_parameters(2048, 1000)
    2049000
    """
    weight = linear_macs(in_features, out_features)
    return weight + (int(out_features) if as_bool("bias", bias) else 0)


def linear_macs(in_features: int, out_features: int) -> int:
    """Return the multiply-accumulates for one vector: ``in_features * out_features``.

    Examples
    --------
    >>> from fastconv.analysis import linear_macs
    >>> linear_macs(2048, 1000)
    2048000
    """
    return positive("in_features", in_features) * positive("out_features", out_features)


def linear_flops(in_features: int, out_features: int) -> int:
    """Return the floating-point operations for one vector: ``2 * linear_macs(...)``.

    Examples
    --------
    >>> from fastconv.analysis import linear_flops
    >>> linear_flops(2048, 1000)
    4096000
    """
    return 2 * linear_macs(in_features, out_features)
