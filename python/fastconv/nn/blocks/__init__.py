"""Blocks: the repeated units of published networks, one small class each.

Each says what it adds to the block before it. Submodules are named as in torchvision, or as in timm
where torchvision lacks the block.
"""

from fastconv.nn.blocks.attention import SqueezeExcitation as SqueezeExcitation
from fastconv.nn.blocks.conv import ConvNormActivation as ConvNormActivation
from fastconv.nn.blocks.convnext import CNBlock as CNBlock
from fastconv.nn.blocks.dense import DenseBlock as DenseBlock
from fastconv.nn.blocks.dense import DenseLayer as DenseLayer
from fastconv.nn.blocks.dense import Transition as Transition
from fastconv.nn.blocks.fire import Fire as Fire
from fastconv.nn.blocks.inception import BasicConv2d as BasicConv2d
from fastconv.nn.blocks.inception import InceptionBlock as InceptionBlock
from fastconv.nn.blocks.inception_v3 import InceptionA as InceptionA
from fastconv.nn.blocks.inception_v3 import InceptionB as InceptionB
from fastconv.nn.blocks.inception_v3 import InceptionC as InceptionC
from fastconv.nn.blocks.inception_v3 import InceptionD as InceptionD
from fastconv.nn.blocks.inception_v3 import InceptionE as InceptionE
from fastconv.nn.blocks.mobile import DepthwiseSeparable as DepthwiseSeparable
from fastconv.nn.blocks.mobile import FusedMBConv as FusedMBConv
from fastconv.nn.blocks.mobile import InvertedResidual as InvertedResidual
from fastconv.nn.blocks.mobile import MBConv as MBConv
from fastconv.nn.blocks.regnet import ResBottleneckBlock as ResBottleneckBlock
from fastconv.nn.blocks.residual import BasicBlock as BasicBlock
from fastconv.nn.blocks.residual import Bottleneck as Bottleneck
from fastconv.nn.blocks.residual import PaddedShortcut as PaddedShortcut
from fastconv.nn.blocks.shuffle import ShuffleUnit as ShuffleUnit
