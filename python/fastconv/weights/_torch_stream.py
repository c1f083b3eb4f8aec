"""The stream format of ``torch.save`` before torch 1.6 (``_use_new_zipfile_serialization=False``).

Five pickles: a magic number, the protocol version, facts about the machine, the object, the list of
the keys of its storages. Then, in the order of that list, each storage: its number of elements as 8
bytes, its data. All numbers are little-endian on every machine.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np

from fastconv.weights._common import Array, Choose, Source, quote
from fastconv.weights._pickled import Opaque, Storage, refusal
from fastconv.weights._torch import Storages, file_dtype, read_tensors
from fastconv.weights._unpickle import MAX_PICKLE_BYTES, unpickle

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001


def read_torch_stream(source: Source, choose: Choose) -> dict[str, Array]:
    """Read the chosen tensors of a file that begins with a pickle."""
    storages = Storages(source)
    stream = BytesIO(source.file.read(min(source.size, MAX_PICKLE_BYTES)))
    magic = unpickle(stream, storages.persistent_load, source.error)
    if isinstance(magic, Opaque):
        raise source.error(refusal(magic.name))
    if magic != _MAGIC_NUMBER:
        raise source.error("this is a pickle, but not one that torch.save wrote")
    version = unpickle(stream, storages.persistent_load, source.error)
    if version != _PROTOCOL_VERSION:
        raise source.error("unsupported version of torch's stream format; expected 1001")
    unpickle(stream, storages.persistent_load, source.error)  # facts about the machine
    root = unpickle(stream, storages.persistent_load, source.error)
    keys = unpickle(stream, storages.persistent_load, source.error)
    positions = _locate(source, storages, keys, stream.tell())

    def read_storage(storage: Storage) -> Array:
        if storage.key not in positions:
            raise source.error(f"the data of the storage {quote(storage.key)} is missing")
        dtype = file_dtype(storage.dtype)
        data = np.empty(storage.total, dtype=dtype.newbyteorder("<"))
        source.file.seek(positions[storage.key])
        if source.file.readinto(data) != data.nbytes:  # type: ignore[attr-defined]
            raise source.error(f"truncated in the storage {quote(storage.key)}")
        return data.astype(dtype, copy=False)

    return read_tensors(source, choose(root, source.error), read_storage)


def _locate(source: Source, storages: Storages, keys: object, position: int) -> dict[str, int]:
    """Return the position in the file of each storage's data, all checked to lie in the file."""
    if not isinstance(keys, list):
        raise source.error("corrupt: the list of storages is missing")
    positions: dict[str, int] = {}
    for key in keys:
        numel = storages.numel(key)
        if numel is None or key in positions:
            raise source.error("corrupt: the list of storages does not fit the pickle before it")
        source.file.seek(position)
        count = int.from_bytes(source.file.read(8), "little", signed=True)
        position += 8
        end = position + numel * storages.itemsize(key)
        if end > source.size:
            raise source.error(
                f"truncated: the storage {quote(key)} ends at byte {end} of a file of "
                f"{source.size} bytes"
            )
        if count != numel:
            raise source.error(f"the storage {quote(key)} has {count} elements; expected {numel}")
        positions[key] = position
        position = end
    return positions
