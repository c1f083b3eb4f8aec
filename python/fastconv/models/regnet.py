"""RegNet: widths and depths of all stages from a rule of four numbers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.models._base import ImageClassifier
from fastconv.models._registry import register_model
from fastconv.models._scaling import make_divisible
from fastconv.models.blocks import ConvNormActivation, ResBottleneckBlock
from fastconv.nn.module import Value

__all__ = [
    "RegNet",
    "regnet_x_1_6gf",
    "regnet_x_3_2gf",
    "regnet_x_8gf",
    "regnet_x_16gf",
    "regnet_x_32gf",
    "regnet_x_400mf",
    "regnet_x_800mf",
    "regnet_y_1_6gf",
    "regnet_y_3_2gf",
    "regnet_y_8gf",
    "regnet_y_16gf",
    "regnet_y_32gf",
    "regnet_y_128gf",
    "regnet_y_400mf",
    "regnet_y_800mf",
]

PAPER = "Radosavovic et al., Designing Network Design Spaces (2020), arXiv:2003.13678"
SWAG = {"input_size": (3, 384, 384), "crop_pct": 1.0, "interpolation": "bicubic"}


def quantised_linear_stages(
    depth: int, w_0: int, w_a: float, w_m: float, group_width: int
) -> list[tuple[int, int, int]]:
    """Return depth, width and group width of each stage: widths that grow linearly, in few steps.

    Block ``j`` would have the width ``u_j = w_0 + w_a * j`` (equation 2). That is rounded to
    ``w_0 * w_m**s`` with an integer ``s`` (3, 4), then to a multiple of 8; equal widths form a
    stage. In the end widths become multiples of `group_width`.

    Source: Radosavovic et al., Designing Network Design Spaces (2020), section 3.3.

    Parameters
    ----------
    depth, group_width : int
        Blocks in all; channels of each group of the 3x3 convolutions.
    w_0 : int
        Width of the first block, a multiple of 8.
    w_a, w_m : float
        Slope of the widths; ratio of the widths of neighbouring stages, more than 1.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> from fastconv.models.regnet import quantised_linear_stages
    >>> quantised_linear_stages(22, 24, 24.48, 2.54, 16)  # RegNetX-400MF
    [(1, 32, 16), (2, 64, 16), (7, 160, 16), (12, 400, 16)]
    """
    if depth < 1 or group_width < 1 or w_0 < 8 or w_0 % 8 or w_a < 0 or w_m <= 1:
        raise ValueError(
            f"expected depth >= 1, group_width >= 1, w_0 a positive multiple of 8, w_a >= 0 and "
            f"w_m > 1, got {depth=}, {group_width=}, {w_0=}, {w_a=}, {w_m=}"
        )
    widths = []
    for j in range(depth):
        s = round(math.log((w_0 + w_a * j) / w_0, w_m))
        widths.append(8 * round(w_0 * w_m**s / 8))
    stages = []
    for width, blocks in itertools.groupby(widths):
        group = min(group_width, width)
        stages.append((len(list(blocks)), make_divisible(width, group), group))
    return stages


class RegNet(ImageClassifier):
    """Stem, stages of `ResBottleneckBlock`, global mean, classifier; named as in torchvision.

    Source: Radosavovic et al., Designing Network Design Spaces (2020), figure 3.

    Parameters
    ----------
    depth, w_0, w_a, w_m, group_width
        Of `quantised_linear_stages`.
    se_ratio : float, optional
        Hidden channels of squeeze-and-excitation relative to each block's input: RegNetY. `None`
        leaves it out: RegNetX.
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    """

    _classifier = "fc"

    def __init__(
        self,
        depth: int,
        w_0: int,
        w_a: float,
        w_m: float,
        group_width: int,
        se_ratio: float | None = None,
        num_classes: int = 1000,
        in_chans: int = 3,
    ) -> None:
        channels = 32
        self.stem = ConvNormActivation(in_chans, channels, stride=2)
        trunk: dict[str, nn.Module] = {}
        stages = quantised_linear_stages(depth, w_0, w_a, w_m, group_width)
        for i, (blocks_in_stage, width, group) in enumerate(stages, start=1):
            blocks: dict[str, nn.Module] = {}
            for j in range(blocks_in_stage):
                stride = 2 if j == 0 else 1
                blocks[f"block{i}-{j}"] = ResBottleneckBlock(
                    channels, width, stride, group, se_ratio
                )
                channels = width
            trunk[f"block{i}"] = nn.Sequential(blocks)
        self.trunk_output = nn.Sequential(trunk)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.num_features = channels
        self.fc = nn.Linear(channels, num_classes)

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size where there are four stages."""
        return self.trunk_output(self.stem(x))

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.fc(self.flatten(self.avgpool(x)))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw convolutions by `kaiming_normal` (fan out), the classifier with deviation 0.01."""
        rng = np.random.default_rng(rng)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight = nn.init.kaiming_normal(layer.weight.shape, rng)
                if layer.bias is not None:
                    bound = 1 / math.sqrt(nn.init.fan_in(layer.weight.shape))
                    layer.bias = nn.init.uniform(layer.bias.shape, rng, bound)
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters(rng)
            elif isinstance(layer, nn.Linear):
                layer.weight = nn.init.normal(layer.weight.shape, rng, 0.01)
                layer.bias = nn.init.constant((layer.out_features,), 0)


@register_model(PAPER, hub="timm/regnetx_004_tv.tv2_in1k")
def regnet_x_400mf(**kwargs: Any) -> RegNet:
    """RegNetX-400MF (Radosavovic et al. 2020): 5.5 M parameters."""
    return RegNet(depth=22, w_0=24, w_a=24.48, w_m=2.54, group_width=16, **kwargs)


@register_model(PAPER, hub="timm/regnetx_008.tv2_in1k")
def regnet_x_800mf(**kwargs: Any) -> RegNet:
    """RegNetX-800MF (Radosavovic et al. 2020): 7.3 M parameters."""
    return RegNet(depth=16, w_0=56, w_a=35.73, w_m=2.28, group_width=16, **kwargs)


@register_model(PAPER, hub="timm/regnetx_016.tv2_in1k")
def regnet_x_1_6gf(**kwargs: Any) -> RegNet:
    """RegNetX-1.6GF (Radosavovic et al. 2020): 9.2 M parameters."""
    return RegNet(depth=18, w_0=80, w_a=34.01, w_m=2.25, group_width=24, **kwargs)


@register_model(PAPER, hub="timm/regnetx_032.tv2_in1k")
def regnet_x_3_2gf(**kwargs: Any) -> RegNet:
    """RegNetX-3.2GF (Radosavovic et al. 2020): 15.3 M parameters."""
    return RegNet(depth=25, w_0=88, w_a=26.31, w_m=2.25, group_width=48, **kwargs)


@register_model(PAPER, hub="timm/regnetx_080.tv2_in1k")
def regnet_x_8gf(**kwargs: Any) -> RegNet:
    """RegNetX-8GF (Radosavovic et al. 2020): 39.6 M parameters."""
    return RegNet(depth=23, w_0=80, w_a=49.56, w_m=2.88, group_width=120, **kwargs)


@register_model(PAPER, hub="timm/regnetx_160.tv2_in1k")
def regnet_x_16gf(**kwargs: Any) -> RegNet:
    """RegNetX-16GF (Radosavovic et al. 2020): 54.3 M parameters."""
    return RegNet(depth=22, w_0=216, w_a=55.59, w_m=2.1, group_width=128, **kwargs)


@register_model(PAPER, hub="timm/regnetx_320.tv2_in1k")
def regnet_x_32gf(**kwargs: Any) -> RegNet:
    """RegNetX-32GF (Radosavovic et al. 2020): 107.8 M parameters."""
    return RegNet(depth=23, w_0=320, w_a=69.86, w_m=2.0, group_width=168, **kwargs)


@register_model(PAPER, hub="timm/regnety_004.tv2_in1k")
def regnet_y_400mf(**kwargs: Any) -> RegNet:
    """RegNetY-400MF (Radosavovic et al. 2020): 4.3 M parameters."""
    return RegNet(depth=16, w_0=48, w_a=27.89, w_m=2.09, group_width=8, se_ratio=0.25, **kwargs)


@register_model(PAPER, hub="timm/regnety_008_tv.tv2_in1k")
def regnet_y_800mf(**kwargs: Any) -> RegNet:
    """RegNetY-800MF (Radosavovic et al. 2020): 6.4 M parameters."""
    return RegNet(depth=14, w_0=56, w_a=38.84, w_m=2.4, group_width=16, se_ratio=0.25, **kwargs)


@register_model(PAPER, hub="timm/regnety_016.tv2_in1k")
def regnet_y_1_6gf(**kwargs: Any) -> RegNet:
    """RegNetY-1.6GF (Radosavovic et al. 2020): 11.2 M parameters."""
    return RegNet(depth=27, w_0=48, w_a=20.71, w_m=2.65, group_width=24, se_ratio=0.25, **kwargs)


@register_model(PAPER, hub="timm/regnety_032.tv2_in1k")
def regnet_y_3_2gf(**kwargs: Any) -> RegNet:
    """RegNetY-3.2GF (Radosavovic et al. 2020): 19.4 M parameters."""
    return RegNet(depth=21, w_0=80, w_a=42.63, w_m=2.66, group_width=24, se_ratio=0.25, **kwargs)


@register_model(PAPER, hub="timm/regnety_080_tv.tv2_in1k")
def regnet_y_8gf(**kwargs: Any) -> RegNet:
    """RegNetY-8GF (Radosavovic et al. 2020): 39.4 M parameters."""
    return RegNet(depth=17, w_0=192, w_a=76.82, w_m=2.19, group_width=56, se_ratio=0.25, **kwargs)


@register_model(PAPER, hub="timm/regnety_160.tv2_in1k")
def regnet_y_16gf(**kwargs: Any) -> RegNet:
    """RegNetY-16GF (Radosavovic et al. 2020): 83.6 M parameters."""
    return RegNet(depth=18, w_0=200, w_a=106.23, w_m=2.48, group_width=112, se_ratio=0.25, **kwargs)


@register_model(PAPER, hub="timm/regnety_320.tv2_in1k")
def regnet_y_32gf(**kwargs: Any) -> RegNet:
    """RegNetY-32GF (Radosavovic et al. 2020): 145.0 M parameters."""
    return RegNet(depth=20, w_0=232, w_a=115.89, w_m=2.53, group_width=232, se_ratio=0.25, **kwargs)


@register_model(PAPER, hub="timm/regnety_1280.swag_ft_in1k", **SWAG)
def regnet_y_128gf(**kwargs: Any) -> RegNet:
    """RegNetY-128GF (Radosavovic et al. 2020): 644.8 M parameters."""
    return RegNet(depth=27, w_0=456, w_a=160.83, w_m=2.52, group_width=264, se_ratio=0.25, **kwargs)
