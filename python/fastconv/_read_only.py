"""Arrays that nobody writes to: what modules keep, and what networks compute with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def read_only(array: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """Return `array` as a C-contiguous array of `dtype` that nobody can write to.

    It is copied only where someone could: an array that is read-only all the way down, such as a
    read-only `numpy.memmap`, is kept as it is.
    """
    dtype = array.dtype.newbyteorder("=") if dtype is None else dtype
    fits = array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned
    if not (fits and _is_fixed(array)):
        array = np.array(array, dtype, order="C")
        array.flags.writeable = False
    return array


def _is_fixed(array: Array) -> bool:
    """Whether the memory of an array is read-only for all who have it."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    while isinstance(owner, memoryview) and owner.readonly:
        owner = owner.obj
    return owner is None or isinstance(owner, bytes) or _is_read_only_map(owner)


def _is_read_only_map(owner: Any) -> bool:
    import mmap  # here, as few arrays get so far: import fastconv must stay fast

    return isinstance(owner, mmap.mmap) and memoryview(owner).readonly
