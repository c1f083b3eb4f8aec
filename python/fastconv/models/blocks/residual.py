"""Residual blocks: learn the difference from the identity."""

from __future__ import annotations

from fastconv import ops as F
from fastconv.models.blocks.conv import Layer
from fastconv.nn import BatchNorm2d, Conv2d, Module, ReLU
from fastconv.nn.module import Value


class PaddedShortcut(Module):
    """Every `stride`-th pixel, and channels of zeros behind those of the input: option A.

    The identity cannot join tensors of two shapes. This shortcut bridges them without parameters;
    the projection of option B, a 1x1 convolution, learns how, at some cost.

    Source: He et al., Deep Residual Learning (2015), section 3.3 and section 4.1 ("option A").

    Parameters
    ----------
    inplanes, planes : int
        Channels of the input and of the output.
    stride : int
        Distance of the pixels that are kept.

    Raises
    ------
    ValueError
        If the output has fewer channels than the input.
    """

    input_ndim = 4

    def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
        if planes < inplanes:
            raise ValueError(
                f"planes must be at least inplanes, got {planes} < {inplanes}: zeros can be added, "
                f"but no channels taken away; use a projection (option B)"
            )
        self.extra = planes - inplanes
        self.stride = stride

    def forward(self, x: Value) -> Value:
        """Subsample and pad."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))

    def extra_repr(self) -> str:
        """Return what is added and left out."""
        return f"extra={self.extra}, stride={self.stride}"


class BasicBlock(Module):
    """Two 3x3 convolutions and a shortcut: the residual block of ResNet-18 and -34.

    Plain stacks get worse with depth, even on the training set. Learning the difference from the
    identity instead keeps them trainable.

    Source: He et al., Deep Residual Learning (2015), section 3.2, figure 5 left.

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
    stride_in_1x1 : bool
        Only False: there is no 1x1 convolution.
    norm_layer : callable
        Makes the normalisation from a number of channels.
    se_layer : callable, optional
        Makes squeeze-and-excitation, at the end of the residual, from a number of channels.

    Raises
    ------
    ValueError
        If `groups`, `base_width` or `stride_in_1x1` is another one.
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
        stride_in_1x1: bool = False,
        norm_layer: Layer = BatchNorm2d,
        se_layer: Layer | None = None,
    ) -> None:
        if groups != 1 or base_width != 64 or stride_in_1x1:
            raise ValueError(
                f"BasicBlock has groups=1, base_width=64 and stride_in_1x1=False only, got "
                f"groups={groups}, base_width={base_width}, stride_in_1x1={stride_in_1x1}: use "
                f"Bottleneck (ResNet-50 and deeper)"
            )
        self.conv1 = Conv2d(inplanes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = norm_layer(planes)
        self.relu = ReLU()
        self.conv2 = Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = norm_layer(planes)
        self.se = None if se_layer is None else se_layer(planes)
        self.downsample = downsample

    def forward(self, x: Value) -> Value:
        """Add the residual to the shortcut."""
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = out if self.se is None else self.se(out)
        return self.relu(out + identity)


class Bottleneck(Module):
    """1x1 reduce, 3x3, 1x1 expand and a shortcut: the residual block of ResNet-50 and deeper.

    `BasicBlock` spends 3x3 work on all channels; here the 3x3 convolution sees a quarter of the
    output's. The stride sits on the 3x3 convolution, as in torchvision ("ResNet v1.5"); the paper
    has it on the first 1x1 (`stride_in_1x1`), which leaves three of four pixels unseen there.

    With `groups` (cardinality) it is ResNeXt's block: channels that look around in groups cost
    less, so there can be more of them. With a larger `base_width` it is that of Wide ResNets, which
    need fewer layers for the same result. With `se_layer` it is SE-ResNet's.

    Source: He et al., Deep Residual Learning (2015), section 4.1, figure 5 right; Xie et al.,
    Aggregated Residual Transformations (2016), section 3.3, figure 3c; Zagoruyko and Komodakis,
    Wide Residual Networks (2016), section 2; Hu et al., Squeeze-and-Excitation Networks (2017),
    section 3, figure 3.

    Parameters
    ----------
    inplanes : int
        Channels of the input.
    planes : int
        A quarter of the channels of the output.
    stride : int
        Of the 3x3 convolution, or of the first 1x1.
    downsample : Module, optional
        Brings the shortcut to the output's shape where it differs.
    groups, base_width : int
        The 3x3 convolution has ``planes * base_width / 64 * groups`` channels in `groups` groups.
    stride_in_1x1 : bool
        Whether the stride is that of the first 1x1 convolution.
    norm_layer : callable
        Makes the normalisation from a number of channels.
    se_layer : callable, optional
        Makes squeeze-and-excitation, at the end of the residual, from a number of channels.
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
        stride_in_1x1: bool = False,
        norm_layer: Layer = BatchNorm2d,
        se_layer: Layer | None = None,
    ) -> None:
        width = planes * base_width // 64 * groups
        strides = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = Conv2d(inplanes, width, 1, strides[0], bias=False)
        self.bn1 = norm_layer(width)
        self.conv2 = Conv2d(width, width, 3, strides[1], padding=1, groups=groups, bias=False)
        self.bn2 = norm_layer(width)
        self.conv3 = Conv2d(width, planes * self.expansion, 1, bias=False)
        self.bn3 = norm_layer(planes * self.expansion)
        self.se = None if se_layer is None else se_layer(planes * self.expansion)
        self.relu = ReLU()
        self.downsample = downsample

    def forward(self, x: Value) -> Value:
        """Add the residual to the shortcut."""
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = out if self.se is None else self.se(out)
        return self.relu(out + identity)
