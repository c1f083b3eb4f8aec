"""How a model wants its images: `default_cfg`, with what the caller replaces, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastconv._arguments import as_int, is_number, numpy_array

INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's filters, in the order of their numbers."""

CROP_MODES = ("center", "squash", "border")
"""timm's ways to give an image another aspect ratio."""

_ROUNDINGS = ("even", "down")

_MAX_SIDE = 2**15
"""Most rows and columns of an input."""


class HasCfg(Protocol):
    """A model."""

    @property
    def default_cfg(self) -> Mapping[str, Any]:
        """Preprocessing that the weights expect, with timm's keys."""
        ...


class DataConfig(NamedTuple):
    """What `fastconv.preprocess` does."""

    input_size: tuple[int, int, int]
    interpolation: str
    crop_pct: float
    crop_mode: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_rounding: str = "even"


def data_config(model: HasCfg, **replaced: Any) -> DataConfig:
    """Return what `fastconv.preprocess` does for a model, as timm's ``resolve_data_config``.

    Parameters
    ----------
    model : Module
        Or anything with a mapping `default_cfg`.
    **replaced
        Fields of the result; `None` stands for the model's.

    Raises
    ------
    ValueError
        A value makes no sense, or a key of `default_cfg` is missing.
    TypeError
        The model has no `default_cfg`.

    Examples
    --------
    >>> import fastconv
    >>> from fastconv._data_config import data_config
    >>> cfg = data_config(fastconv.create_model("lenet5"), crop_pct=0.5)
    >>> cfg.input_size, cfg.crop_pct, cfg.crop_mode
    ((1, 32, 32), 0.5, 'center')
    """
    cfg = getattr(model, "default_cfg", None)
    if not isinstance(cfg, Mapping):
        raise TypeError(
            f"model must have a mapping default_cfg, got {type(model).__name__}: pass the model "
            "itself, as fastconv.create_model returns it"
        )
    cfg = {"crop_mode": "center", "crop_rounding": "even", **cfg}
    found, missing = {}, []
    for key in DataConfig._fields:
        source = f"test_{key}" if cfg.get(f"test_{key}") is not None else key
        if replaced.get(key) is not None:
            found[key] = key, replaced[key]
        elif source in cfg:
            found[key] = f"model.default_cfg[{source!r}]", cfg[source]
        else:
            missing.append(key)
    if missing:
        raise ValueError(f"model.default_cfg has no {', '.join(missing)}")

    name, size = found["input_size"]
    if name == "input_size" and is_number(size):
        own = cfg.get("input_size")
        size = (own[0] if isinstance(own, list | tuple) and own else 3, size, size)
    channels, *sides = input_size = _input_size(name, size)
    return DataConfig(
        input_size,
        _choice(*found["interpolation"], INTERPOLATIONS),
        _crop_pct(*found["crop_pct"], min(sides)),
        _choice(*found["crop_mode"], CROP_MODES),
        _per_channel(*found["mean"], channels),
        _per_channel(*found["std"], channels, divides=True),
        _choice(*found["crop_rounding"], _ROUNDINGS),
    )


def _input_size(name: str, value: Any) -> tuple[int, int, int]:
    try:
        channels, height, width = (as_int(name, size) for size in value)
        fits = 1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"{name} must be (channels, height, width), the last two from 1 to {_MAX_SIDE}, "
            f"got {value!r}"
        )
    if channels not in (1, 3):
        raise ValueError(
            f"preprocess makes RGB and grey images, but {name} is {value}; expected "
            "(3, height, width) or (1, height, width)"
        )
    return channels, height, width


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
    return value


def _crop_pct(name: str, value: Any, side: int) -> float:
    if not is_number(value) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number, got {value!r}")
    if value > side:
        raise ValueError(f"{name} is {value}: of {side} pixels divided by that none is left")
    return float(value)


def _per_channel(name: str, value: Any, channels: int, divides: bool = False) -> tuple[float, ...]:
    try:
        values = tuple(float(number) for number in np.atleast_1d(numpy_array(name, value)))
    except (TypeError, ValueError):
        values = (math.nan,)
    if not all(map(math.isfinite, values)) or (divides and 0 in values):
        raise ValueError(f"{name} must be finite numbers{', not 0' * divides}, got {value!r}")
    if len(values) not in (1, channels):
        raise ValueError(
            f"{name} has {len(values)} values for {channels} channels; expected {channels}, or "
            "one for all"
        )
    return values * (channels // len(values))
