"""VGG: nothing but 3x3 convolutions, deep."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import nn
from fastconv._arguments import as_bool
from fastconv.models._base import ImageClassifier
from fastconv.models._registry import register_model
from fastconv.nn.module import Value

__all__ = [
    "VGG",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]

PAPER = "Simonyan and Zisserman, Very Deep Convolutional Networks (2014), arXiv:1409.1556"

Layers = tuple[int, int, int, int, int]

# Simonyan and Zisserman 2014, table 1: channels of the five stages, and in the columns A, B, D and
# E the number of 3x3 convolutions in each.
CHANNELS = (64, 128, 256, 512, 512)
A: Layers = (1, 1, 2, 2, 2)
B: Layers = (2, 2, 2, 2, 2)
D: Layers = (2, 2, 3, 3, 3)
E: Layers = (2, 2, 4, 4, 4)


class VGG(ImageClassifier):
    """Five stages of 3x3 convolutions and a maximum, three linear layers; named as in torchvision.

    AlexNet begins with 11x11 and 5x5 windows: two 3x3 convolutions see as much as one of 5x5,
    three as one of 7x7, with fewer parameters and more ReLUs between them; and depth is what
    improves the result.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image
    Recognition (2014), table 1. Batch norm came later (Ioffe and Szegedy 2015).

    Parameters
    ----------
    layers : tuple of int
        Convolutions in each stage.
    batch_norm : bool
        Whether each convolution is followed by a batch norm.
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    """

    _classifier = "classifier.6"

    def __init__(
        self,
        layers: Layers,
        batch_norm: bool = False,
        num_classes: int = 1000,
        in_chans: int = 3,
    ) -> None:
        batch_norm = as_bool("batch_norm", batch_norm)
        features: list[nn.Module] = []
        channels = in_chans
        for out, convolutions in zip(CHANNELS, layers, strict=True):
            for _ in range(convolutions):
                features.append(nn.Conv2d(channels, out, 3, padding=1))
                if batch_norm:
                    features.append(nn.BatchNorm2d(out))
                features.append(nn.ReLU())
                channels = out
            features.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.flatten = nn.Flatten()
        self.num_features = 4096
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, num_classes),
        )

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        return self.features(x)

    def forward_head(self, x: Value) -> Value:
        """Pool to 7x7 and classify."""
        return self.classifier(self.flatten(self.avgpool(x)))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw convolutions by `kaiming_normal` (fan out), linear layers with deviation 0.01."""
        rng = np.random.default_rng(rng)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight = nn.init.kaiming_normal(layer.weight.shape, rng)
                layer.bias = nn.init.constant((layer.out_channels,), 0)
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters(rng)
            elif isinstance(layer, nn.Linear):
                layer.weight = nn.init.normal(layer.weight.shape, rng, 0.01)
                layer.bias = nn.init.constant((layer.out_features,), 0)


@register_model(PAPER, hub="timm/vgg11.tv_in1k")
def vgg11(**kwargs: Any) -> VGG:
    """VGG-11, configuration A (Simonyan and Zisserman 2014): 132.9 M parameters."""
    return VGG(A, **kwargs)


@register_model(PAPER, hub="timm/vgg11_bn.tv_in1k")
def vgg11_bn(**kwargs: Any) -> VGG:
    """VGG-11 with batch norm, configuration A (Simonyan and Zisserman 2014): 132.9 M parameters."""
    return VGG(A, batch_norm=True, **kwargs)


@register_model(PAPER, hub="timm/vgg13.tv_in1k")
def vgg13(**kwargs: Any) -> VGG:
    """VGG-13, configuration B (Simonyan and Zisserman 2014): 133.0 M parameters."""
    return VGG(B, **kwargs)


@register_model(PAPER, hub="timm/vgg13_bn.tv_in1k")
def vgg13_bn(**kwargs: Any) -> VGG:
    """VGG-13 with batch norm, configuration B (Simonyan and Zisserman 2014): 133.1 M parameters."""
    return VGG(B, batch_norm=True, **kwargs)


@register_model(PAPER, hub="timm/vgg16.tv_in1k")
def vgg16(**kwargs: Any) -> VGG:
    """VGG-16, configuration D (Simonyan and Zisserman 2014): 138.4 M parameters."""
    return VGG(D, **kwargs)


@register_model(PAPER, hub="timm/vgg16_bn.tv_in1k")
def vgg16_bn(**kwargs: Any) -> VGG:
    """VGG-16 with batch norm, configuration D (Simonyan and Zisserman 2014): 138.4 M parameters."""
    return VGG(D, batch_norm=True, **kwargs)


@register_model(PAPER, hub="timm/vgg19.tv_in1k")
def vgg19(**kwargs: Any) -> VGG:
    """VGG-19, configuration E (Simonyan and Zisserman 2014): 143.7 M parameters."""
    return VGG(E, **kwargs)


@register_model(PAPER, hub="timm/vgg19_bn.tv_in1k")
def vgg19_bn(**kwargs: Any) -> VGG:
    """VGG-19 with batch norm, configuration E (Simonyan and Zisserman 2014): 143.7 M parameters."""
    return VGG(E, batch_norm=True, **kwargs)
