"""An interpreter for the pickles of torch's checkpoints that runs nothing a pickle names.

`pickle.Unpickler` imports and calls what the file asks for. Even with ``find_class`` restricted,
its opcodes call methods, set attributes, hash deep tuples recursively and allocate whatever size is
declared. This interpreter can do none of that: its values are numbers, strings, tuples, lists,
dicts and the inert classes of `_pickled`. It makes tensors and dicts, for these may be weights. Of
every other object it keeps only the name. The standard library's ``pickletools`` describes a
pickle's opcodes, and decodes their arguments here. The layout of torch's pickles is that of
``torch/serialization.py`` and ``torch/_utils.py``.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

from fastconv.weights._common import Fail, WeightsError, quote
from fastconv.weights._pickled import (
    CALLABLES,
    SUBCLASS,
    Global,
    Opaque,
    OrderedDict,
    of_subclass,
    refusal,
    safe_key,
)

MAX_PICKLE_BYTES = 64 * 2**20
"""The largest pickle that is read; the values of tensors are outside the pickle."""

_MAX_OPCODES = 2**21
"""About 36 opcodes describe a tensor, so this is enough for 58,000 of them."""

_MAX_ARGUMENTS = 2**22
"""The most arguments of all calls of a pickle together. Recalling a list costs one opcode, however
long the list is."""

_MAX_NAME = 1000
"""The longest name of a module or of something in it."""

_ATTACK = re.compile(
    r"(os|posix|nt|sys|subprocess|socket|shutil|runpy|pty|importlib)\..*"
    r"|(builtins|__builtin__)\.(eval|exec|execfile|compile|open|__import__)",
    re.ASCII | re.DOTALL,
)
"""Names that only an attack has. They are not run either, but a file that has one is refused."""

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}

_TEXT_OPCODES = {"INT", "LONG", "FLOAT", "STRING", "UNICODE", "GET", "PUT", "PERSID"}
"""Opcodes of protocol 0, which torch cannot use. They are refused without decoding: decimal numbers
can be slow to read."""


def unpickle(stream: BytesIO, persistent_load: Callable[[object], object], fail: Fail) -> Any:
    """Read one pickle from ``stream``, up to its end.

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
        self._globals: dict[str, Global] = {}
        self._arguments = 0

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
                stack.append(argument if argument.bit_length() < 128 else Opaque("a long integer"))
            case "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                stack.append(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                stack.append(argument)
            case "BINSTRING" | "SHORT_BINSTRING":
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
            case "EMPTY_SET":
                stack.append(Opaque("set"))
            case "ADDITEMS":
                self._pop_mark()
                if not isinstance(stack[-1], Opaque):
                    raise self._fail("corrupt pickle: it adds to something other than a set")
            case "FROZENSET":
                self._pop_mark()
                stack.append(Opaque("frozenset"))
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
                if len(module) + len(name) > _MAX_NAME:
                    raise self._fail("corrupt pickle: it imports by a name of endless length")
                self._push_global(f"{module}.{name}")
            case "BINPERSID":
                stack.append(self._persistent_load(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(self._call(function, arguments))
            case "INST":
                self._pop_mark()
                self._push_global(argument)
                stack.append(Opaque(stack.pop().name))
            case "OBJ":
                stack.append(self._object(self._pop_mark()[0]))
            case "NEWOBJ":
                _, kind = stack.pop(), stack.pop()
                stack.append(self._object(kind))
            case "NEWOBJ_EX":
                _, _, kind = stack.pop(), stack.pop(), stack.pop()
                stack.append(self._object(kind))
            case "BUILD":
                state, target = stack.pop(), stack[-1]
                # An OrderedDict's attributes, of which torch sets _metadata; nothing here needs
                # them.
                is_dict = isinstance(target, OrderedDict) and isinstance(state, dict)
                if not is_dict and not isinstance(target, Opaque):
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
        target = self._stack[-1]
        if isinstance(target, Opaque):
            return
        if not isinstance(target, list):
            raise self._fail("corrupt pickle: it appends to something other than a list")
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict | Opaque) or len(items) % 2:
            raise self._fail("corrupt pickle: it sets items of something other than a dict")
        if isinstance(target, Opaque):
            return
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[safe_key(key)] = value

    def _push_global(self, path: str) -> None:
        if _ATTACK.fullmatch(path):
            raise self._fail(refusal(path))
        # One for each name: to recall a long one costs three opcodes.
        self._stack.append(self._globals.setdefault(path, Global(path)))

    def _object(self, kind: object) -> Opaque:
        if not isinstance(kind, Global | Opaque):
            raise self._fail(f"corrupt pickle: it makes an object of a {type(kind).__name__}")
        return Opaque(kind.name)

    def _call(self, function: object, arguments: object) -> object:
        if not isinstance(function, Global | Opaque):
            raise self._fail(f"corrupt pickle: it calls a {type(function).__name__}")
        if not isinstance(arguments, tuple):
            raise self._fail(f"the pickle calls {quote(function.name)} with unusable arguments")
        if function.name in SUBCLASS:
            function, arguments = of_subclass(arguments)
        self._arguments += len(arguments)
        if self._arguments <= _MAX_ARGUMENTS:
            self._arguments += sum(len(item) for item in arguments if isinstance(item, list))
        if self._arguments > _MAX_ARGUMENTS:
            raise self._fail(f"the pickle calls functions with more than {_MAX_ARGUMENTS} values")
        if isinstance(function, Opaque) or function.name not in CALLABLES:
            return Opaque(function.name)
        result = CALLABLES[function.name](arguments)
        if result is None:
            raise self._fail(f"the pickle calls {function.name} with unusable arguments")
        if isinstance(result, str):
            raise self._fail(f"the pickle describes an impossible tensor: {result}")
        return result
