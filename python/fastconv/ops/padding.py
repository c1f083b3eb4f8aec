"""Padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv._arguments import LARGEST_SIZE, Array, as_float, as_int, choice, is_sequence
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record
from fastconv.ops._torch import torch_arguments
from fastconv.ops.shape import concat, reshape

__all__ = ["pad"]


def _pairs(pad: Sequence[int], ndim: int) -> list[tuple[int, int]]:
    """torch's flat padding, last axis first, as (before, after) of each dimension."""
    if not is_sequence(pad):
        raise TypeError(
            f"pad must be a sequence such as (left, right, top, bottom), got {pad!r}: for images "
            f"the same on all four sides is ({pad!r},) * 4"
        )
    values = [as_int("pad", v) for v in pad]
    if len(values) % 2 or len(values) > 2 * ndim:
        raise ValueError(
            f"pad must hold two numbers for each of at most {ndim} dimensions, the last one first, "
            f"got {len(values)} numbers"
        )
    pairs = list(zip(values[::2], values[1::2], strict=True))[::-1]
    return [(0, 0)] * (ndim - len(pairs)) + pairs


@torch_arguments("input=x pad mode value")
@takes_device_arrays("x")
def pad(
    x: ArrayLike,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
    *,
    out: Array | None = None,
) -> Array:
    """Add elements around an array.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    pad : sequence of int
        The numbers of elements before and after, for the last dimension, then for the one before
        it, and so on: (left, right, top, bottom) for images. Negative numbers crop. Dimensions
        without numbers stay as they are.
    mode : {"constant", "reflect", "replicate", "circular"}
        "reflect" mirrors `x` at its first and last element, without repeating them; "replicate"
        repeats them; "circular" goes on at the other end.
    value : float, optional
        What "constant" adds; by default 0.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        The dtype of `x`; each axis is longer by its two numbers.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type; `pad` has an odd count of numbers, or more than two for
        each dimension; `x` has too few elements to crop, reflect, repeat or go on; `value` is given
        for another mode than "constant"; or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.pad([[1.0, 2.0, 3.0]], (1, 2), mode="reflect")
    array([[2., 1., 2., 3., 2., 1.]])
    """
    choice("mode", mode, ("constant", "reflect", "replicate", "circular"))
    value = 0.0 if value is None else as_float("value", value)
    if mode != "constant" and value != 0:
        raise ValueError(f"value is for mode='constant' only, got {value} with mode={mode!r}")
    operands = None if is_symbolic(x) else Operands(x=x)
    source: Any = x if operands is None else operands.source("x")
    pairs = _pairs(pad, source.ndim)
    for axis, (n, (before, after)) in enumerate(zip(source.shape, pairs, strict=True)):
        if before or after:
            _check_pad(mode, axis, n, before, after)
    if operands is None and mode == "circular":
        y = _wrapped(source.copy(), pairs)
        return reshape(y, y.shape, out=out)
    if operands is None:
        attributes = {
            "before": [before for before, _ in pairs],
            "after": [after for _, after in pairs],
            "mode": mode,
            "value": value,
        }
        return record("pad", (x,), attributes, out)
    operands.check_out(out, [n + sum(pair) for n, pair in zip(source.shape, pairs, strict=True)])
    if mode == "circular":
        return operands.move(_wrapped(source, pairs), out)
    # Cropping comes last: what is cropped on one side may be reflected on the other.
    grown = [(max(before, 0), max(after, 0)) for before, after in pairs]
    shape = [n + sum(pair) for n, pair in zip(source.shape, grown, strict=True)]
    y = np.empty(shape, source.dtype) if out is None or grown != pairs else out
    if mode == "constant":
        y[...] = value
    y[_inside(shape, grown)] = source
    if mode != "constant":
        for axis, (before, after) in enumerate(grown):
            _fill_border(y, axis, before, after, mode)
    if grown == pairs:
        return y
    return operands.move(y[_inside(shape, [(max(-b, 0), max(-a, 0)) for b, a in pairs])], out)


def _wrapped(x: Any, pairs: Sequence[tuple[int, int]]) -> Any:
    """`x`, cropped where a number is negative, and continued from the other end."""
    x = x[_inside(x.shape, [(max(-before, 0), max(-after, 0)) for before, after in pairs])]
    for axis, (before, after) in enumerate(pairs):
        n, rest = x.shape[axis], (slice(None),) * axis
        ends = [x[(*rest, slice(n - max(before, 0), n))], x[(*rest, slice(0, max(after, 0)))]]
        if before > 0 or after > 0:
            x = concat([ends[0], x, ends[1]], axis)
    return x


def _inside(shape: Sequence[int], margins: Sequence[tuple[int, int]]) -> tuple[slice, ...]:
    return tuple(
        slice(before, n - after) for n, (before, after) in zip(shape, margins, strict=True)
    )


def _check_pad(mode: str, axis: int, n: int, before: int, after: int) -> None:
    if max(abs(before), abs(after)) > LARGEST_SIZE:
        raise ValueError(
            f"pad must be from -2**40 to 2**40, got ({before}, {after}) for axis {axis}"
        )
    cropped = max(-before, 0) + max(-after, 0)
    if n + before + after < 0 or (mode == "constant" and cropped > n):
        raise ValueError(f"pad crops more of axis {axis} than its size {n}: ({before}, {after})")
    if mode == "reflect" and max(before, after) >= n:
        raise ValueError(
            f"pad must be below the size {n} of axis {axis} to reflect, got ({before}, {after})"
        )
    if mode == "circular" and max(before, after) > n - cropped:
        raise ValueError(
            f"pad must be at most the size {n - cropped} of axis {axis}, got ({before}, {after})"
        )
    if mode == "replicate" and n == 0:
        raise ValueError(f"axis {axis} of x is empty: there is nothing to replicate")


def _fill_border(y: Array, axis: int, before: int, after: int, mode: str) -> None:
    """Fill what lies before and after the middle of `axis`; later axes are not yet filled."""
    rows = np.moveaxis(y, axis, 0)
    end = rows.shape[0] - after
    if mode == "replicate":
        rows[:before] = rows[before : before + 1]
        rows[end:] = rows[end - 1 : end]
        return
    for i in range(before):
        rows[i] = rows[2 * before - i]
    for i in range(after):
        rows[end + i] = rows[end - 2 - i]
