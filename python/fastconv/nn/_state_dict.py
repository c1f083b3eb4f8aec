"""Which arrays of a state dict go where, and what is missing, unexpected or of another shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastconv.nn._state import Array, in_place_of, listed, state_array


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` found but did not use, or used but did not find."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def fit(
    owner: str, slots: Mapping[str, tuple[Any, str]], state_dict: Any, strict: bool
) -> tuple[dict[str, Array], IncompatibleKeys]:
    """Return what is kept of a state dict, by the keys of a module, and which keys differ.

    Parameters
    ----------
    owner : str
        The module's type, for messages.
    slots : mapping of str to (Module, str)
        Where each key's array lives: an attribute of a module.
    state_dict, strict
        As `Module.load_state_dict` has them, with its errors.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"state_dict must be a mapping from names to arrays, got "
            f"{type(state_dict).__name__}: fastconv.weights.load(path) reads one from a file"
        )
    if (odd := next((key for key in state_dict if not isinstance(key, str)), None)) is not None:
        raise TypeError(f"state_dict must have names as keys, got {odd!r}")
    # One parameter may have several names; a file may then have it under one of them.
    first: dict[int, str] = {}
    for key, slot in slots.items():
        if key in state_dict:
            first.setdefault(id(getattr(*slot)), key)
    given = {
        key: key if key in state_dict else first.get(id(getattr(*slot)))
        for key, slot in slots.items()
    }
    missing = [
        key
        for key, source in given.items()
        if source is None and not key.endswith("num_batches_tracked")
    ]
    unexpected = [key for key in state_dict if key not in slots]
    values: dict[str, Array] = {}
    problems: list[str] = []
    if strict:
        problems += listed("missing keys", missing, unexpected)
        problems += listed("unexpected keys", unexpected, missing or list(slots))
    wrong = []
    replaced: dict[int, Array] = {}  # by the id of the new array
    for key, (module, name) in slots.items():
        if key not in state_dict:
            continue
        old, new = getattr(module, name), state_array(key, state_dict[key])
        if new.shape != old.shape:
            wrong.append(f"{key}: expected {old.shape}, got {new.shape}")
            continue
        kept = in_place_of(f"state_dict[{key!r}]", old, new)
        # One array for two parameters does not make them one.
        values[key] = kept if replaced.setdefault(id(kept), old) is old else kept.view()
    problems += listed("wrong shapes", wrong)
    if problems:
        raise ValueError(f"state_dict does not fit {owner}:\n" + "\n".join(problems))
    kept_values = {key: values[source] for key, source in given.items() if source is not None}
    return kept_values, IncompatibleKeys(missing, unexpected)
