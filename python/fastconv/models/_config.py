"""What a ``config.json`` of timm or transformers says: model, variant, classes, preprocessing."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fastconv.models._variants import SAME, SYMMETRIC
from fastconv.weights._common import quote


class Facts(NamedTuple):
    """What a ``config.json`` says."""

    arguments: dict[str, Any]
    """Of the model's class."""
    num_classes: int | None = None
    default_cfg: Mapping[str, Any] = MappingProxyType({})
    """Preprocessing: what differs from the model's."""
    labels: tuple[str, ...] | None = None
    """Names of the classes."""


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
        It is of another model, or of a variant that fastconv has not, or malformed.
    """
    try:
        if "architecture" in config:
            facts = _timm(name, config, where, models)
        else:
            facts = _transformers(name, config, preprocessor, where)
        _check_ranges(facts)
    except (TypeError, LookupError, AttributeError, ArithmeticError, ValueError) as error:
        if str(error).startswith(where):
            raise
        raise ValueError(
            f"{where}: malformed: expected a config.json of timm or transformers "
            f"({quote(str(error))})"
        ) from error
    return facts


_RANGES = {
    "in_chans": (1, 1024),
    "width_mult": (0.01, 10),
    "bn_eps": (0, 1),
    "head_norm_eps": (0, 1),
    "input_size": (1, 4096),
    "mean": (-1000, 1000),
    "std": (1e-6, 1000),
    "crop_pct": (0.1, 2),
}
"""What a configuration may say. Beyond are NaN, and networks and images that no memory holds."""


def _check_ranges(facts: Facts) -> None:
    for key, value in {**facts.arguments, **facts.default_cfg}.items():
        numbers = value if isinstance(value, tuple) else (value,)
        if key in _RANGES and not all(_RANGES[key][0] <= x <= _RANGES[key][1] for x in numbers):
            low, high = _RANGES[key]
            raise ValueError(f"{key} is {value}; expected {low} to {high}")
    channels = facts.default_cfg.get("input_size", (facts.arguments.get("in_chans", 3),))[0]
    for key in ("mean", "std"):
        if len(facts.default_cfg.get(key, range(channels))) != channels:
            raise ValueError(f"{key} is {facts.default_cfg[key]}; expected {channels} numbers")


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

_TIMM_TRAINING = ("drop_rate", "drop_path_rate", "drop_block_rate", "num_classes", "in_chans")
"""What timm's ``model_args`` may hold that makes no difference here, or is said elsewhere."""


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


def _timm(name: str, config: Mapping[str, Any], where: str, models: Collection[str]) -> Facts:
    architecture = config["architecture"]
    ours, arguments = timm_architecture(architecture)
    if ours != name:
        known = f", which is fastconv's {ours!r}" if ours in models else ""
        raise ValueError(
            f"{where}: the weights are of timm's {quote(architecture)}{known}; expected {name!r}"
        )
    for key, value in (config.get("model_args") or {}).items():
        if key == "bn_eps" and key in arguments:
            arguments[key] = float(value)
        elif key == "pad_type" and "padding" in arguments and value in ("", "same"):
            arguments["padding"] = value or "symmetric"
        elif key not in _TIMM_TRAINING and (key, value) != ("global_pool", "avg"):
            raise ValueError(
                f"{where}: the network was built with {key}={repr(value)[:120]} in model_args, "
                f"which fastconv's {name!r} cannot do"
            )
    cfg = config.get("pretrained_cfg", config)  # older files have no such level
    preprocessing: dict[str, Any] = {}
    if "input_size" in cfg:
        preprocessing["input_size"] = _numbers(cfg["input_size"], int, 3)
        _note_channels(arguments, preprocessing["input_size"][0])
    for key in ("mean", "std"):
        if key in cfg:
            preprocessing[key] = _numbers(cfg[key], float)
    if "crop_pct" in cfg:
        preprocessing["crop_pct"] = float(cfg["crop_pct"])
    if "interpolation" in cfg:
        preprocessing["interpolation"] = str(cfg["interpolation"])
    num_classes = config.get("num_classes", cfg.get("num_classes"))
    labels = config.get("label_names", cfg.get("label_names"))
    return Facts(
        arguments,
        None if num_classes is None else int(num_classes),
        preprocessing,
        tuple(map(str, labels)) if isinstance(labels, list) else None,
    )


class _ModelType(NamedTuple):
    """A model of transformers."""

    models: str
    """Pattern of fastconv's models."""
    arguments: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Takes the configuration, with its defaults, and returns the arguments of the model."""
    defaults: dict[str, Any]
    """Those that `arguments` needs, where the configuration does not say."""
    fixed: dict[str, tuple[Any, ...]]
    """What other values would make a network that fastconv has not."""


def _resnet_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    if config["layer_type"] != "bottleneck":
        return {}
    return {"stride_in_1x1": bool(config["downsample_in_bottleneck"])}


def _mobilenet_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "padding": "same" if config["tf_padding"] else "symmetric",
        "bn_eps": float(config["layer_norm_eps"]),
    }
    if config["depth_multiplier"] != 1:  # which is about channels, in spite of its name
        arguments["width_mult"] = float(config["depth_multiplier"])
    return arguments


_MOBILENET_DEFAULTS = {"tf_padding": True, "layer_norm_eps": 1e-3, "depth_multiplier": 1.0}

_MODEL_TYPES = {
    "resnet": _ModelType(
        r"resnet\d",
        _resnet_arguments,
        {"layer_type": "bottleneck", "downsample_in_bottleneck": False},
        {"hidden_act": ("relu",), "downsample_in_first_stage": (False,)},
    ),
    "regnet": _ModelType(
        r"regnet_",
        lambda config: {},
        {},
        {"hidden_act": ("relu",), "downsample_in_first_stage": (True,)},
    ),
    "convnext": _ModelType(
        r"convnext_",
        lambda config: {"head_norm_eps": float(config["layer_norm_eps"])},
        {"layer_norm_eps": 1e-12},
        {"hidden_act": ("gelu",), "patch_size": (4,)},
    ),
    "efficientnet": _ModelType(
        r"efficientnet_b",
        lambda config: {"padding": "same", "bn_eps": float(config["batch_norm_eps"])},
        {"batch_norm_eps": 1e-3},
        {"hidden_act": ("swish", "silu"), "pooling_type": ("mean",)},
    ),
    "mobilenet_v1": _ModelType(
        r"mobilenetv1_",
        _mobilenet_arguments,
        _MOBILENET_DEFAULTS,
        {"hidden_act": ("relu6",), "min_depth": (8,)},
    ),
    "mobilenet_v2": _ModelType(
        r"mobilenet_v2",
        _mobilenet_arguments,
        _MOBILENET_DEFAULTS,
        {
            "hidden_act": ("relu6",),
            "output_stride": (32,),
            "expand_ratio": (6,),
            "depth_divisible_by": (8,),
            "min_depth": (8,),
            "first_layer_is_expansion": (True,),
        },
    ),
}

_RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's filters, by number."""


def _transformers(
    name: str, config: Mapping[str, Any], preprocessor: Mapping[str, Any] | None, where: str
) -> Facts:
    kind = _MODEL_TYPES.get(config["model_type"])
    if kind is None or not re.match(kind.models, name):
        raise ValueError(
            f"{where}: the weights are of transformers' model_type {config['model_type']!r}; "
            f"expected those of {name!r}"
        )
    for key, values in kind.fixed.items():
        if config.get(key, values[0]) not in values:
            raise ValueError(
                f"{where}: the network has {key}={config[key]!r}; fastconv's {name!r} has "
                f"{' or '.join(map(repr, values))}"
            )
    arguments = kind.arguments({**kind.defaults, **config})
    channels = int(config.get("num_channels", 3))
    _note_channels(arguments, channels)
    preprocessing: dict[str, Any] = {}
    if isinstance(size := config.get("image_size"), int):
        preprocessing["input_size"] = (channels, size, size)
    if preprocessor is not None:
        preprocessing.update(_image_processor(preprocessor, channels))
    labels = None
    if id2label := config.get("id2label"):
        labels = tuple(str(id2label[str(index)]) for index in range(len(id2label)))
    number = config.get("num_labels") if labels is None else len(labels)
    if labels and labels[0] == "LABEL_0":  # named by transformers, not by people
        labels = None
    return Facts(arguments, None if number is None else int(number), preprocessing, labels)


def _image_processor(processor: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """Translate transformers' ``preprocessor_config.json``; keys that it lacks are left out."""
    cfg: dict[str, Any] = {}
    convnext = "crop_pct" in processor or "ConvNext" in str(processor.get("image_processor_type"))
    resized = _side(processor.get("size"))
    cropped = _side(processor.get("crop_size")) if processor.get("do_center_crop") else None
    if convnext and resized is not None:
        # Pictures of 384 pixels and more are not cropped.
        cfg["input_size"] = (channels, resized, resized)
        cfg["crop_pct"] = float(processor.get("crop_pct") or 224 / 256) if resized < 384 else 1.0
    elif resized is not None:
        side = cropped or resized
        cfg["input_size"] = (channels, side, side)
        cfg["crop_pct"] = side / resized
    if "resample" in processor:
        cfg["interpolation"] = _RESAMPLING[int(processor["resample"])]
    if "image_mean" in processor and "image_std" in processor:
        mean = _numbers(processor["image_mean"], float, channels)
        std = _numbers(processor["image_std"], float, channels)
        if processor.get("do_normalize") is False:
            mean, std = (0.0,) * channels, (1.0,) * channels
        if processor.get("include_top"):  # divides by the deviation twice
            std = tuple(value**2 for value in std)
        # From pixels of 0..255 times a factor, perhaps less 1, to those of 0..1.
        factor = 255 * float(processor.get("rescale_factor", 1 / 255))
        offset = 1.0 if processor.get("rescale_offset") else 0.0
        cfg["mean"] = tuple((value + offset) / factor for value in mean)
        cfg["std"] = tuple(value / factor for value in std)
    return cfg


def _side(size: Any) -> int | None:
    """Return the side of a square, or the shorter side of a picture, as transformers gives it."""
    if isinstance(size, Mapping):
        size = size.get("shortest_edge", size.get("height"))
    return None if size is None else int(size)


def _numbers(values: Any, kind: type, length: int | None = None) -> tuple[Any, ...]:
    numbers = tuple(kind(value) for value in values)
    if length not in (None, len(numbers)):
        raise TypeError(f"expected {length} numbers, got {len(numbers)}")
    return numbers


def _note_channels(arguments: dict[str, Any], channels: int) -> None:
    if channels != 3:
        arguments["in_chans"] = channels
