"""Which variant of a model a checkpoint is of, where its ``config.json`` does not say.

One set of shapes serves several networks: TensorFlow pads strided convolutions on other sides than
torch, batch norms have another eps, images are normalised otherwise. Such weights load into either
variant and give plausible, wrong results in the other one; so the variant is never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

SAME: dict[str, Any] = {"padding": "same", "bn_eps": 1e-3}
"""Networks trained in TensorFlow."""
SYMMETRIC: dict[str, Any] = {"padding": "symmetric", "bn_eps": 1e-5}
"""Networks trained in timm."""


class Variant(NamedTuple):
    """One of several networks with the same names and shapes."""

    whose: str
    arguments: dict[str, Any]


# Naming, pattern of models, and the variants that have these names.
_VARIANTS: tuple[tuple[str, str, tuple[Variant, ...]], ...] = (
    ("lukemelas", "", (Variant("EfficientNet-PyTorch", SAME),)),
    (
        "timm",
        r"efficientnet_|mobilenet_v3_",
        (
            Variant("timm's tf_* models, trained in TensorFlow", SAME),
            Variant("timm's own models", SYMMETRIC),
        ),
    ),
    ("timm", r"mobilenet_v2|mobilenetv1_", (Variant("timm's models", SYMMETRIC),)),
    ("timm", r"mnasnet", (Variant("timm's models", {"bn_eps": 1e-5}),)),
    ("transformers", r"efficientnet_", (Variant("transformers' models", SAME),)),
    (
        "transformers",
        r"mobilenet",
        (
            Variant("a config.json with tf_padding true, as Google's weights", SAME),
            Variant(
                "a config.json with tf_padding false", {"padding": "symmetric", "bn_eps": 1e-3}
            ),
        ),
    ),
    (
        "transformers",
        r"resnet(50|101|152)",
        (
            Variant("a config.json with downsample_in_bottleneck false", {"stride_in_1x1": False}),
            Variant("a config.json with downsample_in_bottleneck true", {"stride_in_1x1": True}),
        ),
    ),
    ("transformers", r"convnext_", (Variant("transformers' models", {"head_norm_eps": 1e-12}),)),
    (
        "torchvision",
        r"googlenet|inception_v3",
        (
            Variant(
                "torchvision's published weights, with ImageNet's mean and std",
                {"transform_input": True},
            ),
            Variant("weights trained on images as they are given", {"transform_input": False}),
        ),
    ),
)


def decide(
    name: str, naming: str, known: Mapping[str, Any], explicit: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments that select the variant which a checkpoint's names stand for.

    Parameters
    ----------
    name : str
        Of the model.
    naming : str
        As `fastconv.models.recognise` returns it.
    known, explicit : mapping
        Arguments that the configuration decided, and the caller, who comes first.

    Raises
    ------
    ValueError
        Several variants have these names; the message lists them.
    """
    decided = {**known, **explicit}
    variants = next((v for n, p, v in _VARIANTS if n == naming and re.match(p, name)), ())
    open_arguments = {key for variant in variants for key in variant.arguments} - decided.keys()
    if not open_arguments:
        return dict(known)
    fitting = [
        variant
        for variant in variants
        if all(decided.get(key, value) == value for key, value in variant.arguments.items())
    ]
    if len(fitting) != 1:
        choices = "\n".join(
            f"  {', '.join(f'{key}={value!r}' for key, value in variant.arguments.items())}"
            f"    for {variant.whose}"
            for variant in variants
        )
        raise ValueError(
            f"the weights fit several variants of {name!r}, and no config.json beside them says "
            f"which: put it there, or pass one of\n{choices}"
        )
    return {**fitting[0].arguments, **known}
