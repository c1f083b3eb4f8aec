"""What symbolic values cannot do; each error names what to use instead."""

from __future__ import annotations

from typing import Any, NoReturn


class _MissingAttribute(TypeError, AttributeError):
    """A `TypeError`, as for all else that symbols lack, with which `hasattr` still works."""


def _substitute(name: str) -> str:
    from fastconv.graph._substitutes import substitute  # here, as import fastconv must stay fast

    return substitute(name)


def unsupported(what: str, name: str | None = None) -> NoReturn:
    """Raise the `TypeError` about `what`; `name` is what substitutes have it as."""
    raise TypeError(
        f"{what} is not possible on a symbolic value, which has a shape but no numbers: use "
        f"{_substitute(name or what)}; model.eager(x) runs forward on arrays"
    )


class Refusals:
    """A base of `Symbol`: operators and protocols of arrays that need their numbers."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # protocols that others ask for, often
            raise _MissingAttribute(f"a symbolic value has no attribute {name!r}")
        raise _MissingAttribute(
            f"a symbolic value has no attribute {name!r}: use {_substitute(name)}"
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        unsupported("conversion to a NumPy array")

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func))
        unsupported(f"torch.{name}", name)

    def __bool__(self) -> NoReturn:
        unsupported("a truth value (if, and, or, not)")

    def __float__(self) -> NoReturn:
        unsupported("float()")

    def __int__(self) -> NoReturn:
        unsupported("int()")

    def __index__(self) -> NoReturn:
        unsupported("use as an index")

    def __iter__(self) -> NoReturn:
        unsupported("iteration", "split")

    def __len__(self) -> NoReturn:
        raise TypeError("len() is not possible on a symbolic value: use x.shape[0]")

    def __contains__(self, item: Any) -> NoReturn:
        unsupported("the operator in")

    def __floordiv__(self, other: Any) -> NoReturn:
        unsupported("//", "floor_divide")

    __rfloordiv__ = __floordiv__

    def __mod__(self, other: Any) -> NoReturn:
        unsupported("%", "mod")

    __rmod__ = __mod__

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TypeError("symbolic values are not written to: use fastconv.concat(arrays, axis)")
