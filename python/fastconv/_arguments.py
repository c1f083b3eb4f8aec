"""Checks of arguments: arrays, numbers, shapes and words, with errors that name the argument."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Pair = int | tuple[int, int]

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

LARGEST_SIZE = 2**40
"""What native code takes as sizes and paddings."""


def as_array(name: str, value: ArrayLike) -> Array:
    """`value` as an aligned float array in native byte order, without a copy where it is one.

    Raises
    ------
    TypeError
        If it is no array of float16, bfloat16, float32 or float64.
    """
    if type(value) is np.ndarray and (value.dtype is _FLOAT32 or value.dtype is _FLOAT64):
        flags = value.flags  # what most calls have: nothing to look into
        if flags.c_contiguous and flags.aligned:
            return value
    if value is None:
        raise TypeError(f"{name} must be an array, got None")
    array: Array = np.asarray(numpy_array(name, value))
    dtype = array.dtype
    if dtype.type not in (np.float32, np.float64, np.float16) and dtype.name != "bfloat16":
        raise TypeError(
            f"{name} must be float32 or float64 (or float16), got {dtype}: "
            f"convert it, for example {name}.astype(np.float32)"
        )
    itemsize = dtype.itemsize
    if (
        not dtype.isnative
        or not array.flags.aligned
        or any(stride % itemsize for stride in array.strides)
    ):
        array = np.array(array, dtype=dtype.newbyteorder("="), order="C")
    return array


def numpy_array(name: str, value: Any) -> Array:
    """What NumPy makes of `value`, by its own rules or by CPU DLPack.

    Raises
    ------
    TypeError
        If that fails, whatever it is that `value` itself raises.
    """
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:
        hint = ""  # of torch's tensors, where its own message is not enough
        if "bfloat16" in str(getattr(value, "dtype", "")):
            hint = ": convert it with .detach().float().cpu().numpy()"
        elif getattr(value, "requires_grad", False):
            hint = ": convert it with .detach().cpu().numpy()"
        reason = str(error).rstrip(".") or type(error).__name__
        raise TypeError(
            f"{name} must be an array, got {type(value).__name__}: {reason}{hint}"
        ) from error


def as_bool(name: str, value: Any) -> bool:
    """`value` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def as_float(name: str, value: Any) -> float:
    """A number as a float: Python's and NumPy's; not bool, not a string."""
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {type(value).__name__} {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a number that a float can hold") from None


def as_eps(value: Any) -> float:
    """The argument `eps` as a float: finite and not negative."""
    eps = as_float("eps", value)
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must be finite and not negative, got {value}")
    return eps


def is_number(value: Any) -> bool:
    """Whether `value` is a real scalar of Python or NumPy; bool is none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def as_axis(name: str, value: Any, ndim: int) -> int:
    """An axis of an array of `ndim` dimensions, counted from the front."""
    axis = as_int(name, value)
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        raise ValueError(f"{name} = {axis} is out of range for an array of {ndim} dimensions")
    return axis % max(ndim, 1)


def as_axes(name: str, value: Any, ndim: int) -> tuple[int, ...]:
    """Axes as an ascending tuple; ``None`` stands for all."""
    if value is None:
        return tuple(range(ndim))
    values = value if hasattr(value, "__len__") else (value,)
    axes = tuple(sorted(as_axis(name, axis, ndim) for axis in values))
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name} names a dimension twice: {value!r}")
    return axes if ndim else ()


def as_int(name: str, value: Any) -> int:
    """`value` as an int: Python or NumPy integers; not bool, not float."""
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        integer = index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an integer, got {type(value).__name__} {value!r}"
        ) from None
    if not -(2**63) <= integer < 2**63:
        raise ValueError(f"{name} must fit into 64 bits, got {integer}")
    return integer


def as_size(name: str, value: Any) -> int:
    """An integer of at least 0."""
    size = as_int(name, value)
    if size < 0:
        raise ValueError(f"{name} must not be negative, got {size}")
    return size


def is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    """Whether `value` is a tuple, a list or an array with at least one dimension; not a string."""
    if isinstance(value, (tuple, list)):
        return True
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def as_shape(name: str, value: Any) -> tuple[int, ...]:
    """A sequence of integers as a tuple."""
    if not is_sequence(value):
        raise TypeError(f"{name} must be a sequence of integers, got {value!r}")
    return tuple(as_int(name, size) for size in value)


def as_ints(name: str, value: Any, length: int) -> tuple[int, ...]:
    """An integer, or a sequence of 1 or `length` integers, as a tuple of `length` integers."""
    if type(value) is int or not is_sequence(value):
        return (as_int(name, value),) * length
    values = tuple([as_int(name, v) for v in value])
    if len(values) == 1:
        values *= length
    if len(values) != length:
        expected = "an integer or a pair" if length == 2 else f"an integer or {length} integers"
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return values


def as_pair(name: str, value: Any) -> tuple[int, int]:
    """An integer or a pair of integers, as (height, width)."""
    height, width = as_ints(name, value, 2)
    return height, width


def choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """`value` if it is one of `choices`.

    Raises
    ------
    TypeError, ValueError
        If it is no string, or another one.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {type(value).__name__}")
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value
