"""The zip format of ``torch.save``, the default since torch 1.6.

Entries, all below one folder: ``data.pkl`` (the pickle), ``data/KEY`` (one storage each),
``byteorder`` (``little`` or ``big``; since torch 2.1, before that little) and a few that do not
matter here.
"""

from __future__ import annotations

from io import BytesIO
from typing import Literal

import numpy as np

from fastconv.weights._common import Array, Choose, quote
from fastconv.weights._pickled import Storage
from fastconv.weights._torch import Storages, file_dtype, read_tensors
from fastconv.weights._unpickle import MAX_PICKLE_BYTES, unpickle
from fastconv.weights._zip import Archive


def is_torch_zip(archive: Archive) -> bool:
    """Whether an archive has a ``data.pkl``."""
    return any(name.endswith("/data.pkl") for name in archive.names)


def read_torch_zip(archive: Archive, choose: Choose) -> dict[str, Array]:
    """Read the chosen tensors of a zip archive that has a ``data.pkl``."""
    source = archive.source
    pickles = [name for name in archive.names if name.endswith("/data.pkl")]
    folder = pickles[0].removesuffix("data.pkl")
    if len(pickles) > 1:
        raise source.error("the zip archive holds more than one data.pkl")
    if f"{folder}constants.pkl" in archive.names:
        raise source.error(
            "this is a TorchScript archive (torch.jit.save), which holds code; save the model's "
            "state_dict() with torch.save instead"
        )
    order: Literal["<", ">"] = "<"
    if f"{folder}byteorder" in archive.names:
        record = archive.read(f"{folder}byteorder", limit=16)
        if record not in (b"little", b"big"):
            raise source.error(f"the byte order is {record!r}; expected b'little' or b'big'")
        order = "<" if record == b"little" else ">"

    def read_storage(storage: Storage) -> Array:
        name = f"{folder}data/{storage.key}"
        dtype = file_dtype(storage.dtype)
        if archive.size(name) != storage.total * dtype.itemsize:
            raise source.error(
                f"the zip entry {quote(name)} has {archive.size(name)} bytes; expected "
                f"{storage.total} elements of {storage.dtype}"
            )
        data = np.empty(storage.total, dtype=dtype.newbyteorder(order))
        with archive.open(name) as entry:
            archive.fill(entry, data, f"the storage {quote(storage.key)}")
        return data.astype(dtype, copy=False)

    storages = Storages(source)
    # torch does not compress, so even of a small file that somebody compressed this is plenty.
    limit = min(MAX_PICKLE_BYTES, 2**20 + 16 * source.size)
    stream = BytesIO(archive.read(pickles[0], limit))
    root = unpickle(stream, storages.persistent_load, source.error)
    return read_tensors(source, choose(root, source.error), read_storage)
