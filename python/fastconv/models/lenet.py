"""LeNet-5, the first convolutional network in wide use."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import nn
from fastconv.models._base import DefaultCfg, ImageClassifier
from fastconv.models._registry import register_model
from fastconv.nn.module import Value

__all__ = ["LeNet5", "lenet5"]

PAPER = "LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998)"


class LeNet5(ImageClassifier):
    """LeNet-5 with plain connections and a softmax classifier, for 32x32 images of digits.

    Before it, features were designed by hand; here two convolutions learn them. Of the paper's
    network it keeps sizes, tanh and average pooling, and leaves out the trained scale of the
    pooling, the sparse table between S2 and C3, and the radial basis functions at the end.

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
    default_cfg = DefaultCfg(
        input_size=(1, 32, 32),
        mean=(0.1307,),
        std=(0.3081,),
        interpolation="bilinear",
        crop_pct=1.0,
    )

    def __init__(self, num_classes: int = 10, in_chans: int = 1) -> None:
        self.conv1 = nn.Conv2d(in_chans, 6, 5)
        self.pool1 = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool2 = nn.AvgPool2d(2)
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
        x = self.tanh(self.fc1(self.flatten(x)))
        x = self.tanh(self.fc2(x))
        return self.fc3(x)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw as the paper's appendix A: uniform in ``+-2.4 / fan_in``."""
        rng = np.random.default_rng(rng)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                bound = 2.4 / nn.init.fan_in(layer.weight.shape)
                layer.weight = nn.init.uniform(layer.weight.shape, rng, bound)
                if layer.bias is not None:
                    layer.bias = nn.init.uniform(layer.bias.shape, rng, bound)


@register_model(PAPER)
def lenet5(**kwargs: Any) -> LeNet5:
    """LeNet-5 (LeCun et al. 1998): 61,706 parameters, 1x32x32 inputs, 10 classes."""
    return LeNet5(**kwargs)
