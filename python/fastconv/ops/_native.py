"""Calls that native code takes as they come, without a look at them in Python."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Native = Callable[[tuple[Any, ...], dict[str, Any]], Any]


def native_first(native: _Native) -> Callable[[_Function], _Function]:
    """Let native code try each call of an op first: for small arrays Python takes longer than it.

    Parameters
    ----------
    native : function of fastconv._core
        ``native(args, kwargs)`` returns ``NotImplemented`` unless it finds nothing to convert and
        nothing to refuse.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            result = native(args, kwargs)
            return function(*args, **kwargs) if result is NotImplemented else result

        return call  # type: ignore[return-value]

    return decorate
