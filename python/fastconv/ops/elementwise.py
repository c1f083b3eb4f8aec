"""Sums, products and means."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_array, as_axes, as_bool, as_float, is_number
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record, recordable
from fastconv.ops._torch import torch_arguments

__all__ = ["add", "mean", "multiply"]


def _binary(op: str, a: ArrayLike, b: ArrayLike, out: Array | None) -> Array:
    # A number takes the dtype of the array that it meets.
    if is_number(a) and not is_number(b):
        a = np.asarray(as_float("a", a), (b if is_symbolic(b) else as_array("b", b)).dtype)
    elif is_number(b) and not is_number(a):
        b = np.asarray(as_float("b", b), (a if is_symbolic(a) else as_array("a", a)).dtype)
    if is_symbolic(a, b):
        return record(op, tuple(recordable(a=a, b=b).values()), {}, out)
    operands = Operands(a=a, b=b)
    left, right = operands["a"], operands["b"]
    try:
        shape = np.broadcast_shapes(left.shape, right.shape)
    except ValueError:
        raise ValueError(
            f"a and b must have shapes that broadcast, got {left.shape} and {right.shape}"
        ) from None
    return operands.run(
        lambda y: _core.binary(op, np.broadcast_to(left, shape), np.broadcast_to(right, shape), y),
        shape,
        out,
        inplace=("a", "b"),
    )


@torch_arguments("input=a other=b * alpha")
@takes_device_arrays("a", "b")
def add(a: ArrayLike, b: ArrayLike, *, out: Array | None = None) -> Array:
    """Sum, element by element.

    Parameters
    ----------
    a, b : array_like of float, or number
        Of shapes that broadcast as in NumPy. A number takes the dtype of the other operand.
    out : ndarray, optional
        Where the result goes. May be `a` or `b` itself.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If the dtypes differ or the shapes do not broadcast.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.add([[1.0, 2.0]], [[10.0], [20.0]])
    array([[11., 12.],
           [21., 22.]])
    """
    return _binary("add", a, b, out)


@torch_arguments("input=a other=b")
@takes_device_arrays("a", "b")
def multiply(a: ArrayLike, b: ArrayLike, *, out: Array | None = None) -> Array:
    """Product, element by element.

    Parameters
    ----------
    a, b : array_like of float, or number
        Of shapes that broadcast as in NumPy. A number takes the dtype of the other operand.
    out : ndarray, optional
        Where the result goes. May be `a` or `b` itself.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If the dtypes differ or the shapes do not broadcast.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.multiply([1.0, 2.0], 3)
    array([3., 6.])
    """
    return _binary("multiply", a, b, out)


@torch_arguments("input=x dim=axis keepdim=keepdims * dtype")
@takes_device_arrays("x")
def mean(
    x: ArrayLike,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Mean along axes.

    Parameters
    ----------
    x : array_like of float
        Any shape.
    axis : int or sequence of int, optional
        The axes to average over. Default: all.
    keepdims : bool
        Whether these axes stay, with size 1.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray
        Rounding errors do not grow with the number of elements. The mean of none is NaN.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.mean([[1.0, 2.0], [3.0, 6.0]], axis=0)
    array([2., 4.])
    """
    keepdims = as_bool("keepdims", keepdims)
    if is_symbolic(x):
        axes = as_axes("axis", axis, x.ndim)
        return record("mean", (x,), {"axis": axes, "keepdims": keepdims}, out)
    operands = Operands(x=x)
    values = operands["x"]
    axes = as_axes("axis", axis, values.ndim)
    kept = [i for i in range(values.ndim) if i not in axes]
    shape = tuple(
        1 if i in axes else n for i, n in enumerate(values.shape) if keepdims or i not in axes
    )
    # The axes are averaged over as one: in place where they are neighbours, else moved to the end.
    if axes and axes[-1] - axes[0] == len(axes) - 1:
        before, after = values.shape[: axes[0]], values.shape[axes[-1] + 1 :]
    else:
        values = values.transpose(*kept, *axes)
        before, after = values.shape[: len(kept)], ()
    outer, inner = (math.prod(sizes) for sizes in (before, after))
    count = math.prod(operands["x"].shape[i] for i in axes)
    cube = np.asarray(values, order="C").reshape(outer, count, inner)
    return operands.run(
        lambda y: _core.mean(cube, y.reshape(outer, inner)), shape, out, contiguous=True
    )
