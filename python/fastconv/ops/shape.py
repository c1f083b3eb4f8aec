"""Operators that only move elements. Their results are new C-contiguous arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv._arguments import Array, as_axis, as_int, as_ints
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record, recordable
from fastconv.ops._torch import torch_arguments

__all__ = ["cat", "concat", "flatten", "permute", "reshape", "split", "stack"]


def _resolve(shape: Sequence[int], given: Sequence[int]) -> tuple[int, ...]:
    """`shape` without its -1, for an array of shape `given`."""
    size = math.prod(given)
    known = math.prod(n for n in shape if n != -1)
    unknown = list(shape).count(-1)
    fits = size % known == 0 if unknown == 1 and known else unknown == 0 and size == known
    if not fits or min(shape, default=0) < -1:
        raise ValueError(f"x has shape {tuple(given)}, which cannot become shape {tuple(shape)}")
    return tuple(size // known if n == -1 else n for n in shape)


@torch_arguments("input=x shape")
@takes_device_arrays("x")
def reshape(x: ArrayLike, shape: int | Sequence[int], *, out: Array | None = None) -> Array:
    """Give the elements, in row-major order, another shape.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    shape : int or sequence of int
        One size may be -1: it follows from the others.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape `shape`

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or the number of elements differs.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.reshape([1.0, 2.0, 3.0, 4.0], (2, -1))
    array([[1., 2.],
           [3., 4.]])
    """
    sizes = as_ints("shape", shape, len(shape) if hasattr(shape, "__len__") else 1)
    if is_symbolic(x):
        _resolve(sizes, x.shape)
        return record("reshape", (x,), {"shape": sizes}, out)
    operands = Operands(x=x)
    source = operands.source("x")
    sizes = _resolve(sizes, source.shape)
    if out is None:
        return np.array(source, order="C").reshape(sizes)
    return operands.move(source.reshape(sizes), out)


@torch_arguments("input=x start_dim end_dim")
@takes_device_arrays("x")
def flatten(
    x: ArrayLike, start_dim: int = 0, end_dim: int = -1, *, out: Array | None = None
) -> Array:
    """Join neighbouring dimensions.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    start_dim, end_dim : int
        The first and the last of them.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or a dimension is out of range.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.flatten(np.zeros((2, 3, 4, 5)), 1).shape
    (2, 60)
    """
    given = x.shape if is_symbolic(x) else Operands(x=x).source("x").shape
    first = as_axis("start_dim", start_dim, len(given))
    last = as_axis("end_dim", end_dim, len(given))
    if first > last:
        raise ValueError(f"start_dim = {start_dim} comes after end_dim = {end_dim}")
    joined = math.prod(given[first : last + 1])
    shape = (*given[:first], joined, *given[last + 1 :])
    if is_symbolic(x) and first > 0 and 0 not in shape[1:]:
        shape = (-1, *shape[1:])  # holds for any batch size
    return reshape(x, shape, out=out)


@torch_arguments("input=x dims")
@takes_device_arrays("x")
def permute(x: ArrayLike, dims: Sequence[int], *, out: Array | None = None) -> Array:
    """Reorder the dimensions.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    dims : sequence of int
        Dimension i of the result is dimension ``dims[i]`` of `x`.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or `dims` does not name each dimension once.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.permute(np.zeros((1, 3, 8, 9)), (0, 2, 3, 1)).shape
    (1, 8, 9, 3)
    """
    ndim = x.ndim if is_symbolic(x) else Operands(x=x).source("x").ndim
    values = tuple(as_int("dims", d) for d in dims)
    if len(values) != ndim:
        raise ValueError(f"dims must name the {ndim} dimensions of x, got {values}")
    order = tuple(as_axis("dims", d, ndim) for d in values)
    if len(set(order)) != ndim:
        raise ValueError(f"dims must name each dimension of x once, got {values}")
    if is_symbolic(x):
        return record("permute", (x,), {"order": order}, out)
    operands = Operands(x=x)
    return operands.move(operands.source("x").transpose(order), out)


@torch_arguments("tensor=x split_size_or_sections dim=axis")
@takes_device_arrays("x")
def split(
    x: ArrayLike,
    split_size_or_sections: int | Sequence[int],
    axis: int = 0,
    *,
    out: Sequence[Array] | None = None,
) -> tuple[Array, ...]:
    """Cut an array into parts.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    split_size_or_sections : int or sequence of int
        The size of each part, the last of which may be smaller; or the sizes of all parts.
    axis : int
        Along which `x` is cut.
    out : sequence of ndarray, optional
        Where the results go.

    Returns
    -------
    tuple of ndarray

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or the sizes do not add up.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> [part.shape for part in fastconv.split(np.zeros((1, 8, 2, 2)), (3, 5), axis=1)]
    [(1, 3, 2, 2), (1, 5, 2, 2)]
    """
    operands = None if is_symbolic(x) else Operands(x=x)
    source: Any = x if operands is None else operands.source("x")
    if operands is None:
        source = source.copy()  # so that x has no views
    if source.ndim == 0:
        raise ValueError("x must have at least one dimension to be split")
    axis = as_axis("axis", axis, source.ndim)
    total = source.shape[axis]
    if isinstance(split_size_or_sections, Sequence):
        sizes = [as_int("split_size_or_sections", n) for n in split_size_or_sections]
    else:
        size = as_int("split_size_or_sections", split_size_or_sections)
        if size < 1 and not size == total == 0:
            raise ValueError(f"split_size_or_sections must be at least 1, got {size}")
        sizes = [min(size, total - at) for at in range(0, total, max(size, 1))] or [0]
    if min(sizes, default=0) < 0 or sum(sizes) != total:
        raise ValueError(
            f"split_size_or_sections must add up to the size {total} of axis {axis}, got {sizes}"
        )
    if out is not None and (operands is None or len(out) != len(sizes)):
        raise ValueError(f"out must be {len(sizes)} arrays, and x an array")
    ends = np.cumsum(sizes).tolist()
    parts = [
        source[(slice(None),) * axis + (slice(end - size, end),)]
        for size, end in zip(sizes, ends, strict=True)
    ]
    if operands is None:
        return tuple(part.copy() for part in parts)
    targets: Sequence[Array | None] = [None] * len(parts) if out is None else out
    return tuple(operands.move(p, t) for p, t in zip(parts, targets, strict=True))


def _members(arrays: Any) -> tuple[list[Any], Operands | None]:
    """Return the arrays or symbolic values of a list, and the operands where all are arrays."""
    if isinstance(arrays, np.ndarray) or not isinstance(arrays, Sequence):
        raise TypeError(f"arrays must be a list or tuple of arrays, got {type(arrays).__name__}")
    if not arrays:
        raise ValueError("arrays is empty: give at least one array")
    given = {f"arrays[{i}]": array for i, array in enumerate(arrays)}
    if is_symbolic(arrays[0], *arrays[1:]):
        return list(recordable(**given).values()), None
    operands = Operands(**given)
    return [operands.source(name) for name in given], operands


@torch_arguments("tensors=arrays dim=axis")
@takes_device_arrays("arrays")
def concat(arrays: Sequence[ArrayLike], axis: int = 0, *, out: Array | None = None) -> Array:
    """Join arrays along an axis.

    Parameters
    ----------
    arrays : sequence of array_like of float32, float64 or float16
        Of one dtype, and of equal sizes except along `axis`.
    axis : int
        Along which they are joined.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If there are no arrays, or their dtypes or shapes do not fit.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.concat([np.zeros((1, 3, 2, 2)), np.ones((1, 5, 2, 2))], axis=1).shape
    (1, 8, 2, 2)
    """
    values, operands = _members(arrays)
    shapes = [value.shape for value in values]
    if not shapes[0]:
        raise ValueError("arrays must have at least one dimension")
    axis = as_axis("axis", axis, len(shapes[0]))
    for i, shape in enumerate(shapes):
        if len(shape) != len(shapes[0]) or any(
            n != m for d, (n, m) in enumerate(zip(shape, shapes[0], strict=True)) if d != axis
        ):
            raise ValueError(
                f"arrays[{i}] has shape {shape} and arrays[0] {shapes[0]}: they may differ along "
                f"axis {axis} only"
            )
    if operands is None:
        return record("concat", values, {"axis": axis}, out)
    total = sum(shape[axis] for shape in shapes)
    shape = (*shapes[0][:axis], total, *shapes[0][axis + 1 :])
    operands.check_out(out, shape)
    if out is None:
        out = np.empty(shape, operands.dtype)
    return np.concatenate(values, axis, out=out)


@torch_arguments("tensors=arrays dim=axis")
def cat(arrays: Sequence[ArrayLike], axis: int = 0, *, out: Array | None = None) -> Array:
    """Join arrays along an axis: torch's other name of `concat`.

    Parameters
    ----------
    arrays, axis, out
        As for `concat`.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        As `concat`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.cat([np.zeros((1, 3)), np.ones((1, 5))], dim=1).shape
    (1, 8)
    """
    return concat(arrays, axis, out=out)


@torch_arguments("tensors=arrays dim=axis")
@takes_device_arrays("arrays")
def stack(arrays: Sequence[ArrayLike], axis: int = 0, *, out: Array | None = None) -> Array:
    """Join arrays along a new axis.

    Parameters
    ----------
    arrays : sequence of array_like of float32, float64 or float16
        Of one dtype and shape.
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
        If there are no arrays, or their dtypes or shapes differ.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.stack([np.zeros((3, 4)), np.ones((3, 4))], axis=1).shape
    (3, 2, 4)
    """
    values, _ = _members(arrays)
    shape = values[0].shape
    for i, value in enumerate(values):
        if value.shape != shape:
            raise ValueError(
                f"arrays[{i}] has shape {value.shape} and arrays[0] {shape}: they must be the same"
            )
    at = as_axis("axis", axis, len(shape) + 1)
    new = (*shape[:at], 1, *shape[at:])
    parts = [
        record("reshape", (value,), {"shape": new}) if is_symbolic(value) else value.reshape(new)
        for value in values
    ]
    return concat(parts, at, out=out)
