"""The blocks of Inception v3: large kernels factorised into small ones.

`InceptionBlock` spends much of its work on 5x5 kernels. Two 3x3 see the same window at 18/25 of the
cost (`InceptionA`), a 1x7 and a 7x1 that of a 7x7 at 2/7 (`InceptionC`), and where the size is
halved, strided convolutions and a pool run side by side, so that neither is the bottleneck
(`InceptionB`, `InceptionD`).

Source: Szegedy et al., Rethinking the Inception Architecture (2015), sections 3 and 5, with names
and details (the 5x5 that remains in `InceptionA`) as in torchvision.
"""

from __future__ import annotations

from fastconv import ops as F
from fastconv.models.blocks.inception import BasicConv2d
from fastconv.nn import AvgPool2d, MaxPool2d, Module
from fastconv.nn.module import Value


class InceptionA(Module):
    """1x1, 5x5, two 3x3 in a row, and pooling, for the 35x35 maps.

    `InceptionBlock` had one 3x3 in its second branch; two see 5x5 pixels, with a ReLU between.

    Source: Szegedy et al., Rethinking the Inception Architecture (2015), section 3.1, figure 5.

    Parameters
    ----------
    in_channels : int
        Channels of the input; the output has ``224 + pool_features``.
    pool_features : int
        Outputs of the branch that pools.
    """

    input_ndim = 4

    def __init__(self, in_channels: int, pool_features: int) -> None:
        self.branch1x1 = BasicConv2d(in_channels, 64, 1)
        self.branch5x5_1 = BasicConv2d(in_channels, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.avgpool = AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv2d(in_channels, pool_features, 1)

    def forward(self, x: Value) -> Value:
        """Concatenate the branches' channels."""
        branch1x1 = self.branch1x1(x)
        branch5x5 = self.branch5x5_2(self.branch5x5_1(x))
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        branch_pool = self.branch_pool(self.avgpool(x))
        return F.concat([branch1x1, branch5x5, branch3x3dbl, branch_pool], 1)


class InceptionB(Module):
    """Strided 3x3, strided pair of 3x3, and pooling: from 35x35 to 17x17.

    Pooling before more channels loses information, pooling after them costs three times as much:
    convolutions beside the pool do neither.

    Source: Szegedy et al., Rethinking the Inception Architecture (2015), section 5, figure 10.

    Parameters
    ----------
    in_channels : int
        Channels of the input; the output has 480 more.
    """

    input_ndim = 4

    def __init__(self, in_channels: int) -> None:
        self.branch3x3 = BasicConv2d(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, stride=2)
        self.maxpool = MaxPool2d(3, stride=2)

    def forward(self, x: Value) -> Value:
        """Concatenate the branches' channels."""
        branch3x3 = self.branch3x3(x)
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return F.concat([branch3x3, branch3x3dbl, self.maxpool(x)], 1)


class InceptionC(Module):
    """1x1, a factorised 7x7, two of them in a row, and pooling, for the 17x17 maps.

    A 7x7 kernel would cost 49 products per pixel and channel: 1x7 and 7x1 cost 14, and a 1x1
    before them keeps their channels few, as in `InceptionBlock`.

    Source: Szegedy et al., Rethinking the Inception Architecture (2015), section 3.2, figure 6.

    Parameters
    ----------
    in_channels : int
        Channels of the input; the output has 768.
    channels_7x7 : int
        Channels between the factors.
    """

    input_ndim = 4

    def __init__(self, in_channels: int, channels_7x7: int) -> None:
        c7 = channels_7x7
        self.branch1x1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7_1 = BasicConv2d(in_channels, c7, 1)
        self.branch7x7_2 = BasicConv2d(c7, c7, (1, 7), padding=(0, 3))
        self.branch7x7_3 = BasicConv2d(c7, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = BasicConv2d(in_channels, c7, 1)
        self.branch7x7dbl_2 = BasicConv2d(c7, c7, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = BasicConv2d(c7, c7, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = BasicConv2d(c7, c7, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = BasicConv2d(c7, 192, (1, 7), padding=(0, 3))
        self.avgpool = AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv2d(in_channels, 192, 1)

    def forward(self, x: Value) -> Value:
        """Concatenate the branches' channels."""
        branch1x1 = self.branch1x1(x)
        branch7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        branch7x7dbl = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branch7x7dbl = self.branch7x7dbl_5(self.branch7x7dbl_4(branch7x7dbl))
        branch_pool = self.branch_pool(self.avgpool(x))
        return F.concat([branch1x1, branch7x7, branch7x7dbl, branch_pool], 1)


class InceptionD(Module):
    """Strided 3x3, a factorised 7x7 with a strided 3x3, and pooling: from 17x17 to 8x8.

    `InceptionB` for more channels: 1x1 convolutions reduce them in both branches first.

    Source: Szegedy et al., Rethinking the Inception Architecture (2015), section 5, figure 10.

    Parameters
    ----------
    in_channels : int
        Channels of the input; the output has 512 more.
    """

    input_ndim = 4

    def __init__(self, in_channels: int) -> None:
        self.branch3x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, stride=2)
        self.maxpool = MaxPool2d(3, stride=2)

    def forward(self, x: Value) -> Value:
        """Concatenate the branches' channels."""
        branch3x3 = self.branch3x3_2(self.branch3x3_1(x))
        branch7x7x3 = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return F.concat([branch3x3, self.branch7x7x3_4(branch7x7x3), self.maxpool(x)], 1)


class InceptionE(Module):
    """1x1, 3x3 split in two, two 3x3 with the last split, and pooling, for the 8x8 maps.

    `InceptionC` puts 1x7 and 7x1 one after the other; here 1x3 and 3x1 stand side by side, which
    gives more features where maps are smallest.

    Source: Szegedy et al., Rethinking the Inception Architecture (2015), figure 7, by the second
    principle of section 2.

    Parameters
    ----------
    in_channels : int
        Channels of the input; the output has 2048.
    """

    input_ndim = 4

    def __init__(self, in_channels: int) -> None:
        self.branch1x1 = BasicConv2d(in_channels, 320, 1)
        self.branch3x3_1 = BasicConv2d(in_channels, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.avgpool = AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv2d(in_channels, 192, 1)

    def forward(self, x: Value) -> Value:
        """Concatenate the branches' channels."""
        branch3x3 = self.branch3x3_1(x)
        branch3x3dbl = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(branch3x3),
            self.branch3x3_2b(branch3x3),
            self.branch3x3dbl_3a(branch3x3dbl),
            self.branch3x3dbl_3b(branch3x3dbl),
            self.branch_pool(self.avgpool(x)),
        ]
        return F.concat(branches, 1)
