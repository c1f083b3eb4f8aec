"""The blocks of Inception v1: a plain convolution unit, and four branches side by side."""

from __future__ import annotations

import functools

from fastconv import ops as F
from fastconv.models.blocks.conv import Layer
from fastconv.nn import BatchNorm2d, Conv2d, MaxPool2d, Module, ReLU, Sequential
from fastconv.nn.convolution import IntPair
from fastconv.nn.module import Value

_norm_layer = functools.partial(BatchNorm2d, eps=1e-3)


class BasicConv2d(Sequential):
    """Convolution, batch norm, ReLU: the unit of all Inception networks.

    It is `ConvNormActivation` with the names and the eps of the Inception networks.

    Source: Ioffe and Szegedy, Batch Normalization (2015), section 4.2; without `norm_layer`, as in
    2014: Szegedy et al., Going Deeper with Convolutions (2014), section 5.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding
        Of the convolution.
    norm_layer : callable or None
        Makes the normalisation from a number of channels; with `None` there is a bias instead.

    Examples
    --------
    >>> from fastconv.models import blocks
    >>> [name for name, _ in blocks.BasicConv2d(3, 32, 3).named_children()]
    ['conv', 'bn', 'relu']
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        norm_layer: Layer | None = _norm_layer,
    ) -> None:
        self.conv = Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, bias=norm_layer is None
        )
        if norm_layer is not None:
            self.bn = norm_layer(out_channels)
        self.relu = ReLU()


class InceptionBlock(Module):
    """1x1, 3x3, 5x5 and pooling side by side, their results concatenated.

    A layer of AlexNet or VGG has one size of kernel and connects all channels by it: most of the
    work is spent on correlations that hardly exist. Here each scale has its own branch, and 1x1
    convolutions first reduce the channels that the large kernels see.

    Source: Szegedy et al., Going Deeper with Convolutions (2014), section 4, figure 2b.

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj : int
        Outputs of the convolutions, in the order of the paper's table 1: ``red`` are the 1x1
        reductions before the larger kernels.
    conv_block : callable
        Makes a convolution unit: see `BasicConv2d`.
    branch3_kernel_size : int
        5 in the paper; 3 in torchvision.

    Attributes
    ----------
    out_channels : int
        The sum over the branches.

    Examples
    --------
    >>> from fastconv.models import blocks
    >>> blocks.InceptionBlock(192, 64, 96, 128, 16, 32, 32).out_channels
    256
    """

    input_ndim = 4

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
        *,
        conv_block: Layer = BasicConv2d,
        branch3_kernel_size: int = 5,
    ) -> None:
        self.branch1 = conv_block(in_channels, ch1x1, 1)
        self.branch2 = Sequential(
            conv_block(in_channels, ch3x3red, 1),
            conv_block(ch3x3red, ch3x3, 3, padding=1),
        )
        self.branch3 = Sequential(
            conv_block(in_channels, ch5x5red, 1),
            conv_block(ch5x5red, ch5x5, branch3_kernel_size, padding=branch3_kernel_size // 2),
        )
        self.branch4 = Sequential(
            MaxPool2d(3, stride=1, padding=1), conv_block(in_channels, pool_proj, 1)
        )
        self.out_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj

    def forward(self, x: Value) -> Value:
        """Concatenate the branches' channels."""
        return F.concat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)
