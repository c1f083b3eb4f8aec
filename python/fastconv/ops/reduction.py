"""Means, sums, products and norms along axes, and cumulative sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_axis, as_bool, as_float
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._reduce import cube_of, reduce, reduce_by_name
from fastconv.ops._symbols import is_symbolic, record
from fastconv.ops._torch import torch_arguments
from fastconv.ops.shape import flatten

__all__ = ["cumsum", "mean", "norm", "prod", "sum"]


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
    x : array_like of float32, float64 or float16, any shape
    axis : int or sequence of int, optional
        Default: all axes.
    keepdims : bool
        Whether these axes stay, with size 1.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        In the dtype of `x`. Rounding errors do not grow with the number of elements. The mean of
        none is NaN.

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
    return reduce_by_name("mean", x, axis, keepdims, out)


@torch_arguments("input=x dim=axis keepdim=keepdims * dtype")
@takes_device_arrays("x")
def sum(
    x: ArrayLike,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Sum along axes.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    axis : int or sequence of int, optional
        Default: all axes.
    keepdims : bool
        Whether these axes stay, with size 1.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        In the dtype of `x`. Rounding errors do not grow with the number of elements. The sum of
        none is 0.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.sum([[1.0, 2.0], [3.0, 6.0]], axis=0)
    array([4., 8.])
    """
    return reduce_by_name("sum", x, axis, keepdims, out)


@torch_arguments("input=x dim=axis keepdim=keepdims * dtype")
@takes_device_arrays("x")
def prod(
    x: ArrayLike,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Product along axes.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    axis : int or sequence of int, optional
        Default: all axes.
    keepdims : bool
        Whether these axes stay, with size 1.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        In the dtype of `x`. The product of none is 1.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.prod([[1.0, 2.0], [3.0, 6.0]], axis=1)
    array([ 2., 18.])
    """
    return reduce_by_name("prod", x, axis, keepdims, out)


def _ord(value: Any) -> float:
    if isinstance(value, str):
        raise ValueError(
            f"ord must be a number, got {value!r}: matrix norms are not computed; ord=2 over two "
            f"axes is the Frobenius norm"
        )
    number = as_float("ord", value)
    if math.isnan(number):
        raise ValueError("ord must be a number, got nan")
    return number


@torch_arguments("input=x p=ord dim=axis keepdim=keepdims out dtype")
@takes_device_arrays("x")
def norm(
    x: ArrayLike,
    ord: float | None = None,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Vector norm along axes: ``sum(abs(x) ** ord) ** (1 / ord)``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    ord : float, optional
        2 by default. ``inf`` and ``-inf`` give the greatest and the least ``abs(x)``, 0 the number
        of elements other than 0.
    axis : int or sequence of int, optional
        The axes to take the norm over, of all their elements as one vector. Default: all.
    keepdims : bool
        Whether these axes stay, with size 1.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        In the dtype of `x`. No intermediate result overflows. The norm of no elements is 0, for
        negative `ord` infinity, and for ``-inf`` an error.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is empty or out of range, `out` does not fit, or `ord` is
        no number.

    Notes
    -----
    This is `numpy.linalg.vector_norm`, over two axes as well, for which `numpy.linalg.norm` with an
    `ord` computes a matrix norm. Matrix norms (``"fro"``, ``"nuc"``) are not computed.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.norm([[3.0, 4.0], [6.0, 8.0]], axis=1)
    array([ 5., 10.])
    >>> fastconv.norm([[3.0, -4.0]], 1)
    array(7.)
    """
    p = 2.0 if ord is None else _ord(ord)
    if axis is not None and hasattr(axis, "__len__") and len(axis) == 0:
        raise ValueError("axis must name at least one axis, got none: pass None for all of them")
    return reduce(
        "norm",
        lambda a, y: _core.norm(a, y, p),
        x,
        axis,
        keepdims,
        out,
        needs_elements=p == -math.inf,
        ord=p,
    )


@torch_arguments("input=x dim=axis * dtype")
@takes_device_arrays("x")
def cumsum(
    x: ArrayLike,
    axis: int | None = None,
    *,
    exclusive: bool = False,
    reverse: bool = False,
    out: Array | None = None,
) -> Array:
    """Cumulative sum along an axis: of all elements up to each one.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    axis : int, optional
        The axis to sum along. Default: `x` is flattened.
    exclusive : bool
        Whether an element itself is left out of its sum.
    reverse : bool
        Whether to sum from the end; the results keep the order of `x`.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        In the dtype of `x`. The shape of `x`, or without `axis` one dimension. Rounding errors do
        not grow along the axis.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.cumsum([1.0, 2.0, 4.0], 0)
    array([1., 3., 7.])
    >>> fastconv.cumsum([1.0, 2.0, 4.0], 0, exclusive=True, reverse=True)
    array([6., 4., 0.])
    """
    exclusive, reverse = as_bool("exclusive", exclusive), as_bool("reverse", reverse)
    if is_symbolic(x):
        if axis is None or x.ndim == 0:
            x, axis = flatten(x), as_axis("axis", axis or 0, 1)
        attributes = {"axis": as_axis("axis", axis, x.ndim)}
        return record(
            "cumsum", (x,), {**attributes, "exclusive": exclusive, "reverse": reverse}, out
        )
    operands = Operands(x=x)
    values = operands["x"]
    if axis is None or values.ndim == 0:
        values, axis = values.reshape(-1), as_axis("axis", axis or 0, 1)
    axes = (as_axis("axis", axis, values.ndim),)
    cube = cube_of(values, axes)
    return operands.run(
        lambda y: _core.cumsum(cube, y.reshape(cube.shape), exclusive, reverse),
        values.shape,
        out,
        contiguous=True,
    )
