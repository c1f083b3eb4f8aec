"""What a configuration file says of a model, and what its readers share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

from fastconv.weights._common import quote

_NAMES = {int: "whole number", float: "number"}


class Facts(NamedTuple):
    """What a ``config.json`` says."""

    arguments: dict[str, Any]
    """Of the model's class."""
    num_classes: int | None = None
    default_cfg: Mapping[str, Any] = MappingProxyType({})
    """Preprocessing, in place of the model's; `None` where the model's value is to go."""
    labels: tuple[str, ...] | None = None
    """Names of the classes."""
    preprocessing: str | None = None
    """The file that says how to preprocess images."""


@contextmanager
def naming(where: str, expected: str) -> Iterator[None]:
    """Make any error in reading a file one that begins with the file's name."""
    try:
        yield
    except (TypeError, LookupError, AttributeError, ArithmeticError, ValueError) as error:
        if str(error).startswith(where):
            raise
        raise ValueError(
            f"{where}: malformed: expected {expected} ({quote(str(error))})"
        ) from error


def refuse_unknown(config: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Refuse a key that might change the result: an unknown one that asks for anything."""
    for key, value in config.items():
        if value and key not in known:
            raise ValueError(
                f"{where}: {quote(key)} is {repr(value)[:120]}, and fastconv does not know what "
                "that changes; a newer fastconv may, or take the key out of a copy of the file if "
                "it has no effect on results"
            )


def as_number(key: str, value: Any, kind: type) -> Any:
    """Return what a file has under a key, checked to be a number: whole, where `kind` is int."""
    kinds = int if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise _unexpected(key, value, f"a {_NAMES[kind]}")
    return kind(value)


def as_numbers(key: str, values: Any, kind: type, length: int | None = None) -> tuple[Any, ...]:
    """Return a tuple of numbers, checked to have this length."""
    if not isinstance(values, list | tuple) or length not in (None, len(values)):
        raise _unexpected(key, values, f"{length or 'a list of'} {_NAMES[kind]}s")
    return tuple(as_number(key, value, kind) for value in values)


def _unexpected(key: str, value: Any, expected: str) -> TypeError:
    return TypeError(f"{key} is {repr(value)[:60]}; expected {expected}")


def note_channels(arguments: dict[str, Any], channels: int) -> None:
    """Add the number of input channels to a model's arguments, where it is not the usual one."""
    if channels != 3:
        arguments["in_chans"] = channels
