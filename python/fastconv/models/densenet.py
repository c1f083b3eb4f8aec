"""DenseNet: features are appended, never overwritten."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import nn
from fastconv._arguments import as_size
from fastconv.models._base import ImageClassifier
from fastconv.models._registry import register_model
from fastconv.models.blocks import DenseBlock, Transition
from fastconv.nn.module import Value

__all__ = ["DenseNet", "densenet121", "densenet161", "densenet169", "densenet201"]

PAPER = "Huang et al., Densely Connected Convolutional Networks (2016), arXiv:1608.06993"


class DenseNet(ImageClassifier):
    """Stem, four dense blocks with transitions between them, classifier; named as in torchvision.

    Source: Huang et al., Densely Connected Convolutional Networks (2016), table 1.

    Parameters
    ----------
    layers : tuple of int
        Layers in each dense block.
    growth_rate : int
        Channels that each layer appends.
    num_init_features : int
        Channels of the stem.
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    """

    _classifier = "classifier"

    def __init__(
        self,
        layers: tuple[int, int, int, int],
        growth_rate: int = 32,
        num_init_features: int = 64,
        num_classes: int = 1000,
        in_chans: int = 3,
    ) -> None:
        growth_rate = as_size("growth_rate", growth_rate)
        channels = num_init_features
        features: dict[str, nn.Module] = {
            "conv0": nn.Conv2d(in_chans, channels, 7, stride=2, padding=3, bias=False),
            "norm0": nn.BatchNorm2d(channels),
            "relu0": nn.ReLU(),
            "pool0": nn.MaxPool2d(3, stride=2, padding=1),
        }
        for i, num_layers in enumerate(layers, start=1):
            features[f"denseblock{i}"] = DenseBlock(num_layers, channels, growth_rate)
            channels += num_layers * growth_rate
            if i < len(layers):
                features[f"transition{i}"] = Transition(channels, channels // 2)
                channels //= 2
        features["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(features)
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.num_features = channels
        self.classifier = nn.Linear(channels, num_classes)

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        return self.relu(self.features(x))

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.classifier(self.flatten(self.avgpool(x)))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw convolutions by `kaiming_normal` (fan in), the classifier as `Linear`, bias 0."""
        rng = np.random.default_rng(rng)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight = nn.init.kaiming_normal(layer.weight.shape, rng, "fan_in")
            elif isinstance(layer, nn.BatchNorm2d | nn.Linear):
                layer.reset_parameters(rng)
                layer.bias = nn.init.constant(layer.bias.shape, 0)  # type: ignore[union-attr]


@register_model(PAPER, hub="timm/densenet121.tv_in1k")
def densenet121(**kwargs: Any) -> DenseNet:
    """DenseNet-121 (Huang et al. 2016): 8.0 M parameters."""
    return DenseNet((6, 12, 24, 16), **kwargs)


@register_model(PAPER, hub="timm/densenet161.tv_in1k")
def densenet161(**kwargs: Any) -> DenseNet:
    """DenseNet-161, with growth rate 48 (Huang et al. 2016): 28.7 M parameters."""
    return DenseNet((6, 12, 36, 24), growth_rate=48, num_init_features=96, **kwargs)


@register_model(PAPER, hub="timm/densenet169.tv_in1k")
def densenet169(**kwargs: Any) -> DenseNet:
    """DenseNet-169 (Huang et al. 2016): 14.1 M parameters."""
    return DenseNet((6, 12, 32, 32), **kwargs)


@register_model(PAPER, hub="timm/densenet201.tv_in1k")
def densenet201(**kwargs: Any) -> DenseNet:
    """DenseNet-201 (Huang et al. 2016): 20.0 M parameters."""
    return DenseNet((6, 12, 48, 32), **kwargs)
