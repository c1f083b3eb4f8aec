"""The safetensors format, through the ``safetensors`` package.

https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np

from fastconv.weights._common import Array, Source, quote, widen_bfloat16
from fastconv.weights._json import MAX_JSON_BYTES, parse_json_object

_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "BF16": "uint16",  # the bits
}

_MISSING = (
    "safetensors files need the package safetensors; install it: pip install 'fastconv[weights]'"
)


def read_safetensors(source: Source) -> dict[str, Array]:
    """Read all tensors of a safetensors file."""
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError as error:
        raise ImportError(f"{source.path}: {_MISSING}") from error
    order = _check_header(source)
    try:
        tensors = deserialize(source.file.read())  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise source.error(f"corrupt or truncated safetensors file: {error}") from error
    arrays: dict[str, Array] = {}
    while tensors:
        name, tensor = tensors.pop()  # so that its copy of the data is freed at once
        what = f"the tensor {quote(name)}"
        if tensor["dtype"] not in _DTYPES:
            raise source.error(
                f"{what} has dtype {tensor['dtype']}; expected one of {', '.join(_DTYPES)}"
            )
        dtype = np.dtype(_DTYPES[tensor["dtype"]])
        numel = source.check_shape(tensor["shape"], dtype, what)
        flat = np.empty(numel, dtype=dtype)
        flat.view(np.uint8)[:] = np.frombuffer(tensor["data"], dtype=np.uint8) if numel else 0
        if sys.byteorder == "big":
            flat.byteswap(inplace=True)
        array = widen_bfloat16(flat) if tensor["dtype"] == "BF16" else flat
        arrays[name] = array.reshape(tensor["shape"])
    return {name: arrays[name] for name in order}


def _check_header(source: Source) -> list[str]:
    """Check what the package does not, before it reads the whole file; return the names in order.

    The package takes headers of 100 MB, whose objects need gigabytes, and the last of two tensors
    with one name.
    """
    length = int.from_bytes(source.file.read(8), "little")
    if length > MAX_JSON_BYTES:
        raise source.error(
            f"the safetensors header claims {length} bytes; expected at most {MAX_JSON_BYTES}"
        )
    header = parse_json_object(
        source.file.read(length),
        lambda message: source.error(f"corrupt or truncated safetensors header: {message}"),
    )
    source.file.seek(0)
    header.pop("__metadata__", None)
    end = 8 + length
    for name, entry in header.items():
        match entry:
            case {"data_offsets": [int(), int(stop)]}:
                end = max(end, 8 + length + stop)
            case _:
                raise source.error(f"the tensor {quote(name)} has no data_offsets [start, end]")
    if end != source.size:
        raise source.error(
            f"corrupt or truncated: the tensors end at byte {end} of a file of {source.size} bytes"
        )
    return list(header)


def serialise_safetensors(arrays: Mapping[str, Array]) -> bytes:
    """Return the bytes of a safetensors file that holds ``arrays``."""
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise ImportError(_MISSING) from error
    return save(dict(arrays))
