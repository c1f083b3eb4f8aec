"""Softmax and its logarithm: from scores to probabilities."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_axis
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record
from fastconv.ops._torch import torch_arguments
from fastconv.ops.elementary import negative
from fastconv.ops.shape import reshape

__all__ = ["log_softmax", "softmax", "softmin"]


def _softmax(x: ArrayLike, axis: int, logarithm: bool, out: Array | None) -> Array:
    if is_symbolic(x):
        name = "log_softmax" if logarithm else "softmax"
        if x.ndim == 0:  # which has no axis, but one number to divide by itself
            return reshape(_softmax(reshape(x, 1), 0, logarithm, out), ())
        return record(name, (x,), {"axis": as_axis("axis", axis, x.ndim)}, out)
    operands = Operands(x=x)
    values = operands.contiguous("x")
    axis = as_axis("axis", axis, values.ndim)
    count = values.shape[axis] if values.ndim else 1
    outer = math.prod(values.shape[:axis])
    inner = math.prod(values.shape[axis + 1 :])
    shape = (outer, count, inner)
    return operands.run(
        lambda y: _core.softmax(values.reshape(shape), y.reshape(shape), logarithm),
        values.shape,
        out,
        contiguous=True,
    )


@torch_arguments("input=x dim=axis _stacklevel dtype")
@takes_device_arrays("x")
def softmax(x: ArrayLike, axis: int = -1, *, out: Array | None = None) -> Array:
    """Exponentials divided by their sum along an axis: ``exp(x) / sum(exp(x))``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
        Any shape. Large values do not overflow.
    axis : int
        Along which the results sum to one.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with `x`.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.softmax([[1.0, 1.0, 1.0, 1.0]])
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    return _softmax(x, axis, False, out)


@torch_arguments("input=x dim=axis _stacklevel dtype")
@takes_device_arrays("x")
def log_softmax(x: ArrayLike, axis: int = -1, *, out: Array | None = None) -> Array:
    """Logarithm of `softmax`, computed without cancellation: ``x - log(sum(exp(x)))``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    axis : int
        Along which the exponentials of the results sum to one.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with `x`.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.log_softmax([[0.0, 1000.0]])
    array([[-1000.,     0.]])
    """
    return _softmax(x, axis, True, out)


@torch_arguments("input=x dim=axis _stacklevel dtype")
@takes_device_arrays("x")
def softmin(x: ArrayLike, axis: int = -1, *, out: Array | None = None) -> Array:
    """`softmax` of ``-x``: the smallest number gets the largest share.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    axis : int
        Along which the results sum to one.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with `x`.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.softmin([1.0, 1.0, 1000.0])
    array([0.5, 0.5, 0. ])
    """
    if not is_symbolic(x):
        operands = Operands(x=x)
        operands.check_out(out, operands.source("x").shape)
    return _softmax(negative(x), axis, False, out)
