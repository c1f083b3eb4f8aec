"""EfficientNet-Lite0 to 4: EfficientNets for integer arithmetic on phones."""

from __future__ import annotations

from typing import Any

from fastconv import nn
from fastconv.models._registry import register_model
from fastconv.models.efficientnet import B0, EfficientNet, Scaling, images, scaled

__all__ = [
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
]

PAPER = "Liu, Higher accuracy on vision models with EfficientNet-Lite (2020), TensorFlow blog"

# Squeeze-and-excitation and swish quantise badly: none of the one, ReLU6 for the other.
LITE0 = tuple(stage._replace(se_ratio=0.0) for stage in B0)

# Lite0 to 4 in the authors' code. Stem and head keep their width, so that small models stay small.
# Images are resized and cropped as in timm, which takes larger ones for Lite3 and 4 than these
# resolutions; from 0..255 they are normalised by 127 and 128, as the authors do (timm: by half).
SCALING = (
    Scaling(1.0, 1.0, 224, 0.2),
    Scaling(1.0, 1.1, 240, 0.2),
    Scaling(1.1, 1.2, 260, 0.3),
    Scaling(1.2, 1.4, 280, 0.3),
    Scaling(1.4, 1.8, 300, 0.3),
)
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3


def lite(scaling: Scaling, kwargs: dict[str, Any]) -> EfficientNet:
    """Build a variant as its weights need it, which come from TensorFlow.

    Those that timm trained itself, its ``efficientnet_lite0``, need ``padding="symmetric",
    bn_eps=1e-5``.
    """
    published = {
        "scale_ends": False,
        "activation_layer": nn.ReLU6,
        "padding": "same",
        "bn_eps": 1e-3,
    }
    return scaled(LITE0, scaling, {**published, **kwargs})


@register_model(
    PAPER,
    hub="timm/tf_efficientnet_lite0.in1k",
    mean=MEAN,
    std=STD,
    **images(224, 256),
)
def efficientnet_lite0(**kwargs: Any) -> EfficientNet:
    """EfficientNet-Lite0 (Liu 2020): 4.7 M parameters."""
    return lite(SCALING[0], kwargs)


@register_model(
    PAPER,
    hub="timm/tf_efficientnet_lite1.in1k",
    mean=MEAN,
    std=STD,
    **images(240, 272),
)
def efficientnet_lite1(**kwargs: Any) -> EfficientNet:
    """EfficientNet-Lite1 (Liu 2020): 5.4 M parameters."""
    return lite(SCALING[1], kwargs)


@register_model(
    PAPER,
    hub="timm/tf_efficientnet_lite2.in1k",
    mean=MEAN,
    std=STD,
    **images(260, 292),
)
def efficientnet_lite2(**kwargs: Any) -> EfficientNet:
    """EfficientNet-Lite2 (Liu 2020): 6.1 M parameters."""
    return lite(SCALING[2], kwargs)


@register_model(
    PAPER,
    hub="timm/tf_efficientnet_lite3.in1k",
    mean=MEAN,
    std=STD,
    **images(300, 332, "bilinear"),
)
def efficientnet_lite3(**kwargs: Any) -> EfficientNet:
    """EfficientNet-Lite3 (Liu 2020): 8.2 M parameters."""
    return lite(SCALING[3], kwargs)


@register_model(
    PAPER,
    hub="timm/tf_efficientnet_lite4.in1k",
    mean=MEAN,
    std=STD,
    **images(380, 413, "bilinear"),
)
def efficientnet_lite4(**kwargs: Any) -> EfficientNet:
    """EfficientNet-Lite4 (Liu 2020): 13.0 M parameters."""
    return lite(SCALING[4], kwargs)
