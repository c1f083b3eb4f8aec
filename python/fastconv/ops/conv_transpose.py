"""Transposed convolutions."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_int, as_pair
from fastconv.ops._conv import run_conv, single
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._signals import over_images
from fastconv.ops._symbols import is_symbolic, record_images, recordable
from fastconv.ops._torch import torch_arguments
from fastconv.ops.activation import activation_name

__all__ = ["conv_transpose1d", "conv_transpose2d"]


@torch_arguments("input=x weight bias stride padding output_padding groups dilation")
@takes_device_arrays("x")
def conv_transpose2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int | tuple[int, int] = 0,
    groups: int = 1,
    dilation: int | tuple[int, int] = 1,
    *,
    activation: str | None = None,
    out: Array | None = None,
) -> Array:
    """2-d transposed convolution: adds the kernel, times each element of `x`, to the result.

    It is the gradient of `conv2d` with respect to its input.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H, W) or (C, H, W)
    weight : array_like, shape (C, O / groups, KH, KW)
        Same dtype as `x`. Inside a network, `weight` and `bias` may be values that the network
        computes; they are then packed in every call, and run on the CPU only.
    bias : array_like, shape (O,), optional
    stride, padding, dilation : int or (int, int)
        Those of that `conv2d`: `stride` spreads the elements of `x` apart, `padding` removes rows
        and columns from each side of the result.
    output_padding : int or (int, int)
        Rows and columns added at the bottom and right of the result. With a stride, `conv2d` maps
        several sizes to one, and this chooses among them. Less than the larger of `stride` and
        `dilation`.
    groups : int
        Output channels in group i see only the input channels in group i.
    activation : str, optional
        As for `conv2d`.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, O, H_out, W_out) or (O, H_out, W_out)
        ``H_out = (H - 1) * stride - 2 * padding + dilation * (KH - 1) + output_padding + 1``.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Notes
    -----
    Computed as one dense convolution for each phase of the stride (Shi et al. 2016, "Is the
    deconvolution layer the same as a convolutional layer?"), so that no multiplication by an
    inserted zero takes place. Networks, which pack weights once, use Winograd's algorithm for large
    ones with one group of 32 or more channels on both sides, and a kernel that is larger than the
    stride and at most twice as large, unless ``accuracy="exact"``.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((1, 1, 2, 2), np.float32)
    >>> weight = np.ones((1, 1, 2, 2), np.float32)
    >>> fastconv.conv_transpose2d(x, weight, stride=2).shape
    (1, 1, 4, 4)
    """
    options: dict[str, Any] = {
        "stride": as_pair("stride", stride),
        "padding": as_pair("padding", padding),
        "output_padding": as_pair("output_padding", output_padding),
        "dilation": as_pair("dilation", dilation),
        "groups": as_int("groups", groups),
        "activation": activation_name(activation),
    }
    if is_symbolic(x, weight, bias):
        return record_images(
            "conv_transpose2d", {"x": x, "weight": weight, "bias": bias}, options, out
        )
    operands = Operands(x=x, weight=weight, bias=bias)
    images = operands.images()
    kernel = operands.contiguous("weight")
    offset, values = operands.get_contiguous("bias"), tuple(options.values())
    return run_conv(
        operands,
        lambda y: _core.conv_transpose2d(images, kernel, offset, y, *values),
        lambda: _core.conv_transpose_output_shape(images.shape, kernel.shape, *values[:5]),
        out,
    )


@torch_arguments("input=x weight bias stride padding output_padding groups dilation")
@takes_device_arrays("x")
def conv_transpose1d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | tuple[int] = 1,
    padding: int | tuple[int] = 0,
    output_padding: int | tuple[int] = 0,
    groups: int = 1,
    dilation: int | tuple[int] = 1,
    *,
    activation: str | None = None,
    out: Array | None = None,
) -> Array:
    """1-d transposed convolution: `conv_transpose2d` on images of height 1.

    Parameters
    ----------
    x : array_like, shape (N, C, L) or (C, L)
    weight : array_like, shape (C, O / groups, K)
    bias : array_like, shape (O,), optional
    stride, padding, output_padding, dilation : int or (int,)
    groups, activation, out
        As for `conv_transpose2d`.

    Returns
    -------
    ndarray, shape (N, O, L_out) or (O, L_out)
        ``L_out = (L - 1) * stride - 2 * padding + dilation * (K - 1) + output_padding + 1``.

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[1.0, 2.0]]])
    >>> fastconv.conv_transpose1d(x, np.array([[[1.0, 10.0]]]), stride=2)
    array([[[ 1., 10.,  2., 20.]]])
    """
    kernel = recordable(weight=weight)["weight"]
    if kernel.ndim != 3:
        raise ValueError(f"weight must have shape (C, O / groups, K), got {kernel.shape}")
    kernel = kernel[:, :, None]
    steps = (1, single("stride", stride)), (0, single("padding", padding))
    extra = (0, single("output_padding", output_padding))
    between = (1, single("dilation", dilation))
    return over_images(
        lambda images, out=None: conv_transpose2d(
            images, kernel, bias, *steps, extra, groups, between, activation=activation, out=out
        ),
        x,
        out,
        lambda shape: _core.conv_transpose_output_shape(
            shape, kernel.shape, *steps, extra, between, as_int("groups", groups)
        ),
    )
