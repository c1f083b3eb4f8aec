"""Axes of size 1, and elements that change places along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv._arguments import Array, as_axes, as_axis, as_int, is_sequence
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record, refuse_out
from fastconv.ops._torch import torch_arguments
from fastconv.ops.shape import concat, reshape

__all__ = ["expand_dims", "flip", "roll", "squeeze", "unsqueeze"]


def _shape(x: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = x.shape if is_symbolic(x) else Operands(x=x).source("x").shape
    return shape


@torch_arguments("input=x dim=axis")
@takes_device_arrays("x")
def squeeze(
    x: ArrayLike, axis: int | Sequence[int] | None = None, *, out: Array | None = None
) -> Array:
    """Remove axes of size 1, as `numpy.squeeze`.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    axis : int or sequence of int, optional
        The axes to remove, all of size 1; torch, unlike NumPy, keeps others. Default: all of size
        1.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, or an axis is out of range or not of size 1.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.squeeze(np.zeros((2, 3, 1, 1)), (2, 3)).shape
    (2, 3)
    """
    shape = _shape(x)
    gone = [i for i, n in enumerate(shape) if n == 1]
    if axis is not None:
        gone = list(as_axes("axis", axis, len(shape)))
    if any(shape[i] != 1 for i in gone):
        raise ValueError(f"axis {axis} of shape {shape} is not of size 1: only such axes go")
    return reshape(x, [n for i, n in enumerate(shape) if i not in gone], out=out)


@takes_device_arrays("x")
def expand_dims(x: ArrayLike, axis: int | Sequence[int], *, out: Array | None = None) -> Array:
    """Add axes of size 1, as `numpy.expand_dims`.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    axis : int or sequence of int
        Where the new axes are in the result.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, or an axis is out of range or named twice.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.expand_dims(np.zeros((2, 3)), (0, -1)).shape
    (1, 2, 3, 1)
    """
    if axis is None:
        raise TypeError("axis must be an integer or a sequence of integers, got None")
    shape = _shape(x)
    ndim = len(shape) + (len(axis) if hasattr(axis, "__len__") else 1)
    added, sizes = as_axes("axis", axis, ndim), iter(shape)
    return reshape(x, [1 if i in added else next(sizes) for i in range(ndim)], out=out)


@torch_arguments("input=x dim=axis")
def unsqueeze(x: ArrayLike, axis: int, *, out: Array | None = None) -> Array:
    """Add an axis of size 1: torch's name of `expand_dims`.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    axis : int
        Where the new axis is in the result.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or `axis` is out of range.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.unsqueeze(np.zeros((2, 3)), 1).shape
    (2, 1, 3)
    """
    return expand_dims(x, as_int("axis", axis), out=out)


@torch_arguments("input=x dims=axis")
@takes_device_arrays("x")
def flip(
    x: ArrayLike, axis: int | Sequence[int] | None = None, *, out: Array | None = None
) -> Array:
    """Reverse the order of elements along axes, as `numpy.flip`.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    axis : int or sequence of int, optional
        Default: all.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        The shape of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, or an axis is out of range or named twice.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.flip([[1.0, 2.0], [3.0, 4.0]], 1)
    array([[2., 1.],
           [4., 3.]])
    """
    if not is_symbolic(x):
        operands = Operands(x=x)
        source = operands.source("x")
        return operands.move(np.flip(source, as_axes("axis", axis, source.ndim)), out)
    axes = as_axes("axis", axis, x.ndim)
    ends = [(n - 1, -1, -1) if i in axes and n else (0, n, 1) for i, n in enumerate(x.shape)]
    attributes = {key: [end[i] for end in ends] for i, key in enumerate(("start", "stop", "step"))}
    return record("slice", (x,), attributes, out)


@torch_arguments("input=x shifts=shift dims=axis")
@takes_device_arrays("x")
def roll(
    x: ArrayLike,
    shift: int | Sequence[int],
    axis: int | Sequence[int] | None = None,
    *,
    out: Array | None = None,
) -> Array:
    """Move elements along axes; those beyond the end come back at the start, as in `numpy.roll`.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    shift : int or sequence of int
        By how many elements, for each axis or the same for all; negative numbers move to the front.
    axis : int or sequence of int, optional
        Default: `x` is moved as if it were flat.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        The shape of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, an axis is out of range, or there are not as many shifts as axes.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.roll([1.0, 2.0, 3.0, 4.0], 1)
    array([4., 1., 2., 3.])
    """
    shifts = [as_int("shift", n) for n in (shift if is_sequence(shift) else (shift,))]
    given = [0] if axis is None else list(axis) if is_sequence(axis) else [axis]
    if len(shifts) != len(given) and 1 not in (len(shifts), len(given)):
        raise ValueError(
            f"shift must have one number for each axis, got {len(shifts)} for {len(given)} axes"
        )
    operands = None if is_symbolic(x) else Operands(x=x)
    source: Any = x if operands is None else operands.source("x")
    if source.ndim == 0 and axis is not None:
        raise ValueError("x must have at least one dimension to be rolled along an axis")
    axes = [as_axis("axis", i, source.ndim) for i in given]
    if operands is not None:
        rolled = np.roll(source.reshape(-1) if axis is None else source, shifts, axes)
        return operands.move(rolled.reshape(source.shape), out)
    refuse_out(out)
    y = reshape(source, -1) if axis is None else source.copy()  # so that x has no views
    for by, i in np.broadcast(shifts, axes):
        at = -by % y.shape[i] if y.shape[i] else 0
        if at:
            before = (slice(None),) * i
            y = concat([y[(*before, slice(at, None))], y[(*before, slice(at))]], i)
    return reshape(y, source.shape) if axis is None else y.copy()
