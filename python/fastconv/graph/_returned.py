"""What `forward` may return: a value, or a tuple, list or mapping of values."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any


def map_values(function: Callable[[Any], Any], y: Any) -> Any:
    """Return what `y` is, with what `function` makes of each value in the place of that value."""
    if isinstance(y, Mapping):
        return {key: function(value) for key, value in y.items()}
    if isinstance(y, (tuple, list)):
        make: Any = getattr(y, "_make", type(y))  # of a named tuple
        return make(map(function, y))
    return function(y)


def _values(y: Any) -> dict[str, Any]:
    """Return the values by how they are reached: ``""``, ``"[0]"``, ``"['mask']"``."""
    if isinstance(y, Mapping):
        return {f"[{key!r}]": value for key, value in y.items()}
    if isinstance(y, (tuple, list)):
        return {f"[{i}]": value for i, value in enumerate(y)}
    return {"": y}


class Returned:
    """What `forward` returned, without the values.

    Parameters
    ----------
    owner : str
        The module's type, for messages.
    y : object
        What its `forward` returned.
    kind : type
        Of the values.

    Attributes
    ----------
    container : type or None
        What they were in: ``tuple``, ``list``, ``dict``; `None` for a single value.
    pack : callable
        Returns what `forward` returned with the first elements of a list as its values.

    Raises
    ------
    TypeError
        If `y` is no value of this kind, nor a tuple, list or mapping from names of such values.
    """

    def __init__(self, owner: str, y: Any, kind: type) -> None:
        check(owner, y, kind)
        self.container = None if isinstance(y, kind) else type(y)
        self._places = list(_values(y))
        self.pack: Callable[[list[Any]], Any] = itemgetter(0)
        if self.container is not None:
            numbers = itertools.count()
            numbered = map_values(lambda _: next(numbers), y)
            self.pack = functools.partial(_packed, numbered)

    def outs(self, out: Any) -> Iterator[tuple[str, Any]]:
        """Yield the arrays of an argument `out`: what to call each, and itself, in order."""
        if self.container is None:
            yield "out", out
            return
        given, places = _values(out), self._places
        if issubclass(self.container, Mapping):
            if not isinstance(out, Mapping) or given.keys() != set(places):
                came = ", ".join(given) if isinstance(out, Mapping) else type(out).__name__
                raise TypeError(
                    f"out must be a mapping with the keys of the output, {', '.join(places)}, got "
                    f"{came}"
                )
        elif not isinstance(out, (tuple, list)) or len(out) != len(places):
            came = f"{len(out)}" if isinstance(out, (tuple, list)) else type(out).__name__
            raise TypeError(
                f"out must be a tuple of {len(places)} arrays, one for each output, got {came}"
            )
        yield from ((f"out{place}", given[place]) for place in places)


def _packed(numbered: Any, arrays: Sequence[Any]) -> Any:
    return map_values(arrays.__getitem__, numbered)


def check(owner: str, y: Any, kind: type | tuple[type, ...]) -> None:
    """Refuse what `forward` must not return; arguments and errors are those of `Returned`."""
    values = _values(y)
    if isinstance(y, Mapping) and not all(isinstance(key, str) for key in y):
        raise TypeError(f"{owner}.forward must return strings as keys, got {list(y)}")
    if not values:
        raise TypeError(
            f"{owner}.forward must return what it computed, got an empty {type(y).__name__}"
        )
    for place, value in values.items():
        if isinstance(value, kind):
            continue
        came = type(value).__name__ + (f" as output{place}" if place else "")
        if place and isinstance(value, (tuple, list, Mapping)):
            raise TypeError(
                f"{owner}.forward must return a value, or a tuple, list or dict of values, which "
                f"are not nested, got {came}: return its values side by side"
            )
        raise TypeError(
            f"{owner}.forward must return what it computed from its input, or a tuple, list or "
            f"dict of such values, got {came}"
        )
