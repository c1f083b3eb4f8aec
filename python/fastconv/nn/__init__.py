"""Modules: the layers and blocks that networks are made of, under torch's names.

Examples
--------
>>> import numpy as np
>>> from fastconv import nn
>>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
>>> net(np.zeros((1, 3, 32, 32), np.float32)).shape
(1, 8, 32, 32)
"""

from fastconv.nn import blocks, init
from fastconv.nn.activations import (
    GELU,
    Dropout,
    Dropout2d,
    Hardsigmoid,
    Hardswish,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    StochasticDepth,
    Tanh,
)
from fastconv.nn.blocks import (
    BasicBlock,
    BasicConv2d,
    Bottleneck,
    CNBlock,
    ConvNormActivation,
    DepthwiseSeparable,
    InceptionA,
    InceptionB,
    InceptionBlock,
    InceptionC,
    InceptionD,
    InceptionE,
    InvertedResidual,
    MBConv,
    ShuffleUnit,
    SqueezeExcitation,
)
from fastconv.nn.containers import ModuleList, Sequential
from fastconv.nn.layers import (
    BatchNorm2d,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    LayerNorm,
    LayerNorm2d,
    Linear,
    LocalResponseNorm,
)
from fastconv.nn.module import Module
from fastconv.nn.shaping import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    ChannelShuffle,
    Flatten,
    MaxPool2d,
    Permute,
    PixelShuffle,
    Upsample,
    ZeroPad2d,
)

__all__ = [
    "GELU",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BasicBlock",
    "BasicConv2d",
    "BatchNorm2d",
    "Bottleneck",
    "CNBlock",
    "ChannelShuffle",
    "Conv1d",
    "Conv2d",
    "ConvNormActivation",
    "ConvTranspose2d",
    "DepthwiseSeparable",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "InceptionA",
    "InceptionB",
    "InceptionBlock",
    "InceptionC",
    "InceptionD",
    "InceptionE",
    "InvertedResidual",
    "LayerNorm",
    "LayerNorm2d",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MBConv",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "Permute",
    "PixelShuffle",
    "ReLU",
    "ReLU6",
    "Sequential",
    "ShuffleUnit",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SqueezeExcitation",
    "StochasticDepth",
    "Tanh",
    "Upsample",
    "ZeroPad2d",
    "blocks",
    "init",
]
