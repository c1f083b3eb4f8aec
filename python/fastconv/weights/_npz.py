"""NumPy's ``.npz``: a zip archive of ``.npy`` files, whose headers NumPy reads."""

from __future__ import annotations

from io import BytesIO
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from fastconv.weights._common import LOADED_DTYPES, Array, Source, quote
from fastconv.weights._pickled import Unreadable
from fastconv.weights._zip import Archive

_HEADER_READERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
    (3, 0): npy_format.read_array_header_2_0,  # differs in the names of fields, which are refused
}

_MAX_HEADER = 10_000
"""Bytes before the data; NumPy's own limit, as more is not safe to parse."""

_SKIPPED_KINDS = "SUcmM"
"""Text, complex numbers and times: no weights, but harmless beside them."""


def read_npz(archive: Archive) -> dict[str, Array | Unreadable]:
    """Read all arrays of an ``.npz`` archive, except those of dtypes that weights never have."""
    source = archive.source
    arrays: dict[str, Array | Unreadable] = {}
    for name in archive.names:
        if not name.endswith(".npy"):
            raise source.error(
                f"the zip archive is neither torch's (no data.pkl) nor .npz: it holds {quote(name)}"
            )
        what = f"the array {quote(name.removesuffix('.npy'))}"
        with archive.open(name) as entry:
            shape, fortran_order, dtype = _read_header(source, entry, what)
            if dtype.kind in _SKIPPED_KINDS:
                arrays[name.removesuffix(".npy")] = Unreadable(f"an array of {dtype.str}")
                continue
            if dtype.name not in LOADED_DTYPES:  # above all objects, which are pickles
                raise source.error(
                    f"the header of {what} says dtype {quote(dtype.str)}; expected one of "
                    f"{', '.join(LOADED_DTYPES)}"
                )
            header_bytes = entry.tell()
            numel = source.check_shape(shape, dtype, what)
            if header_bytes + numel * dtype.itemsize != archive.size(name):
                raise source.error(
                    f"{what} of {numel} elements of {dtype.itemsize} bytes does not fill its entry "
                    f"of {archive.size(name)} bytes"
                )
            flat = np.empty(numel, dtype=dtype)
            archive.fill(entry, flat, what)
        array = flat.reshape(shape, order="F" if fortran_order else "C")
        arrays[name.removesuffix(".npy")] = np.asarray(
            array, dtype=dtype.newbyteorder("="), order="C"
        )
    return arrays


def _read_header(
    source: Source, entry: IO[bytes], what: str
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, order and dtype; leave ``entry`` at the data."""
    head = BytesIO(entry.read(_MAX_HEADER))  # NumPy would read as many bytes as the header claims
    try:
        reader = _HEADER_READERS.get(npy_format.read_magic(head))
    except ValueError:
        reader = None
    if reader is None:
        raise source.error(
            f"{what} is not in the .npy format: it begins with {head.getvalue()[:8]!r}"
        )
    try:
        shape, fortran_order, dtype = reader(head)
        if bool in map(type, shape):  # which NumPy takes for integers here, but not as sizes
            raise ValueError(f"shape is not valid: {shape}")
    except Exception as error:  # of many kinds: it parses a Python literal
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise source.error(f"the header of {what} cannot be read: {reason}") from error
    entry.seek(head.tell())
    return shape, fortran_order, dtype
