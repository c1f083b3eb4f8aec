"""NumPy's ``.npz``: a zip archive of ``.npy`` files.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import re
from typing import IO

import numpy as np

from fastconv.weights._common import LOADED_DTYPES, Array, Source, quote
from fastconv.weights._pickled import Unreadable
from fastconv.weights._zip import Archive

_HEADER_BYTES = {1: 2, 2: 4, 3: 4}
"""Width of the header's length by major version of the format."""

_MAX_HEADER = 10_000

_DESCR = re.compile(r"""['"]descr['"]:\s*['"]([^'"]*)['"]""")
_FORTRAN_ORDER = re.compile(r"""['"]fortran_order['"]:\s*(True|False)""")
_SHAPE = re.compile(r"""['"]shape['"]:\s*\(([^()]*)\)""")
_NUMERIC = re.compile(r"[<>|=]?[fiub][1248]")
_SKIPPED = re.compile(r"[<>|=]?(U\d{1,9}|S\d{1,9}|c8|c16|[mM]8(\[\w{1,20}\])?)", re.ASCII)
_SIZES = re.compile(r"(?:\d{1,19}L?(?:, *|$))*")  # long integers of Python 2 end in L


def read_npz(archive: Archive) -> dict[str, Array | Unreadable]:
    """Read all arrays of an ``.npz`` archive but those of dtypes that no weights have."""
    source = archive.source
    arrays: dict[str, Array | Unreadable] = {}
    for name in archive.names:
        if not name.endswith(".npy"):
            raise source.error(
                f"the zip archive is neither torch's (no data.pkl) nor .npz: it holds {quote(name)}"
            )
        what = f"the array {quote(name.removesuffix('.npy'))}"
        with archive.open(name) as entry:
            dtype, shape, fortran_order = _read_header(source, entry, what)
            if isinstance(dtype, str):
                arrays[name.removesuffix(".npy")] = Unreadable(f"an array of {dtype}")
                continue
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
) -> tuple[np.dtype[np.generic] | str, tuple[int, ...], bool]:
    """Read magic string, version and header; leave ``entry`` at the data.

    The dtype is a string where no weights have it.
    """
    magic = entry.read(8)
    if magic[:6] != b"\x93NUMPY" or len(magic) < 8 or magic[6] not in _HEADER_BYTES:
        raise source.error(f"{what} is not in the .npy format: it begins with {magic!r}")
    length = int.from_bytes(entry.read(_HEADER_BYTES[magic[6]]), "little")
    if length > _MAX_HEADER:
        raise source.error(f"{what} has a header of {length} bytes; expected at most {_MAX_HEADER}")
    header = entry.read(length).decode("latin-1")
    descr, order, shape = (pattern.search(header) for pattern in (_DESCR, _FORTRAN_ORDER, _SHAPE))
    if descr is None or order is None or shape is None:
        raise source.error(f"{what} has an unsupported .npy header: {quote(header)}")
    if _SKIPPED.fullmatch(descr[1]):
        return descr[1], (), False
    # Anything else but plain numbers is refused, above all objects, which are pickles.
    numeric = _NUMERIC.fullmatch(descr[1])
    try:
        dtype: np.dtype[np.generic] | None = np.dtype(descr[1]) if numeric else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.name not in LOADED_DTYPES:
        raise source.error(
            f"{what} has dtype {quote(descr[1])}; expected one of {', '.join(LOADED_DTYPES)}"
        )
    if not _SIZES.fullmatch(shape[1].strip()):
        raise source.error(f"{what} has the unreadable shape {quote(shape[0])}")
    sizes = tuple(int(size) for size in re.findall(r"\d+", shape[1]))
    return dtype, sizes, order[1] == "True"
