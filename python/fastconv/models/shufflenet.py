"""ShuffleNetV2: designed by measured speed instead of counted operations."""

from __future__ import annotations

from typing import Any

from fastconv import nn
from fastconv.models._base import ImageClassifier
from fastconv.models._registry import register_model
from fastconv.models.blocks import ConvNormActivation, ShuffleUnit
from fastconv.nn.module import Value

__all__ = [
    "ShuffleNetV2",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
]

PAPER = "Ma et al., ShuffleNet V2: Practical Guidelines (2018), arXiv:1807.11164"

# Ma et al. 2018, table 5: channels of conv1, stages 2 to 4, conv5.
X0_5 = (24, 48, 96, 192, 1024)
X1_0 = (24, 116, 232, 464, 1024)
X1_5 = (24, 176, 352, 704, 1024)
X2_0 = (24, 244, 488, 976, 2048)


class ShuffleNetV2(ImageClassifier):
    """Stem, three stages of shuffle units, 1x1 head, mean, classifier; named as in torchvision.

    Random parameters are drawn as the layers draw them.

    Source: Ma et al., ShuffleNet V2 (2018), table 5.

    Parameters
    ----------
    stages_out_channels : tuple of int
        Outputs of the first convolution, of the three stages and of the last convolution.
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    """

    _classifier = "fc"

    def __init__(
        self,
        stages_out_channels: tuple[int, int, int, int, int],
        num_classes: int = 1000,
        in_chans: int = 3,
    ) -> None:
        c1, c2, c3, c4, c5 = stages_out_channels
        self.conv1 = ConvNormActivation(in_chans, c1, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage2 = _stage(c1, c2, repeats=4)
        self.stage3 = _stage(c2, c3, repeats=8)
        self.stage4 = _stage(c3, c4, repeats=4)
        self.conv5 = ConvNormActivation(c4, c5, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.num_features = c5
        self.fc = nn.Linear(c5, num_classes)

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        x = self.maxpool(self.conv1(x))
        return self.conv5(self.stage4(self.stage3(self.stage2(x))))

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.fc(self.flatten(self.avgpool(x)))


def _stage(inp: int, oup: int, repeats: int) -> nn.Sequential:
    rest = (ShuffleUnit(oup, oup, stride=1) for _ in range(1, repeats))
    return nn.Sequential(ShuffleUnit(inp, oup, stride=2), *rest)


@register_model(PAPER)
def shufflenet_v2_x0_5(**kwargs: Any) -> ShuffleNetV2:
    """ShuffleNetV2 at half the width (Ma et al. 2018): 1.4 M parameters."""
    return ShuffleNetV2(X0_5, **kwargs)


@register_model(PAPER)
def shufflenet_v2_x1_0(**kwargs: Any) -> ShuffleNetV2:
    """ShuffleNetV2 (Ma et al. 2018): 2.3 M parameters."""
    return ShuffleNetV2(X1_0, **kwargs)


@register_model(PAPER, crop_pct=224 / 232)
def shufflenet_v2_x1_5(**kwargs: Any) -> ShuffleNetV2:
    """ShuffleNetV2 at 1.5 times the width (Ma et al. 2018): 3.5 M parameters."""
    return ShuffleNetV2(X1_5, **kwargs)


@register_model(PAPER, crop_pct=224 / 232)
def shufflenet_v2_x2_0(**kwargs: Any) -> ShuffleNetV2:
    """ShuffleNetV2 at twice the width (Ma et al. 2018): 7.4 M parameters."""
    return ShuffleNetV2(X2_0, **kwargs)
