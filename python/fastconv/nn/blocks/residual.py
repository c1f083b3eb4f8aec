"""Residual blocks: learn the difference from the identity."""

from __future__ import annotations

from fastconv.nn.activations import ReLU
from fastconv.nn.layers import BatchNorm2d, Conv2d
from fastconv.nn.module import Module, Value


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
