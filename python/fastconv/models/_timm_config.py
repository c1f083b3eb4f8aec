"""What a ``config.json`` of timm says.

The keys are those of ``timm.models.save_for_hf`` and of timm's ``PretrainedCfg``; what they mean
for images is ``timm.data.resolve_data_config``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from fastconv.models._facts import Facts, as_number, as_numbers, note_channels, refuse_unknown
from fastconv.models._variants import SAME, SYMMETRIC
from fastconv.weights._common import quote

# timm's architectures under torchvision's names. The digits behind the last underscore are the
# width in percent; tf_ are networks trained in TensorFlow.
_TIMM = (
    (r"(tf_)?efficientnet_(b[0-7]|lite[0-4])()", "efficientnet_{}", SYMMETRIC),
    (r"(tf_)?efficientnetv2_([sml])()", "efficientnet_v2_{}", SYMMETRIC),
    (r"(tf_)?mobilenetv3_(large|small)_100()", "mobilenet_v3_{}", SYMMETRIC),
    (r"()mobilenetv2()_(\d{3})", "mobilenet_v2", SYMMETRIC),
    (r"()mobilenetv1()_(\d{3})", "mobilenetv1_100", SYMMETRIC),
    (r"()mnasnet_(\d)(\d)0()", "mnasnet{}_{}", {"bn_eps": 1e-5}),
    (r"()inception_v3()()", "inception_v3", {"transform_input": False}),
)

_TIMM_REGNETS = {
    "regnetx_004_tv": "regnet_x_400mf",
    "regnetx_008": "regnet_x_800mf",
    "regnetx_016": "regnet_x_1_6gf",
    "regnetx_032": "regnet_x_3_2gf",
    "regnetx_080": "regnet_x_8gf",
    "regnetx_160": "regnet_x_16gf",
    "regnetx_320": "regnet_x_32gf",
    "regnety_004": "regnet_y_400mf",
    "regnety_008_tv": "regnet_y_800mf",
    "regnety_016": "regnet_y_1_6gf",
    "regnety_032": "regnet_y_3_2gf",
    "regnety_080_tv": "regnet_y_8gf",
    "regnety_160": "regnet_y_16gf",
    "regnety_320": "regnet_y_32gf",
    "regnety_1280": "regnet_y_128gf",
}

_NO_EFFECT_ARGUMENTS = {
    **dict.fromkeys(("drop_rate", "drop_path_rate", "drop_block_rate"), "of training"),
    "num_classes": "said by the configuration itself",
    "in_chans": "said by input_size",
}
"""What ``model_args`` may hold, and why it makes no difference here."""

_OF_BOTH = ("architecture", "num_classes", "label_names", "labels")
_OF_MODEL = (*_OF_BOTH, "model_args", "pretrained_cfg", "global_pool")
_OF_WEIGHTS = (
    *_OF_BOTH,
    "input_size",
    "test_input_size",
    "interpolation",
    "crop_pct",
    "test_crop_pct",
    "crop_mode",
    "mean",
    "std",
)
"""Keys that are used: beside ``pretrained_cfg`` and in it."""

_NO_EFFECT = {
    **dict.fromkeys(
        ("url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source", "custom_load"),
        "where the weights lie, and how timm reads them",
    ),
    **dict.fromkeys(
        ("tag", "license", "description", "origin_url", "paper_name", "paper_ids", "notes"),
        "about the weights, for people",
    ),
    "label_descriptions": "longer names of the classes",
    "num_features": "the shapes of the weights say it",
    "pool_size": "the size of the last feature map, which follows from input_size",
    "test_pool_size": "the same for test_input_size",
    "min_input_size": "the networks here take smaller inputs too",
    "fixed_input_size": "the networks here take inputs of any size",
    "first_conv": "the name of a layer, for timm to change",
    "classifier": "the name of a layer, for timm to change",
    **dict.fromkeys(
        ("model_type", "architectures", "transformers_version", "torch_dtype", "dtype"),
        "of transformers, which can run timm's models",
    ),
    **dict.fromkeys(
        ("id2label", "label2id", "problem_type", "do_pooling", "initializer_range"),
        "of transformers, which can run timm's models",
    ),
}
"""Keys without effect, and why. ``label_offset`` is none of them: it takes classes away."""

_DEFAULTS = {
    "input_size": (3, 224, 224),
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "crop_mode": "center",
}
"""What ``resolve_data_config`` takes where a key is absent or null."""


def timm_architecture(architecture: str) -> tuple[str, dict[str, Any]]:
    """Return fastconv's name and arguments for one of timm's architectures.

    Examples
    --------
    >>> timm_architecture("tf_mobilenetv3_large_100")
    ('mobilenet_v3_large', {'padding': 'same', 'bn_eps': 0.001})
    """
    for pattern, name, arguments in _TIMM:
        if match := re.fullmatch(pattern, architecture, re.ASCII):
            tensorflow, *parts, width = match.groups()
            found = dict(SAME if tensorflow else arguments)
            if width and width != "100":
                found["width_mult"] = int(width) / 100
            return name.format(*parts), found
    return _TIMM_REGNETS.get(architecture, architecture), {}


def read_timm(name: str, config: Mapping[str, Any], where: str, models: Collection[str]) -> Facts:
    """Read a ``config.json``; see `fastconv.models._config.from_config`."""
    architecture = config["architecture"]
    ours, arguments = timm_architecture(architecture)
    if ours != name:
        known = f", which is fastconv's {ours!r}" if ours in models else ""
        raise ValueError(
            f"{where}: the weights are of timm's {quote(architecture)}{known}; expected {name!r}"
        )
    for key, value in (config.get("model_args") or {}).items():
        if key == "bn_eps" and key in arguments:
            arguments[key] = as_number(key, value, float)
        elif key == "pad_type" and "padding" in arguments and value in ("", "same"):
            arguments["padding"] = value or "symmetric"
        elif key not in _NO_EFFECT_ARGUMENTS and (key, value) != ("global_pool", "avg"):
            raise ValueError(
                f"{where}: the network was built with {key}={repr(value)[:120]} in model_args, "
                f"which fastconv's {name!r} cannot do"
            )
    cfg = config.get("pretrained_cfg")
    if cfg is not None:
        refuse_unknown(config, {*_OF_MODEL, *_NO_EFFECT}, where)
        refuse_unknown(cfg, {*_OF_WEIGHTS, *_NO_EFFECT}, where)
    else:  # older files have no such level
        cfg = config
        refuse_unknown(config, {*_OF_MODEL, *_OF_WEIGHTS, *_NO_EFFECT}, where)
    if (pool := config.get("global_pool")) not in (None, "avg"):
        raise ValueError(
            f"{where}: the network has global_pool={repr(pool)[:120]}; fastconv's {name!r} has "
            "'avg'"
        )
    preprocessing = _preprocessing(cfg)
    note_channels(arguments, preprocessing["input_size"][0])
    both = {**cfg, **{key: value for key, value in config.items() if value is not None}}
    num_classes = both.get("num_classes")
    labels = both.get("label_names", both.get("labels"))
    return Facts(
        arguments,
        None if num_classes is None else as_number("num_classes", num_classes, int),
        preprocessing,
        tuple(map(str, labels)) if isinstance(labels, list) else None,
        where,
    )


def _preprocessing(cfg: Mapping[str, Any]) -> dict[str, Any]:
    found = {**_DEFAULTS, **{key: value for key, value in cfg.items() if value is not None}}
    test_size, test_crop = found.get("test_input_size"), found.get("test_crop_pct")
    return {
        "input_size": as_numbers("input_size", found["input_size"], int, 3),
        "test_input_size": None
        if test_size is None
        else as_numbers("test_input_size", test_size, int, 3),
        "mean": as_numbers("mean", found["mean"], float),
        "std": as_numbers("std", found["std"], float),
        "interpolation": str(found["interpolation"]),
        "crop_pct": as_number("crop_pct", found["crop_pct"], float),
        "test_crop_pct": None
        if test_crop is None
        else as_number("test_crop_pct", test_crop, float),
        "crop_mode": str(found["crop_mode"]),
    }
