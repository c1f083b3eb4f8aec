"""The content of a torch pickle: descriptions of tensors, dicts, and stand-ins for all else.

The layout of torch's pickles is that of ``torch/serialization.py`` and ``torch/_utils.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastconv.weights._common import MAX_NDIM, describe_shape, quote


@dataclass(frozen=True, eq=False, slots=True)
class Opaque:
    """An object that is neither a tensor nor a dict: the name of what makes it, and nothing else.

    Nothing that a pickle does to it has an effect. It is equal only to itself, so it is a cheap key
    of a dict.
    """

    name: str


@dataclass(frozen=True, eq=False, slots=True)
class Unreadable(Opaque):
    """A tensor of a kind that NumPy lacks; `name` says which."""


@dataclass(frozen=True)
class Global:
    """A name that the pickle would import; it is never imported."""

    name: str


@dataclass(frozen=True)
class Storage:
    """Elements in the file: ``numel`` of the storage ``key``, from element ``start`` on."""

    key: str
    dtype: str
    total: int
    start: int
    numel: int


@dataclass(frozen=True)
class Tensor:
    """A strided view that lies within a storage, as in ``torch.as_strided``."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class OrderedDict(dict[Any, Any]):
    """Stands for ``collections.OrderedDict`` and ``defaultdict``."""


STORAGE_DTYPES = {
    "torch.FloatStorage": "float32",
    "torch.DoubleStorage": "float64",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    "torch.ComplexFloatStorage": "complex64",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.QInt8Storage": "qint8",
    "torch.QUInt8Storage": "quint8",
    "torch.QInt32Storage": "qint32",
    "torch.QUInt4x2Storage": "quint4x2",
    "torch.QUInt2x4Storage": "quint2x4",
    "torch.storage.UntypedStorage": "untyped",
}
"""Dtypes by the class of their storages, also those that are never read, only skipped."""


def refusal(name: str) -> str:
    """Return the message for an object that cannot be read, in a place of weights."""
    return (
        f"the pickle asks for {quote(name)}, which no state dict needs and fastconv neither "
        "imports nor runs; save model.state_dict() alone with torch.save, or use safetensors"
    )


def safe_key(key: object) -> object:
    """Return a safe stand-in for a dict's key. Keys of weights are strings.

    No tuples: hashing nested ones takes exponential time, deep ones overflow the C stack. No long
    integers: too many have the same hash.
    """
    if isinstance(key, str | Opaque) or (isinstance(key, int) and key.bit_length() <= 64):
        return key
    return Opaque(type(key).__name__)


# What the callables of a checkpoint do. Each gets the tuple of arguments and returns the value,
# None for arguments of a wrong kind, or a text that says what is wrong with them.


def _ordered_dict(arguments: tuple[Any, ...]) -> OrderedDict | None:
    match arguments:
        case ():
            return OrderedDict()
        case (list() as items,) if all(isinstance(item, list) and len(item) == 2 for item in items):
            # Python 2's OrderedDict([[key, value], ...])
            return OrderedDict((safe_key(key), value) for key, value in items)
    return None


def _default_dict(arguments: tuple[Any, ...]) -> OrderedDict:
    return OrderedDict()


def _size(arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    match arguments:
        case (tuple() as sizes,):
            return sizes
    return None


def _rebuild_tensor(arguments: tuple[Any, ...]) -> Tensor | str | None:
    match arguments:
        case (Storage() as storage, int(offset), tuple() as shape, tuple() as stride, *_):
            pass
        case _:
            return None
    if len(shape) != len(stride) or len(shape) > MAX_NDIM:
        return f"{len(shape)} sizes and {len(stride)} strides"
    if any(type(number) is not int for number in (offset, *shape, *stride)):
        return None
    described = (
        f"shape {describe_shape(shape)}, stride {describe_shape(stride)}, offset "
        f"{describe_shape([offset])} in a storage of {storage.numel} elements"
    )
    if min((offset, *shape, *stride)) < 0 or max((offset, *shape, *stride)) >= 2**63:
        return described
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if 0 not in shape and last >= storage.numel:
        return described
    return Tensor(storage, offset, shape, stride)


def _rebuild_tensor_v2(arguments: tuple[Any, ...]) -> Tensor | Unreadable | str | None:
    """Likewise; the seventh argument, if any, may say that the elements are to be negated."""
    match arguments:
        case (_, _, _, _, _, _, dict() as metadata, *_) if metadata.get("neg"):
            return Unreadable("a negated view")
    return _rebuild_tensor(arguments)


def _rebuild_parameter(arguments: tuple[Any, ...]) -> Tensor | Unreadable | None:
    match arguments:
        case (Tensor() | Unreadable() as data, *_):
            return data
    return None


def _rebuild_tensor_v3(arguments: tuple[Any, ...]) -> Unreadable | None:
    """Of a dtype without a class of storages, such as float8: the seventh argument."""
    match arguments:
        case (_, _, _, _, _, _, Global(dtype), *_):
            return Unreadable(f"a tensor of {dtype[:40]}")
    return None


def _unreadable(kind: str) -> Callable[[tuple[Any, ...]], Unreadable]:
    return lambda arguments: Unreadable(kind)


SUBCLASS = ("torch._tensor._rebuild_from_type", "torch._tensor._rebuild_from_type_v2")
"""Functions that take another one, which makes a tensor, and its arguments."""


def of_subclass(arguments: tuple[Any, ...]) -> tuple[Global | Opaque, tuple[Any, ...]]:
    """Return the call that makes the data of a tensor of some subclass, or with attributes."""
    match arguments:
        case (Global() as function, _, tuple() as inner, *_):
            return function, inner
    return Opaque("torch.Tensor"), ()


CALLABLES: dict[str, Callable[[tuple[Any, ...]], object]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch._utils._rebuild_sparse_tensor": _unreadable("a sparse tensor"),
    "torch._utils._rebuild_sparse_csr_tensor": _unreadable("a sparse tensor"),
    "torch._utils._rebuild_qtensor": _unreadable("a quantized tensor"),
    "torch._utils._rebuild_nested_tensor": _unreadable("a nested tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": _unreadable("a meta tensor, without data"),
    "torch._utils._rebuild_wrapper_subclass": _unreadable("a tensor of a subclass without data"),
    "torch._utils._rebuild_device_tensor_from_numpy": _unreadable("a tensor of another device"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _unreadable(
        "a tensor of another device"
    ),
}
