"""EfficientNet-B0 to B7: one searched network, scaled; its class also makes V2 and Lite."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv import nn
from fastconv._arguments import as_bool, as_size
from fastconv.models._base import ImageClassifier
from fastconv.models._mobile import conv_padding, reset_mobile_parameters
from fastconv.models._registry import register_model
from fastconv.models._scaling import as_multiplier, make_divisible
from fastconv.models._scaling import compound_scaling as compound_scaling
from fastconv.models.blocks import ConvNormActivation, FusedMBConv, MBConv
from fastconv.models.blocks.conv import Layer
from fastconv.nn.module import Array, Value

__all__ = [
    "EfficientNet",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
]

PAPER = "Tan and Le, EfficientNet: Rethinking Model Scaling (2019), arXiv:1905.11946"


class Stage(NamedTuple):
    """Blocks of equal shape; the first of them has the stride."""

    block: type[MBConv] | type[FusedMBConv]
    expansion: int
    channels: int
    blocks: int
    kernel_size: int
    stride: int
    se_ratio: float = 0.0  # squeezed channels relative to the block's input


# Tan and Le 2019, table 1.
B0 = (
    Stage(MBConv, 1, 16, 1, 3, 1, se_ratio=0.25),
    Stage(MBConv, 6, 24, 2, 3, 2, se_ratio=0.25),
    Stage(MBConv, 6, 40, 2, 5, 2, se_ratio=0.25),
    Stage(MBConv, 6, 80, 3, 3, 2, se_ratio=0.25),
    Stage(MBConv, 6, 112, 3, 5, 1, se_ratio=0.25),
    Stage(MBConv, 6, 192, 4, 5, 2, se_ratio=0.25),
    Stage(MBConv, 6, 320, 1, 3, 1, se_ratio=0.25),
)


class Scaling(NamedTuple):
    """How a published variant differs from the first one."""

    width: float
    depth: float
    resolution: int  # of the images it was trained on
    dropout: float


# B0 to B7 in the authors' code.
SCALING = (
    Scaling(1.0, 1.0, 224, 0.2),
    Scaling(1.0, 1.1, 240, 0.2),
    Scaling(1.1, 1.2, 260, 0.3),
    Scaling(1.2, 1.4, 300, 0.3),
    Scaling(1.4, 1.8, 380, 0.4),
    Scaling(1.6, 2.2, 456, 0.4),
    Scaling(1.8, 2.6, 528, 0.5),
    Scaling(2.0, 3.1, 600, 0.5),
)


class EfficientNet(ImageClassifier):
    """Stem, stages of `MBConv` or `FusedMBConv`, 1x1 head, classifier, with torchvision's names.

    Weights that come from TensorFlow (the authors', and timm's ``tf_*``) need ``padding="same",
    bn_eps=1e-3``; `create_model` sets these where a ``config.json`` or the names of the weights say
    so.

    Source: Tan and Le, EfficientNet (2019), table 1.

    Parameters
    ----------
    stages : sequence of Stage
        The table of the paper.
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    width_mult, depth_mult : float
        `width_mult` scales the numbers of channels, rounded to multiples of 8, `depth_mult` the
        numbers of blocks, rounded up.
    scale_ends : bool
        Whether stem and head are scaled too, and the depth of the first and the last stage.
    stem : int
        Channels of the first convolution.
    dropout : float
        Its rate in training; inference ignores it.
    activation_layer : callable
        Called without arguments, makes an activation module.
    padding : {"symmetric", "same"}
        Of the stem and of the convolutions larger than 1x1 in the blocks: ``kernel_size // 2`` on
        every side, or TensorFlow's, which pads strided ones more at the bottom and right.
    bn_eps : float
        Of the batch norms.

    Raises
    ------
    ValueError
        If `padding` is neither, or a multiplier is not positive.
    """

    _classifier = "classifier.1"

    def __init__(
        self,
        stages: Sequence[Stage] = B0,
        num_classes: int = 1000,
        in_chans: int = 3,
        width_mult: float = 1.0,
        depth_mult: float = 1.0,
        scale_ends: bool = True,
        stem: int = 32,
        dropout: float = 0.2,
        activation_layer: Layer = nn.SiLU,
        padding: str = "symmetric",
        bn_eps: float = 1e-5,
    ) -> None:
        width_mult = as_multiplier("width_mult", width_mult)
        depth_mult = as_multiplier("depth_mult", depth_mult)
        pad = conv_padding(padding)
        layers: dict[str, Any] = {
            "norm_layer": functools.partial(nn.BatchNorm2d, eps=bn_eps),
            "activation_layer": activation_layer,
        }
        scale_ends = as_bool("scale_ends", scale_ends)
        ends_mult = width_mult if scale_ends else 1.0
        depths = [math.ceil(stage.blocks * depth_mult) for stage in stages]
        if not scale_ends:
            depths[0], depths[-1] = stages[0].blocks, stages[-1].blocks

        channels = make_divisible(as_size("stem", stem) * ends_mult)
        features: list[nn.Module] = [ConvNormActivation(in_chans, channels, 3, 2, pad, **layers)]
        for stage, depth in zip(stages, depths, strict=True):
            out = make_divisible(stage.channels * width_mult)
            blocks = []
            for i in range(depth):
                expanded = channels * stage.expansion
                stride = stage.stride if i == 0 else 1
                squeezed = int(channels * stage.se_ratio)
                shape = (channels, out, expanded, stage.kernel_size, stride, squeezed)
                blocks.append(stage.block(*shape, pad, **layers))
                channels = out
            features.append(nn.Sequential(*blocks))
        self.num_features = make_divisible(1280 * ends_mult)
        features.append(ConvNormActivation(channels, self.num_features, 1, **layers))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(self.num_features, num_classes)
        )

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        return self.features(x)

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.classifier(self.flatten(self.avgpool(x)))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw convolutions by `kaiming_normal` (fan out), the classifier uniformly."""

        def linear_weight(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
            return nn.init.uniform(shape, rng, 1 / math.sqrt(shape[0]))

        reset_mobile_parameters(self, rng, linear_weight)


def scaled(stages: Sequence[Stage], scaling: Scaling, kwargs: dict[str, Any]) -> EfficientNet:
    """Build a published variant; what the caller passes in `kwargs` takes precedence."""
    width_mult, depth_mult, _, dropout = scaling
    published = {"width_mult": width_mult, "depth_mult": depth_mult, "dropout": dropout}
    return EfficientNet(stages, **{**published, **kwargs})


def images(crop: int, resize: int, interpolation: str = "bicubic") -> dict[str, Any]:
    """Return a `default_cfg`: resize the shorter side, then take the square in the middle."""
    return {
        "input_size": (3, crop, crop),
        "crop_pct": crop / resize,
        "interpolation": interpolation,
    }


@register_model(PAPER, hub="timm/efficientnet_b0.ra_in1k", **images(224, 256))
def efficientnet_b0(**kwargs: Any) -> EfficientNet:
    """EfficientNet-B0 (Tan and Le 2019): 5.3 M parameters."""
    return scaled(B0, SCALING[0], kwargs)


@register_model(PAPER, hub="timm/efficientnet_b1.ft_in1k", **images(240, 256))
def efficientnet_b1(**kwargs: Any) -> EfficientNet:
    """EfficientNet-B1 (Tan and Le 2019): 7.8 M parameters."""
    return scaled(B0, SCALING[1], kwargs)


@register_model(PAPER, hub="timm/efficientnet_b2.ra_in1k", **images(288, 288))
def efficientnet_b2(**kwargs: Any) -> EfficientNet:
    """EfficientNet-B2 (Tan and Le 2019): 9.1 M parameters."""
    return scaled(B0, SCALING[2], kwargs)


@register_model(PAPER, hub="timm/efficientnet_b3.ra2_in1k", **images(300, 320))
def efficientnet_b3(**kwargs: Any) -> EfficientNet:
    """EfficientNet-B3 (Tan and Le 2019): 12.2 M parameters."""
    return scaled(B0, SCALING[3], kwargs)


@register_model(PAPER, hub="timm/efficientnet_b4.ra2_in1k", **images(380, 384))
def efficientnet_b4(**kwargs: Any) -> EfficientNet:
    """EfficientNet-B4 (Tan and Le 2019): 19.3 M parameters."""
    return scaled(B0, SCALING[4], kwargs)


@register_model(PAPER, hub="timm/efficientnet_b5.sw_in12k_ft_in1k", **images(456, 456))
def efficientnet_b5(**kwargs: Any) -> EfficientNet:
    """EfficientNet-B5 (Tan and Le 2019): 30.4 M parameters."""
    return scaled(B0, SCALING[5], {"bn_eps": 1e-3, **kwargs})


@register_model(PAPER, hub="timm/tf_efficientnet_b6.aa_in1k", **images(528, 528))
def efficientnet_b6(**kwargs: Any) -> EfficientNet:
    """EfficientNet-B6 (Tan and Le 2019): 43.0 M parameters."""
    return scaled(B0, SCALING[6], {"bn_eps": 1e-3, **kwargs})


@register_model(PAPER, hub="timm/tf_efficientnet_b7.aa_in1k", **images(600, 600))
def efficientnet_b7(**kwargs: Any) -> EfficientNet:
    """EfficientNet-B7 (Tan and Le 2019): 66.3 M parameters."""
    return scaled(B0, SCALING[7], {"bn_eps": 1e-3, **kwargs})
