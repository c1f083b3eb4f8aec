"""SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.models._base import ImageClassifier
from fastconv.models._registry import register_model
from fastconv.models.blocks import Fire
from fastconv.nn.module import Value

__all__ = ["SqueezeNet", "squeezenet1_0", "squeezenet1_1"]

PAPER = "Iandola et al., SqueezeNet (2016), arXiv:1602.07360"

# Iandola et al. 2016, table 1: channels and kernel size of the first convolution; then between the
# maximum pools the fire modules, each with the channels of its squeeze and of either expansion.
Stage = tuple[tuple[int, int], ...]
V1_0: tuple[tuple[int, int], tuple[Stage, ...]] = (
    (96, 7),
    (
        ((16, 64), (16, 64), (32, 128)),
        ((32, 128), (48, 192), (48, 192), (64, 256)),
        ((64, 256),),
    ),
)
# The authors' repository, SqueezeNet_v1.1: a smaller first convolution, and earlier pools.
V1_1: tuple[tuple[int, int], tuple[Stage, ...]] = (
    (64, 3),
    (
        ((16, 64), (16, 64)),
        ((32, 128), (32, 128)),
        ((48, 192), (48, 192), (64, 256), (64, 256)),
    ),
)


class SqueezeNet(ImageClassifier):
    """A convolution, eight fire modules, a 1x1 convolution as classifier; named as in torchvision.

    AlexNet's linear layers hold 58 of its 61 M parameters: here there are none, a 1x1 convolution
    classifies every position, and the mean over positions is the result.

    Source: Iandola et al., SqueezeNet (2016), figure 2 left and table 1.

    Parameters
    ----------
    stem : (int, int)
        Channels and kernel size of the first convolution.
    stages : tuple of tuples
        Squeeze and expand channels of the fire modules after each maximum pool.
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    """

    _classifier = "classifier.1"

    def __init__(
        self,
        stem: tuple[int, int],
        stages: tuple[Stage, ...],
        num_classes: int = 1000,
        in_chans: int = 3,
    ) -> None:
        channels, kernel_size = stem
        features: list[nn.Module] = [
            nn.Conv2d(in_chans, channels, kernel_size, stride=2),
            nn.ReLU(),
        ]
        for stage in stages:
            features.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            for squeeze, expand in stage:
                features.append(Fire(channels, squeeze, expand, expand))
                channels = 2 * expand
        self.features = nn.Sequential(*features)
        self.num_features = channels
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            self._make_classifier(self.num_features, num_classes),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.flatten = nn.Flatten()

    def _make_classifier(self, in_features: int, num_classes: int) -> nn.Module:
        return nn.Conv2d(in_features, num_classes, 1)

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at about 1/16 of the image's size."""
        return self.features(x)

    def forward_head(self, x: Value) -> Value:
        """Classify every position, and take the mean."""
        return self.flatten(self.classifier(x))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw as He et al. (2015), uniform by fan in; the classifier with deviation 0.01."""
        rng = np.random.default_rng(rng)
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d):
                shape = layer.weight.shape
                layer.weight = (
                    nn.init.normal(shape, rng, 0.01)
                    if name == self._classifier
                    else nn.init.uniform(shape, rng, math.sqrt(6 / nn.init.fan_in(shape)))
                )
                layer.bias = nn.init.constant((layer.out_channels,), 0)


@register_model(PAPER)
def squeezenet1_0(**kwargs: Any) -> SqueezeNet:
    """SqueezeNet 1.0 (Iandola et al. 2016): 1.2 M parameters."""
    return SqueezeNet(*V1_0, **kwargs)


@register_model(PAPER)
def squeezenet1_1(**kwargs: Any) -> SqueezeNet:
    """SqueezeNet 1.1: 1.2 M parameters, and less than half the work of 1.0."""
    return SqueezeNet(*V1_1, **kwargs)
