"""Blocks around depthwise convolutions: separable, inverted residual, MBConv, Fused-MBConv.

All take `padding` of their strided or depthwise convolution: `None` for ``kernel_size // 2`` on
every side, ``"same"`` for TensorFlow's.
"""

from __future__ import annotations

import functools

from fastconv.models.blocks.attention import SqueezeExcitation
from fastconv.models.blocks.conv import ConvNormActivation, Layer
from fastconv.nn import BatchNorm2d, Conv2d, Module, ReLU6, Sequential, SiLU
from fastconv.nn.convolution import Padding
from fastconv.nn.module import Value


def _swish_squeeze_excitation(input_channels: int, squeeze_channels: int) -> SqueezeExcitation:
    """Make EfficientNet's, which takes its own activation instead of ReLU."""
    return SqueezeExcitation(input_channels, squeeze_channels, activation=SiLU)


class DepthwiseSeparable(Module):
    """3x3 depthwise convolution, then 1x1, each with batch norm and ReLU6; named as in timm.

    A full convolution mixes space and channels at once; taking them one after the other costs about
    ``1 / kernel_size**2`` of it.

    Source: Howard et al., MobileNets (2017), section 3.1, figure 3 right, with the ReLU6 of the
    authors' code in place of ReLU.

    Parameters
    ----------
    in_chs, out_chs : int
        Channels of the input and of the output.
    stride : int
        Of the depthwise convolution.
    padding : optional
        Of the depthwise convolution; by default 1 on every side.
    norm_layer : callable
        Makes the normalisation from a number of channels.
    """

    input_ndim = 4

    def __init__(
        self,
        in_chs: int,
        out_chs: int,
        stride: int = 1,
        padding: Padding | None = None,
        norm_layer: Layer = BatchNorm2d,
    ) -> None:
        padding = 1 if padding is None else padding
        self.conv_dw = Conv2d(in_chs, in_chs, 3, stride, padding, groups=in_chs, bias=False)
        self.bn1 = norm_layer(in_chs)
        self.conv_pw = Conv2d(in_chs, out_chs, 1, bias=False)
        self.bn2 = norm_layer(out_chs)
        self.act = ReLU6()

    def forward(self, x: Value) -> Value:
        """Filter in space, then mix channels."""
        x = self.act(self.bn1(self.conv_dw(x)))
        return self.act(self.bn2(self.conv_pw(x)))


class InvertedResidual(Module):
    """1x1 expand, 3x3 depthwise, 1x1 project, the shortcut between the narrow ends.

    MobileNetV1's depthwise-separable stacks had no shortcuts, and ReLU on narrow features loses
    information: here the shortcut joins narrow tensors, which saves memory, and the projection is
    linear.

    Source: Sandler et al., MobileNetV2 (2018), sections 3.2 and 3.3, figure 3b, table 1.

    Parameters
    ----------
    inp, oup : int
        Channels of the input and of the output.
    stride : int
        Of the depthwise convolution; at 1, with ``inp == oup``, there is a shortcut.
    expand_ratio : int
        Channels of the depthwise convolution relative to `inp`; at 1 nothing is expanded.
    padding : optional
        Of the depthwise convolution; by default 1 on every side.
    norm_layer : callable
        Makes the normalisation from a number of channels.
    """

    input_ndim = 4

    def __init__(
        self,
        inp: int,
        oup: int,
        stride: int,
        expand_ratio: int,
        padding: Padding | None = None,
        norm_layer: Layer = BatchNorm2d,
    ) -> None:
        layer = functools.partial(ConvNormActivation, norm_layer=norm_layer, activation_layer=ReLU6)
        hidden = inp * expand_ratio
        self.conv = Sequential(
            *([layer(inp, hidden, 1)] if expand_ratio != 1 else []),
            layer(hidden, hidden, 3, stride, padding, groups=hidden),
            Conv2d(hidden, oup, 1, bias=False),
            norm_layer(oup),
        )
        self.use_res_connect = stride == 1 and inp == oup

    def forward(self, x: Value) -> Value:
        """Add the residual to the shortcut, where there is one."""
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class _LinearBottleneck(Module):
    """Layers, named `block`, and a shortcut where the shape stays."""

    input_ndim = 4

    def __init__(self, layers: list[Module], has_shortcut: bool) -> None:
        self.block = Sequential(*layers)
        self.use_res_connect = has_shortcut

    def forward(self, x: Value) -> Value:
        """Add the residual to the shortcut, where there is one."""
        return x + self.block(x) if self.use_res_connect else self.block(x)


class MBConv(_LinearBottleneck):
    """1x1 expand, depthwise, squeeze-and-excitation, 1x1 project, the shortcut between narrow ends.

    `InvertedResidual` has 3x3 kernels only and weighs all channels alike; architecture search found
    5x5 kernels and squeeze-and-excitation on the wide features worth their cost.

    Source: Tan et al., MnasNet (2018), figure 7; Howard et al., MobileNetV3 (2019), figure 4; Tan
    and Le, EfficientNet (2019), section 4. Submodules are named as in torchvision's EfficientNet
    and MobileNetV3.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    expanded_channels : int
        Channels of the depthwise convolution; with `in_channels` of them nothing is expanded.
    kernel_size, stride : int
        Of the depthwise convolution; at stride 1, with ``in_channels == out_channels``, there is a
        shortcut.
    squeeze_channels : int
        Narrow channels of the squeeze-and-excitation, 0 for none.
    padding : optional
        Of the depthwise convolution; by default ``kernel_size // 2`` on every side.
    norm_layer, activation_layer : callable
        Make the normalisation from a number of channels, and the activation.
    se_layer : callable
        Makes the squeeze-and-excitation from `expanded_channels` and `squeeze_channels`.

    Examples
    --------
    >>> from fastconv.models import blocks
    >>> block = blocks.MBConv(16, 24, 96, kernel_size=5, stride=2, squeeze_channels=4)
    >>> [type(layer).__name__ for layer in block.block]
    ['ConvNormActivation', 'ConvNormActivation', 'SqueezeExcitation', 'ConvNormActivation']
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expanded_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        squeeze_channels: int = 0,
        padding: Padding | None = None,
        norm_layer: Layer = BatchNorm2d,
        activation_layer: Layer = SiLU,
        se_layer: Layer = _swish_squeeze_excitation,
    ) -> None:
        layer = functools.partial(ConvNormActivation, norm_layer=norm_layer)
        wide, act = expanded_channels, activation_layer
        layers: list[Module] = []
        if wide != in_channels:
            layers.append(layer(in_channels, wide, 1, activation_layer=act))
        layers.append(
            layer(wide, wide, kernel_size, stride, padding, groups=wide, activation_layer=act)
        )
        if squeeze_channels:
            layers.append(se_layer(wide, squeeze_channels))
        layers.append(layer(wide, out_channels, 1, activation_layer=None))
        super().__init__(layers, has_shortcut=stride == 1 and in_channels == out_channels)


class FusedMBConv(_LinearBottleneck):
    """`MBConv` whose expansion and depthwise convolution are one full convolution.

    A depthwise convolution does little arithmetic per byte: in the first stages, where channels are
    few and images large, `MBConv` is slower than the full convolution it saves.

    Source: Tan and Le, EfficientNetV2 (2021), figure 2 and section 3.2. Submodules are named as in
    torchvision.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    expanded_channels : int
        Channels of the full convolution; with `in_channels` of them there is no projection, and the
        convolution gives the output.
    kernel_size, stride : int
        Of the full convolution; at stride 1, with ``in_channels == out_channels``, there is a
        shortcut.
    squeeze_channels, padding, norm_layer, activation_layer, se_layer
        As in `MBConv`; squeeze-and-excitation comes right before the last convolution.

    Examples
    --------
    >>> from fastconv.models import blocks
    >>> [len(blocks.FusedMBConv(24, 48, expanded).block) for expanded in (24, 96)]
    [1, 2]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expanded_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        squeeze_channels: int = 0,
        padding: Padding | None = None,
        norm_layer: Layer = BatchNorm2d,
        activation_layer: Layer = SiLU,
        se_layer: Layer = _swish_squeeze_excitation,
    ) -> None:
        layer = functools.partial(ConvNormActivation, norm_layer=norm_layer)
        expand = expanded_channels != in_channels
        full = expanded_channels if expand else out_channels
        layers: list[Module] = [
            layer(
                in_channels, full, kernel_size, stride, padding, activation_layer=activation_layer
            )
        ]
        if expand:
            layers.append(layer(full, out_channels, 1, activation_layer=None))
        if squeeze_channels:
            layers.insert(-1, se_layer(expanded_channels, squeeze_channels))
        super().__init__(layers, has_shortcut=stride == 1 and in_channels == out_channels)
