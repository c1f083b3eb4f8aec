"""Power-average pooling."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, Pair, as_bool, as_float, as_pair
from fastconv.ops._conv import single
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._signals import over_images
from fastconv.ops._symbols import is_symbolic, refuse_out
from fastconv.ops._torch import torch_arguments
from fastconv.ops.arithmetic import multiply, power
from fastconv.ops.pool import avg_pool2d, max_pool2d

__all__ = ["lp_pool1d", "lp_pool2d"]


@torch_arguments("input=x norm_type kernel_size stride ceil_mode")
@takes_device_arrays("x")
def lp_pool2d(
    x: ArrayLike,
    norm_type: float,
    kernel_size: Pair,
    stride: Pair | None = None,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Power-average pooling: ``(sum of x ** norm_type) ** (1 / norm_type)`` over windows.

    As in torch, powers are those of `x` itself, not of its magnitude: an odd `norm_type` keeps
    signs, and where the sum is negative the result is NaN, unless `norm_type` is 1.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H, W) or (C, H, W)
    norm_type : float
        The exponent, not 0 nor NaN. With 1 it is the sum; with infinity the maximum of the
        magnitudes, with its negative their minimum.
    kernel_size : int or (int, int)
        The window's height and width.
    stride : int or (int, int), optional
        From window to window. Default: `kernel_size`.
    ceil_mode : bool
        Whether windows may end beyond `x`. Such a one counts its mean for each of its
        ``KH * KW`` places, as torch does.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out) or (C, H_out, W_out)
        Sizes as those of `avg_pool2d`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, no window fits, or `norm_type` is 0 or
        NaN.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.lp_pool2d(np.array([[[[3.0, 4.0, 6.0, 8.0]]]]), 2, (1, 2))
    array([[[[ 5., 10.]]]])
    """
    exponent = as_float("norm_type", norm_type)
    if exponent == 0 or math.isnan(exponent):
        raise ValueError(f"norm_type must be a number other than 0, got {norm_type!r}")
    kernel_size = as_pair("kernel_size", kernel_size)

    def pooled(x: Any) -> Array:
        if math.isinf(exponent):
            sign = math.copysign(1.0, exponent)
            size = multiply(abs(x), sign)
            return multiply(max_pool2d(size, kernel_size, stride, 0, 1, ceil_mode), sign)
        mean = avg_pool2d(power(x, exponent), kernel_size, stride, 0, ceil_mode)
        return power(multiply(mean, float(math.prod(kernel_size))), 1 / exponent)

    if is_symbolic(x):
        refuse_out(out)
        return pooled(x)
    operands = Operands(x=x)
    y = pooled(operands["x"])
    operands.check_out(out, y.shape)
    return operands.finish(y, out)


@torch_arguments("input=x norm_type kernel_size stride ceil_mode")
@takes_device_arrays("x")
def lp_pool1d(
    x: ArrayLike,
    norm_type: float,
    kernel_size: int | tuple[int],
    stride: int | tuple[int] | None = None,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Power-average pooling of signals: `lp_pool2d` on images of height 1.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, L) or (C, L)
    norm_type : float
        As for `lp_pool2d`.
    kernel_size, stride : int or (int,)
    ceil_mode : bool
        As for `lp_pool2d`.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, L_out) or (C, L_out)

    Raises
    ------
    TypeError, ValueError
        As `lp_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.lp_pool1d(np.array([[[3.0, 4.0, 6.0, 8.0]]]), 2, 2)
    array([[[ 5., 10.]]])
    """
    size = (1, single("kernel_size", kernel_size))
    step = size if stride is None else (1, single("stride", stride))
    ceil_mode = as_bool("ceil_mode", ceil_mode)
    return over_images(
        lambda images, out=None: lp_pool2d(images, norm_type, size, step, ceil_mode, out=out),
        x,
        out,
        lambda shape: (
            *shape[:2],
            *_core.pool_output_size(shape[2:], size, step, (0, 0), (1, 1), ceil_mode),
        ),
    )
