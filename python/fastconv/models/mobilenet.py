"""MobileNetV2: inverted residuals for small machines."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import nn
from fastconv.models._base import ImageClassifier
from fastconv.models._registry import register_model
from fastconv.models._scaling import make_divisible
from fastconv.nn.module import Value

__all__ = ["MobileNetV2", "mobilenet_v2"]

V2 = "Sandler et al., MobileNetV2: Inverted Residuals (2018), arXiv:1801.04381"

# Sandler et al. 2018, table 2: expansion, channels, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(ImageClassifier):
    """Stem, inverted residuals, 1x1 head, global mean, classifier; named as in torchvision.

    Source: Sandler et al., MobileNetV2 (2018), table 2.

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    width_mult : float
        Scales all numbers of channels; the head's only upwards.
    """

    _classifier = "classifier.1"

    def __init__(self, num_classes: int = 1000, in_chans: int = 3, width_mult: float = 1.0) -> None:
        channels = make_divisible(32 * width_mult)
        features: list[nn.Module] = [
            nn.ConvNormActivation(in_chans, channels, stride=2, activation_layer=nn.ReLU6)
        ]
        for expand_ratio, base, blocks, first_stride in STAGES:
            out = make_divisible(base * width_mult)
            for i in range(blocks):
                stride = first_stride if i == 0 else 1
                features.append(nn.InvertedResidual(channels, out, stride, expand_ratio))
                channels = out
        self.num_features = make_divisible(1280 * max(1.0, width_mult))
        features.append(
            nn.ConvNormActivation(channels, self.num_features, 1, activation_layer=nn.ReLU6)
        )
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
        rng = np.random.default_rng(rng)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight = nn.init.kaiming_normal(layer.weight.shape, rng)
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters(rng)
            elif isinstance(layer, nn.Linear):
                layer.weight = nn.init.normal(layer.weight.shape, rng, 0.01)
                layer.bias = nn.init.constant((layer.out_features,), 0)


@register_model(V2)
def mobilenet_v2(**kwargs: Any) -> MobileNetV2:
    """MobileNetV2 (Sandler et al. 2018): 3.5 M parameters at ``width_mult=1``."""
    return MobileNetV2(**kwargs)
