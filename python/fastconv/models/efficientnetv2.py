"""EfficientNetV2 S, M and L: full convolutions in the first stages, for speed of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastconv.models._registry import register_model
from fastconv.models.blocks import FusedMBConv, MBConv
from fastconv.models.efficientnet import EfficientNet, Stage, images

__all__ = ["efficientnet_v2_l", "efficientnet_v2_m", "efficientnet_v2_s"]

PAPER = "Tan and Le, EfficientNetV2: Smaller Models and Faster Training (2021), arXiv:2104.00298"

# Tan and Le 2021, table 4; M and L in the authors' code.
S = (
    Stage(FusedMBConv, 1, 24, 2, 3, 1),
    Stage(FusedMBConv, 4, 48, 4, 3, 2),
    Stage(FusedMBConv, 4, 64, 4, 3, 2),
    Stage(MBConv, 4, 128, 6, 3, 2, se_ratio=0.25),
    Stage(MBConv, 6, 160, 9, 3, 1, se_ratio=0.25),
    Stage(MBConv, 6, 256, 15, 3, 2, se_ratio=0.25),
)
M = (
    Stage(FusedMBConv, 1, 24, 3, 3, 1),
    Stage(FusedMBConv, 4, 48, 5, 3, 2),
    Stage(FusedMBConv, 4, 80, 5, 3, 2),
    Stage(MBConv, 4, 160, 7, 3, 2, se_ratio=0.25),
    Stage(MBConv, 6, 176, 14, 3, 1, se_ratio=0.25),
    Stage(MBConv, 6, 304, 18, 3, 2, se_ratio=0.25),
    Stage(MBConv, 6, 512, 5, 3, 1, se_ratio=0.25),
)
L = (
    Stage(FusedMBConv, 1, 32, 4, 3, 1),
    Stage(FusedMBConv, 4, 64, 7, 3, 2),
    Stage(FusedMBConv, 4, 96, 7, 3, 2),
    Stage(MBConv, 4, 192, 10, 3, 2, se_ratio=0.25),
    Stage(MBConv, 6, 224, 19, 3, 1, se_ratio=0.25),
    Stage(MBConv, 6, 384, 25, 3, 2, se_ratio=0.25),
    Stage(MBConv, 6, 640, 7, 3, 1, se_ratio=0.25),
)


def v2(stages: Sequence[Stage], dropout: float, kwargs: dict[str, Any]) -> EfficientNet:
    """Build a variant; the stem is as wide as the first stage."""
    published = {"stem": stages[0].channels, "dropout": dropout, "bn_eps": 1e-3}
    return EfficientNet(stages, **{**published, **kwargs})


@register_model(PAPER, hub="timm/tf_efficientnetv2_s.in1k", **images(384, 384, "bilinear"))
def efficientnet_v2_s(**kwargs: Any) -> EfficientNet:
    """EfficientNetV2-S (Tan and Le 2021): 21.5 M parameters."""
    return v2(S, 0.2, kwargs)


@register_model(PAPER, hub="timm/tf_efficientnetv2_m.in1k", **images(480, 480, "bilinear"))
def efficientnet_v2_m(**kwargs: Any) -> EfficientNet:
    """EfficientNetV2-M (Tan and Le 2021): 54.1 M parameters."""
    return v2(M, 0.3, kwargs)


@register_model(
    PAPER,
    hub="timm/tf_efficientnetv2_l.in1k",
    mean=(0.5,) * 3,
    std=(0.5,) * 3,
    **images(480, 480),
)
def efficientnet_v2_l(**kwargs: Any) -> EfficientNet:
    """EfficientNetV2-L (Tan and Le 2021): 118.5 M parameters."""
    return v2(L, 0.4, kwargs)
