"""Published networks, and the registry that makes them by name.

Examples
--------
>>> import fastconv
>>> fastconv.list_models("mobilenet*")
['mobilenet_v2']
>>> fastconv.models.mobilenet_v2(width_mult=0.5).num_classes
1000
"""

from fastconv.models._base import ImageClassifier
from fastconv.models._registry import create_model, list_models, register_model
from fastconv.models.convnext import (
    ConvNeXt,
    convnext_base,
    convnext_large,
    convnext_small,
    convnext_tiny,
)
from fastconv.models.efficientnet import EfficientNetLite, efficientnet_lite0
from fastconv.models.lenet import LeNet5, lenet5
from fastconv.models.mobilenet import MobileNetV2, mobilenet_v2
from fastconv.models.resnet import (
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    resnext101_32x8d,
    resnext101_64x4d,
    wide_resnet50_2,
    wide_resnet101_2,
)

__all__ = [
    "ConvNeXt",
    "EfficientNetLite",
    "ImageClassifier",
    "LeNet5",
    "MobileNetV2",
    "ResNet",
    "convnext_base",
    "convnext_large",
    "convnext_small",
    "convnext_tiny",
    "create_model",
    "efficientnet_lite0",
    "lenet5",
    "list_models",
    "mobilenet_v2",
    "register_model",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
