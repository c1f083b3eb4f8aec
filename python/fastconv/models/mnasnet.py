"""MNASNet: the first mobile network found by a search that measured latency."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.models._base import ImageClassifier
from fastconv.models._mobile import reset_mobile_parameters
from fastconv.models._registry import register_model
from fastconv.models._scaling import as_multiplier, make_divisible
from fastconv.models.blocks import ConvNormActivation
from fastconv.nn.module import Array, Value

__all__ = ["MNASNet", "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"]

PAPER = "Tan et al., MnasNet: Platform-Aware Architecture Search (2018), arXiv:1807.11626"

# MnasNet-B1 as in the authors' code; figure 7 of the paper is A1, from another search, with
# squeeze-and-excitation. Expansion, channels, blocks, kernel size, stride of the first block.
STAGES = (
    (3, 24, 3, 3, 2),
    (3, 40, 3, 5, 2),
    (6, 80, 3, 5, 2),
    (6, 96, 2, 3, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)


Layer = Callable[..., ConvNormActivation]


class _InvertedResidual(nn.Module):
    """`fastconv.MBConv` with ReLU, its layers in one flat `Sequential`, as torchvision's."""

    input_ndim = 4

    def __init__(
        self,
        channels: int,
        out: int,
        expansion: int,
        kernel_size: int,
        stride: int,
        layer: Layer,
    ) -> None:
        wide = channels * expansion
        self.layers = nn.Sequential(
            *layer(channels, wide, 1),
            *layer(wide, wide, kernel_size, stride, groups=wide),
            *layer(wide, out, 1, activation_layer=None),
        )
        self.apply_residual = stride == 1 and channels == out

    def forward(self, x: Value) -> Value:
        """Add the residual to the shortcut, where there is one."""
        return x + self.layers(x) if self.apply_residual else self.layers(x)


class MNASNet(ImageClassifier):
    """Stem, separable convolution, six stages, 1x1 head, classifier; named as in torchvision.

    The stem is scaled like the rest. In the first version of torchvision's weights it was not (32
    and 16 channels at every width): those do not fit, unless the width is 1.

    Source: Tan et al., MnasNet (2018), MnasNet-B1 of table 2.

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    width_mult : float
        Scales all numbers of channels but the head's; torchvision's `alpha`.
    bn_eps : float
        Of the batch norms.

    Raises
    ------
    ValueError
        If `width_mult` is not positive.
    """

    _classifier = "classifier.1"

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        width_mult: float = 1.0,
        bn_eps: float = 1e-5,
    ) -> None:
        width_mult = as_multiplier("width_mult", width_mult)
        layer = functools.partial(
            ConvNormActivation, norm_layer=functools.partial(nn.BatchNorm2d, eps=bn_eps)
        )
        stem, channels = make_divisible(32 * width_mult), make_divisible(16 * width_mult)
        layers = [
            *layer(in_chans, stem, stride=2),
            *layer(stem, stem, groups=stem),
            *layer(stem, channels, 1, activation_layer=None),
        ]
        for expansion, base, blocks, kernel_size, first_stride in STAGES:
            out = make_divisible(base * width_mult)
            stage = []
            for i in range(blocks):
                stride = first_stride if i == 0 else 1
                stage.append(
                    _InvertedResidual(channels, out, expansion, kernel_size, stride, layer)
                )
                channels = out
            layers.append(nn.Sequential(*stage))
        self.num_features = 1280
        self.layers = nn.Sequential(*layers, *layer(channels, self.num_features, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(self.num_features, num_classes))

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        return self.layers(x)

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.classifier(self.flatten(self.avgpool(x)))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw convolutions by `kaiming_normal`, the classifier uniformly, both by fan out."""

        def linear_weight(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
            return nn.init.uniform(shape, rng, math.sqrt(3 / nn.init.fan_out(shape)))

        reset_mobile_parameters(self, rng, linear_weight)


@register_model(PAPER)
def mnasnet0_5(width_mult: float = 0.5, **kwargs: Any) -> MNASNet:
    """MNASNet at half the width (Tan et al. 2018): 2.2 M parameters."""
    return MNASNet(width_mult=width_mult, **kwargs)


@register_model(PAPER, crop_pct=224 / 232)
def mnasnet0_75(width_mult: float = 0.75, **kwargs: Any) -> MNASNet:
    """MNASNet at 0.75 of the width (Tan et al. 2018): 3.2 M parameters."""
    return MNASNet(width_mult=width_mult, **kwargs)


@register_model(PAPER, hub="timm/mnasnet_100.rmsp_in1k")
def mnasnet1_0(width_mult: float = 1.0, **kwargs: Any) -> MNASNet:
    """MNASNet (Tan et al. 2018): 4.4 M parameters."""
    return MNASNet(width_mult=width_mult, **kwargs)


@register_model(PAPER, crop_pct=224 / 232)
def mnasnet1_3(width_mult: float = 1.3, **kwargs: Any) -> MNASNet:
    """MNASNet at 1.3 times the width (Tan et al. 2018): 6.3 M parameters."""
    return MNASNet(width_mult=width_mult, **kwargs)
