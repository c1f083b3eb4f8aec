"""Blocks: the repeated units of published networks, one small class each.

Each says what it adds to the block before it. Submodules are named as in torchvision, or as in timm
where torchvision lacks the block.
"""

from __future__ import annotations

from collections.abc import Callable

from fastconv import ops as F
from fastconv.nn import init
from fastconv.nn.activations import GELU, Identity, ReLU, ReLU6, Sigmoid, StochasticDepth
from fastconv.nn.containers import Sequential
from fastconv.nn.layers import BatchNorm2d, Conv2d, LayerNorm, Linear, Padding
from fastconv.nn.module import Module, Value
from fastconv.nn.shaping import AdaptiveAvgPool2d, Permute

Layer = Callable[..., Module]


class ConvNormActivation(Sequential):
    """Convolution, normalisation, activation.

    AlexNet's layers had no normalisation: batch norm after each convolution allows larger steps
    and deeper networks, and costs nothing at inference, where it is folded into the weights.

    Source: Ioffe and Szegedy, Batch Normalization (2015), section 3.2.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, groups, dilation
        Of the convolution.
    padding : optional
        Of the convolution; by default ``(kernel_size - 1) // 2 * dilation``, which keeps the size
        at stride 1.
    norm_layer, activation_layer : callable or None
        Make the normalisation from a number of channels, and the activation; `None` leaves it out.
    bias : bool, optional
        By default only where there is no normalisation.

    Examples
    --------
    >>> from fastconv import nn
    >>> [type(m).__name__ for m in nn.ConvNormActivation(3, 32, stride=2)]
    ['Conv2d', 'BatchNorm2d', 'ReLU']
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: Padding | None = None,
        groups: int = 1,
        norm_layer: Layer | None = BatchNorm2d,
        activation_layer: Layer | None = ReLU,
        dilation: int = 1,
        bias: bool | None = None,
    ) -> None:
        if padding is None:
            padding = (kernel_size - 1) // 2 * dilation
        if bias is None:
            bias = norm_layer is None
        layers: list[Module] = [
            Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        ]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer())
        super().__init__(*layers)


class BasicBlock(Module):
    """Two 3x3 convolutions and a shortcut: the residual block of ResNet-18 and -34.

    Plain stacks get worse with depth, even on the training set. Learning the difference from the
    identity instead keeps them trainable.

    Source: He et al., Deep Residual Learning (2015), figure 5 left.

    Parameters
    ----------
    inplanes, planes : int
        Channels of the input and of the output.
    stride : int
        Of the first convolution.
    downsample : Module, optional
        Brings the shortcut to the output's shape where it differs.
    groups, base_width : int
        Only 1 and 64.
    """

    expansion = 1
    input_ndim = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: Module | None = None,
        groups: int = 1,
        base_width: int = 64,
    ) -> None:
        if groups != 1 or base_width != 64:
            raise ValueError(
                f"BasicBlock has groups=1 and base_width=64 only, got groups={groups}, "
                f"base_width={base_width}: use Bottleneck"
            )
        self.conv1 = Conv2d(inplanes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(planes)
        self.relu = ReLU()
        self.conv2 = Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Value) -> Value:
        """Add the residual to the shortcut."""
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + identity)


class Bottleneck(Module):
    """1x1 reduce, 3x3, 1x1 expand and a shortcut: the residual block of ResNet-50 and deeper.

    `BasicBlock` spends 3x3 work on all channels; here the 3x3 convolution sees a quarter of the
    output's. The stride sits on the 3x3 convolution, as in torchvision ("ResNet v1.5").

    Source: He et al., Deep Residual Learning (2015), figure 5 right. With `groups` (cardinality) it
    is ResNeXt's: Xie et al., Aggregated Residual Transformations (2016), figure 3c. With a larger
    `base_width`: Zagoruyko and Komodakis, Wide Residual Networks (2016).

    Parameters
    ----------
    inplanes : int
        Channels of the input.
    planes : int
        A quarter of the channels of the output.
    stride : int
        Of the 3x3 convolution.
    downsample : Module, optional
        Brings the shortcut to the output's shape where it differs.
    groups, base_width : int
        The 3x3 convolution has ``planes * base_width / 64 * groups`` channels in `groups` groups.
    """

    expansion = 4
    input_ndim = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: Module | None = None,
        groups: int = 1,
        base_width: int = 64,
    ) -> None:
        width = planes * base_width // 64 * groups
        self.conv1 = Conv2d(inplanes, width, 1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = Conv2d(width, planes * self.expansion, 1, bias=False)
        self.bn3 = BatchNorm2d(planes * self.expansion)
        self.relu = ReLU()
        self.downsample = downsample

    def forward(self, x: Value) -> Value:
        """Add the residual to the shortcut."""
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + identity)


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


class SqueezeExcitation(Module):
    """Scale each channel by a weight computed from all channels' means.

    A convolution sees a window only: here each channel's weight depends on the whole image.

    Source: Hu et al., Squeeze-and-Excitation Networks (2017), figure 1.

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


class CNBlock(Module):
    """7x7 depthwise, layer norm, 1x1 expand, GELU, 1x1 project, and a shortcut.

    ResNet's bottleneck rebuilt as a transformer's block: large windows for space, then an MLP over
    channels; one normalisation and one activation per block instead of three each.

    Source: Liu et al., A ConvNet for the 2020s (2022), figure 4.

    Parameters
    ----------
    dim : int
        Channels.
    layer_scale : float
        Initial value of the learned scale of the residual, one per channel.
    stochastic_depth_prob : float
        Of training.
    """

    input_ndim = 4

    def __init__(
        self, dim: int, layer_scale: float = 1e-6, stochastic_depth_prob: float = 0.0
    ) -> None:
        self.block = Sequential(
            Conv2d(dim, dim, 7, padding=3, groups=dim),
            Permute((0, 2, 3, 1)),
            LayerNorm(dim, eps=1e-6),
            Linear(dim, 4 * dim),
            GELU(),
            Linear(4 * dim, dim),
            Permute((0, 3, 1, 2)),
        )
        self.layer_scale = init.constant((dim, 1, 1), layer_scale)
        self.stochastic_depth = (
            StochasticDepth(stochastic_depth_prob) if stochastic_depth_prob else Identity()
        )

    def forward(self, x: Value) -> Value:
        """Add the scaled residual to the shortcut."""
        return x + self.stochastic_depth(self.block(x) * self.layer_scale)
