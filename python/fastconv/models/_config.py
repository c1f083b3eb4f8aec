"""What a ``config.json`` of timm or transformers says: model, variant, classes, preprocessing."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

from fastconv._data_config import CROP_MODES, INTERPOLATIONS
from fastconv.models._facts import Facts, naming
from fastconv.models._image_processor import read_image_processor
from fastconv.models._timm_config import read_timm
from fastconv.models._timm_config import timm_architecture as timm_architecture
from fastconv.models._transformers_config import read_transformers
from fastconv.weights._common import quote


def from_config(
    name: str,
    config: Mapping[str, Any],
    preprocessor: Mapping[str, Any] | None,
    where: str,
    models: Collection[str],
) -> Facts:
    """Read a ``config.json`` of timm or transformers.

    Parameters
    ----------
    name : str
        Of the model to build.
    config : mapping
        With ``architecture`` (timm) or ``model_type`` (transformers).
    preprocessor : mapping, optional
        The ``preprocessor_config.json`` of transformers.
    where : str
        The file, for messages.
    models : collection of str
        All models.

    Raises
    ------
    ValueError
        It is of another model, or of a variant that fastconv has not, or malformed; or it has a key
        that might change the result, and is not known.
    """
    with naming(where, "a config.json of timm or transformers"):
        if "architecture" in config:
            facts = read_timm(name, config, where, models)
        else:
            facts = read_transformers(name, config, where)
    beside = f"{where.removesuffix('config.json')}preprocessor_config.json"
    separate = "architecture" not in config
    if separate and preprocessor is not None:
        with naming(beside, "a preprocessor_config.json of transformers"):
            channels = facts.arguments.get("in_chans", 3)
            cfg = read_image_processor(preprocessor, config["model_type"], channels, beside)
        facts = facts._replace(default_cfg=cfg, preprocessing=beside)
    _check_ranges(facts, where)
    if separate and preprocessor is None:
        warnings.warn(
            f"{beside} is missing: mean, std, interpolation and crop in model.default_cfg are the "
            "model's own, and may not be those of the weights",
            stacklevel=4,
        )
    return facts


_RANGES = {
    "in_chans": (1, 1024),
    "width_mult": (0.01, 10),
    "bn_eps": (0, 1),
    "head_norm_eps": (0, 1),
    "input_size": (1, 4096),
    "test_input_size": (1, 4096),
    "mean": (-1000, 1000),
    "std": (1e-6, 1000),
    "crop_pct": (0.1, 2),
    "test_crop_pct": (0.1, 2),
}
"""What a configuration may say. Beyond are NaN, and networks and images that no memory holds."""


def _check_ranges(facts: Facts, where: str) -> None:
    _check_numbers(facts.arguments, where)
    source = facts.preprocessing or where
    cfg = {key: value for key, value in facts.default_cfg.items() if value is not None}
    _check_numbers(cfg, source)
    for key, choices in (("interpolation", INTERPOLATIONS), ("crop_mode", CROP_MODES)):
        if cfg.get(key, choices[0]) not in choices:
            raise _malformed(source, key, quote(cfg[key]), " or ".join(choices))
    channels = cfg.get("input_size", (facts.arguments.get("in_chans", 3),))[0]
    for key in ("mean", "std"):
        if len(cfg.get(key, range(channels))) != channels:
            raise _malformed(source, key, cfg[key], f"{channels} numbers")
    if cfg.get("test_input_size", (channels,))[0] != channels:
        raise _malformed(source, "test_input_size", cfg["test_input_size"], f"{channels} channels")


def _check_numbers(values: Mapping[str, Any], source: str) -> None:
    for key, value in values.items():
        numbers = value if isinstance(value, tuple) else (value,)
        if key in _RANGES and not all(_RANGES[key][0] <= x <= _RANGES[key][1] for x in numbers):
            raise _malformed(source, key, value, "{} to {}".format(*_RANGES[key]))


def _malformed(source: str, key: str, value: Any, expected: str) -> ValueError:
    return ValueError(f"{source}: malformed: {key} is {value}; expected {expected}")
