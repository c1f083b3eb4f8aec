"""What a naming is to fastconv: a mark to know it by, and a way to rename its keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

Renamed = dict[str, str]
"""From the file's keys to the model's."""

Rule = tuple[str, "str | Callable[..., str]"]
"""A pattern, and what replaces it: a template, or a function of the groups as integers."""


class Format(NamedTuple):
    """How one implementation names the weights of one kind of network."""

    naming: str
    """Whose it is: ``"timm"``, ``"transformers"``, ..."""
    networks: str
    """Which networks, for messages."""
    marker: str
    """A pattern at the start of keys that only this format has."""
    models: str
    """A pattern of the names of fastconv's models that are such networks."""
    rename: Callable[[Collection[str], str, Collection[str]], Renamed]
    """Takes the file's keys, the model's name and the model's keys."""

    def marks(self, keys: Iterable[str]) -> bool:
        """Whether some key bears the mark."""
        marker = re.compile(self.marker, re.ASCII)
        return any(marker.match(key) for key in keys)


def substitute(key: str, rules: Iterable[Rule]) -> str:
    """Apply all rules, one after the other, each to what the ones before it made."""
    for pattern, replacement in rules:
        if isinstance(replacement, str):
            key = re.sub(pattern, replacement, key, flags=re.ASCII)
        else:
            function = replacement
            key = re.sub(pattern, lambda m: function(*map(int, m.groups())), key, flags=re.ASCII)  # noqa: B023
    return key


def by_rules(*rules: Rule) -> Callable[[Collection[str], str, Collection[str]], Renamed]:
    """Return a `Format.rename` that treats every key by itself."""

    def rename(keys: Collection[str], name: str, model_keys: Collection[str]) -> Renamed:
        return {key: substitute(key, rules) for key in keys}

    return rename
