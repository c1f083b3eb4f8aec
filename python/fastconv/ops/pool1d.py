"""Pooling of signals: that of images of height 1."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_bool
from fastconv.ops._conv import single
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._signals import over_images
from fastconv.ops._torch import torch_arguments
from fastconv.ops.pool import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d

__all__ = ["adaptive_avg_pool1d", "adaptive_max_pool1d", "avg_pool1d", "max_pool1d"]


def _windows(kernel_size: Any, stride: Any, padding: Any) -> Any:
    """The windows' geometry as that of images."""
    size = single("kernel_size", kernel_size)
    step = size if stride is None else single("stride", stride)
    return (1, size), (1, step), (0, single("padding", padding))


@torch_arguments("input=x kernel_size stride padding dilation ceil_mode return_indices")
@takes_device_arrays("x")
def max_pool1d(
    x: ArrayLike,
    kernel_size: int | tuple[int],
    stride: int | tuple[int] | None = None,
    padding: int | tuple[int] = 0,
    dilation: int | tuple[int] = 1,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Maximum over windows of signals: `max_pool2d` on images of height 1.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, L) or (C, L)
    kernel_size, stride, padding, dilation : int or (int,)
        As for `max_pool2d`; `stride` is `kernel_size` by default.
    ceil_mode : bool
        Whether a last window may end beyond the padding. It must begin inside `x` or before it.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, L_out) or (C, L_out)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or no window fits.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.max_pool1d(np.arange(6.0).reshape(1, 1, 6), 2)
    array([[[1., 3., 5.]]])
    """
    windows = _windows(kernel_size, stride, padding)
    arguments: Any = *windows, (1, single("dilation", dilation)), as_bool("ceil_mode", ceil_mode)
    return over_images(
        lambda images, out=None: max_pool2d(images, *arguments, out=out),
        x,
        out,
        lambda shape: (*shape[:2], *_core.pool_output_size(shape[2:], *arguments)),
    )


@torch_arguments("input=x kernel_size stride padding ceil_mode count_include_pad")
@takes_device_arrays("x")
def avg_pool1d(
    x: ArrayLike,
    kernel_size: int | tuple[int],
    stride: int | tuple[int] | None = None,
    padding: int | tuple[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: Array | None = None,
) -> Array:
    """Mean over windows of signals: `avg_pool2d` on images of height 1.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, L) or (C, L)
    kernel_size, stride, padding : int or (int,)
        As for `avg_pool2d`; `stride` is `kernel_size` by default.
    ceil_mode : bool
        Whether a last window may end beyond the padding. It must begin inside `x` or before it.
    count_include_pad : bool
        Whether padding counts in the divisor. What `ceil_mode` adds never does.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, L_out) or (C, L_out)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or no window fits.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.avg_pool1d(np.arange(6.0).reshape(1, 1, 6), 2)
    array([[[0.5, 2.5, 4.5]]])
    """
    windows, ceil_mode = _windows(kernel_size, stride, padding), as_bool("ceil_mode", ceil_mode)
    arguments: Any = *windows, ceil_mode, count_include_pad
    sizes: Any = *windows, (1, 1), ceil_mode
    return over_images(
        lambda images, out=None: avg_pool2d(images, *arguments, out=out),
        x,
        out,
        lambda shape: (*shape[:2], *_core.pool_output_size(shape[2:], *sizes)),
    )


@torch_arguments("input=x output_size")
@takes_device_arrays("x")
def adaptive_avg_pool1d(
    x: ArrayLike, output_size: int | tuple[int], *, out: Array | None = None
) -> Array:
    """Mean over windows of signals that give an output of this length; they may overlap.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, L) or (C, L)
    output_size : int or (int,)
        The output's length. Window ``i`` has the indices ``floor(i * L / L_out)`` to
        ``ceil((i + 1) * L / L_out) - 1``.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, L_out) or (C, L_out)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_avg_pool1d(np.arange(6.0).reshape(1, 1, 6), 2)
    array([[[1., 4.]]])
    """
    size = (1, single("output_size", output_size))
    return over_images(
        lambda images, out=None: adaptive_avg_pool2d(images, size, out=out),
        x,
        out,
        lambda shape: (*shape[:2], *size),
    )


@torch_arguments("input=x output_size return_indices")
@takes_device_arrays("x")
def adaptive_max_pool1d(
    x: ArrayLike, output_size: int | tuple[int], *, out: Array | None = None
) -> Array:
    """Maximum over windows of signals that give an output of this length; they may overlap.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, L) or (C, L)
    output_size : int or (int,)
        The output's length. Window ``i`` has the indices ``floor(i * L / L_out)`` to
        ``ceil((i + 1) * L / L_out) - 1``.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, L_out) or (C, L_out)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_max_pool1d(np.arange(6.0).reshape(1, 1, 6), 2)
    array([[[2., 5.]]])
    """
    size = (1, single("output_size", output_size))
    return over_images(
        lambda images, out=None: adaptive_max_pool2d(images, size, out=out),
        x,
        out,
        lambda shape: (*shape[:2], *size),
    )
