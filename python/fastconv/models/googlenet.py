"""GoogLeNet: Inception v1, as in torchvision and as published in 2014."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from fastconv import nn
from fastconv import ops as F
from fastconv._arguments import as_bool
from fastconv.models._inception import InceptionClassifier
from fastconv.models._registry import register_model
from fastconv.models.blocks import BasicConv2d, InceptionBlock
from fastconv.models.blocks.conv import Layer
from fastconv.nn.module import Module, Value

__all__ = ["GoogLeNet", "googlenet"]

PAPER = "Szegedy et al., Going Deeper with Convolutions (2014), arXiv:1409.4842"


class Variant(NamedTuple):
    """In what the two networks of this name differ."""

    conv_block: Layer
    norm_layer: Layer  # after the first pool and after the third convolution
    branch3_kernel_size: int
    maxpool4_kernel_size: int


VARIANTS = {
    "torchvision": Variant(BasicConv2d, nn.Identity, 3, 2),
    "2014": Variant(
        conv_block=functools.partial(BasicConv2d, norm_layer=None),
        norm_layer=functools.partial(nn.LocalResponseNorm, 5, alpha=1e-4, beta=0.75),
        branch3_kernel_size=5,
        maxpool4_kernel_size=3,
    ),
}


class InceptionAux(Module):
    """A classifier on a map in the middle, which brings gradients there in training.

    Source: Szegedy et al., Going Deeper with Convolutions (2014), section 5; as in torchvision, the
    map is averaged to 4x4, which for 224x224 images differs little from the paper's 5x5 windows.
    """

    input_ndim = 4

    def __init__(self, in_channels: int, num_classes: int, conv_block: Layer) -> None:
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.conv = conv_block(in_channels, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Value) -> Value:
        """Classify."""
        x = F.flatten(self.conv(self.avgpool(x)), 1)
        return self.fc2(self.dropout(self.relu(self.fc1(x))))


class GoogLeNet(InceptionClassifier):
    """Three convolutions, nine Inception blocks, global mean, classifier; named as in torchvision.

    torchvision's network, the default, is not the paper's: its convolutions have batch norm instead
    of bias and local response normalisation, the third branch of each block a 3x3 kernel instead of
    the 5x5, and the last pool a 2x2 window instead of 3x3. ``variant="2014"`` is the paper's, with
    the same names, ``conv.bias`` in place of ``bn.*``; the details that the paper leaves open
    (size, alpha and beta of the normalisation) are those of Caffe's ``bvlc_googlenet``, whose
    weights expect more than the names: images of 0 to 255 less their mean, blue first.

    Source: Szegedy et al., Going Deeper with Convolutions (2014), table 1.

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    aux_logits : bool
        Whether there are auxiliary heads `aux1` and `aux2`, for checkpoints that have them; the
        model's output is without them.
    transform_input : bool
        Whether images come normalised by ImageNet's mean and deviation, instead of in [-1, 1];
        `default_cfg` says which.
    variant : {"torchvision", "2014"}
        Whose network.

    Raises
    ------
    ValueError
        If `variant` is another one, or `transform_input` is asked for with `in_chans` other than 3.
    """

    _classifier = "fc"
    _aux_classifiers = (("aux1", "fc2"), ("aux2", "fc2"))

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        aux_logits: bool = False,
        transform_input: bool = False,
        variant: str = "torchvision",
    ) -> None:
        super().__init__(in_chans, transform_input)
        if not isinstance(variant, str) or variant not in VARIANTS:
            raise ValueError(f"variant must be 'torchvision' or '2014', got {variant!r}")
        conv, norm, branch3_kernel_size, maxpool4_kernel_size = VARIANTS[variant]

        self.conv1 = conv(in_chans, 64, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm1 = norm()
        self.conv2 = conv(64, 64, 1)
        self.conv3 = conv(64, 192, 3, padding=1)
        self.norm2 = norm()
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        channels = 192

        def inception(*widths: int) -> InceptionBlock:
            nonlocal channels
            block = InceptionBlock(
                channels, *widths, conv_block=conv, branch3_kernel_size=branch3_kernel_size
            )
            channels = block.out_channels
            return block

        # Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
        self.inception3a = inception(64, 96, 128, 16, 32, 32)
        self.inception3b = inception(128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = inception(192, 96, 208, 16, 48, 64)
        self.inception4b = inception(160, 112, 224, 24, 64, 64)
        self.inception4c = inception(128, 128, 256, 24, 64, 64)
        self.inception4d = inception(112, 144, 288, 32, 64, 64)
        self.inception4e = inception(256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(maxpool4_kernel_size, stride=2, ceil_mode=True)
        self.inception5a = inception(256, 160, 320, 32, 128, 128)
        self.inception5b = inception(384, 192, 384, 48, 128, 128)

        if as_bool("aux_logits", aux_logits):
            self.aux1 = InceptionAux(self.inception4a.out_channels, num_classes, conv)
            self.aux2 = InceptionAux(self.inception4d.out_channels, num_classes, conv)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.num_features = channels
        self.fc = nn.Linear(channels, num_classes)

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        x = self.norm1(self.maxpool1(self.conv1(self._transform(x))))
        x = self.maxpool2(self.norm2(self.conv3(self.conv2(x))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        x = self.maxpool4(self.inception4e(self.inception4d(x)))
        return self.inception5b(self.inception5a(x))

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.fc(self.dropout(self.flatten(self.avgpool(x))))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw as torchvision, with deviation 0.01; convolutions with bias as Caffe does.

        Those are uniform with variance ``1 / fan_in`` ("xavier"), their biases 0.2.
        """
        rng = np.random.default_rng(rng)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                bound = math.sqrt(3 / nn.init.fan_in(layer.weight.shape))
                layer.weight = nn.init.uniform(layer.weight.shape, rng, bound)
                layer.bias = nn.init.constant(layer.bias.shape, 0.2)
            elif isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
                layer.reset_parameters(rng)
                if not isinstance(layer, nn.BatchNorm2d):
                    layer.weight = nn.init.trunc_normal(layer.weight.shape, rng, 0.01)


@register_model(PAPER)
def googlenet(**kwargs: Any) -> GoogLeNet:
    """GoogLeNet, Inception v1 (Szegedy et al. 2014): 6.6 M parameters; 7.0 M as in the paper."""
    return GoogLeNet(**kwargs)
