"""The fire module: squeeze channels, then expand them by two sizes of windows."""

from __future__ import annotations

from fastconv import ops as F
from fastconv.nn import Conv2d, Module, ReLU
from fastconv.nn.module import Value


class Fire(Module):
    """1x1 squeeze, then 1x1 and 3x3 expansions side by side, concatenated.

    AlexNet and VGG have most of their work and parameters in 3x3 windows over many channels: here
    these windows see few channels, and half of the outputs need no window at all.

    Source: Iandola et al., SqueezeNet (2016), figure 1 and section 3.2.

    Parameters
    ----------
    inplanes : int
        Channels of the input.
    squeeze_planes : int
        Channels between squeeze and expansions.
    expand1x1_planes, expand3x3_planes : int
        Channels of the two parts of the output.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import blocks
    >>> blocks.Fire(96, 16, 64, 64)(np.zeros((1, 96, 8, 8), np.float32)).shape
    (1, 128, 8, 8)
    """

    input_ndim = 4

    def __init__(
        self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int
    ) -> None:
        self.squeeze = Conv2d(inplanes, squeeze_planes, 1)
        self.squeeze_activation = ReLU()
        self.expand1x1 = Conv2d(squeeze_planes, expand1x1_planes, 1)
        self.expand1x1_activation = ReLU()
        self.expand3x3 = Conv2d(squeeze_planes, expand3x3_planes, 3, padding=1)
        self.expand3x3_activation = ReLU()

    def forward(self, x: Value) -> Value:
        """Squeeze, expand, concatenate."""
        x = self.squeeze_activation(self.squeeze(x))
        left = self.expand1x1_activation(self.expand1x1(x))
        right = self.expand3x3_activation(self.expand3x3(x))
        return F.concat([left, right], axis=1)
