"""What a ``preprocessor_config.json`` of transformers says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastconv._data_config import INTERPOLATIONS
from fastconv.models._facts import as_number, as_numbers, refuse_unknown
from fastconv.weights._common import quote

_COMMON: dict[str, Any] = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "do_center_crop": False,
    "rescale_factor": 1 / 255,
    "image_mean": 0.5,
    "image_std": 0.5,
    "crop_size": None,
    "default_to_square": True,
}

_MOBILENET = {
    "resample": 2,
    "size": {"shortest_edge": 256},
    "crop_size": 224,
    "do_center_crop": True,
    "default_to_square": False,
}

_PROCESSORS: dict[str, dict[str, Any]] = {
    "ConvNext": {
        "resample": 3,
        "size": {"shortest_edge": 384},
        "crop_pct": 224 / 256,
        "default_to_square": False,
    },
    "EfficientNet": {
        "resample": 3,
        "size": {"height": 346, "width": 346},
        "crop_size": 289,
        "rescale_offset": False,
        "include_top": True,
    },
    "MobileNetV1": _MOBILENET,
    "MobileNetV2": _MOBILENET,
    "Bit": {
        "resample": 3,
        "size": {"shortest_edge": 224},
        "crop_size": 224,
        "do_center_crop": True,
        "default_to_square": False,
        "image_mean": (0.48145466, 0.4578275, 0.40821073),
        "image_std": (0.26862954, 0.26130258, 0.27577711),
    },
    "ViT": {"resample": 2, "size": {"height": 224, "width": 224}},
}
"""transformers' image processors, with the values of keys that a file lacks."""

_OF_MODELS = {
    "resnet": "ConvNext",
    "regnet": "ConvNext",
    "convnext": "ConvNext",
    "efficientnet": "EfficientNet",
    "mobilenet_v1": "MobileNetV1",
    "mobilenet_v2": "MobileNetV2",
}
"""The processor of a file that names none, by the model_type."""

_NO_EFFECT = {
    **dict.fromkeys(
        ("image_processor_type", "feature_extractor_type", "processor_class", "_processor_class"),
        "name the class",
    ),
    **dict.fromkeys(
        ("data_format", "input_data_format", "return_tensors", "device", "disable_grouping"),
        "how transformers takes and returns arrays",
    ),
    "_valid_processor_keys": "the arguments of transformers' method",
    "do_convert_rgb": "images are always given the channels of the model",
    "do_reduce_labels": "of segmentation",
}
"""Keys without effect, and why."""


def read_image_processor(
    processor: Mapping[str, Any], model_type: str, channels: int, where: str
) -> dict[str, Any]:
    """Translate a ``preprocessor_config.json`` into a `default_cfg`.

    Raises
    ------
    ValueError
        It is of another processor, or asks for what `fastconv.preprocess` cannot do.
    """
    named = processor.get("image_processor_type") or processor.get("feature_extractor_type")
    kind = _OF_MODELS[model_type]
    if named is not None:
        kind = re.sub("(ImageProcessor(Fast|Pil)?|FeatureExtractor)$", "", str(named))
    if kind not in _PROCESSORS:
        raise ValueError(
            f"{where}: images are for transformers' {quote(str(named))}; fastconv knows the "
            f"processors of {', '.join(_PROCESSORS)}"
        )
    defaults = {**_COMMON, **_PROCESSORS[kind]}
    refuse_unknown(processor, {*defaults, *_NO_EFFECT}, where)
    settings = {**defaults, **{k: v for k, v in processor.items() if v is not None}}
    size, crop_mode, crop_pct = _geometry(kind, settings, where)
    resample = as_number("resample", settings["resample"], int)
    if not 0 <= resample < len(INTERPOLATIONS):
        raise ValueError(f"resample is {resample}; expected 0 to {len(INTERPOLATIONS) - 1}")
    mean, std = _normalisation(settings, channels)
    return {
        "input_size": (channels, *size),
        "test_input_size": None,
        "mean": mean,
        "std": std,
        "interpolation": INTERPOLATIONS[resample],
        "crop_pct": crop_pct,
        "test_crop_pct": None,
        "crop_mode": crop_mode,
        "crop_rounding": "down",
    }


def _geometry(
    kind: str, settings: Mapping[str, Any], where: str
) -> tuple[tuple[int, int], str, float]:
    """Return height and width of the result, crop_mode and crop_pct."""

    def refused(key: str, why: str) -> ValueError:
        return ValueError(f"{where}: {key} is {repr(settings[key])[:120]}: {why}")

    if not settings["do_resize"]:
        raise refused("do_resize", "fastconv.preprocess always resizes; expected true")
    resized = _sides("size", settings["size"], bool(settings["default_to_square"]))
    if resized is None:
        raise refused("size", "expected a number, shortest_edge, or height and width")
    height, width, squash = resized
    cropped = None
    if settings["do_center_crop"]:
        cropped = _sides("crop_size", settings["crop_size"], square=True)
        if cropped is None or not cropped[2]:
            raise refused("crop_size", "expected a number, or height and width")

    if kind == "ConvNext":
        if squash:
            raise refused("size", "expected shortest_edge")
        if cropped is not None and cropped[:2] != (height, width):
            raise refused("crop_size", f"expected {height}, what the images are resized to")
        # Images are not cropped from 384 pixels on, but resized without their aspect ratio.
        small = height < 384
        crop_pct = as_number("crop_pct", settings["crop_pct"], float)
        return (height, width), *(("center", crop_pct) if small else _SQUASHED)
    if cropped is None:
        if not squash:
            raise refused(
                "do_center_crop", "images of any shape would reach the network; expected true"
            )
        return (height, width), *_SQUASHED
    ratio = cropped[0] / height
    if abs(cropped[1] / ratio - width) > 1e-6:
        raise refused("crop_size", f"expected the shape of {height} x {width}, the size")
    return cropped[:2], "squash" if squash else "center", ratio


_SQUASHED = ("squash", 1.0)


def _sides(key: str, size: Any, square: bool) -> tuple[int, int, bool] | None:
    """Return height, width, and whether both are given; else the shorter side, twice."""
    if isinstance(size, list | tuple) and len(size) == 2:
        size = dict(zip(("height", "width"), size, strict=True))
    if size is None:
        return None
    if not isinstance(size, Mapping):
        side = _side(key, size)
        return side, side, square
    size = {name: _side(key, value) for name, value in size.items() if value is not None}
    if size.keys() == {"shortest_edge"}:
        return size["shortest_edge"], size["shortest_edge"], False
    return (size["height"], size["width"], True) if size.keys() == {"height", "width"} else None


def _side(key: str, value: Any) -> int:
    side: int = as_number(key, value, int)
    if side < 1:
        raise ValueError(f"{key} is {side}; expected 1 or more")
    return side


def _normalisation(
    settings: Mapping[str, Any], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of pixels in 0..1."""

    def each(key: str) -> tuple[float, ...]:
        values = settings[key]
        values = (values,) * channels if isinstance(values, int | float) else values
        return as_numbers(key, values, float, channels)

    mean, deviation = (0.0,) * channels, each("image_std")
    std = (1.0,) * channels
    if settings["do_normalize"]:
        mean, std = each("image_mean"), deviation
    if settings.get("include_top"):  # divides by the deviation once more
        std = tuple(a * b for a, b in zip(std, deviation, strict=True))
    # From pixels of 0..255 times a factor, perhaps less 1, to those of 0..1.
    factor, offset = 255.0, 0.0
    if settings["do_rescale"]:
        factor = 255 * as_number("rescale_factor", settings["rescale_factor"], float)
        offset = 1.0 if settings.get("rescale_offset") else 0.0
    return (
        tuple((value + offset) / factor for value in mean),
        tuple(value / factor for value in std),
    )
