"""What may be assigned to a module: arrays become parameters, the rest is kept or refused."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Container, Iterator, Mapping
from typing import Any

import numpy as np

from fastconv.graph._symbols import Symbol
from fastconv.nn._state import (
    PLAIN,
    Array,
    in_place_of,
    is_array_like,
    is_floating,
    read_only,
    to_array,
)

_changes = itertools.count(1)
latest_change = 0
"""The number of the last change of any module."""


class Attributes:
    """A base of `Module`."""

    _parameters_declared: frozenset[str] = frozenset()  # names, also of those that are `None`
    _buffers: frozenset[str] = frozenset()
    _version = 0  # of this module alone: the number of its last change

    def _own_arrays(self) -> Iterator[tuple[str, Array]]:
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and not name.startswith("_"):
                yield name, value

    def register_buffer(self, name: str, array: Array | None, persistent: bool = True) -> None:
        """Add an array that belongs to the state but is not learned, of any dtype.

        Raises
        ------
        ValueError
            If `name` is taken, or no name of an attribute; if `persistent` is False: arrays outside
            the state are attributes that start with an underscore.
        """
        if not persistent:
            raise ValueError(
                f"persistent=False is not possible: assign the array to self._{name}, which is no "
                f"part of the state"
            )
        self._check_name(name, self._buffers)
        array = None if array is None else read_only(to_array(self._path(name), array))
        object.__setattr__(self, "_buffers", self._buffers | {name})
        object.__setattr__(self, name, array)
        self._changed()

    def register_parameter(self, name: str, param: Array | None) -> None:
        """Add a parameter that may be `None`, as an assignment does that is no array's."""
        self._check_name(name, self._parameters_declared)
        self._parameters_declared = self._parameters_declared | {name}
        setattr(self, name, param)

    def _refuse_hidden(self) -> None:
        """Refuse what was put into a list after the list had been assigned."""
        for name, value in vars(self).items():
            if not name.startswith("_") and holds_state(value):
                self._kept(name, value)

    def _path(self, name: str) -> str:
        return f"{type(self).__name__}.{name}"

    def _check_name(self, name: Any, same_kind: Container[str]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {type(name).__name__}")
        if not name or name.startswith("_") or "." in name or hasattr(type(self), name):
            raise ValueError(
                f"name must be that of a new public attribute, without a dot, got {name!r}"
            )
        if name in vars(self) and name not in same_kind:
            raise ValueError(f"{self._path(name)} exists: delete it first, with del")

    def __setattr__(self, name: str, value: Any) -> None:
        private, old = name.startswith("_"), vars(self).get(name)
        if not private:
            value = self._kept(name, value)
        object.__setattr__(self, name, value)
        if not private or _is_constant(old) or _is_constant(value):
            self._changed()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        if not name.startswith("_"):
            self._buffers -= {name}
            self._parameters_declared -= {name}
            self._changed()

    def _kept(self, name: str, value: Any) -> Any:
        """Return what is kept of a value that is assigned to this public name.

        Raises
        ------
        TypeError, ValueError
            If it would be computed with, but be missing from the state, or not be what the layer
            was made for.
        """
        path, old = self._path(name), vars(self).get(name)
        if old is None and type(value) in PLAIN and not self._is_declared(name):
            return value
        if isinstance(value, Symbol):
            raise TypeError(
                f"{path}: a value of forward cannot be kept, it has no numbers yet: return it, or "
                f"name its module in network(x, taps=[...])"
            )
        is_state = isinstance(old, np.ndarray) or self._is_declared(name)
        if isinstance(old, Attributes) and not isinstance(value, Attributes | None):
            raise TypeError(
                f"{path} is a module, got {type(value).__name__}: delete it first, with del"
            )
        if is_state and isinstance(value, Attributes):
            raise TypeError(f"{path} is an array, got a module: delete it first, with del")
        if value is None or isinstance(value, Attributes):
            return value
        if is_state or is_array_like(value):
            if not is_state and old is not None:
                raise TypeError(
                    f"{path} is {type(old).__name__} {old!r}, got an array: pass plain numbers, or "
                    f"delete it first, with del"
                )
            return self._as_state(name, to_array(path, value), old)
        if holds_state(value):
            raise TypeError(
                f"{path}: modules and arrays in a {type(value).__name__} would be no part of the "
                f"state: use nn.ModuleList(modules) or nn.ParameterList(arrays). Constants "
                f"that never change may have a name that starts with an underscore"
            )
        return value

    def _is_declared(self, name: str) -> bool:
        return name in self._buffers or name in self._parameters_declared

    def _as_state(self, name: str, array: Array, old: Array | None) -> Array:
        """Return what is kept of an array: read-only, and a parameter in the module's dtype."""
        path, is_buffer = self._path(name), name in self._buffers
        if old is not None:
            kept = in_place_of(path, old, array)
            if array.shape != old.shape:
                raise ValueError(
                    f"{path} must have shape {old.shape}, got {array.shape}: for another shape "
                    f"build a new {type(self).__name__}, or delete it first, with del"
                )
            return kept
        if is_buffer:
            return read_only(array)
        if not is_floating(array.dtype):
            raise TypeError(
                f"{path}: a parameter must be of a floating dtype, got "
                f"{array.dtype}: use .astype(np.float32), or register_buffer({name!r}, ...) for "
                f"an array that is no parameter"
            )
        own = (a.dtype for _, a in self._own_arrays() if is_floating(a.dtype))
        return read_only(
            array, next(own, np.dtype(np.float64 if array.dtype.itemsize > 4 else np.float32))
        )

    def _changed(self) -> None:
        global latest_change
        self._version = next(_changes)
        latest_change = self._version


def holds_state(value: Any, inside: tuple[Any, ...] = ()) -> bool:
    """Whether a list, tuple, set or dictionary has arrays or modules in it, at any depth.

    `inside` are the containers around it.
    """
    if type(value) in PLAIN:
        return False
    items = value.values() if isinstance(value, Mapping) else value
    if items is value and not isinstance(value, list | tuple | set | frozenset | deque):
        return False
    if any(value is outer for outer in inside):
        return False
    inside = (*inside, value)
    return any(
        isinstance(item, Attributes) or is_array_like(item) or holds_state(item, inside)
        for item in items
    )


def _is_constant(value: Any) -> bool:
    return is_array_like(value) and not isinstance(value, Symbol)
