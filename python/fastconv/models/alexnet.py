"""AlexNet: the network that began deep learning on ImageNet."""

from __future__ import annotations

from typing import Any

from fastconv import nn
from fastconv.models._base import ImageClassifier
from fastconv.models._registry import register_model
from fastconv.nn.module import Value

__all__ = ["AlexNet", "alexnet"]

PAPER = "Krizhevsky, One weird trick for parallelizing CNNs (2014), arXiv:1404.5997"


class AlexNet(ImageClassifier):
    """Five convolutions, three linear layers, ReLU and dropout; named as in torchvision.

    LeNet-5's plan at a hundred times its size, for photos: ReLU trains faster than tanh, maximum
    pooling overlaps, dropout keeps 58 M parameters of linear layers from overfitting. This is the
    version of 2014: without the division into two GPUs and the local response normalisation that
    Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks (2012), have.

    Source: Krizhevsky, One weird trick for parallelizing convolutional neural networks (2014),
    section 5.

    Parameters
    ----------
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    """

    _classifier = "classifier.6"

    def __init__(self, num_classes: int = 1000, in_chans: int = 3) -> None:
        self.features = nn.Sequential(
            nn.Conv2d(in_chans, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.flatten = nn.Flatten()
        self.num_features = 4096
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, 6x6 for a 224x224 image."""
        return self.features(x)

    def forward_head(self, x: Value) -> Value:
        """Pool to 6x6 and classify."""
        return self.classifier(self.flatten(self.avgpool(x)))


@register_model(PAPER)
def alexnet(**kwargs: Any) -> AlexNet:
    """AlexNet (Krizhevsky 2014): 61.1 M parameters."""
    return AlexNet(**kwargs)
