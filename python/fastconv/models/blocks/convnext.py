"""The ConvNeXt block: a residual block rebuilt as a transformer's."""

from __future__ import annotations

from fastconv.nn import (
    GELU,
    Conv2d,
    Identity,
    LayerNorm,
    Linear,
    Module,
    Permute,
    Sequential,
    StochasticDepth,
    init,
)
from fastconv.nn.module import Value


class CNBlock(Module):
    """7x7 depthwise, layer norm, 1x1 expand, GELU, 1x1 project, and a shortcut.

    ResNet's bottleneck rebuilt as a transformer's block: large windows for space, then an MLP over
    channels; one normalisation and one activation per block instead of three each.

    Source: Liu et al., A ConvNet for the 2020s (2022), section 2, figure 4. Layer scale: Touvron et
    al., Going Deeper with Image Transformers (2021), section 2.

    Parameters
    ----------
    dim : int
        Channels.
    layer_scale : float
        Initial value of the learned scale of the residual, one per channel.
    stochastic_depth_prob : float
        Of training.
    """

    input_ndim = 4

    def __init__(
        self, dim: int, layer_scale: float = 1e-6, stochastic_depth_prob: float = 0.0
    ) -> None:
        self.block = Sequential(
            Conv2d(dim, dim, 7, padding=3, groups=dim),
            Permute((0, 2, 3, 1)),
            LayerNorm(dim, eps=1e-6),
            Linear(dim, 4 * dim),
            GELU(),
            Linear(4 * dim, dim),
            Permute((0, 3, 1, 2)),
        )
        self.layer_scale = init.constant((dim, 1, 1), layer_scale)
        self.stochastic_depth = (
            StochasticDepth(stochastic_depth_prob) if stochastic_depth_prob else Identity()
        )

    def forward(self, x: Value) -> Value:
        """Add the scaled residual to the shortcut."""
        return x + self.stochastic_depth(self.block(x) * self.layer_scale)
