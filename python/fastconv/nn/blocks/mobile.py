"""Blocks around depthwise convolutions: separable, inverted residual, MBConv."""

from __future__ import annotations

from fastconv.nn.activations import ReLU6
from fastconv.nn.blocks.conv import ConvNormActivation, Layer
from fastconv.nn.containers import Sequential
from fastconv.nn.layers import BatchNorm2d, Conv2d, Padding
from fastconv.nn.module import Module, Value


class DepthwiseSeparable(Module):
    """Depthwise convolution, then 1x1: the first block of the EfficientNets.

    A full convolution mixes space and channels at once; taking them one after the other costs about
    ``1 / kernel_size**2`` of it.

    Source: Howard et al., MobileNets (2017), figure 3 right; here without activation at the end and
    with a shortcut, as in timm.

    Parameters
    ----------
    in_chs, out_chs, kernel_size, stride, padding
        Of the block; padding of the depthwise convolution.
    act_layer, norm_layer : callable
        Make the activation and, from a number of channels, the normalisation.
    """

    input_ndim = 4

    def __init__(
        self,
        in_chs: int,
        out_chs: int,
        kernel_size: int,
        stride: int,
        padding: Padding,
        act_layer: Layer = ReLU6,
        norm_layer: Layer = BatchNorm2d,
    ) -> None:
        self.conv_dw = Conv2d(
            in_chs, in_chs, kernel_size, stride, padding, groups=in_chs, bias=False
        )
        self.bn1 = norm_layer(in_chs)
        self.act = act_layer()
        self.conv_pw = Conv2d(in_chs, out_chs, 1, bias=False)
        self.bn2 = norm_layer(out_chs)
        self.has_skip = stride == 1 and in_chs == out_chs

    def forward(self, x: Value) -> Value:
        """Add the residual to the shortcut, where there is one."""
        out = self.act(self.bn1(self.conv_dw(x)))
        out = self.bn2(self.conv_pw(out))
        return out + x if self.has_skip else out


class InvertedResidual(Module):
    """1x1 expand, 3x3 depthwise, 1x1 project, the shortcut between the narrow ends.

    MobileNetV1's depthwise-separable stacks had no shortcuts, and ReLU on narrow features loses
    information: here the shortcut joins narrow tensors, which saves memory, and the projection is
    linear.

    Source: Sandler et al., MobileNetV2 (2018), figure 3b and table 1.

    Parameters
    ----------
    inp, oup : int
        Channels of the input and of the output.
    stride : int
        Of the depthwise convolution; at 1, with ``inp == oup``, there is a shortcut.
    expand_ratio : int
        Channels of the depthwise convolution relative to `inp`; at 1 nothing is expanded.
    """

    input_ndim = 4

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: int) -> None:
        hidden = inp * expand_ratio
        layers: list[Module] = []
        if expand_ratio != 1:
            layers.append(ConvNormActivation(inp, hidden, 1, activation_layer=ReLU6))
        layers += [
            ConvNormActivation(hidden, hidden, 3, stride, groups=hidden, activation_layer=ReLU6),
            Conv2d(hidden, oup, 1, bias=False),
            BatchNorm2d(oup),
        ]
        self.use_res_connect = stride == 1 and inp == oup
        self.conv = Sequential(*layers)

    def forward(self, x: Value) -> Value:
        """Add the residual to the shortcut, where there is one."""
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MBConv(Module):
    """Inverted residual of any kernel size: the block of EfficientNet-Lite, named as in timm.

    `InvertedResidual` has 3x3 kernels only; architecture search found 5x5 ones worth their cost.
    The Lite networks leave out squeeze-and-excitation and take ReLU6 instead of swish, because
    both quantise badly.

    Source: Tan et al., MnasNet (2018), figure 7; Tan and Le, EfficientNet (2019), section 4.

    Parameters
    ----------
    in_chs, out_chs, kernel_size, stride, padding
        Of the block; padding of the depthwise convolution.
    exp_ratio : int
        Channels of the depthwise convolution relative to `in_chs`.
    act_layer, norm_layer : callable
        Make the activation and, from a number of channels, the normalisation.
    """

    input_ndim = 4

    def __init__(
        self,
        in_chs: int,
        out_chs: int,
        kernel_size: int,
        stride: int,
        padding: Padding,
        exp_ratio: int = 6,
        act_layer: Layer = ReLU6,
        norm_layer: Layer = BatchNorm2d,
    ) -> None:
        mid = in_chs * exp_ratio
        self.conv_pw = Conv2d(in_chs, mid, 1, bias=False)
        self.bn1 = norm_layer(mid)
        self.act = act_layer()
        self.conv_dw = Conv2d(mid, mid, kernel_size, stride, padding, groups=mid, bias=False)
        self.bn2 = norm_layer(mid)
        self.conv_pwl = Conv2d(mid, out_chs, 1, bias=False)
        self.bn3 = norm_layer(out_chs)
        self.has_skip = stride == 1 and in_chs == out_chs

    def forward(self, x: Value) -> Value:
        """Add the residual to the shortcut, where there is one."""
        out = self.act(self.bn1(self.conv_pw(x)))
        out = self.act(self.bn2(self.conv_dw(out)))
        out = self.bn3(self.conv_pwl(out))
        return out + x if self.has_skip else out
