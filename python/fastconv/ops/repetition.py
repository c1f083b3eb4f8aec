"""Arrays several times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv._arguments import Array, as_ints, as_size, is_sequence
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record
from fastconv.ops._torch import torch_arguments

__all__ = ["expand", "tile"]


def _with_rank(x: Any, ndim: int) -> Any:
    """A symbolic value with axes of size 1 before its own, up to this number of them."""
    missing = ndim - x.ndim
    return record("reshape", (x,), {"shape": (1,) * missing + x.shape}) if missing else x


@takes_device_arrays("x")
def expand(x: ArrayLike, shape: int | Sequence[int], *, out: Array | None = None) -> Array:
    """Repeat axes of size 1, as `numpy.broadcast_to` and torch's ``x.expand(shape)``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    shape : int or sequence of int
        The sizes of the result; -1 is the size that `x` has. New axes come first.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape `shape`

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, or an axis that changes is not of size 1.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.expand([[1.0], [2.0]], (-1, 3))
    array([[1., 1., 1.],
           [2., 2., 2.]])
    """
    wanted = as_ints("shape", shape, len(shape) if hasattr(shape, "__len__") else 1)
    operands = None if is_symbolic(x) else Operands(x=x)
    source: Any = x if operands is None else operands.source("x")
    new = len(wanted) - source.ndim
    given = (1,) * new + source.shape
    sizes = tuple(
        m if n == -1 and i >= new else n
        for i, (m, n) in enumerate(zip(given, wanted, strict=False))
    )
    if new < 0 or any(n < 0 or m not in (1, n) for m, n in zip(given, sizes, strict=True)):
        raise ValueError(
            f"x has shape {source.shape}, which does not expand to shape {wanted}: only axes of "
            f"size 1 repeat, and new axes come first"
        )
    if operands is not None:
        return operands.move(np.broadcast_to(source, sizes), out)
    repeats = [n if m == 1 else 1 for m, n in zip(given, sizes, strict=True)]
    return record("tile", (_with_rank(x, len(sizes)),), {"repeats": repeats}, out)


@torch_arguments("input=x dims=reps")
@takes_device_arrays("x")
def tile(x: ArrayLike, reps: int | Sequence[int], *, out: Array | None = None) -> Array:
    """Put copies of an array one after the other along its axes, as `numpy.tile`.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    reps : int or sequence of int
        How often along each axis, the last one last. Where there are more numbers than axes, `x`
        gets new axes of size 1 before its own; where there are fewer, those before are not
        repeated.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or a number is negative.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.tile([[1.0, 2.0]], (2, 2))
    array([[1., 2., 1., 2.],
           [1., 2., 1., 2.]])
    """
    given = [as_size("reps", n) for n in (reps if is_sequence(reps) else (reps,))]
    if is_symbolic(x):
        repeats = [1] * (x.ndim - len(given)) + given
        return record("tile", (_with_rank(x, len(repeats)),), {"repeats": repeats}, out)
    operands = Operands(x=x)
    source = operands.source("x")
    sizes = (1,) * (len(given) - source.ndim) + source.shape
    pairs = list(zip([1] * (len(sizes) - len(given)) + given, sizes, strict=True))
    once = source.reshape([n for size in sizes for n in (1, size)])
    view = np.broadcast_to(once, [n for pair in pairs for n in pair])
    shape = [times * size for times, size in pairs]
    if out is None:
        return operands.move(view).reshape(shape)
    return operands.move(view.reshape(shape), out)
