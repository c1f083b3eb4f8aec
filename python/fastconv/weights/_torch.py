"""Shared code of torch's two formats: storages by key, and arrays from a pickle's tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastconv.weights._common import Array, Source, quote, widen_bfloat16
from fastconv.weights._pickled import STORAGE_DTYPES, Global, Storage, Tensor

_FILE_DTYPES = {
    "bfloat16": "uint16",
    "qint8": "int8",
    "quint8": "uint8",
    "qint32": "int32",
    "quint4x2": "uint8",
    "quint2x4": "uint8",
    "untyped": "uint8",
}
"""How elements that NumPy lacks lie in the file."""


class Storages:
    """The storages that a pickle has declared, by key."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._declared: dict[str, tuple[str, int]] = {}

    def persistent_load(self, pid: object) -> Storage | Global:
        """Check and return the storage that a persistent id describes.

        It is ``("storage", type, key, location, numel)``. In the stream format ``None`` follows,
        or, if the storage is a part of another, ``(view_key, start, view_numel)``. There the class
        of a module is an id too, with its source code, which is ignored.
        """
        match pid:
            case ("module", Global() as kind, *_):
                return kind
            case ("storage", Global(name), str(key), _, int(total)) if name in STORAGE_DTYPES:
                view = None
            case ("storage", Global(name), str(key), _, int(total), view) if name in STORAGE_DTYPES:
                pass
            case _:
                raise self.source.error(
                    "corrupt pickle: it refers to something other than a storage"
                )
        match view:
            case None:
                start, numel = 0, total
            case (_, int(start), int(numel)):
                pass
            case _:
                raise self.source.error("corrupt pickle: it describes a part of a storage wrongly")
        if not 0 <= total < 2**60 or not 0 <= start <= total or not 0 <= numel <= total - start:
            raise self.source.error(f"the storage {quote(key)} has an impossible size")
        dtype = STORAGE_DTYPES[name]
        if self._declared.setdefault(key, (dtype, total)) != (dtype, total):
            raise self.source.error(f"the storage {quote(key)} is declared twice, differently")
        return Storage(key, dtype, total, start, numel)

    def numel(self, key: object) -> int | None:
        """Return the size of a storage that has been declared, or None."""
        return self._declared[key][1] if isinstance(key, str) and key in self._declared else None

    def itemsize(self, key: str) -> int:
        """Return the bytes per element of a storage that has been declared."""
        return file_dtype(self._declared[key][0]).itemsize


def file_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype of a storage in the file; bfloat16 is read as its bits."""
    return np.dtype(_FILE_DTYPES.get(name, name))


def read_tensors(
    source: Source, tensors: Mapping[str, Tensor], read_storage: Callable[[Storage], Array]
) -> dict[str, Array]:
    """Read tensors that a pickle describes.

    ``read_storage(storage)`` returns the whole storage as a new one-dimensional array of its file
    dtype in native byte order. Each storage is read once. Storages that only other parts of the
    checkpoint use are not read.
    """
    by_storage: dict[str, list[str]] = {}
    for name, tensor in tensors.items():
        by_storage.setdefault(tensor.storage.key, []).append(name)
        dtype = np.dtype("float32" if tensor.storage.dtype == "bfloat16" else tensor.storage.dtype)
        source.check_shape(tensor.shape, dtype, f"the tensor {quote(name)}")

    arrays: dict[str, Array] = {}
    for names in by_storage.values():
        storage = tensors[names[0]].storage
        data = read_storage(storage)
        if storage.dtype == "bfloat16":
            data = widen_bfloat16(data)
        for name in names:
            arrays[name] = _view(data, tensors[name], copy=len(names) > 1)
    return {name: arrays[name] for name in tensors}


def _view(data: Array, tensor: Tensor, copy: bool) -> Array:
    """Return a tensor's elements, as a copy unless they are all of ``data`` in its order."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, dtype=data.dtype)
    start = tensor.storage.start + tensor.offset
    strides = [
        step * data.itemsize if size > 1 else 0
        for size, step in zip(tensor.shape, tensor.stride, strict=True)
    ]
    view = np.lib.stride_tricks.as_strided(data[start:], tensor.shape, strides)
    if not copy and view.size == data.size and view.flags.c_contiguous:
        return data.reshape(tensor.shape)
    return np.array(view, order="C", copy=True)
