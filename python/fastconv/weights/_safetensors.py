"""The safetensors format, through the ``safetensors`` package.

https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np

from fastconv.weights._common import Array, Source, quote, widen_bfloat16

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
    try:
        tensors = deserialize(source.file.read())  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise source.error(f"corrupt or truncated safetensors file: {error}") from error
    arrays: dict[str, Array] = {}
    for name, tensor in tensors:
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
    return arrays


def serialise_safetensors(arrays: Mapping[str, Array]) -> bytes:
    """Return the bytes of a safetensors file that holds ``arrays``."""
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise ImportError(_MISSING) from error
    return save(dict(arrays))
