"""What the readers of all weight formats share: the error, the opened file, checked arrays."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MAX_NDIM = 32
"""The most dimensions that every supported NumPy has."""

LOADED_DTYPES = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
)
"""Names of the dtypes that `load` returns and `save` takes."""


class WeightsError(ValueError):
    """A weight file that is corrupt, hostile or unsupported; the message names the file."""


Fail = Callable[[str], WeightsError]
"""Makes the error to raise from what is wrong."""

Choose = Callable[[object, Fail], dict[str, Any]]
"""Takes the content of a file and a function that makes errors; returns the weights, by name."""


class Source:
    """An open weight file, and a budget: how many more bytes its arrays may take.

    A few bytes of a compressed archive, or of a tensor with strides of zero, can stand for
    terabytes. So all arrays of one file together may take at most 64 MiB + 16 times the size of the
    file.
    """

    def __init__(self, file: BinaryIO, path: str, size: int) -> None:
        self.file = file
        self.path = path
        self.size = size
        self.limit = 64 * 2**20 + 16 * size
        self.budget = self.limit

    def error(self, message: str) -> WeightsError:
        """Return the error to raise: ``message`` behind the name of the file."""
        return WeightsError(f"{self.path}: {message}")

    def check_shape(self, shape: Sequence[int], dtype: np.dtype[Any], what: str) -> int:
        """Check a declared shape, charge the budget, and return the number of elements."""
        if len(shape) > MAX_NDIM:
            raise self.error(
                f"{what} has {len(shape)} dimensions; at most {MAX_NDIM} are supported"
            )
        # The product without zeros: NumPy refuses (0, 2**62, 2**62), though it has no elements.
        extent = math.prod(size for size in shape if size != 0) * dtype.itemsize
        if any(size < 0 for size in shape) or extent >= 2**63:
            raise self.error(f"{what} has the impossible shape {describe_shape(shape)}")
        numel = math.prod(shape)
        self.budget -= numel * dtype.itemsize
        # So does the extent count: a classifier of shape (2**40, 0) would be that of 2**40 classes.
        if self.budget < 0 or extent > self.limit:
            raise self.error(
                f"{what} of shape {describe_shape(shape)} and those before it need far more memory "
                f"than a file of {self.size} bytes should; expected at most 64 MiB + 16 times the "
                "file's size"
            )
        return numel


def check_regular(path: str) -> None:
    """Refuse devices, pipes and sockets, which can be endless. Opening a folder fails by itself."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise WeightsError(f"{path}: expected a regular file, not a device, pipe or socket")


def describe_shape(shape: Sequence[int]) -> str:
    """Return a shape as text, however many and however large its numbers are."""
    sizes = [str(size) if abs(size) < 2**64 else "a huge number" for size in shape[:MAX_NDIM]]
    return f"({', '.join(sizes)}{', ...' if len(shape) > MAX_NDIM else ''})"


def quote(name: str) -> str:
    """Return a name that a file holds, fit for an error message: printable and short."""
    return ascii(name if len(name) <= 120 else name[:120] + "...")


def widen_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the values of bfloat16 bit patterns: each is the upper half of a float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def check_use_ema(use_ema: object) -> None:
    """Refuse what is neither a bool nor None."""
    if use_ema is not None and not isinstance(use_ema, bool):
        raise TypeError(f"use_ema must be None or a bool, got {type(use_ema).__name__}")
