"""What modules keep: read-only NumPy arrays, made of whatever is assigned or loaded."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv._arguments import numpy_array
from fastconv._read_only import read_only as read_only
from fastconv.cuda._array import is_on_device

Array = npt.NDArray[Any]

PLAIN = {type(None), bool, int, float, str}
"""Types whose values are neither arrays nor modules, nor hold any."""

_PROTOCOLS = ("__array__", "__array_interface__", "__dlpack__", "__cuda_array_interface__")


def is_array_like(value: Any) -> bool:
    """Whether `value` is an array or a tensor, of any library; NumPy's scalars are numbers."""
    kind: Any = type(value)
    return isinstance(value, np.ndarray) or _is_array_type(kind)


@functools.lru_cache(256)
def _is_array_type(kind: type) -> bool:
    return not issubclass(kind, np.generic) and any(hasattr(kind, name) for name in _PROTOCOLS)


def to_array(name: str, value: Any) -> Array:
    """Return an array, a tensor of any library in host memory, or a list as `numpy.ndarray`.

    NumPy's arrays keep their memory; what others share may change, so it is copied and frozen.

    Raises
    ------
    TypeError
        If it is none of them, lies on a device, or is a masked array, which would lose its mask.
    """
    if (masked := sys.modules.get("numpy.ma")) is not None and isinstance(
        value, masked.MaskedArray
    ):
        raise TypeError(f"{name} is a masked array, whose mask would be lost: pass value.filled(0)")
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if callable(detach := getattr(value, "detach", None)):  # from torch's record of gradients
        value = detach()
        if str(getattr(value, "dtype", "")) == "torch.bfloat16":  # which NumPy lacks
            value = value.float()
    if is_on_device(value):
        raise TypeError(f"{name} must be an array in host memory, got one on a CUDA device")
    array = numpy_array(name, value).copy()
    array.flags.writeable = False
    return array


def state_array(key: str, value: Any) -> Array:
    """Return the value that a state dict has under `key` as an array."""
    return to_array(f"state_dict[{key!r}]", value)


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of this dtype hold real floating-point numbers (bfloat16 included)."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def in_place_of(name: str, old: Array, new: Array) -> Array:
    """Return `new` as it is kept in the place of `old`: read-only and of its dtype.

    Raises
    ------
    TypeError
        If it holds no floating-point numbers in the place of some, or no numbers.
    ValueError
        If integers are asked for, and these are none, or do not fit.
    """
    if is_floating(old.dtype):
        if not is_floating(new.dtype):
            raise TypeError(
                f"{name}: it must be of a floating dtype, got {new.dtype}: use .astype(np.float32)"
            )
        return read_only(new, old.dtype)
    if old.dtype == new.dtype:
        return read_only(new)
    if new.dtype.kind not in "biu" and not is_floating(new.dtype):
        raise TypeError(f"{name} must be of {old.dtype}, got dtype {new.dtype}")
    with np.errstate(invalid="ignore"):  # NaN and infinity become numbers, which are not equal
        kept = read_only(new, old.dtype)
    if not np.array_equal(kept, new):
        raise ValueError(f"{name} has values of {new.dtype} that {old.dtype} cannot hold")
    return kept


def freeze(array: Array) -> None:
    """Make an array that nobody else holds read-only, all the way down: `read_only` keeps it."""
    kept: Any = array
    while isinstance(kept, np.ndarray):
        kept.flags.writeable = False
        kept = kept.base


def listed(
    title: str,
    items: Sequence[str],
    candidates: Sequence[str] = (),
    show: Callable[[str], str] = str,
) -> list[str]:
    """Describe `items` in at most ten lines, each with the nearest of the candidates."""
    if not items:
        return []
    import difflib

    lines = [f"  {title} ({len(items)}):"]
    for item in items[:10]:
        near = difflib.get_close_matches(item[:200], candidates[:2000], n=1)
        lines.append(f"    {show(item)}" + (f" (nearest: {show(near[0])})" if near else ""))
    if len(items) > 10:
        lines.append("    ...")
    return lines
