"""The unit of ShuffleNetV2."""

from __future__ import annotations

from fastconv import ops as F
from fastconv.models.blocks.conv import ConvNormActivation
from fastconv.nn import BatchNorm2d, Conv2d, Module, ReLU, Sequential
from fastconv.nn.module import Value


class ShuffleUnit(Module):
    """Half the channels through a bottleneck, the other half past it, then shuffled together.

    ShuffleNetV1 and `InvertedResidual` spend memory traffic on grouped 1x1 convolutions, on wide
    hidden layers and on the addition of the shortcut. Here 1x1 convolutions keep the number of
    channels, the shortcut is a half of the channels that is not touched, and the shuffle mixes the
    halves for the next unit. At stride 2 both branches see all channels, which doubles them.

    Source: Ma et al., ShuffleNet V2 (2018), section 3, figure 3c, and 3d for stride 2. In
    torchvision it is the ``InvertedResidual`` of ``shufflenetv2``.

    Parameters
    ----------
    inp, oup : int
        Channels of the input and of the output, equal at stride 1.
    stride : int
        Of the depthwise convolutions.

    Raises
    ------
    ValueError
        If `oup` is odd, or differs from `inp` at stride 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import blocks
    >>> blocks.ShuffleUnit(24, 48, stride=2)(np.zeros((1, 24, 8, 8), np.float32)).shape
    (1, 48, 4, 4)
    """

    input_ndim = 4

    def __init__(self, inp: int, oup: int, stride: int) -> None:
        if oup % 2 or (stride == 1 and inp != oup):
            raise ValueError(
                f"oup must be even, and equal to inp at stride 1, got inp={inp}, oup={oup}, "
                f"stride={stride}"
            )
        self.half = half = oup // 2
        self.stride = stride
        if stride > 1:
            self.branch1 = Sequential(*_separable(inp, half, stride))
        self.branch2 = Sequential(
            *ConvNormActivation(inp if stride > 1 else half, half, 1),
            *_separable(half, half, stride),
        )

    def forward(self, x: Value) -> Value:
        """Concatenate the branches and shuffle their channels."""
        if self.stride > 1:
            left, right = self.branch1(x), x
        else:
            left, right = F.split(x, self.half, axis=1)
        return F.channel_shuffle(F.concat([left, self.branch2(right)], 1), 2)


def _separable(inp: int, oup: int, stride: int) -> list[Module]:
    """Depthwise 3x3 without activation, then 1x1 with."""
    return [
        Conv2d(inp, inp, 3, stride, padding=1, groups=inp, bias=False),
        BatchNorm2d(inp),
        Conv2d(inp, oup, 1, bias=False),
        BatchNorm2d(oup),
        ReLU(),
    ]
