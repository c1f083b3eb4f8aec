"""Squeeze-and-excitation: scale channels by what the whole image shows."""

from __future__ import annotations

from fastconv import ops as F
from fastconv.models.blocks.conv import Layer
from fastconv.nn import AdaptiveAvgPool2d, Conv2d, Module, ReLU, Sigmoid
from fastconv.nn.module import Value


class SqueezeExcitation(Module):
    """Scale each channel by a weight computed from all channels' means.

    A convolution sees a window only: here each channel's weight depends on the whole image.

    Source: Hu et al., Squeeze-and-Excitation Networks (2017), section 3, figure 1.

    Parameters
    ----------
    input_channels, squeeze_channels : int
        Channels of the input, and of the layer between the two 1x1 convolutions.
    activation, scale_activation : callable
        Make the activations after the first and the second convolution.
    """

    input_ndim = 4

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Layer = ReLU,
        scale_activation: Layer = Sigmoid,
    ) -> None:
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc1 = Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, x: Value) -> Value:
        """Squeeze, excite, scale."""
        scale = self.activation(self.fc1(self.avgpool(x)))
        scale = self.scale_activation(self.fc2(scale))
        return F.multiply(x, scale)
