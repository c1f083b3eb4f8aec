"""Dense blocks: every layer sees the features of all layers before it."""

from __future__ import annotations

from fastconv import ops as F
from fastconv.nn import AvgPool2d, BatchNorm2d, Conv2d, Module, ReLU, Sequential
from fastconv.nn.module import Value


class DenseLayer(Module):
    """Norm, ReLU, 1x1 reduce, norm, ReLU, 3x3: a few new features from all those before.

    The first normalisation and ReLU come before the convolution, since each layer has its own use
    for the shared features. The 1x1 convolution (a bottleneck, "DenseNet-B") keeps the 3x3 one
    cheap, however many features there are.

    Source: Huang et al., Densely Connected Convolutional Networks (2016), section 3, "Composite
    function" and "Bottleneck layers".

    Parameters
    ----------
    num_input_features : int
        Channels of the input.
    growth_rate : int
        Channels of the output, the paper's k.
    bn_size : int
        Channels of the bottleneck, as a multiple of `growth_rate`.
    """

    input_ndim = 4

    def __init__(self, num_input_features: int, growth_rate: int = 32, bn_size: int = 4) -> None:
        self.norm1 = BatchNorm2d(num_input_features)
        self.relu1 = ReLU()
        self.conv1 = Conv2d(num_input_features, bn_size * growth_rate, 1, bias=False)
        self.norm2 = BatchNorm2d(bn_size * growth_rate)
        self.relu2 = ReLU()
        self.conv2 = Conv2d(bn_size * growth_rate, growth_rate, 3, padding=1, bias=False)

    def forward(self, x: Value) -> Value:
        """Compute the new features."""
        x = self.conv1(self.relu1(self.norm1(x)))
        return self.conv2(self.relu2(self.norm2(x)))


class DenseBlock(Module):
    """Layers that append their features to all features before: ``x = [x, layer(x)]``.

    ResNet adds a layer's output to its input, which mixes the two; concatenation keeps every
    feature as it was made, for all later layers to read. So layers can be narrow, and a network
    needs fewer parameters.

    Source: Huang et al., Densely Connected Convolutional Networks (2016), section 3, figure 1.

    Parameters
    ----------
    num_layers : int
        Layers, named ``denselayer1`` and on.
    num_input_features : int
        Channels of the input.
    growth_rate : int
        Channels that each layer appends.
    bn_size : int
        Of each `DenseLayer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.models import blocks
    >>> blocks.DenseBlock(6, 64, growth_rate=32)(np.zeros((1, 64, 8, 8), np.float32)).shape
    (1, 256, 8, 8)
    """

    input_ndim = 4

    def __init__(
        self, num_layers: int, num_input_features: int, growth_rate: int = 32, bn_size: int = 4
    ) -> None:
        for i in range(num_layers):
            layer = DenseLayer(num_input_features + i * growth_rate, growth_rate, bn_size)
            setattr(self, f"denselayer{i + 1}", layer)

    def forward(self, x: Value) -> Value:
        """Append the features of each layer."""
        for layer in self.children():
            x = F.concat([x, layer(x)], axis=1)
        return x


class Transition(Sequential):
    """Norm, ReLU, 1x1 convolution, 2x2 mean: between two dense blocks.

    Features cannot be concatenated across sizes, and only ever become more: here they are halved in
    size and, usually, in number (the paper's compression, the C of "DenseNet-BC").

    Source: Huang et al., Densely Connected Convolutional Networks (2016), figure 2; section 3,
    "Pooling layers" and "Compression".

    Parameters
    ----------
    num_input_features, num_output_features : int
        Channels of the input and of the output.
    """

    def __init__(self, num_input_features: int, num_output_features: int) -> None:
        self.norm = BatchNorm2d(num_input_features)
        self.relu = ReLU()
        self.conv = Conv2d(num_input_features, num_output_features, 1, bias=False)
        self.pool = AvgPool2d(2)
