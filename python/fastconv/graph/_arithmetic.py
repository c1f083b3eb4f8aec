"""Python's operators and NumPy's functions on symbolic values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastconv import ops
from fastconv.graph._refusals import unsupported
from fastconv.ops._pointwise import INSTRUCTIONS

_UFUNCS = {
    getattr(np, name): name
    for name in INSTRUCTIONS
    if isinstance(getattr(np, name, None), np.ufunc)
} | {
    np.matmul: "matmul",
    np.rint: "round",
    np.fabs: "abs",
    np.tanh: "tanh",
    np.bitwise_and: "logical_and",
    np.bitwise_or: "logical_or",
    np.bitwise_xor: "logical_xor",
    np.invert: "logical_not",
}
"""The ops that are functions of NumPy; of masks, those of bits are those of truth."""


def refuse_promotion(op: str, values: Iterable[Any]) -> None:
    """Refuse scalars of NumPy with which the arrays among these would become of another dtype."""
    given = list(values)
    symbols = (x for x in given if isinstance(x, Arithmetic) and x.dtype.kind == "f")
    if (x := next(symbols, None)) is not None:
        for value in given:
            if isinstance(value, (np.integer, np.floating)):
                x._refuse_promotion(op, value.dtype)


_Self = TypeVar("_Self", bound="Arithmetic")


class Arithmetic:
    """A base of `Symbol`."""

    __slots__ = ()

    if TYPE_CHECKING:  # what `Symbol` has
        graph: Any

        @property
        def dtype(self) -> np.dtype[Any]: ...

        def copy(self) -> Any: ...
        def _in_place(self, op: str, sign: str, other: Any) -> Any: ...

    def __add__(self, other: Any) -> Any:
        return self._binary("add", other)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        return self._binary("multiply", other)

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Any:
        return self._binary("subtract", other)

    def __rsub__(self, other: Any) -> Any:
        return self._binary("subtract", other, reverse=True)

    def __truediv__(self, other: Any) -> Any:
        return self._binary("divide", other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._binary("divide", other, reverse=True)

    def __pow__(self, other: Any) -> Any:
        return self._op("power", other)

    def __rpow__(self, other: Any) -> Any:
        return self._binary("power", other, reverse=True)

    def __matmul__(self, other: Any) -> Any:
        return self._binary("matmul", other)

    def __rmatmul__(self, other: Any) -> Any:
        return self._binary("matmul", other, reverse=True)

    def __imatmul__(self, other: Any) -> Any:
        return self._in_place("matmul", "@", other)

    def __lt__(self, other: Any) -> Any:
        return self._binary("less", other)

    def __le__(self, other: Any) -> Any:
        return self._binary("less_equal", other)

    def __gt__(self, other: Any) -> Any:
        return self._binary("greater", other)

    def __ge__(self, other: Any) -> Any:
        return self._binary("greater_equal", other)

    def __eq__(self, other: Any) -> Any:
        return self._binary("equal", other)

    def __ne__(self, other: Any) -> Any:
        return self._binary("not_equal", other)

    __hash__ = object.__hash__

    def __neg__(self) -> Any:
        return self._op("negative")

    def __pos__(self) -> Any:
        return self.copy()

    def __abs__(self) -> Any:
        return self._op("abs")

    def __invert__(self) -> Any:
        return self._op("logical_not")

    def __and__(self, other: Any) -> Any:
        return self._op("logical_and", other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Any:
        return self._op("logical_or", other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Any:
        return self._op("logical_xor", other)

    __rxor__ = __xor__

    def __iadd__(self, other: Any) -> Any:
        return self._in_place("add", "+", other)

    def __imul__(self, other: Any) -> Any:
        return self._in_place("multiply", "*", other)

    def __isub__(self, other: Any) -> Any:
        return self._in_place("subtract", "-", other)

    def __itruediv__(self, other: Any) -> Any:
        return self._in_place("divide", "/", other)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """NumPy's functions, and operators whose left operand is an array, come by here."""
        name = _UFUNCS.get(ufunc)
        if method != "__call__" or kwargs or name is None:
            unsupported(f"numpy.{ufunc.__name__}", ufunc.__name__)
        if name in ("add", "multiply"):
            a, b = inputs
            return a._binary(name, b) if isinstance(a, Arithmetic) else self._binary(name, a)
        refuse_promotion(name, inputs)
        return getattr(ops, name)(*inputs)

    def clip(self, min: Any = None, max: Any = None, **other: Any) -> Any:
        """Keep between two bounds, as `numpy.ndarray.clip`."""
        if other:
            unsupported(f"clip({', '.join(other)}=)", "clip")
        refuse_promotion("clip", (self, min, max))
        return ops.clip(self, min, max)  # type: ignore[arg-type]

    def round(self, decimals: int = 0, **other: Any) -> Any:
        """Round to integers, as `numpy.ndarray.round`."""
        if other or decimals != 0:
            unsupported("round to other than integers", "round")
        return self._op("round")

    def _binary(self, op: str, other: Any, *, reverse: bool = False) -> Any:
        if not isinstance(other, Arithmetic):
            if isinstance(other, (bool, complex, str)) or other is None:
                raise TypeError(f"{op}: expected a number or an array, got {type(other).__name__}")
            if isinstance(other, (np.integer, np.floating)):
                self._refuse_promotion(op, other.dtype)
            if isinstance(other, (int, float, np.integer, np.floating)):
                other = np.asarray(other, self.dtype)
        return self.graph.record(op, [other, self] if reverse else [self, other])

    def _refuse_promotion(self, op: str, dtype: np.dtype[Any]) -> None:
        """Refuse a scalar of NumPy with which an array would become one of another dtype."""
        if not self.graph.convert and np.promote_types(dtype, self.dtype) != self.dtype:
            raise TypeError(
                f"{op}: a number has dtype {dtype}, but the network computes in {self.dtype}: "
                f"convert it with float(number)"
            )

    def _op(self: _Self, name: str, *args: Any) -> _Self:
        y: _Self = getattr(ops, name)(self, *args)
        return y
