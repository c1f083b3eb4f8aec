"""LeNet-5, the first convolutional network in wide use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv import nn
from fastconv import ops as F
from fastconv.models._base import DefaultCfg, ImageClassifier
from fastconv.models._registry import register_model
from fastconv.nn.module import Value

__all__ = ["LeNet5", "LeNet1998", "lenet5"]

PAPER = "LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998)"

# LeCun et al. 1998, table I by columns: the maps of S2 that each map of C3 sees.
CONNECTIONS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)

# Digits in 7x12 pixels, after the idea of LeCun et al. 1998, figure 3: the codes of the classes.
DIGITS = (
    "..###.. ...##.. .#####. .#####. ....##. ####### ..####. ####### .#####. ..###..",
    ".##.##. ..###.. ##...## ##...## ...###. ####### .##..## ####### ##...## .##.##.",
    "##...## .####.. ##...## .....## ...###. ##..... ##..... .....## ##...## ##...##",
    "##...## ...##.. .....## .....## ..####. ##..... ##..... ....##. ##...## ##...##",
    "##...## ...##.. .....## .....## ..#.##. ######. ##..... ....##. .##.##. ##...##",
    "##...## ...##.. ....##. ..####. .##.##. ##...## ######. ...##.. ..###.. ##..###",
    "##...## ...##.. ...##.. ..####. .#..##. .....## ###..## ...##.. .##.##. .######",
    "##...## ...##.. ..##... .....## ##..##. .....## ##...## ..##... ##...## .....##",
    "##...## ...##.. .##.... .....## ####### .....## ##...## ..##... ##...## .....##",
    "##...## ...##.. ##..... .....## ####### .....## ##...## ..##... ##...## .....##",
    ".##.##. .###### ####### ##...## ....##. ##...## .##.##. .##.... ##...## ##..##.",
    "..###.. .###### ####### .#####. ....##. .#####. ..###.. .##.... .#####. .####..",
)


class LeNet5(ImageClassifier):
    """LeNet-5 with plain connections and a softmax classifier, for 32x32 images of digits.

    Before it, features were designed by hand; here two convolutions learn them. Of the paper's
    network it keeps sizes, tanh and average pooling, and leaves out the trained scale of the
    pooling, the sparse table between S2 and C3, and the radial basis functions at the end, all of
    which `LeNet1998` has. S4 is brought to 5x5 where the image is not 32x32.

    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998), section
    II.B, figure 2.

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    """

    _classifier = "fc3"
    # Mean and deviation of the digits of scikit-learn on which the packaged weights are
    # trained: see examples/train_lenet5.py.
    default_cfg = DefaultCfg(
        input_size=(1, 32, 32),
        mean=(0.3057,),
        std=(0.3234,),
        interpolation="bilinear",
        crop_pct=1.0,
        crop_mode="center",
    )

    def __init__(self, num_classes: int = 10, in_chans: int = 1) -> None:
        self.conv1 = nn.Conv2d(in_chans, 6, 5)
        self.pool1 = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool2 = nn.AvgPool2d(2)
        self.avgpool = nn.AdaptiveAvgPool2d(5)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        self.tanh = nn.Tanh()
        self.num_features = 84

    def forward_features(self, x: Value) -> Value:
        """Compute the 16 maps of S4, 5x5 for a 32x32 image."""
        x = self.pool1(self.tanh(self.conv1(x)))
        return self.pool2(self.tanh(self.conv2(x)))

    def forward_head(self, x: Value) -> Value:
        """Classify."""
        x = self.tanh(self.fc1(self.flatten(self.avgpool(x))))
        x = self.tanh(self.fc2(x))
        return self.fc3(x)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw as the paper's appendix A: uniform in ``+-2.4 / fan_in``."""
        _reset_uniform(self, np.random.default_rng(rng))


class Squash(nn.Module):
    """``1.7159 * tanh(2/3 x)``, which maps +-1 to +-1: LeCun et al. 1998, appendix A."""

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.tanh(x * (2 / 3)) * 1.7159


class Subsampling(nn.Module):
    """The sum of each 2x2 window, with a trained coefficient and bias for each map: S2, S4."""

    input_ndim = 4

    def __init__(self, channels: int) -> None:
        self.weight = nn.init.constant((channels, 1, 1), 0.25)
        self.bias = nn.init.constant((channels, 1, 1), 0)

    def forward(self, x: Value) -> Value:
        """Add, scale, shift."""
        return F.avg_pool2d(x, 2) * (4 * self.weight) + self.bias


class SparseConv2d(nn.ModuleList):
    """A convolution whose output maps see some of the input maps each, given by a table.

    Maps that see different inputs must learn different features: LeCun et al. 1998, section II.B.
    """

    input_ndim = 4

    def __init__(self, connections: tuple[tuple[int, ...], ...], kernel_size: int) -> None:
        self.connections = connections
        super().__init__(nn.Conv2d(len(maps), 1, kernel_size) for maps in connections)

    def forward(self, x: Value) -> Value:
        """Convolve the maps that the table names, for each output map."""
        inputs = (F.concat([x[:, m : m + 1] for m in maps], axis=1) for maps in self.connections)
        return F.concat([conv(seen) for conv, seen in zip(self, inputs, strict=True)], axis=1)


class RadialBasis(nn.Module):
    """Minus the squared distance to the code of each class: ``-sum((x - weight[i]) ** 2)``.

    The codes are +-1 and fixed: the pictures of `DIGITS` for 10 classes, random ones for any other
    number. Distances, unlike a softmax, say when an input belongs to no class; the pictures give
    similar classes similar codes.

    Source: LeCun et al. 1998, equation 7 and figure 3.
    """

    def __init__(self, in_features: int, num_classes: int) -> None:
        self.weight: npt.NDArray[Any]
        self.register_buffer("weight", nn.init.constant((num_classes, in_features), 0))
        if not nn.init.is_skipping():
            self.reset_parameters()

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Write the codes: the digits, or random ones from `rng`."""
        if self.weight.shape == (10, 84):
            pixels = np.array([[list(digit) for digit in row.split()] for row in DIGITS])
            ink = pixels.transpose(1, 0, 2).reshape(self.weight.shape) == "#"
        else:
            ink = np.random.default_rng(rng).random(self.weight.shape) < 0.5
        self.weight = np.where(ink, 1.0, -1.0)

    def forward(self, x: Value) -> Value:
        """Measure the distances."""
        difference = x[:, None] + (-1) * self.weight
        return F.mean(difference * difference, axis=2) * -x.shape[1]


class LeNet1998(ImageClassifier):
    """LeNet-5 as the paper has it: trained subsampling, the sparse C3, distances to fixed codes.

    It returns minus the squared distance of F6 to the code of each class, ``(N, num_classes)``: 0
    at best, and the largest is the class. They are log-likelihoods up to a constant, not logits of
    a linear layer (the paper trains with other losses than cross-entropy). Its default
    preprocessing is the paper's too, for white digits on black: background -0.1, ink 1.175.

    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998), section
    II.B, figure 2, table I; appendix A.

    Parameters
    ----------
    num_classes : int
        Outputs; with 10 the codes are pictures of the digits, otherwise random.
    in_chans : int
        Channels of the input.
    """

    _classifier = "output"
    default_cfg = LeNet5.default_cfg | {"mean": (0.1 / 1.275,), "std": (1 / 1.275,)}

    def __init__(self, num_classes: int = 10, in_chans: int = 1) -> None:
        self.num_features = 84
        self.c1 = nn.Conv2d(in_chans, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = SparseConv2d(CONNECTIONS, 5)
        self.s4 = Subsampling(16)
        self.avgpool = nn.AdaptiveAvgPool2d(5)  # of 32x32 images S4 is 5x5
        self.c5 = nn.Conv2d(16, 120, 5)
        self.flatten = nn.Flatten()
        self.f6 = nn.Linear(120, 84)
        self.squash = Squash()
        self.output = RadialBasis(84, num_classes)

    def _make_classifier(self, in_features: int, num_classes: int) -> nn.Module:
        return RadialBasis(in_features, num_classes)

    def forward_features(self, x: Value) -> Value:
        """Compute the 16 maps of S4, 5x5 for a 32x32 image."""
        for layer in (self.c1, self.s2, self.c3, self.s4):
            x = self.squash(layer(x))
        return x

    def forward_head(self, x: Value) -> Value:
        """Compute F6, and minus its squared distance to the code of each class."""
        x = self.squash(self.c5(self.avgpool(x)))
        return self.output(self.squash(self.f6(self.flatten(x))))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw as the paper's appendix A: uniform in ``+-2.4 / fan_in``; the codes are fixed."""
        rng = np.random.default_rng(rng)
        _reset_uniform(self, rng)
        self.output.reset_parameters(rng)


def _reset_uniform(model: nn.Module, rng: np.random.Generator) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | Subsampling):
            fan_in = 4 if isinstance(layer, Subsampling) else nn.init.fan_in(layer.weight.shape)
            layer.weight = nn.init.uniform(layer.weight.shape, rng, 2.4 / fan_in)
            if layer.bias is not None:
                layer.bias = nn.init.uniform(layer.bias.shape, rng, 2.4 / fan_in)


VARIANTS: dict[str, type[LeNet5] | type[LeNet1998]] = {"plain": LeNet5, "1998": LeNet1998}


@register_model(PAPER)
def lenet5(variant: str = "plain", **kwargs: Any) -> LeNet5 | LeNet1998:
    """LeNet-5 (LeCun et al. 1998): 61,706 parameters, 60,000 with ``variant="1998"``; 1x32x32."""
    if not isinstance(variant, str) or variant not in VARIANTS:
        expected = " or ".join(map(repr, VARIANTS))
        raise ValueError(f"variant must be {expected}, got {variant!r}")
    return VARIANTS[variant](**kwargs)
