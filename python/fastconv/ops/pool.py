"""Pooling and resizing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv import _core
from fastconv.ops._args import (
    LARGEST_SIZE,
    Array,
    Operands,
    as_bool,
    as_float,
    as_int,
    as_pair,
    choice,
    is_symbolic,
    record_images,
)
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._torch import torch_arguments
from fastconv.ops.elementwise import multiply

Pair = int | tuple[int, int]


def _run_images(
    operands: Operands,
    size: tuple[int, int],
    call: Callable[[Array, Array], None],
    out: Array | None,
    *,
    contiguous: bool = False,
) -> Array:
    """Run ``call(x, y)`` on images (N, C, H, W); `size` is the output's (H, W)."""
    x = operands.images()
    if x.shape[1] == 0:
        raise ValueError(f"x must have at least one channel, got shape {operands['x'].shape}")
    if contiguous:
        x = np.asarray(x, order="C")
    batched = operands["x"].ndim == 4
    shape = (*x.shape[:2], *size)
    return operands.run(
        lambda y: call(x, y if batched else y[None]), shape if batched else shape[1:], out
    )


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
    x : array_like of float, shape (N, C, H, W) or (C, H, W)
    kernel_size : int or (int, int)
        The window's height and width.
    stride : int or (int, int), optional
        From window to window. Default: `kernel_size`.
    padding : int or (int, int)
        Rows and columns added on both sides, at most half of the window. They never win.
    dilation : int or (int, int)
        From element to element inside the window.
    ceil_mode : bool
        Whether windows may begin inside `x` and end beyond its padding.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out) or (C, H_out, W_out)
        ``H_out = floor((H + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1)``, with
        `ceil_mode` rounded up. A window that holds a NaN gives NaN.

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
    return _run_images(operands, size, lambda x, y: _core.max_pool2d(x, y, *arguments), out)


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
    x : array_like of float, shape (N, C, H, W) or (C, H, W)
    kernel_size : int or (int, int)
        The window's height and width.
    stride : int or (int, int), optional
        From window to window. Default: `kernel_size`.
    padding : int or (int, int)
        Rows and columns of zeros added on both sides, at most half of the window.
    ceil_mode : bool
        Whether windows may begin inside `x` and end beyond its padding.
    count_include_pad : bool
        Whether the padding counts in the number that is divided by.
    divisor_override : int, optional
        What to divide the sum of a window by, instead of that number; not with `ceil_mode`.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out) or (C, H_out, W_out)
        ``H_out = floor((H + 2 * padding - kernel_size) / stride + 1)``, with `ceil_mode` rounded
        up.

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
    return _run_images(operands, size, lambda x, y: _core.avg_pool2d(x, y, *arguments), out)


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
    """Mean over windows that divide `x` into an output of a given size.

    Parameters
    ----------
    x : array_like of float, shape (N, C, H, W) or (C, H, W)
    output_size : int, None or a pair of them
        Height and width of the output; ``None`` keeps that of `x`. Window ``i`` of an axis is
        ``floor(i * H / H_out)`` to ``ceil((i + 1) * H / H_out)``.
    out : ndarray, optional
        Where the result goes.

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
    return _run_images(operands, size, _core.adaptive_avg_pool2d, out, contiguous=size == (1, 1))


@torch_arguments("input=x output_size return_indices")
@takes_device_arrays("x")
def adaptive_max_pool2d(x: ArrayLike, output_size: Any, *, out: Array | None = None) -> Array:
    """Maximum over windows that divide `x` into an output of a given size.

    Parameters
    ----------
    x : array_like of float, shape (N, C, H, W) or (C, H, W)
    output_size : int, None or a pair of them
        Height and width of the output; ``None`` keeps that of `x`. Window ``i`` of an axis is
        ``floor(i * H / H_out)`` to ``ceil((i + 1) * H / H_out)``.
    out : ndarray, optional
        Where the result goes.

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
    return _run_images(operands, size, _core.adaptive_max_pool2d, out)


@takes_device_arrays("x")
def global_avg_pool2d(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Mean of each channel.

    Parameters
    ----------
    x : array_like of float, shape (N, C, H, W) or (C, H, W)
    out : ndarray, optional
        Where the result goes.

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


def _interpolation_size(
    shape: Sequence[int], size: Any, scale_factor: Any
) -> tuple[tuple[int, int], tuple[float, float]]:
    """The output's (height, width), and the input step per output element (0: by the sizes)."""
    if (size is None) == (scale_factor is None):
        raise ValueError("exactly one of size and scale_factor must be given")
    if size is not None:
        pair = as_pair("size", size)
        if min(pair) < 1:
            raise ValueError(f"the output must have at least one row and column, got {pair}")
        return pair, (0.0, 0.0)
    factors = (
        tuple(as_float("scale_factor", factor) for factor in scale_factor)
        if hasattr(scale_factor, "__len__")
        else (as_float("scale_factor", scale_factor),) * 2
    )
    if len(factors) != 2 or not all(0 < factor < math.inf for factor in factors):
        raise ValueError(
            f"scale_factor must be a positive number or a pair of them, got {scale_factor!r}"
        )
    sizes = [n * factor for n, factor in zip(shape[-2:], factors, strict=True)]
    if max(sizes) >= 2**63:
        raise ValueError(f"scale_factor = {scale_factor!r} makes an output that is too large")
    height, width = map(math.floor, sizes)
    if min(height, width) < 1:
        raise ValueError(f"the output must have at least one row and column, got {height, width}")
    return (height, width), (1 / factors[0], 1 / factors[1])


@torch_arguments("input=x size scale_factor mode align_corners recompute_scale_factor antialias")
@takes_device_arrays("x")
def interpolate(
    x: ArrayLike,
    size: Pair | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    *,
    out: Array | None = None,
) -> Array:
    """Resize images.

    Parameters
    ----------
    x : array_like of float, shape (N, C, H, W) or (C, H, W)
    size : int or (int, int), optional
        Height and width of the output.
    scale_factor : float or (float, float), optional
        Instead of `size`: the output's size is ``floor(H * scale_factor)``, and the coordinates are
        those of this very factor, except that "bilinear" copies along an axis that keeps its size.
    mode : {"nearest", "bilinear"}
        "nearest" takes element ``floor(i / scale_factor)``, computed in float32 for every dtype as
        torch does for float32.
    align_corners : bool, optional
        For bilinear: whether the centres of the corner elements coincide, instead of their outer
        corners. Default: False.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out) or (C, H_out, W_out)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or both or neither of `size` and
        `scale_factor` are given.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[[0.0, 1.0]]]])
    >>> fastconv.interpolate(x, (1, 4))
    array([[[[0., 0., 1., 1.]]]])
    >>> fastconv.interpolate(x, (1, 4), mode="bilinear")
    array([[[[0.  , 0.25, 0.75, 1.  ]]]])
    """
    bilinear = choice("mode", mode, ("nearest", "bilinear")) == "bilinear"
    if align_corners is not None and not bilinear:
        raise ValueError("align_corners is for mode='bilinear' only: leave it out")
    aligned = False if align_corners is None else as_bool("align_corners", align_corners)
    if is_symbolic(x):
        size, scale = _interpolation_size(x.shape, size, scale_factor)
        attributes = {"size": size, "scale": scale, "mode": mode, "align_corners": aligned}
        return record_images("interpolate", {"x": x}, attributes, out)
    operands = Operands(x=x)
    size, scale = _interpolation_size(operands.images().shape, size, scale_factor)
    return _run_images(
        operands, size, lambda x, y: _core.interpolate(x, y, scale, bilinear, aligned), out
    )


@torch_arguments("input=x groups")
@takes_device_arrays("x")
def channel_shuffle(x: ArrayLike, groups: int, *, out: Array | None = None) -> Array:
    """Interleave the groups of channels: channel ``g * C / groups + i`` goes to ``i * groups + g``.

    Parameters
    ----------
    x : array_like of float, shape (N, C, H, W) or (C, H, W)
        A (C, H, W) is one image; torch takes three dimensions for (N, C, L).
    groups : int
        Divides C.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray
        The shape of `x`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    References
    ----------
    X. Zhang et al., "ShuffleNet", 2017, arXiv:1707.01083.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.channel_shuffle(np.arange(4.0).reshape(1, 4, 1, 1), 2).ravel()
    array([0., 2., 1., 3.])
    """
    groups = as_int("groups", groups)
    if is_symbolic(x):
        return record_images("channel_shuffle", {"x": x}, {"groups": groups}, out)
    operands = Operands(x=x)
    source = operands.source("x")
    n, c, h, w = operands.images().shape
    if groups < 1 or c % groups:
        raise ValueError(f"groups must divide the {c} channels of x, got {groups}")
    view = source.reshape(n, groups, c // groups, h, w).swapaxes(1, 2)
    return operands.move(view.reshape(source.shape), out)


@torch_arguments("input=x upscale_factor")
@takes_device_arrays("x")
def pixel_shuffle(x: ArrayLike, upscale_factor: int, *, out: Array | None = None) -> Array:
    """Turn groups of ``upscale_factor**2`` channels into pixels.

    Parameters
    ----------
    x : array_like of float, shape (N, C * r**2, H, W) or (C * r**2, H, W)
    upscale_factor : int
        The r above.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H * r, W * r) or (C, H * r, W * r)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    References
    ----------
    W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", 2016, arXiv:1609.05158.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.pixel_shuffle(np.arange(4.0).reshape(1, 4, 1, 1), 2)
    array([[[[0., 1.],
             [2., 3.]]]])
    """
    r = as_int("upscale_factor", upscale_factor)
    if is_symbolic(x):
        return record_images("pixel_shuffle", {"x": x}, {"upscale_factor": r}, out)
    operands = Operands(x=x)
    source = operands.source("x")
    n, c, h, w = operands.images().shape
    if r < 1 or c % (r * r):
        raise ValueError(
            f"upscale_factor must be positive and its square divide the {c} channels of x, got {r}"
        )
    view = source.reshape(n, c // (r * r), r, r, h, w).transpose(0, 1, 4, 2, 5, 3)
    return operands.move(view.reshape(*source.shape[:-3], c // (r * r), h * r, w * r), out)
