"""Inception v3: factorised Inception blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import nn
from fastconv import ops as F
from fastconv._arguments import as_bool
from fastconv.models._inception import InceptionClassifier
from fastconv.models._registry import register_model
from fastconv.models.blocks import (
    BasicConv2d,
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
)
from fastconv.nn.module import Module, Value

__all__ = ["Inception3", "inception_v3"]

PAPER = "Szegedy et al., Rethinking the Inception Architecture (2015), arXiv:1512.00567"


class InceptionAux(Module):
    """A classifier on the last 17x17 map, which regularises in training.

    Source: Szegedy et al., Rethinking the Inception Architecture (2015), section 4, figure 8.
    """

    input_ndim = 4

    def __init__(self, in_channels: int, num_classes: int) -> None:
        self.pool = nn.AvgPool2d(5, stride=3)
        self.conv0 = BasicConv2d(in_channels, 128, 1)
        self.conv1 = BasicConv2d(128, 768, 5)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Value) -> Value:
        """Classify."""
        x = self.conv1(self.conv0(self.pool(x)))
        return self.fc(F.flatten(self.avgpool(x), 1))


class Inception3(InceptionClassifier):
    """Stem, eleven Inception blocks of five kinds, global mean, classifier; as in torchvision.

    For images of 299x299; the smallest image is 75x75.

    Source: Szegedy et al., Rethinking the Inception Architecture (2015), table 1 and the last row
    of table 3 (batch norm in the auxiliary head), in torchvision's sizes.

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    aux_logits : bool
        Whether there is an auxiliary head `AuxLogits`, for checkpoints that have it; the model's
        output is without it.
    transform_input : bool
        Whether images come normalised by ImageNet's mean and deviation, instead of in [-1, 1];
        `default_cfg` says which.

    Raises
    ------
    ValueError
        If `transform_input` is asked for with `in_chans` other than 3.
    """

    _classifier = "fc"
    _aux_classifiers = (("AuxLogits", "fc"),)

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        aux_logits: bool = False,
        transform_input: bool = False,
    ) -> None:
        super().__init__(in_chans, transform_input)
        self.Conv2d_1a_3x3 = BasicConv2d(in_chans, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = InceptionA(192, pool_features=32)
        self.Mixed_5c = InceptionA(256, pool_features=64)
        self.Mixed_5d = InceptionA(288, pool_features=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, channels_7x7=128)
        self.Mixed_6c = InceptionC(768, channels_7x7=160)
        self.Mixed_6d = InceptionC(768, channels_7x7=160)
        self.Mixed_6e = InceptionC(768, channels_7x7=192)
        if as_bool("aux_logits", aux_logits):
            self.AuxLogits = InceptionAux(768, num_classes)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.flatten = nn.Flatten()
        self.num_features = 2048
        self.fc = nn.Linear(2048, num_classes)

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, 8x8 for a 299x299 image."""
        x = self.Conv2d_1a_3x3(self._transform(x))
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(x)))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        x = self.Mixed_6e(self.Mixed_6d(x))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.fc(self.flatten(self.dropout(self.avgpool(x))))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw as torchvision: weights with deviation 0.1."""
        rng = np.random.default_rng(rng)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
                layer.reset_parameters(rng)
                if not isinstance(layer, nn.BatchNorm2d):
                    layer.weight = nn.init.trunc_normal(layer.weight.shape, rng, 0.1)


@register_model(
    PAPER, hub="timm/inception_v3.tv_in1k", input_size=(3, 299, 299), crop_pct=299 / 342
)
def inception_v3(**kwargs: Any) -> Inception3:
    """Inception v3 (Szegedy et al. 2015): 23.8 M parameters, 27.2 M with the auxiliary head."""
    return Inception3(**kwargs)
