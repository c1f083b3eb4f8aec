"""ResNet, ResNeXt, Wide ResNet and SE-ResNet: stages of residual blocks."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from fastconv import nn
from fastconv._arguments import as_bool, as_int, choice
from fastconv.models._base import ImageClassifier
from fastconv.models._registry import register_model
from fastconv.models._scaling import as_multiplier, make_divisible
from fastconv.models.blocks import (
    BasicBlock,
    Bottleneck,
    ConvNormActivation,
    PaddedShortcut,
    SqueezeExcitation,
)
from fastconv.nn.module import Value

__all__ = [
    "ResNet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "seresnet18",
    "seresnet34",
    "seresnet50",
    "seresnet101",
    "seresnet152",
    "wide_resnet50_2",
    "wide_resnet101_2",
]

RESNET = "He et al., Deep Residual Learning for Image Recognition (2015), arXiv:1512.03385"
RESNEXT = "Xie et al., Aggregated Residual Transformations (2016), arXiv:1611.05431"
WIDE = "Zagoruyko and Komodakis, Wide Residual Networks (2016), arXiv:1605.07146"
SE = "Hu et al., Squeeze-and-Excitation Networks (2017), arXiv:1709.01507"

Block = type[BasicBlock] | type[Bottleneck]


class ResNet(ImageClassifier):
    """Stem, four stages of residual blocks, global mean, classifier; named as in torchvision.

    The paper has the stride of a stage in the first 1x1 convolution (``stride_in_1x1=True``), as
    the weights of Caffe and those of Hugging Face with ``downsample_in_bottleneck`` need.

    Source: He et al., Deep Residual Learning (2015), table 1.

    Parameters
    ----------
    block : type
        `BasicBlock` or `Bottleneck`.
    layers : tuple of int
        Blocks in each stage.
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    groups, width_per_group : int
        Groups of the 3x3 convolutions, and channels of each group in the first stage.
    shortcut : {"B", "A"}
        Where the shape changes: a projection, or the identity with channels of zeros.
    stride_in_1x1 : bool
        Whether a `Bottleneck` has its stride in the first 1x1 convolution instead of the 3x3.
    se_ratio : float, optional
        Hidden channels of squeeze-and-excitation relative to a block's output, rounded to a
        multiple of 8; `None` leaves it out.
    bn_eps : float
        Of the batch norms.

    Raises
    ------
    ValueError, TypeError
        If an argument is of another type or value, or one that `BasicBlock` does not have.
    """

    _classifier = "fc"

    def __init__(
        self,
        block: Block,
        layers: tuple[int, int, int, int],
        num_classes: int = 1000,
        in_chans: int = 3,
        groups: int = 1,
        width_per_group: int = 64,
        shortcut: str = "B",
        stride_in_1x1: bool = False,
        se_ratio: float | None = None,
        bn_eps: float = 1e-5,
    ) -> None:
        norm = functools.partial(nn.BatchNorm2d, eps=bn_eps)
        make_projection = functools.partial(
            ConvNormActivation, kernel_size=1, norm_layer=norm, activation_layer=None
        )
        option = choice("shortcut", shortcut, ("A", "B"))
        make_shortcut = PaddedShortcut if option == "A" else make_projection

        ratio = None if se_ratio is None else as_multiplier("se_ratio", se_ratio)

        def squeeze_excitation(channels: int) -> SqueezeExcitation:
            return SqueezeExcitation(channels, make_divisible(channels * (ratio or 0)))

        make_block = functools.partial(
            block,
            groups=as_int("groups", groups),
            base_width=as_int("width_per_group", width_per_group),
            stride_in_1x1=as_bool("stride_in_1x1", stride_in_1x1),
            norm_layer=norm,
            se_layer=None if ratio is None else squeeze_excitation,
        )
        self.conv1 = nn.Conv2d(in_chans, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inplanes = 64

        def stage(planes: int, blocks: int, stride: int) -> nn.Sequential:
            nonlocal inplanes
            outplanes = planes * block.expansion
            downsample = None
            if stride != 1 or inplanes != outplanes:
                downsample = make_shortcut(inplanes, outplanes, stride=stride)
            first = make_block(inplanes, planes, stride, downsample)
            inplanes = outplanes
            return nn.Sequential(first, *(make_block(inplanes, planes) for _ in range(1, blocks)))

        self.layer1 = stage(64, layers[0], stride=1)
        self.layer2 = stage(128, layers[1], stride=2)
        self.layer3 = stage(256, layers[2], stride=2)
        self.layer4 = stage(512, layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.num_features = inplanes
        self.fc = nn.Linear(inplanes, num_classes)

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.fc(self.flatten(self.avgpool(x)))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw convolutions by `kaiming_normal` (fan out), the classifier as `Linear` does."""
        rng = np.random.default_rng(rng)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight = nn.init.kaiming_normal(layer.weight.shape, rng)
                if layer.bias is not None:
                    bound = 1 / math.sqrt(nn.init.fan_in(layer.weight.shape))
                    layer.bias = nn.init.uniform(layer.bias.shape, rng, bound)
            elif isinstance(layer, nn.BatchNorm2d | nn.Linear):
                layer.reset_parameters(rng)


@register_model(RESNET, hub="timm/resnet18.tv_in1k")
def resnet18(**kwargs: Any) -> ResNet:
    """ResNet-18 (He et al. 2015): 11.7 M parameters."""
    return ResNet(BasicBlock, (2, 2, 2, 2), **kwargs)


@register_model(RESNET, hub="timm/resnet34.tv_in1k")
def resnet34(**kwargs: Any) -> ResNet:
    """ResNet-34 (He et al. 2015): 21.8 M parameters."""
    return ResNet(BasicBlock, (3, 4, 6, 3), **kwargs)


@register_model(RESNET, hub="timm/resnet50.tv_in1k")
def resnet50(**kwargs: Any) -> ResNet:
    """ResNet-50 (He et al. 2015): 25.6 M parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **kwargs)


@register_model(RESNET, hub="timm/resnet101.tv_in1k")
def resnet101(**kwargs: Any) -> ResNet:
    """ResNet-101 (He et al. 2015): 44.5 M parameters."""
    return ResNet(Bottleneck, (3, 4, 23, 3), **kwargs)


@register_model(RESNET, hub="timm/resnet152.tv_in1k")
def resnet152(**kwargs: Any) -> ResNet:
    """ResNet-152 (He et al. 2015): 60.2 M parameters."""
    return ResNet(Bottleneck, (3, 8, 36, 3), **kwargs)


@register_model(RESNEXT, hub="timm/resnext50_32x4d.tv_in1k")
def resnext50_32x4d(**kwargs: Any) -> ResNet:
    """ResNeXt-50 with 32 groups of 4 channels (Xie et al. 2016): 25.0 M parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), groups=32, width_per_group=4, **kwargs)


@register_model(RESNEXT, hub="timm/resnext101_32x8d.tv_in1k")
def resnext101_32x8d(**kwargs: Any) -> ResNet:
    """ResNeXt-101 with 32 groups of 8 channels (Xie et al. 2016): 88.8 M parameters."""
    return ResNet(Bottleneck, (3, 4, 23, 3), groups=32, width_per_group=8, **kwargs)


@register_model(RESNEXT, hub="timm/resnext101_64x4d.tv_in1k", crop_pct=224 / 232)
def resnext101_64x4d(**kwargs: Any) -> ResNet:
    """ResNeXt-101 with 64 groups of 4 channels (Xie et al. 2016): 83.5 M parameters."""
    return ResNet(Bottleneck, (3, 4, 23, 3), groups=64, width_per_group=4, **kwargs)


@register_model(WIDE, hub="timm/wide_resnet50_2.tv_in1k")
def wide_resnet50_2(**kwargs: Any) -> ResNet:
    """ResNet-50, 3x3 convolutions twice as wide (Zagoruyko 2016): 68.9 M parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), width_per_group=128, **kwargs)


@register_model(WIDE, hub="timm/wide_resnet101_2.tv_in1k")
def wide_resnet101_2(**kwargs: Any) -> ResNet:
    """ResNet-101, 3x3 convolutions twice as wide (Zagoruyko 2016): 126.9 M parameters."""
    return ResNet(Bottleneck, (3, 4, 23, 3), width_per_group=128, **kwargs)


@register_model(SE, interpolation="bicubic")
def seresnet18(**kwargs: Any) -> ResNet:
    """SE-ResNet-18 (Hu et al. 2017): 11.8 M parameters."""
    return ResNet(BasicBlock, (2, 2, 2, 2), se_ratio=1 / 16, **kwargs)


@register_model(SE, interpolation="bicubic")
def seresnet34(**kwargs: Any) -> ResNet:
    """SE-ResNet-34 (Hu et al. 2017): 22.0 M parameters."""
    return ResNet(BasicBlock, (3, 4, 6, 3), se_ratio=1 / 16, **kwargs)


@register_model(
    SE,
    hub="timm/seresnet50.a1_in1k",
    crop_pct=0.95,
    interpolation="bicubic",
    test_input_size=(3, 288, 288),
    test_crop_pct=1.0,
)
def seresnet50(**kwargs: Any) -> ResNet:
    """SE-ResNet-50 (Hu et al. 2017): 28.1 M parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), se_ratio=1 / 16, **kwargs)


@register_model(SE, interpolation="bicubic")
def seresnet101(**kwargs: Any) -> ResNet:
    """SE-ResNet-101 (Hu et al. 2017): 49.3 M parameters."""
    return ResNet(Bottleneck, (3, 4, 23, 3), se_ratio=1 / 16, **kwargs)


@register_model(SE, interpolation="bicubic")
def seresnet152(**kwargs: Any) -> ResNet:
    """SE-ResNet-152 (Hu et al. 2017): 66.8 M parameters."""
    return ResNet(Bottleneck, (3, 8, 36, 3), se_ratio=1 / 16, **kwargs)
