"""The safetensors format: the length of a header, the header in JSON, the data.

https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import numpy as np

from fastconv.weights._common import Array, Choose, Source, describe_shape, quote, widen_bfloat16
from fastconv.weights._json import MAX_JSON_BYTES, parse_json_object
from fastconv.weights._pickled import Unreadable

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

_LACKED_BITS = {
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
    "C64": 64,
}
"""The number of bits of the dtypes that are skipped."""


class _Tensor(NamedTuple):
    """What the header says about a tensor."""

    name: str
    dtype: str
    shape: list[int]
    begin: int
    """Of its bytes, from the end of the header."""
    end: int


def read_safetensors(source: Source, choose: Choose) -> dict[str, Array]:
    """Read the chosen tensors of a safetensors file, as views of one buffer.

    One buffer has fewer and larger pages than separate arrays, whose page faults would cost several
    times as much as reading. The file is not mapped: a truncated one would end the process.
    """
    tensors = _read_header(source)
    data = np.empty(source.size - source.file.tell(), np.uint8)
    if source.file.readinto(data) != data.size:  # type: ignore[attr-defined]
        raise source.error("the file has been truncated while it was read")
    arrays: dict[str, Array | Unreadable] = {}
    for tensor in tensors:
        if tensor.dtype in _LACKED_BITS:
            arrays[tensor.name] = Unreadable(f"a tensor of {tensor.dtype}")
            continue
        array = data[tensor.begin : tensor.end].view(_DTYPES[tensor.dtype])
        if not array.flags.aligned:
            array = array.copy()
        if sys.byteorder == "big":
            array.byteswap(inplace=True)
        if tensor.dtype == "BF16":
            array = widen_bfloat16(array)
        arrays[tensor.name] = array.reshape(tensor.shape)
    return choose(arrays, source.error)


def _read_header(source: Source) -> list[_Tensor]:
    """Read and check the header; leave the file at the data.

    The tensors must cover the data without holes and without sharing any of it.
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
    header.pop("__metadata__", None)
    tensors = [_tensor(source, name, entry) for name, entry in header.items()]
    end = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != end:
            raise source.error(
                f"the tensor {quote(tensor.name)} has data_offsets that do not begin at {end}, "
                "where those of the one before it end"
            )
        end = tensor.end
    if 8 + length + end != source.size:
        raise source.error(
            f"corrupt or truncated: the tensors end at byte {8 + length + end} of a file of "
            f"{source.size} bytes"
        )
    return tensors


def _tensor(source: Source, name: str, entry: Any) -> _Tensor:
    what = f"the tensor {quote(name)}"
    if not isinstance(entry, dict):
        raise source.error(f"{what} has no dtype, shape and data_offsets")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not isinstance(dtype, str) or (dtype not in _DTYPES and dtype not in _LACKED_BITS):
        raise source.error(
            f"{what} has dtype {quote(str(dtype))}; expected one of {', '.join(_DTYPES)}"
        )
    if not _are_sizes(shape):
        raise source.error(f"{what} has no shape of whole numbers")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise source.error(f"{what} has no data_offsets [begin, end]")
    begin, end = offsets
    kind = np.dtype(_DTYPES.get(dtype, "uint8"))
    source.check_shape(shape, kind, what)
    bits = _LACKED_BITS.get(dtype, 8 * kind.itemsize)
    if 8 * (end - begin) != bits * math.prod(shape):
        raise source.error(
            f"{what} has data_offsets {describe_shape(offsets)}, which do not fit its dtype "
            f"{dtype} and shape {describe_shape(shape)}"
        )
    return _Tensor(name, dtype, shape, begin, end)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)
