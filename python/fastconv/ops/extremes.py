"""Greatest and least elements along axes, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._reduce import reduce, reduce_by_name
from fastconv.ops._torch import torch_arguments

__all__ = ["argmax", "argmin", "max", "min"]


@torch_arguments("input=x dim keepdim")
@takes_device_arrays("x")
def max(
    x: ArrayLike,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Greatest element along axes.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    axis : int or sequence of int, optional
        The axes to look along. Default: all.
    keepdims : bool
        Whether these axes stay, with size 1.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        In the dtype of `x`. NaN where there is one, as in NumPy.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or has no elements, or `out` does not fit.
        Torch's ``dim`` and ``keepdim`` are refused, as torch returns a pair: `axis` gives the
        values, `argmax` the indices.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.max([[1.0, 2.0], [3.0, 6.0]], axis=0)
    array([3., 6.])
    """
    return reduce_by_name("max", x, axis, keepdims, out, needs_elements=True)


@torch_arguments("input=x dim keepdim")
@takes_device_arrays("x")
def min(
    x: ArrayLike,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Least element along axes.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    axis : int or sequence of int, optional
        The axes to look along. Default: all.
    keepdims : bool
        Whether these axes stay, with size 1.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        In the dtype of `x`. NaN where there is one, as in NumPy.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or has no elements, or `out` does not fit.
        Torch's ``dim`` and ``keepdim`` are refused, as torch returns a pair: `axis` gives the
        values, `argmin` the indices.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.min([[1.0, 2.0], [3.0, 6.0]], axis=1)
    array([1., 3.])
    """
    return reduce_by_name("min", x, axis, keepdims, out, needs_elements=True)


def _index(op: str, x: ArrayLike, axis: Any, keepdims: bool, out: Array | None) -> Array:
    if axis is not None and hasattr(axis, "__len__"):
        raise TypeError(
            f"axis must be an integer, or None for the index in x.ravel(), got {axis!r}: "
            f"reshape x so that these axes are one"
        )

    def call(a: Array, y: Array) -> None:
        _core.argmax(a, y, op == "argmin")

    return reduce(op, call, x, axis, keepdims, out, needs_elements=True, dtype=np.dtype(np.int64))


@torch_arguments("input=x dim=axis keepdim=keepdims")
@takes_device_arrays("x")
def argmax(
    x: ArrayLike,
    axis: int | None = None,
    keepdims: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Index of the greatest element along an axis.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    axis : int, optional
        The axis to look along. Default: `x` is flattened.
    keepdims : bool
        Whether the axes that are looked along stay, with size 1.
    out : ndarray, optional
        Where the result goes: int64.

    Returns
    -------
    ndarray of int64
        The first of equal elements. If there is a NaN, the first NaN.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or has no elements, or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.argmax([[1.0, 2.0], [6.0, 3.0]], axis=1)
    array([1, 0])
    """
    return _index("argmax", x, axis, keepdims, out)


@torch_arguments("input=x dim=axis keepdim=keepdims")
@takes_device_arrays("x")
def argmin(
    x: ArrayLike,
    axis: int | None = None,
    keepdims: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Index of the least element along an axis.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    axis : int, optional
        The axis to look along. Default: `x` is flattened.
    keepdims : bool
        Whether the axes that are looked along stay, with size 1.
    out : ndarray, optional
        Where the result goes: int64.

    Returns
    -------
    ndarray of int64
        The first of equal elements. If there is a NaN, the first NaN.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or has no elements, or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.argmin([[1.0, 2.0], [6.0, 3.0]])
    array(0)
    """
    return _index("argmin", x, axis, keepdims, out)
