"""MobileNetV3: a searched network of inverted residuals, with squeeze-and-excitation."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv import nn
from fastconv.models._base import ImageClassifier
from fastconv.models._mobile import conv_padding, reset_mobile_parameters
from fastconv.models._registry import register_model
from fastconv.models._scaling import as_multiplier, make_divisible
from fastconv.models.blocks import ConvNormActivation, MBConv, SqueezeExcitation
from fastconv.nn.module import Value

__all__ = ["MobileNetV3", "mobilenet_v3_large", "mobilenet_v3_small"]

PAPER = "Howard et al., Searching for MobileNetV3 (2019), arXiv:1905.02244"


class Row(NamedTuple):
    """A block of the paper's tables 1 and 2."""

    kernel_size: int
    expanded: int
    channels: int
    squeeze_excitation: bool
    activation: type[nn.Module]
    stride: int


RE, HS = nn.ReLU, nn.Hardswish

LARGE = (  # table 1
    Row(3, 16, 16, False, RE, 1),
    Row(3, 64, 24, False, RE, 2),
    Row(3, 72, 24, False, RE, 1),
    Row(5, 72, 40, True, RE, 2),
    Row(5, 120, 40, True, RE, 1),
    Row(5, 120, 40, True, RE, 1),
    Row(3, 240, 80, False, HS, 2),
    Row(3, 200, 80, False, HS, 1),
    Row(3, 184, 80, False, HS, 1),
    Row(3, 184, 80, False, HS, 1),
    Row(3, 480, 112, True, HS, 1),
    Row(3, 672, 112, True, HS, 1),
    Row(5, 672, 160, True, HS, 2),
    Row(5, 960, 160, True, HS, 1),
    Row(5, 960, 160, True, HS, 1),
)
SMALL = (  # table 2
    Row(3, 16, 16, True, RE, 2),
    Row(3, 72, 24, False, RE, 2),
    Row(3, 88, 24, False, RE, 1),
    Row(5, 96, 40, True, HS, 2),
    Row(5, 240, 40, True, HS, 1),
    Row(5, 240, 40, True, HS, 1),
    Row(5, 120, 48, True, HS, 1),
    Row(5, 144, 48, True, HS, 1),
    Row(5, 288, 96, True, HS, 2),
    Row(5, 576, 96, True, HS, 1),
    Row(5, 576, 96, True, HS, 1),
)


class MobileNetV3(ImageClassifier):
    """Stem, `MBConv` blocks, 1x1 head, global mean, two linear layers; named as in torchvision.

    The head's second 1x1 convolution comes after the pooling, where it costs a 49th. The authors'
    weights come from TensorFlow and need ``padding="same"``.

    Source: Howard et al., Searching for MobileNetV3 (2019), tables 1 and 2, figure 5.

    Parameters
    ----------
    rows : sequence of Row
        The blocks.
    last_channel : int
        Channels of the layer before the classifier.
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    width_mult : float
        Scales all numbers of channels.
    padding : {"symmetric", "same"}
        Of the stem and the depthwise convolutions.
    bn_eps : float
        Of the batch norms.

    Raises
    ------
    ValueError
        If `padding` is another one, or `width_mult` is not positive.
    """

    _classifier = "classifier.3"

    def __init__(
        self,
        rows: Sequence[Row],
        last_channel: int,
        num_classes: int = 1000,
        in_chans: int = 3,
        width_mult: float = 1.0,
        padding: str = "symmetric",
        bn_eps: float = 1e-3,
    ) -> None:
        width_mult = as_multiplier("width_mult", width_mult)
        pad = conv_padding(padding)
        norm = functools.partial(nn.BatchNorm2d, eps=bn_eps)
        layer = functools.partial(
            ConvNormActivation, norm_layer=norm, activation_layer=nn.Hardswish
        )
        squeeze_excitation = functools.partial(SqueezeExcitation, scale_activation=nn.Hardsigmoid)
        channels = make_divisible(16 * width_mult)
        features: list[nn.Module] = [layer(in_chans, channels, 3, 2, pad)]
        for row in rows:
            expanded = make_divisible(row.expanded * width_mult)
            out = make_divisible(row.channels * width_mult)
            features.append(
                MBConv(
                    channels,
                    out,
                    expanded,
                    row.kernel_size,
                    row.stride,
                    make_divisible(expanded // 4) if row.squeeze_excitation else 0,
                    padding=pad,
                    norm_layer=norm,
                    activation_layer=row.activation,
                    se_layer=squeeze_excitation,
                )
            )
            channels = out
        features.append(layer(channels, 6 * channels, 1))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.num_features = make_divisible(last_channel * width_mult)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, self.num_features),
            nn.Hardswish(),
            nn.Dropout(0.2),
            nn.Linear(self.num_features, num_classes),
        )

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        return self.features(x)

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.classifier(self.flatten(self.avgpool(x)))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw convolutions by `kaiming_normal` (fan out), linear layers with deviation 0.01."""
        reset_mobile_parameters(self, rng, functools.partial(nn.init.normal, std=0.01))


@register_model(PAPER, hub="timm/mobilenetv3_small_100.lamb_in1k")
def mobilenet_v3_small(**kwargs: Any) -> MobileNetV3:
    """MobileNetV3-Small (Howard et al. 2019): 2.5 M parameters at ``width_mult=1``."""
    return MobileNetV3(SMALL, 1024, **kwargs)


@register_model(PAPER, hub="timm/mobilenetv3_large_100.ra_in1k")
def mobilenet_v3_large(**kwargs: Any) -> MobileNetV3:
    """MobileNetV3-Large (Howard et al. 2019): 5.5 M parameters at ``width_mult=1``."""
    return MobileNetV3(LARGE, 1280, **kwargs)
