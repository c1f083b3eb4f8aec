"""Pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import LARGEST_SIZE, Array, Pair, as_bool, as_int, as_pair
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record_images
from fastconv.ops._torch import torch_arguments
from fastconv.ops.arithmetic import multiply

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "global_avg_pool2d",
    "max_pool2d",
]


@torch_arguments("input=x kernel_size stride padding dilation ceil_mode return_indices")
@takes_device_arrays("x")
def max_pool2d(
    x: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Maximum over windows.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H, W) or (C, H, W)
    kernel_size : int or (int, int)
        The window's height and width.
    stride : int or (int, int), optional
        From window to window. Default: `kernel_size`.
    padding : int or (int, int)
        Rows and columns added on both sides, at most half of `kernel_size`. The maximum is never
        taken from them.
    dilation : int or (int, int)
        From element to element inside the window.
    ceil_mode : bool
        Whether a last window may end beyond the padding. It must begin inside `x` or before it.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out) or (C, H_out, W_out)
        ``H_out = floor((H + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1)``. With
        `ceil_mode` it is rounded up, less 1 if the last window would begin beyond `x`. A window
        that holds a NaN gives NaN.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or no window fits.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> fastconv.max_pool2d(x, 2)
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """
    kernel_size = as_pair("kernel_size", kernel_size)
    stride = kernel_size if stride is None else as_pair("stride", stride)
    padding = as_pair("padding", padding)
    dilation = as_pair("dilation", dilation)
    ceil_mode = as_bool("ceil_mode", ceil_mode)
    if is_symbolic(x):
        attributes = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "ceil_mode": ceil_mode,
        }
        return record_images("max_pool2d", {"x": x}, attributes, out)
    operands = Operands(x=x)
    arguments = (kernel_size, stride, padding, dilation, ceil_mode)
    size = _core.pool_output_size(operands.images().shape[2:], *arguments)
    return operands.run_images(lambda x, y: _core.max_pool2d(x, y, *arguments), size, out)


@torch_arguments("input=x kernel_size stride padding ceil_mode count_include_pad divisor_override")
@takes_device_arrays("x")
def avg_pool2d(
    x: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Array | None = None,
) -> Array:
    """Mean over windows.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H, W) or (C, H, W)
    kernel_size : int or (int, int)
        The window's height and width.
    stride : int or (int, int), optional
        From window to window. Default: `kernel_size`.
    padding : int or (int, int)
        Rows and columns of zeros added on both sides, at most half of `kernel_size`.
    ceil_mode : bool
        Whether a last window may end beyond the padding. It must begin inside `x` or before it.
    count_include_pad : bool
        Whether padding counts in the divisor. What `ceil_mode` adds never does.
    divisor_override : int, optional
        What to divide the sum of a window by instead; not with `ceil_mode`.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out) or (C, H_out, W_out)
        ``H_out = floor((H + 2 * padding - kernel_size) / stride + 1)``. With `ceil_mode` it is
        rounded up, less 1 if the last window would begin beyond `x`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or no window fits.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> fastconv.avg_pool2d(x, 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """
    kernel_size = as_pair("kernel_size", kernel_size)
    stride = kernel_size if stride is None else as_pair("stride", stride)
    padding = as_pair("padding", padding)
    ceil_mode = as_bool("ceil_mode", ceil_mode)
    count_include_pad = as_bool("count_include_pad", count_include_pad)
    if divisor_override is not None:
        divisor = as_int("divisor_override", divisor_override)
        if divisor == 0:
            raise ValueError("divisor_override must not be 0")
        if ceil_mode:
            raise ValueError(
                "divisor_override is not possible with ceil_mode=True: fill the last window with "
                "fastconv.pad(x, (left, right, top, bottom)) and leave ceil_mode False"
            )
        scale = math.prod(kernel_size) / divisor
        if is_symbolic(x):
            return multiply(avg_pool2d(x, kernel_size, stride, padding), scale, out=out)
        operands = Operands(x=x)
        y = multiply(avg_pool2d(operands["x"], kernel_size, stride, padding), scale)
        operands.check_out(out, y.shape)
        return operands.finish(y, out)
    if is_symbolic(x):
        attributes = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "ceil_mode": ceil_mode,
            "count_include_pad": count_include_pad,
        }
        return record_images("avg_pool2d", {"x": x}, attributes, out)
    operands = Operands(x=x)
    size = _core.pool_output_size(
        operands.images().shape[2:], kernel_size, stride, padding, (1, 1), ceil_mode
    )
    arguments = (kernel_size, stride, padding, ceil_mode, count_include_pad)
    return operands.run_images(lambda x, y: _core.avg_pool2d(x, y, *arguments), size, out)


def _output_size(output_size: Any, shape: Sequence[int]) -> tuple[int, int]:
    """`output_size` as a pair; ``None`` keeps the input's size."""
    if output_size is None or not hasattr(output_size, "__len__"):
        output_size = (output_size, output_size)
    given = tuple(shape[-2:])
    if len(output_size) == len(given):
        output_size = tuple(
            n if value is None else value for value, n in zip(output_size, given, strict=True)
        )
    size = as_pair("output_size", output_size)
    if not 0 <= min(size) <= max(size) <= LARGEST_SIZE:
        raise ValueError(f"output_size must be from 0 to 2**40, got {size}")
    return size


@torch_arguments("input=x output_size")
@takes_device_arrays("x")
def adaptive_avg_pool2d(x: ArrayLike, output_size: Any, *, out: Array | None = None) -> Array:
    """Mean over windows that give an output of this size; they may overlap.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H, W) or (C, H, W)
    output_size : int, None or a pair of them
        Height and width of the output; ``None`` keeps that of `x`. Window ``i`` of an axis has
        the indices ``floor(i * H / H_out)`` to ``ceil((i + 1) * H / H_out) - 1``.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out) or (C, H_out, W_out)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), (1, 2))
    array([[[[6.5, 8.5]]]])
    """
    if is_symbolic(x):
        size = _output_size(output_size, x.shape)
        return record_images("adaptive_avg_pool2d", {"x": x}, {"output_size": size}, out)
    operands = Operands(x=x)
    size = _output_size(output_size, operands.images().shape)
    return operands.run_images(_core.adaptive_avg_pool2d, size, out, contiguous=size == (1, 1))


@torch_arguments("input=x output_size return_indices")
@takes_device_arrays("x")
def adaptive_max_pool2d(x: ArrayLike, output_size: Any, *, out: Array | None = None) -> Array:
    """Maximum over windows that give an output of this size; they may overlap.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H, W) or (C, H, W)
    output_size : int, None or a pair of them
        Height and width of the output; ``None`` keeps that of `x`. Window ``i`` of an axis has
        the indices ``floor(i * H / H_out)`` to ``ceil((i + 1) * H / H_out) - 1``.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out) or (C, H_out, W_out)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), (1, 2))
    array([[[[13., 15.]]]])
    """
    if is_symbolic(x):
        size = _output_size(output_size, x.shape)
        return record_images("adaptive_max_pool2d", {"x": x}, {"output_size": size}, out)
    operands = Operands(x=x)
    size = _output_size(output_size, operands.images().shape)
    return operands.run_images(_core.adaptive_max_pool2d, size, out)


@takes_device_arrays("x")
def global_avg_pool2d(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Mean of each channel.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H, W) or (C, H, W)
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, 1, 1) or (C, 1, 1)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.global_avg_pool2d(np.arange(8.0).reshape(1, 2, 2, 2)).shape
    (1, 2, 1, 1)
    """
    return adaptive_avg_pool2d(x, 1, out=out)
