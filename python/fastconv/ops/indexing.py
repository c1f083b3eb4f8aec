"""Elements by their indices, which are constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv._arguments import Array, as_axis, numpy_array
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record, recordable
from fastconv.ops._torch import torch_arguments

__all__ = ["scatter_add", "take"]


def _indices(value: Any, size: int, along: str) -> Array:
    """`value` as int64, counted from the start of an axis of this size; `along` names the axis."""
    if is_symbolic(value):
        raise TypeError(
            "indices must be an array of integers, got a symbolic value, which has no numbers yet"
        )
    array = numpy_array("indices", value)
    if array.dtype.kind not in "iu":
        mend = "numpy.flatnonzero(mask)" if array.dtype.kind == "b" else "indices.astype(np.int64)"
        raise TypeError(f"indices must be an array of integers, got {array.dtype}: pass {mend}")
    if array.size and not -size <= (low := int(array.min())) <= (high := int(array.max())) < size:
        raise IndexError(
            f"index {low if low < -size else high} is out of bounds for {along} with size {size}"
        )
    array = array.astype(np.int64)
    return np.where(array < 0, array + size, array)


def _axis(axis: Any, ndim: int) -> int:
    if ndim == 0:
        raise ValueError("x must have at least one dimension to have an axis")
    return as_axis("axis", axis, ndim)


@torch_arguments("input=x index=indices * dim")
@takes_device_arrays("x")
def take(
    x: ArrayLike, indices: ArrayLike, axis: int | None = None, *, out: Array | None = None
) -> Array:
    """Take elements by their indices along an axis, as `numpy.take`.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    indices : array_like of int
        Of any shape; negative ones are counted from the end. While `forward` is recorded they are
        constants, too.
    axis : int, optional
        Along which. Default: indices count the elements of `x` as if it were flat, which is torch's
        ``torch.take``; with an axis it is torch's ``index_select``.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        The shape of `x`, with that of `indices` in the place of the axis.

    Raises
    ------
    IndexError
        If an index is beyond the axis.
    TypeError, ValueError
        If `x` is no float array, `indices` are no integers, or `axis` is out of range.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.take([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [2, 0], axis=1)
    array([[3., 1.],
           [6., 4.]])
    """
    operands = None if is_symbolic(x) else Operands(x=x)
    source: Any = x if operands is None else operands.source("x")
    if axis is None:
        at, along, sizes = 0, "x as if it were flat (axis=None)", (math.prod(source.shape),)
    else:
        at, sizes = _axis(axis, source.ndim), source.shape
        along = f"axis {at} of x"
    chosen = _indices(indices, sizes[at], along)
    if operands is not None:
        y = np.asarray(np.take(source.reshape(sizes), chosen, at))
        return y if out is None else operands.move(y, out)
    flat = record("reshape", (x,), {"shape": sizes}) if sizes != source.shape else x
    attributes = {"axis": at, "indices": chosen.ravel().tolist()}
    y = record("take", (flat,), attributes, out)
    shape = (*sizes[:at], *chosen.shape, *sizes[at + 1 :])
    return y if chosen.ndim == 1 else record("reshape", (y,), {"shape": shape})


@torch_arguments("x indices updates axis * dim")
@takes_device_arrays("x", "updates")
def scatter_add(
    x: ArrayLike,
    indices: ArrayLike,
    updates: ArrayLike,
    axis: int = 0,
    *,
    out: Array | None = None,
) -> Array:
    """Add to elements by their indices along an axis, as `numpy.add.at`.

    For each i in turn, element i of `updates` is added to element ``indices[i]`` of the result, so
    that what is named several times is added to several times. It is torch's ``index_add``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
        What is added to; it is not changed, unless it is `out`.
    indices : array_like of int, shape (K,)
        Negative ones are counted from the end. While `forward` is recorded they are constants, too.
    updates : array_like of float32, float64 or float16
        The shape of `x`, with K elements along the axis.
    axis : int
        Along which.
    out : ndarray, optional
        Where the result goes. May be `x` itself.

    Returns
    -------
    ndarray
        The shape of `x`. It does not depend on the number of threads.

    Raises
    ------
    IndexError
        If an index is beyond the axis.
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.scatter_add([1.0, 2.0, 3.0], [0, 2, 0], [10.0, 20.0, 30.0])
    array([41.,  2., 23.])
    """
    symbolic = is_symbolic(x, updates)
    if symbolic:
        values = recordable(x=x, updates=updates)
    else:
        operands = Operands(x=x, updates=updates)
        values = {name: operands.source(name) for name in ("x", "updates")}
    shape = values["x"].shape
    at = _axis(axis, len(shape))
    chosen = _indices(indices, shape[at], f"axis {at} of x")
    if chosen.ndim != 1:
        raise ValueError(f"indices must have one dimension, got shape {chosen.shape}")
    expected = (*shape[:at], chosen.size, *shape[at + 1 :])
    if values["updates"].shape != expected:
        raise ValueError(
            f"updates must have shape {expected}, that of x with an element along axis {at} for "
            f"each index, got {values['updates'].shape}"
        )
    attributes = {"axis": at, "indices": chosen.tolist()}
    if symbolic:
        return record("scatter_add", tuple(values.values()), attributes, out)
    updated = operands.contiguous("updates")
    return operands.compute("scatter_add", (updated,), attributes, out, inplace=("x",))
