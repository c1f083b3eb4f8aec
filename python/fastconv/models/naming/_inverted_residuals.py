"""Networks of inverted residuals, which every library names in its own way.

A reader translates a library's keys to neutral ones: ``stem.0.weight`` (0 is the convolution, 1 its
norm), ``blocks.3.expand.0.weight`` or ``blocks.2.1.expand.0.weight`` (block, or stage and block),
``head.0.weight``, ``classifier.weight``. A writer makes a model's keys of them: where in its block
a layer stands depends on the layers that the block has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from fastconv.models.naming._format import Renamed, Rule, substitute

_Place = tuple[int, ...]
"""A block: its number, or those of its stage and of it there."""

ROLES = ("expand", "depthwise", "se", "project", "conv")
"""The parts of a block, in their order; ``conv`` is a single convolution in a block's place."""

_BLOCK = re.compile(
    r"blocks\.(\d{1,4})(?:\.(\d{1,4}))?\."
    rf"({'|'.join(ROLES)})\.(?:([01])\.|(?=fc[12]\.))(.+)",
    re.ASCII,
)


class _Layer(NamedTuple):
    """A layer of a block, and where it stands."""

    stage: int
    number: int  # in the stage
    flat: int  # in the network
    position: int  # of its part in the block
    role: str
    layer: str  # "0" for the convolution, "1" for its norm, "" for squeeze-excitation
    rest: str

    @property
    def nested(self) -> str:
        """The name within its part."""
        return f"{self.layer}.{self.rest}" if self.layer else self.rest


def _efficientnet(x: _Layer) -> str:
    return f"features.{x.stage + 1}.{x.number}.block.{x.position}.{x.nested}"


def _mobilenet_v3(x: _Layer) -> str:
    inner = "" if x.role == "conv" else f"block.{x.position}."
    return f"features.{x.flat + 1}.{inner}{x.nested}"


def _mobilenet_v2(x: _Layer) -> str:
    if x.role == "project":
        return f"features.{x.flat + 1}.conv.{x.position + int(x.layer or 0)}.{x.rest}"
    return f"features.{x.flat + 1}.conv.{x.position}.{x.nested}"


def _mnasnet(x: _Layer) -> str:
    layer = 3 * x.position + int(x.layer or 0)
    if x.stage == 0:
        return f"layers.{3 + layer}.{x.rest}"
    return f"layers.{7 + x.stage}.{x.number}.layers.{layer}.{x.rest}"


def _mobilenet_v1(x: _Layer) -> str:
    name = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}.get(x.role)
    inner = name[int(x.layer or 0)] if name else f"{x.role}.{x.layer}"
    return f"blocks.{x.stage}.{x.number}.{inner}.{x.rest}"


# For each kind of model: the layers outside the blocks, and the writer of those inside.
_WRITERS: dict[str, tuple[Mapping[str, str], Callable[[_Layer], str]]] = {
    "efficientnet": (
        {"stem": "features.0", "head": "features.{last_stage}", "classifier": "classifier.1"},
        _efficientnet,
    ),
    "mobilenet_v3": (
        {"stem": "features.0", "head.0": "classifier.0", "classifier": "classifier.3"},
        _mobilenet_v3,
    ),
    "mobilenet_v2": (
        {"stem": "features.0", "head": "features.{last_block}", "classifier": "classifier.1"},
        _mobilenet_v2,
    ),
    "mnasnet": (
        {
            "stem": "layers",
            "head.0": "layers.14",
            "head.1": "layers.15",
            "classifier": "classifier.1",
        },
        _mnasnet,
    ),
    "mobilenetv1": (
        {"stem.0": "conv_stem", "stem.1": "bn1", "classifier": "classifier"},
        _mobilenet_v1,
    ),
}


def by_neutral(
    *rules: Rule,
) -> Callable[[Collection[str], str, Collection[str]], Renamed]:
    """Return a `Format.rename` whose rules lead to neutral names."""

    def rename(keys: Collection[str], name: str, model_keys: Collection[str]) -> Renamed:
        return write({key: substitute(key, rules) for key in keys}, name, model_keys)

    return rename


def write(neutral: Mapping[str, str], name: str, model_keys: Collection[str]) -> Renamed:
    """Return the model's keys for the file's.

    Parameters
    ----------
    neutral : mapping of str to str
        The neutral names of the file's keys. What has none keeps the file's key.
    name : str
        Of the model.
    model_keys : collection of str
        The model's own keys, which say how its blocks are grouped in stages.
    """
    outside, inside = next(writer for kind, writer in _WRITERS.items() if name.startswith(kind))
    layers = {key: match for key, value in neutral.items() if (match := _BLOCK.fullmatch(value))}
    roles: dict[_Place, set[str]] = {}
    for match in layers.values():
        roles.setdefault(_place(match), set()).add(match[3])
    stages = _stages(model_keys)
    numbers = {
        "last_stage": 2 + max((stage for stage, _ in stages), default=-1),
        "last_block": 1 + len(roles),
    }
    prefixes = {f"{part}.": f"{to.format(**numbers)}." for part, to in outside.items()}
    flat = {place: number for number, place in enumerate(sorted(roles))}

    def place_in_model(place: _Place) -> _Place | None:
        """Return stage and index; a model without stages has one."""
        if len(place) == 2 or not stages:
            return (0, *place)[-2:]
        return stages[place[0]] if place[0] < len(stages) else None

    renamed = {}
    for key, value in neutral.items():
        renamed[key] = key
        if match := layers.get(key):
            place = _place(match)
            if there := place_in_model(place):
                present = [role for role in ROLES if role in roles[place]]
                position = present.index(match[3])
                layer = _Layer(
                    there[0], there[1], flat[place], position, match[3], match[4] or "", match[5]
                )
                renamed[key] = inside(layer)
        elif prefix := next((prefix for prefix in prefixes if value.startswith(prefix)), None):
            renamed[key] = prefixes[prefix] + value.removeprefix(prefix)
    return renamed


def _place(match: re.Match[str]) -> _Place:
    return tuple(int(group) for group in match.group(1, 2) if group is not None)


def _stages(model_keys: Collection[str]) -> list[_Place]:
    """Return stage and index of each block of the model, in order, where it has stages."""
    found = set()
    for key in model_keys:
        if match := re.match(r"(features|blocks)\.(\d+)\.(\d+)\.(block|conv_dw)\.", key):
            found.add((int(match[2]) - (match[1] == "features"), int(match[3])))
    return sorted(found)
