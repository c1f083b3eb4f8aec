"""Blocks: the repeated units of published networks, one small class each.

Each says what it adds to the block before it. Submodules are named as in torchvision, or as in timm
where torchvision lacks the block.
"""

from fastconv.models.blocks.attention import SqueezeExcitation as SqueezeExcitation
from fastconv.models.blocks.conv import ConvNormActivation as ConvNormActivation
from fastconv.models.blocks.convnext import CNBlock as CNBlock
from fastconv.models.blocks.dense import DenseBlock as DenseBlock
from fastconv.models.blocks.dense import DenseLayer as DenseLayer
from fastconv.models.blocks.dense import Transition as Transition
from fastconv.models.blocks.fire import Fire as Fire
from fastconv.models.blocks.inception import BasicConv2d as BasicConv2d
from fastconv.models.blocks.inception import InceptionBlock as InceptionBlock
from fastconv.models.blocks.inception_v3 import InceptionA as InceptionA
from fastconv.models.blocks.inception_v3 import InceptionB as InceptionB
from fastconv.models.blocks.inception_v3 import InceptionC as InceptionC
from fastconv.models.blocks.inception_v3 import InceptionD as InceptionD
from fastconv.models.blocks.inception_v3 import InceptionE as InceptionE
from fastconv.models.blocks.mobile import DepthwiseSeparable as DepthwiseSeparable
from fastconv.models.blocks.mobile import FusedMBConv as FusedMBConv
from fastconv.models.blocks.mobile import InvertedResidual as InvertedResidual
from fastconv.models.blocks.mobile import MBConv as MBConv
from fastconv.models.blocks.regnet import ResBottleneckBlock as ResBottleneckBlock
from fastconv.models.blocks.residual import BasicBlock as BasicBlock
from fastconv.models.blocks.residual import Bottleneck as Bottleneck
from fastconv.models.blocks.residual import PaddedShortcut as PaddedShortcut
from fastconv.models.blocks.shuffle import ShuffleUnit as ShuffleUnit
