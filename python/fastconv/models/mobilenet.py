"""MobileNetV1 and V2: depthwise-separable convolutions, then inverted residuals."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.models._base import ImageClassifier
from fastconv.models._mobile import conv_padding, reset_mobile_parameters
from fastconv.models._registry import register_model
from fastconv.models._scaling import as_multiplier, make_divisible
from fastconv.models.blocks import ConvNormActivation, DepthwiseSeparable, InvertedResidual
from fastconv.nn.module import Value

__all__ = ["MobileNetV1", "MobileNetV2", "mobilenet_v2", "mobilenetv1_100"]

V1 = "Howard et al., MobileNets: Efficient CNNs for Mobile Vision (2017), arXiv:1704.04861"
V2 = "Sandler et al., MobileNetV2: Inverted Residuals (2018), arXiv:1801.04381"

# Howard et al. 2017, table 1: channels, blocks, stride of the first block.
V1_STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))

# Sandler et al. 2018, table 2: expansion, channels, blocks, stride of the first block.
V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV1(ImageClassifier):
    """Stem, thirteen depthwise-separable blocks, global mean, classifier; named as in timm.

    The authors' weights come from TensorFlow and need ``padding="same", bn_eps=1e-3``; the defaults
    are those of timm's weights.

    Source: Howard et al., MobileNets (2017), table 1.

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    width_mult : float
        Scales all numbers of channels.
    padding : {"symmetric", "same"}
        Of the 3x3 convolutions.
    bn_eps : float
        Of the batch norms.

    Raises
    ------
    ValueError
        If `padding` is another one, or `width_mult` is not positive.
    """

    _classifier = "classifier"

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        width_mult: float = 1.0,
        padding: str = "symmetric",
        bn_eps: float = 1e-5,
    ) -> None:
        width_mult = as_multiplier("width_mult", width_mult)
        pad = conv_padding(padding)
        norm = functools.partial(nn.BatchNorm2d, eps=bn_eps)
        channels = make_divisible(32 * width_mult)
        self.conv_stem = nn.Conv2d(in_chans, channels, 3, 2, pad or 1, bias=False)
        self.bn1 = norm(channels)
        self.act = nn.ReLU6()
        stages = []
        for base, blocks, first_stride in V1_STAGES:
            out = make_divisible(base * width_mult)
            stage = []
            for i in range(blocks):
                stride = first_stride if i == 0 else 1
                stage.append(DepthwiseSeparable(channels, out, stride, pad, norm))
                channels = out
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.num_features = channels
        self.classifier = nn.Linear(channels, num_classes)

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        return self.blocks(self.act(self.bn1(self.conv_stem(x))))

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.classifier(self.flatten(self.avgpool(x)))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw as timm does: normal by fan out per group, the classifier uniform."""
        rng = np.random.default_rng(rng)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                fan = nn.init.fan_out(layer.weight.shape) // layer.groups
                layer.weight = nn.init.normal(layer.weight.shape, rng, math.sqrt(2 / fan))
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters(rng)
            elif isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.out_features)
                layer.weight = nn.init.uniform(layer.weight.shape, rng, bound)
                layer.bias = nn.init.constant((layer.out_features,), 0)


class MobileNetV2(ImageClassifier):
    """Stem, inverted residuals, 1x1 head, global mean, classifier; named as in torchvision.

    The authors' weights come from TensorFlow and need ``padding="same", bn_eps=1e-3``.

    Source: Sandler et al., MobileNetV2 (2018), table 2.

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    width_mult : float
        Scales all numbers of channels; the head's only upwards.
    padding : {"symmetric", "same"}
        Of the 3x3 convolutions.
    bn_eps : float
        Of the batch norms.

    Raises
    ------
    ValueError
        If `padding` is another one, or `width_mult` is not positive.
    """

    _classifier = "classifier.1"

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        width_mult: float = 1.0,
        padding: str = "symmetric",
        bn_eps: float = 1e-5,
    ) -> None:
        width_mult = as_multiplier("width_mult", width_mult)
        pad = conv_padding(padding)
        norm = functools.partial(nn.BatchNorm2d, eps=bn_eps)
        layer = functools.partial(ConvNormActivation, norm_layer=norm, activation_layer=nn.ReLU6)
        channels = make_divisible(32 * width_mult)
        features: list[nn.Module] = [layer(in_chans, channels, 3, 2, pad)]
        for expand_ratio, base, blocks, first_stride in V2_STAGES:
            out = make_divisible(base * width_mult)
            for i in range(blocks):
                stride = first_stride if i == 0 else 1
                features.append(InvertedResidual(channels, out, stride, expand_ratio, pad, norm))
                channels = out
        self.num_features = make_divisible(1280 * max(1.0, width_mult))
        features.append(layer(channels, self.num_features, 1))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(self.num_features, num_classes))

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        return self.features(x)

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.classifier(self.flatten(self.avgpool(x)))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw convolutions by `kaiming_normal` (fan out), the classifier with deviation 0.01."""
        reset_mobile_parameters(self, rng, functools.partial(nn.init.normal, std=0.01))


@register_model(
    V1,
    hub="timm/mobilenetv1_100.ra4_e3600_r224_in1k",
    mean=(0.5,) * 3,
    std=(0.5,) * 3,
    interpolation="bicubic",
    test_input_size=(3, 256, 256),
    test_crop_pct=0.95,
)
def mobilenetv1_100(**kwargs: Any) -> MobileNetV1:
    """MobileNetV1 (Howard et al. 2017): 4.2 M parameters at ``width_mult=1``."""
    return MobileNetV1(**kwargs)


@register_model(V2, hub="timm/mobilenetv2_100.ra_in1k")
def mobilenet_v2(**kwargs: Any) -> MobileNetV2:
    """MobileNetV2 (Sandler et al. 2018): 3.5 M parameters at ``width_mult=1``."""
    return MobileNetV2(**kwargs)
