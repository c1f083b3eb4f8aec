"""A small cache of things that are slow to make, and the lock that is held while they are."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Value = TypeVar("_Value")

making = threading.RLock()  # held while something is compiled; calls of what exists do not wait


def _renew_lock() -> None:
    """Forget in a forked child what threads of its parent, which it does not have, were making."""
    global making
    making = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


class Bounded(Generic[_Value]):
    """A small cache that drops what was used least recently; each value is made once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, _Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """Return the value of `key`, made if it is not there."""
        value = self._values.get(key)
        if value is None:
            with making:
                value = self._values.get(key)
                if value is None:
                    value = self._values[key] = make()
                while len(self._values) > self._size:
                    self._values.popitem(last=False)
        with contextlib.suppress(KeyError):  # another thread may just have dropped it
            self._values.move_to_end(key)
        return value
