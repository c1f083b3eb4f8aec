"""Modules: the layers that networks are made of, under torch's names.

Examples
--------
>>> import numpy as np
>>> from fastconv import nn
>>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
>>> net(np.zeros((1, 3, 32, 32), np.float32)).shape
(1, 8, 32, 32)
"""

from typing import TYPE_CHECKING, NoReturn

from fastconv.nn import activations, init, rectifiers
from fastconv.nn.activations import *
from fastconv.nn.containers import ModuleDict, ModuleList, Sequential
from fastconv.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d
from fastconv.nn.convolution import Conv1d, Conv2d, Conv3d
from fastconv.nn.grouped import GroupNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from fastconv.nn.linear import Linear
from fastconv.nn.module import Module
from fastconv.nn.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    LayerNorm,
    LayerNorm2d,
    LocalResponseNorm,
)
from fastconv.nn.padding import (
    CircularPad1d,
    CircularPad2d,
    CircularPad3d,
    ConstantPad1d,
    ConstantPad2d,
    ConstantPad3d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReflectionPad3d,
    ReplicationPad1d,
    ReplicationPad2d,
    ReplicationPad3d,
    ZeroPad1d,
    ZeroPad2d,
    ZeroPad3d,
)
from fastconv.nn.parameters import ParameterDict, ParameterList
from fastconv.nn.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    LPPool1d,
    LPPool2d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from fastconv.nn.rectifiers import *
from fastconv.nn.shaping import (
    ChannelShuffle,
    Flatten,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Unflatten,
    Upsample,
    UpsamplingBilinear2d,
    UpsamplingNearest2d,
)

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "ChannelShuffle",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Flatten",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LPPool1d",
    "LPPool2d",
    "LayerNorm",
    "LayerNorm2d",
    "Linear",
    "LocalResponseNorm",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "ParameterDict",
    "ParameterList",
    "Permute",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "Sequential",
    "Unflatten",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
    "init",
    *activations.__all__,
    *rectifiers.__all__,
]

_SUBSTITUTES = {
    "functional": "fastconv.ops: import fastconv.ops as F",
    "Parameter": "the array itself: self.weight = array",
    "Buffer": "self.register_buffer(name, array)",
    "AdaptiveAvgPool3d": "fastconv.mean(x, (-3, -2, -1), keepdims=True), for the output size 1",
    "AdaptiveMaxPool3d": "fastconv.max(x, (-3, -2, -1), keepdims=True), for the output size 1",
    "ConvTranspose3d": "nn.ConvTranspose2d for each slice, if the kernel has depth 1",
    "LPPool3d": "nn.LPPool2d for each slice, if the window has depth 1",
    "SyncBatchNorm": "nn.BatchNorm2d, which has the same state",
    **{
        f"Lazy{kind}": f"nn.{kind} with its {size}"
        for size, kinds in {
            "in_channels": ("Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"),
            "num_features": (
                *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"),
                *("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"),
            ),
        }.items()
        for kind in kinds
    },
    "LazyLinear": "nn.Linear with its in_features",
    "DataParallel": "the module itself: calls use all threads of fastconv.set_num_threads(n)",
}


if not TYPE_CHECKING:  # types are those of __all__

    def __getattr__(name: str) -> NoReturn:
        hint = _SUBSTITUTES.get(name, "fastconv.ops in a Module of your own, or fastconv.onnx.load")
        raise AttributeError(f"module 'fastconv.nn' has no attribute {name!r}: use {hint}")
