"""The methods of symbolic values that go along axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fastconv import ops
from fastconv.graph._refusals import unsupported
from fastconv.ops._reduce import as_axes


class Reductions:
    """A base of `Symbol`."""

    __slots__ = ()

    if TYPE_CHECKING:  # what `Symbol` has
        shape: tuple[int, ...]

        def _op(self, name: str, *args: Any) -> Any: ...

    def mean(self, axis: Any = None, *args: Any, keepdims: bool = False, **other: Any) -> Any:
        """Average over axes, given as an int or a tuple, as `numpy.ndarray.mean`."""
        return self._reduced("mean", axis, args, keepdims, other)

    def var(
        self, axis: Any = None, *args: Any, ddof: float = 0, keepdims: bool = False, **other: Any
    ) -> Any:
        """Average the squared deviations from the mean, as `numpy.ndarray.var`."""
        _refuse_others("var", axis, args, other)
        deviation = self - self._op("mean", axis, True)
        mean = ops.mean(deviation * deviation, axis, keepdims)
        if ddof == 0:
            return mean
        count = math.prod(self.shape[i] for i in as_axes(axis, len(self.shape)))
        return mean * (count / (count - ddof) if count > ddof else math.inf)

    def std(self, axis: Any = None, *args: Any, **other: Any) -> Any:
        """Return the square root of `var`, as `numpy.ndarray.std`."""
        return ops.sqrt(self.var(axis, *args, **other))

    def sum(self, axis: Any = None, *args: Any, keepdims: bool = False, **other: Any) -> Any:
        """Sum over axes, given as an int or a tuple, as `numpy.ndarray.sum`."""
        return self._reduced("sum", axis, args, keepdims, other)

    def prod(self, axis: Any = None, *args: Any, keepdims: bool = False, **other: Any) -> Any:
        """Multiply over axes, given as an int or a tuple, as `numpy.ndarray.prod`."""
        return self._reduced("prod", axis, args, keepdims, other)

    def max(self, axis: Any = None, *args: Any, keepdims: bool = False, **other: Any) -> Any:
        """Return the greatest along axes, given as an int or a tuple, as `numpy.ndarray.max`."""
        return self._reduced("max", axis, args, keepdims, other)

    def min(self, axis: Any = None, *args: Any, keepdims: bool = False, **other: Any) -> Any:
        """Return the least along axes, given as an int or a tuple, as `numpy.ndarray.min`."""
        return self._reduced("min", axis, args, keepdims, other)

    def argmax(self, axis: Any = None, *args: Any, keepdims: bool = False, **other: Any) -> Any:
        """Return the index of the greatest along an axis, as `numpy.ndarray.argmax`."""
        return self._reduced("argmax", axis, args, keepdims, other)

    def argmin(self, axis: Any = None, *args: Any, keepdims: bool = False, **other: Any) -> Any:
        """Return the index of the least along an axis, as `numpy.ndarray.argmin`."""
        return self._reduced("argmin", axis, args, keepdims, other)

    def cumsum(self, axis: Any = None, *args: Any, **other: Any) -> Any:
        """Sum up to each element along an axis, as `numpy.ndarray.cumsum`."""
        if args or other:
            unsupported("cumsum with other arguments than axis", "cumsum")
        return self._op("cumsum", axis)

    def _reduced(self, name: str, axis: Any, args: Any, keepdims: bool, other: Any) -> Any:
        _refuse_others(name, axis, args, other)
        return self._op(name, axis, keepdims)


def _refuse_others(name: str, axis: Any, args: Any, other: Any) -> None:
    if args or other or isinstance(axis, list):  # NumPy has other arguments, and takes no list
        unsupported(f"{name} with torch's arguments", name)
