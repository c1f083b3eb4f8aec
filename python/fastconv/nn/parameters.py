"""Lists and dictionaries of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastconv.nn._state import Array, is_array_like
from fastconv.nn.containers import _Keyed
from fastconv.nn.module import Module


def _listed(parameters: Iterable[tuple[str, Array]]) -> str:
    return ", ".join(f"({name}): {array.dtype} {array.shape}" for name, array in parameters)


class ParameterList(Module):
    """A list of parameters, named ``"0"``, ``"1"``, ...; the module around it computes with them.

    Parameters
    ----------
    values : iterable of array_like, optional
        The first elements.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ParameterList(np.zeros(n, np.float32) for n in (2, 3))
    ParameterList((0): float32 (2,), (1): float32 (3,))
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        self.extend(() if values is None else values)

    def __len__(self) -> int:
        return len(list(self._own_arrays()))

    def __iter__(self) -> Iterator[Array]:
        return iter([array for _, array in self._own_arrays()])

    def __getitem__(self, index: int | slice) -> Any:
        found = list(self)[index]
        return ParameterList(found) if isinstance(index, slice) else found

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(range(len(self))[index]), _checked(self, value))

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end and return this list."""
        setattr(self, str(len(self)), _checked(self, value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end and return this list."""
        if is_array_like(values) or not isinstance(values, Iterable):
            raise TypeError(
                f"ParameterList takes several arrays, got {type(values).__name__}: pass [array]"
            )
        for value in values:
            self.append(value)
        return self

    def extra_repr(self) -> str:
        """Return the names, dtypes and shapes of the parameters."""
        return _listed(self._own_arrays())


class ParameterDict(_Keyed[Array]):
    """A dictionary of parameters; the module around it computes with them.

    Parameters
    ----------
    parameters : mapping of str to array_like, or iterable of pairs, optional
        The first items.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> scales = nn.ParameterDict({"left": np.ones(2, np.float32)})
    >>> scales["right"] = np.zeros(3, np.float32)
    >>> scales
    ParameterDict((left): float32 (2,), (right): float32 (3,))
    """

    def __init__(
        self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None
    ) -> None:
        self.update(() if parameters is None else parameters)

    def _all(self) -> dict[str, Array]:
        return dict(self._own_arrays())

    def _checked(self, value: Any) -> Any:
        return _checked(self, value)

    def extra_repr(self) -> str:
        """Return the names, dtypes and shapes of the parameters."""
        return _listed(self._own_arrays())


def _checked(owner: Module, value: Any) -> Any:
    if not is_array_like(value):
        raise TypeError(f"{type(owner).__name__} takes arrays, got {type(value).__name__}")
    return value
