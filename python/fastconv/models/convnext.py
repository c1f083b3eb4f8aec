"""ConvNeXt: a ResNet rebuilt with the choices of vision transformers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastconv import nn
from fastconv._arguments import as_float
from fastconv.models._base import ImageClassifier
from fastconv.models._registry import register_model
from fastconv.models.blocks import CNBlock, ConvNormActivation
from fastconv.nn.module import Value

__all__ = ["ConvNeXt", "convnext_base", "convnext_large", "convnext_small", "convnext_tiny"]

PAPER = "Liu et al., A ConvNet for the 2020s (2022), arXiv:2201.03545"


class ConvNeXt(ImageClassifier):
    """Patch stem, four stages of `CNBlock` with 2x2 downsampling between; named as in torchvision.

    Source: Liu et al., A ConvNet for the 2020s (2022), table 9.

    Parameters
    ----------
    depths, dims : tuple of int
        Blocks and channels of each stage.
    num_classes : int
        Outputs.
    in_chans : int
        Channels of the input.
    stochastic_depth_prob : float
        Of the last block in training, growing linearly from 0 at the first.
    head_norm_eps : float
        Of the last norm; transformers' weights were trained with 1e-12.
    """

    _classifier = "classifier.2"

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        dims: tuple[int, int, int, int],
        num_classes: int = 1000,
        in_chans: int = 3,
        stochastic_depth_prob: float = 0.0,
        head_norm_eps: float = 1e-6,
    ) -> None:
        norm = functools.partial(nn.LayerNorm2d, eps=1e-6)
        last = as_float("stochastic_depth_prob", stochastic_depth_prob)
        drop = iter(np.linspace(0, last, sum(depths)).tolist())
        features: list[nn.Module] = [
            ConvNormActivation(
                in_chans,
                dims[0],
                kernel_size=4,
                stride=4,
                padding=0,
                norm_layer=norm,
                activation_layer=None,
                bias=True,
            )
        ]
        for i, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
            if i > 0:
                features.append(
                    nn.Sequential(norm(dims[i - 1]), nn.Conv2d(dims[i - 1], dim, 2, stride=2))
                )
            blocks = (CNBlock(dim, stochastic_depth_prob=next(drop)) for _ in range(depth))
            features.append(nn.Sequential(*blocks))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.num_features = dims[-1]
        self.classifier = nn.Sequential(
            norm(dims[-1], eps=head_norm_eps), nn.Flatten(), nn.Linear(dims[-1], num_classes)
        )

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, at 1/32 of the image's size."""
        return self.features(x)

    def forward_head(self, x: Value) -> Value:
        """Pool and classify."""
        return self.classifier(self.avgpool(x))

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw weights from the truncated normal distribution with deviation 0.02."""
        rng = np.random.default_rng(rng)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight = nn.init.trunc_normal(layer.weight.shape, rng, 0.02)
                layer.bias = nn.init.constant(layer.weight.shape[:1], 0)
            elif isinstance(layer, nn.LayerNorm):
                layer.reset_parameters(rng)
            elif isinstance(layer, CNBlock):
                layer.layer_scale = nn.init.constant(layer.layer_scale.shape, 1e-6)


@register_model(PAPER, hub="timm/convnext_tiny.fb_in1k", crop_pct=224 / 236)
def convnext_tiny(**kwargs: Any) -> ConvNeXt:
    """ConvNeXt-T (Liu et al. 2022): 28.6 M parameters."""
    return ConvNeXt((3, 3, 9, 3), (96, 192, 384, 768), **kwargs)


@register_model(PAPER, hub="timm/convnext_small.fb_in1k", crop_pct=224 / 230)
def convnext_small(**kwargs: Any) -> ConvNeXt:
    """ConvNeXt-S (Liu et al. 2022): 50.2 M parameters."""
    return ConvNeXt((3, 3, 27, 3), (96, 192, 384, 768), **kwargs)


@register_model(PAPER, hub="timm/convnext_base.fb_in1k", crop_pct=224 / 232)
def convnext_base(**kwargs: Any) -> ConvNeXt:
    """ConvNeXt-B (Liu et al. 2022): 88.6 M parameters."""
    return ConvNeXt((3, 3, 27, 3), (128, 256, 512, 1024), **kwargs)


@register_model(PAPER, hub="timm/convnext_large.fb_in1k", crop_pct=224 / 232)
def convnext_large(**kwargs: Any) -> ConvNeXt:
    """ConvNeXt-L (Liu et al. 2022): 197.8 M parameters."""
    return ConvNeXt((3, 3, 27, 3), (192, 384, 768, 1536), **kwargs)
