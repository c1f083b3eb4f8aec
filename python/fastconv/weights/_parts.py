"""Which part of a checkpoint is the weights: training programs save them under many names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from fastconv.weights._common import LOADED_DTYPES, Fail, quote
from fastconv.weights._pickled import Opaque, Tensor, Unreadable, refusal

WRAPPERS = (
    *("state_dict", "model", "model_state_dict", "model_state", "net", "network", "module"),
    *("params", "weights"),
    *("model_ema", "state_dict_ema", "ema_state_dict", "model_ema_state_dict"),
    *("ema", "ema_model", "params_ema"),
)
"""Entries of a checkpoint that may hold a state dict, the most usual first."""

_WRAPPED = ("module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module")
"""Prefixes that `DataParallel`, `torch.compile` and others put before every name. No network has
them in its own names."""

_ATTRIBUTES = ("model", "net", "network", "backbone", "student", "teacher")
_EMA_ATTRIBUTES = ("ema", "ema_model", "model_ema", "ema_net", "ema_module")
"""The names that a class around the network, such as a LightningModule, gives it."""

_AVERAGED = "n_averaged"
"""The counter of `torch.optim.swa_utils.AveragedModel`, the class of torchvision's EMA."""

_MAX_WRAPPING = 4
"""The most nested entries that lead to a state dict."""

_MAX_GROUPS = 16
"""The most prefixes whose names are compared with a model's."""

_MAX_PARTS = 64
"""The most state dicts in a checkpoint; each of them is compared with a model's."""

_MAX_KIND = 100
"""The most characters of a class's name in a report."""


def _pattern(names: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"(?:(?:{'|'.join(names)})\.)*", re.ASCII)


_ALWAYS_REMOVED = _pattern(_WRAPPED)
_REMOVED_FOR_A_MODEL = _pattern((*_WRAPPED, *_ATTRIBUTES, *_EMA_ATTRIBUTES))
_AVERAGE = re.compile(
    rf"{_pattern((*_WRAPPED, *_ATTRIBUTES)).pattern}(?:{'|'.join(_EMA_ATTRIBUTES)})\.", re.ASCII
)

IsWeight = Callable[[object], bool]
"""Says whether a value stands for an array."""


class Part(NamedTuple):
    """A state dict somewhere in a checkpoint."""

    path: tuple[str, ...]
    """The entries that lead to it, from outside in."""
    prefix: str
    """What the names in the file begin with."""
    values: dict[str, Any]
    """The weights in the file, by their names without the prefix."""
    unreadable: dict[str, str]
    """Tensors that NumPy has no dtype for, with their kind."""
    ema: bool
    """Whether these are an exponential moving average of the weights."""
    beside: tuple[str, ...] = ()
    """What else the checkpoint holds, as `beside` says."""

    @property
    def key(self) -> str:
        """The key by which `narrow` finds it."""
        return ".".join([*self.path, self.prefix]).rstrip(".")


def is_stored(value: object) -> bool:
    """Whether a value in a file is a tensor that can be read."""
    if isinstance(value, Tensor):
        return value.storage.dtype in (*LOADED_DTYPES, "bfloat16")
    return isinstance(value, np.ndarray)


def is_tensor(value: object) -> bool:
    """Whether a value in a file is a tensor, of whatever kind."""
    return is_stored(value) or _unreadable(value) is not None


def find_parts(root: object, is_weight: IsWeight, fail: Fail) -> list[Part]:
    """List the state dicts in a checkpoint, the most usual first, EMA weights last.

    Raises
    ------
    WeightsError
        There is none, or there are too many; ``fail`` makes it.
    """
    if isinstance(root, Opaque):
        raise fail(refusal(root.name))
    if not isinstance(root, Mapping):
        raise fail(f"expected a state dict; the file holds a {type(root).__name__}")
    parts = limited(_walk(root, (), is_weight, fail, set()), fail)
    if parts or not root:
        return sorted(parts, key=lambda part: part.ema) or [Part((), "", {}, {}, False)]
    kinds = {key: kind for key, value in root.items() if (kind := _unreadable(value))}
    if kinds:
        name, kind = next(iter(kinds.items()))
        raise fail(f"no tensor is of a kind that NumPy has: {quote(str(name))} is {kind}")
    for key, value in root.items():
        if is_weight(value):
            raise fail(f"a tensor's name must be a string; got a {_kind(key)}")
    for key in (*WRAPPERS, *root):
        if isinstance(value := root.get(key), Opaque):
            raise fail(refusal(value.name))
    raise fail("no tensors at its top level, nor under " + ", ".join(WRAPPERS))


def limited(parts: Iterable[Part], fail: Fail) -> list[Part]:
    """Return the parts, unless they are too many to compare each with a model."""
    found = list(islice(parts, _MAX_PARTS + 1))
    if len(found) > _MAX_PARTS:
        raise fail(f"expected at most {_MAX_PARTS} state dicts in one checkpoint; got more")
    return found


def _walk(
    value: Mapping[Any, Any],
    path: tuple[str, ...],
    is_weight: IsWeight,
    fail: Fail,
    seen: set[int],
) -> list[Part]:
    """List the parts below a mapping, and the mapping itself; each once, for it may be cyclic.

    Beside other parts, the mapping itself is a part only if its names have dots, as those of
    networks have. It comes before the others if it has more weights than each of them.
    """
    if id(value) in seen:
        return []
    seen.add(id(value))
    weights = {k: v for k, v in value.items() if isinstance(k, str) and is_weight(v)}
    dotted = any("." in name for name in weights)
    inner: list[Part] = []
    if len(weights) < len(value) and len(path) < _MAX_WRAPPING:
        for key in WRAPPERS:
            if isinstance(item := value.get(key), Mapping):
                inner += _walk(item, (*path, key), is_weight, fail, seen)
        if not (path or inner or dotted):
            for key in WRAPPERS:  # a whole model, and the tensors beside it are not its weights
                item = value.get(key)
                if isinstance(item, Opaque) and not isinstance(item, Unreadable):
                    raise fail(refusal(item.name))
    if not weights or (inner and not dotted):
        return inner
    unreadable = {
        k: kind for k, v in value.items() if isinstance(k, str) and (kind := _unreadable(v))
    }
    ema = _AVERAGED in weights or any(map(_says_ema, path))
    itself = Part(path, "", weights, unreadable, ema)
    first = all(len(weights) > len(part.values) for part in inner if part.ema == ema)
    return [itself, *inner] if first else [*inner, itself]


def narrow(root: object, key: str, fail: Fail) -> object:
    """Return what a checkpoint has under a key: entries, then a prefix of names, joined by dots."""
    value = root
    for name in key.split("."):
        items = value if isinstance(value, Mapping) else {}
        inner = items.get(name)
        if not isinstance(inner, Mapping):
            prefix = f"{name}."
            inner = {
                k.removeprefix(prefix): v
                for k, v in items.items()
                if isinstance(k, str) and k.startswith(prefix)
            }
        if not inner:
            entries = [quote(str(k)) for k, v in items.items() if isinstance(v, Mapping)]
            raise fail(
                f"key={key!r}: there is no entry {name!r} and no name that begins with it; "
                f"the entries are: {', '.join(entries[:20]) or 'none'}"
            )
        value = inner
    return value


def below(parts: list[Part], key: str) -> list[Part]:
    """Return the parts of a result of `narrow`, with the entries that lead to it."""
    path, ema = tuple(key.split(".")), _says_ema(key)
    return [part._replace(path=(*path, *part.path), ema=part.ema or ema) for part in parts]


def select_ema(parts: list[Part], use_ema: bool | None, fail: Fail) -> list[Part]:
    """Return the parts that `use_ema` selects; by default those that are no averages, if any."""
    if use_ema is None:
        return [part for part in parts if not part.ema] or parts
    chosen = [part for part in parts if part.ema == use_ema]
    if not chosen:
        what = ("no EMA weights", "no other weights than EMA's")[not use_ema]
        raise fail(f"use_ema={use_ema}: the checkpoint has {what}")
    return chosen


def without_wrapping(part: Part) -> Part:
    """Remove what `DataParallel` and `torch.compile` put before all names."""
    prefixes = [_ALWAYS_REMOVED.match(name) for name in part.values if name != _AVERAGED]
    shortest = min((match[0] for match in prefixes if match), key=len, default="")
    shared = all(match and match[0].startswith(shortest) for match in prefixes)
    return _remove(part, shortest if shared else "")


def by_prefix(part: Part) -> list[Part]:
    """Split a part by the prefixes that classes around a network give its weights."""
    groups = _split(part, _REMOVED_FOR_A_MODEL)
    return sorted(groups, key=lambda group: -len(group.values))[:_MAX_GROUPS]


def by_average(part: Part) -> list[Part]:
    """Split a part into the weights and, by their prefix, the averages."""
    return [part] if part.ema else _split(part, _AVERAGE)


def _split(part: Part, pattern: re.Pattern[str]) -> list[Part]:
    """Split a part by the prefixes that a pattern matches, and remove them."""

    def prefix(name: str) -> str:
        match = pattern.match(name)
        return match[0] if match else ""

    groups: dict[str, Part] = {}
    for name, value in part.values.items():
        if (before := prefix(name)) not in groups:
            groups[before] = part._replace(values={}, unreadable={})
        groups[before].values[name] = value
    for name, kind in part.unreadable.items():
        if group := groups.get(prefix(name)):
            group.unreadable[name] = kind
    return [_remove(group, before) for before, group in groups.items()] or [part]


def _remove(part: Part, prefix: str) -> Part:
    """Remove a prefix from the names that have it."""
    if not prefix:
        return part
    return Part(
        part.path,
        part.prefix + prefix,
        {name.removeprefix(prefix): value for name, value in part.values.items()},
        {name.removeprefix(prefix): kind for name, kind in part.unreadable.items()},
        part.ema or _says_ema(prefix),
    )


def beside(root: object, part: Part) -> tuple[str, ...]:
    """Describe what a checkpoint holds beside a part of it."""
    found: list[str] = []
    values = root
    for depth in range(len(part.path) + 1):
        assert isinstance(values, Mapping)
        inner = part.path[depth] if depth < len(part.path) else None
        before = "".join(f"{name}." for name in part.path[:depth])
        for key, value in values.items():
            name = key if isinstance(key, str) else _kind(key)
            if inner is None and name.startswith(part.prefix):
                if name.removeprefix(part.prefix) in part.values:
                    continue
            elif inner == key:
                continue
            kind = value.name if isinstance(value, Opaque) else _unreadable(value)
            found.append(f"{before}{name}" + (f" ({kind[:_MAX_KIND]})" if kind else ""))
        values = values.get(inner)
    return tuple(found)


def _says_ema(name: str) -> bool:
    return "ema" in re.split(r"[._]", name)


def _unreadable(value: object) -> str | None:
    if isinstance(value, Unreadable):
        return value.name
    if isinstance(value, Tensor) and not is_stored(value):
        return f"a tensor of {value.storage.dtype}"
    return None


def _kind(key: object) -> str:
    return key.name if isinstance(key, Opaque) else type(key).__name__
