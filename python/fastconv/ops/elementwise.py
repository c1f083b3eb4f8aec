"""Sums and products."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_array, as_float, is_number
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._native import native_first
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record, recordable
from fastconv.ops._torch import torch_arguments

__all__ = ["add", "multiply"]


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


@native_first(_core.binary_plain("add"))
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


@native_first(_core.binary_plain("multiply"))
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
