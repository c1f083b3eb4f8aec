"""3-d operators where they are 2-d: windows of one slice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv._arguments import Array, as_ints, choice
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, recordable, refuse_out
from fastconv.ops._torch import torch_arguments
from fastconv.ops.conv import conv2d
from fastconv.ops.pool import avg_pool2d, max_pool2d

__all__ = ["avg_pool3d", "conv3d", "max_pool3d"]

Triple = int | tuple[int, int, int]

_CHANNELS_BESIDE_SLICES = (0, 2, 1, 3, 4)
"""From (N, C, D, H, W) to (N, D, C, H, W), and back."""


class _Volumes:
    """The argument `x` of a 3-d operator, which has `others`, as (N, C, D, H, W)."""

    def __init__(self, x: Any, out: Array | None, *others: Any) -> None:
        self._operands = None if is_symbolic(x, *others) else Operands(x=x)
        if self._operands is None:
            refuse_out(out)
            x = recordable(x=x)["x"]
        else:
            x = self._operands.source("x")
        if x.ndim not in (4, 5):
            raise ValueError(
                f"x must have shape (N, C, D, H, W) or (C, D, H, W), got {tuple(x.shape)}"
            )
        if x.shape[-3] == 0:
            raise ValueError(f"x must have at least one slice, got shape {tuple(x.shape)}")
        self._batched, self._out = x.ndim == 5, out
        self.value = x if self._batched else x.reshape((1, *x.shape))

    def every(self, stride: int) -> Any:
        """The slices that windows of one slice begin at."""
        return self.value if stride == 1 else self.value[:, :, ::stride]

    def finish(self, y: Any) -> Array:
        """The result (N, C, D, H, W) as the caller gets it."""
        if not self._batched:
            y = y.reshape(y.shape[1:])
        if self._operands is None:
            return y  # type: ignore[no-any-return]
        return np.asarray(y, order="C") if self._out is None else self._operands.move(y, self._out)


def _one_slice(operator: str, name: str, value: Any, depth: int) -> tuple[int, int]:
    """The (height, width) of an argument (depth, height, width), whose depth must be this one."""
    given, *pair = as_ints(name, value, 3)
    if given != depth:
        raise ValueError(
            f"{operator} takes windows of one slice, which make it a 2-d operator on each: {name} "
            f"must be {depth} in depth, got {(given, *pair)}"
        )
    return pair[0], pair[1]


@torch_arguments("input=x weight bias stride padding dilation groups")
@takes_device_arrays("x")
def conv3d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Triple = 1,
    padding: Triple | str = 0,
    dilation: Triple = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    out: Array | None = None,
) -> Array:
    """3-d convolution with kernels of depth 1: a 2-d convolution of each slice.

    Parameters
    ----------
    x : array_like, shape (N, C, D, H, W) or (C, D, H, W)
    weight : array_like, shape (O, C / groups, 1, KH, KW)
    bias : array_like, shape (O,), optional
    stride, dilation : int or (int, int, int)
        Along depth, height and width.
    padding : int, (int, int, int), "same" or "valid"
        Zeros around `x`. In depth there can be none: other single ints than 0 are errors.
    groups, activation
        As for `conv2d`.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, O, D_out, H_out, W_out) or (O, D_out, H_out, W_out)

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, weight = np.ones((1, 2, 4, 5, 5)), np.ones((3, 2, 1, 3, 3))
    >>> fastconv.conv3d(x, weight, padding=(0, 1, 1)).shape
    (1, 3, 4, 5, 5)
    """
    kernel = recordable(weight=weight)["weight"]
    if kernel.ndim != 5:
        raise ValueError(f"weight must have shape (O, C / groups, 1, KH, KW), got {kernel.shape}")
    _one_slice("conv3d", "the kernel", kernel.shape[2:], 1)
    if isinstance(padding, str):
        choice("padding", padding, ("same", "valid"))
    else:
        padding = _one_slice("conv3d", "padding", padding, 0)  # type: ignore[assignment]
    depth, *steps = as_ints("stride", stride, 3)
    if depth < 1:
        raise ValueError(f"stride must be at least 1, got {stride!r}")
    volumes = _Volumes(x, out, weight, bias)
    slices = volumes.every(depth).transpose(_CHANNELS_BESIDE_SLICES)
    n, d, *image = slices.shape
    y: Any = conv2d(
        slices.reshape((n * d, *image)),
        kernel[:, :, 0],
        bias,
        tuple(steps),  # type: ignore[arg-type]
        padding,
        as_ints("dilation", dilation, 3)[1:],  # type: ignore[arg-type]
        groups,
        activation=activation,
    )
    return volumes.finish(y.reshape((n, d, *y.shape[1:])).transpose(_CHANNELS_BESIDE_SLICES))


def _pool(function: Any, x: Any, stride: int, out: Array | None, *arguments: Any) -> Array:
    """Pool the slices of all channels as images of so many channels."""
    volumes = _Volumes(x, out)
    slices = volumes.every(stride)
    n, c, d, *image = slices.shape
    y = function(slices.reshape((n, c * d, *image)), *arguments)
    return volumes.finish(y.reshape((n, c, d, *y.shape[2:])))


def _windows(
    operator: str, kernel_size: Any, stride: Any, padding: Any
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """The stride in depth, and (height, width) of kernel_size, stride and padding."""
    size = _one_slice(operator, "kernel_size", kernel_size, 1)
    depth, *steps = (1, *size) if stride is None else as_ints("stride", stride, 3)
    if depth < 1:
        raise ValueError(f"stride must be at least 1, got {stride!r}")
    return depth, (size, (steps[0], steps[1]), _one_slice(operator, "padding", padding, 0))


@torch_arguments("input=x kernel_size stride padding dilation ceil_mode return_indices")
@takes_device_arrays("x")
def max_pool3d(
    x: ArrayLike,
    kernel_size: Triple,
    stride: Triple | None = None,
    padding: Triple = 0,
    dilation: Triple = 1,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Maximum over windows of one slice: `max_pool2d` of each slice.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, D, H, W) or (C, D, H, W)
    kernel_size, stride, padding, dilation : int or (int, int, int)
        Along depth, height and width. In depth `kernel_size` must be 1 and `padding` 0: other
        single ints are errors.
    ceil_mode : bool
        As for `max_pool2d`.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out)

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.max_pool3d(np.ones((1, 2, 3, 8, 8)), (1, 2, 2)).shape
    (1, 2, 3, 4, 4)
    """
    depth, windows = _windows("max_pool3d", kernel_size, stride, padding)
    dilations = as_ints("dilation", dilation, 3)[1:]
    return _pool(max_pool2d, x, depth, out, *windows, dilations, ceil_mode)


@torch_arguments("input=x kernel_size stride padding ceil_mode count_include_pad divisor_override")
@takes_device_arrays("x")
def avg_pool3d(
    x: ArrayLike,
    kernel_size: Triple,
    stride: Triple | None = None,
    padding: Triple = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Array | None = None,
) -> Array:
    """Mean over windows of one slice: `avg_pool2d` of each slice.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, D, H, W) or (C, D, H, W)
    kernel_size, stride, padding : int or (int, int, int)
        Along depth, height and width. In depth `kernel_size` must be 1 and `padding` 0: other
        single ints are errors.
    ceil_mode, count_include_pad, divisor_override
        As for `avg_pool2d`.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, D_out, H_out, W_out) or (C, D_out, H_out, W_out)

    Raises
    ------
    TypeError, ValueError
        As `avg_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.avg_pool3d(np.ones((1, 2, 3, 8, 8)), (1, 2, 2)).shape
    (1, 2, 3, 4, 4)
    """
    depth, windows = _windows("avg_pool3d", kernel_size, stride, padding)
    return _pool(
        avg_pool2d, x, depth, out, *windows, ceil_mode, count_include_pad, divisor_override
    )
