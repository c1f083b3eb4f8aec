"""An interpreter for the pickles of torch's state dicts that runs nothing a pickle names.

`pickle.Unpickler` imports and calls what the file asks for; even with ``find_class`` restricted,
its opcodes call methods, set attributes, hash deep tuples recursively and allocate whatever size is
declared. This interpreter has no such powers: its values are numbers, strings, tuples, lists, dicts
and the three inert classes below. A pickle's opcodes are described in the standard library's
``pickletools``, which also decodes their arguments here; the layout of torch's pickles is that of
``torch/serialization.py`` and ``torch/_utils.py``.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from fastconv.weights._common import MAX_NDIM, WeightsError, describe_shape, quote

MAX_PICKLE_BYTES = 64 * 2**20
"""The largest pickle that is read; the values of tensors are outside the pickle."""

_MAX_OPCODES = 2**21
"""About 36 opcodes describe a tensor, so this is enough for 58,000 of them."""

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}

_TEXT_OPCODES = {"INT", "LONG", "FLOAT", "STRING", "UNICODE", "GET", "PUT", "PERSID"}
"""Of protocol 0, which torch cannot use. Refused undecoded: decimal numbers can be slow to read."""

Fail = Callable[[str], WeightsError]


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
    """Stands for ``collections.OrderedDict``."""


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
}


def unpickle(stream: BytesIO, persistent_load: Callable[[object], object], fail: Fail) -> Any:
    """Read one pickle from ``stream`` and leave the stream behind its end.

    ``persistent_load`` gets what the pickle says about a storage; ``fail`` makes the error to
    raise.
    """
    try:
        return _Machine(persistent_load, fail).run(stream)
    except WeightsError:
        raise
    except IndexError as error:
        raise fail("corrupt pickle: an opcode finds too little on the stack") from error
    except (ValueError, OverflowError, RecursionError) as error:  # from pickletools
        raise fail(f"corrupt or truncated pickle: {str(error)[:200]}") from error


class _Machine:
    """The stack machine that a pickle is a program for."""

    def __init__(self, persistent_load: Callable[[object], object], fail: Fail) -> None:
        self._persistent_load = persistent_load
        self._fail = fail
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, stream: BytesIO) -> Any:
        """Run the program up to its STOP and return what it leaves."""
        for _ in range(_MAX_OPCODES):
            opcode = _OPCODES.get(stream.read(1).decode("latin-1"))
            if opcode is None:
                raise self._fail("corrupt or truncated pickle")
            if opcode.name == "STOP":
                break
            argument: Any = None
            if opcode.name in ("GLOBAL", "INST"):  # not by pickletools, which decodes escapes
                lines = [stream.readline(1000), stream.readline(1000)]
                argument = b".".join(line.rstrip(b"\n") for line in lines).decode()
            elif opcode.arg is not None and opcode.name not in _TEXT_OPCODES:
                argument = opcode.arg.reader(stream)
            self._step(opcode.name, argument)
        else:
            raise self._fail(f"the pickle has more than {_MAX_OPCODES} opcodes")
        if len(self._stack) != 1 or self._marks:
            raise self._fail("corrupt pickle: it does not end with one value")
        return self._stack.pop()

    def _step(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._marks.append(len(stack))
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._pop_mark()
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4":
                if argument.bit_length() > 127:
                    raise self._fail("the pickle holds an integer of more than 128 bits")
                stack.append(argument)
            case "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                stack.append(argument)
            case "BINSTRING" | "SHORT_BINSTRING" | "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8":
                stack.append(argument)
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(self._pop_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(opcode[-1]))]
                stack.append(tuple(reversed(items)))
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                stack.append(self._pop_mark())
            case "APPEND":
                self._extend([stack.pop()])
            case "APPENDS":
                self._extend(self._pop_mark())
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                items = self._pop_mark()
                stack.append({})
                self._set_items(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self._set_items([key, value])
            case "SETITEMS":
                self._set_items(self._pop_mark())
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                if argument not in self._memo:
                    raise self._fail("corrupt pickle: it recalls a value that it never stored")
                stack.append(self._memo[argument])
            case "GLOBAL":
                self._push_global(argument)
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                if not isinstance(module, str) or not isinstance(name, str):
                    raise self._fail("corrupt pickle: it imports by something other than a name")
                self._push_global(f"{module}.{name}")
            case "BINPERSID":
                stack.append(self._persistent_load(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(self._call(function, arguments))
            case "BUILD":
                state, target = stack.pop(), stack[-1]
                # An OrderedDict's attributes, of which torch sets _metadata; nothing here needs
                # them.
                if not isinstance(target, OrderedDict) or not isinstance(state, dict):
                    raise self._fail(
                        "the pickle sets attributes of something other than a state dict"
                    )
            case _:
                operand = f" {quote(argument)}" if isinstance(argument, str) else ""
                raise self._fail(
                    f"the pickle opcode {opcode}{operand} has no place in a state dict"
                )

    def _pop_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise self._fail("corrupt pickle: it appends to something other than a list")
        self._stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], dict) or len(items) % 2:
            raise self._fail("corrupt pickle: it sets items of something other than a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # No tuples: hashing deeply nested ones overflows the C stack. No long integers: too
            # many have the same hash.
            if not isinstance(key, str | int) or (isinstance(key, int) and key.bit_length() > 64):
                raise self._fail(f"the pickle has an unusable dict key, a {type(key).__name__}")
            self._stack[-1][key] = value

    def _push_global(self, path: str) -> None:
        if path not in STORAGE_DTYPES and path not in _CALLABLES:
            raise self._fail(
                f"the pickle asks for {quote(path)}, which no state dict needs and fastconv "
                "neither imports nor runs; save model.state_dict() alone with torch.save, or use "
                "safetensors"
            )
        self._stack.append(Global(path))

    def _call(self, function: object, arguments: object) -> object:
        if not isinstance(function, Global) or function.name not in _CALLABLES:
            name = function.name if isinstance(function, Global) else type(function).__name__
            raise self._fail(
                f"the pickle calls {quote(name)}, which is no function of a state dict"
            )
        result = _CALLABLES[function.name](arguments) if isinstance(arguments, tuple) else None
        if result is None:
            raise self._fail(f"the pickle calls {function.name} with unusable arguments")
        if isinstance(result, str):
            raise self._fail(f"the pickle describes an impossible tensor: {result}")
        return result


# What the callables of a state dict do. Each gets the tuple of arguments and returns the value,
# None for arguments of a wrong kind, or a text that says what is wrong with them.


def _ordered_dict(arguments: tuple[Any, ...]) -> OrderedDict | None:
    match arguments:
        case ():
            return OrderedDict()
        case ([*items],) if all(isinstance(item, list) and len(item) == 2 for item in items):
            # Python 2's OrderedDict([[key, value], ...])
            if all(isinstance(key, str) for key, _ in items):
                return OrderedDict(items)
    return None


def _size(arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    match arguments:
        case ((*sizes,),):
            return tuple(sizes)
    return None


def _rebuild_tensor(arguments: tuple[Any, ...]) -> Tensor | str | None:
    match arguments:
        case (Storage() as storage, int(offset), (*shape,), (*stride,), *_):
            pass
        case _:
            return None
    if any(type(number) is not int for number in (offset, *shape, *stride)):
        return None
    if len(shape) != len(stride) or len(shape) > MAX_NDIM:
        return f"{len(shape)} sizes and {len(stride)} strides"
    described = (
        f"shape {describe_shape(shape)}, stride {describe_shape(stride)}, offset "
        f"{describe_shape([offset])} in a storage of {storage.numel} elements"
    )
    if min((offset, *shape, *stride)) < 0 or max((offset, *shape, *stride)) >= 2**63:
        return described
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if 0 not in shape and last >= storage.numel:
        return described
    return Tensor(storage, offset, tuple(shape), tuple(stride))


def _rebuild_parameter(arguments: tuple[Any, ...]) -> Tensor | None:
    match arguments:
        case (Tensor() as data, *_):
            return data
    return None


_CALLABLES: dict[str, Callable[[tuple[Any, ...]], object]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
}
