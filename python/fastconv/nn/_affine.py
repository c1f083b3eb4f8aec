"""What normalisation layers have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._arguments import as_bool, as_eps, as_size
from fastconv.nn import init
from fastconv.nn.module import Array, Module
from fastconv.ops._torch import check_neutral


class Affine(Module):
    """A layer whose result is multiplied by `weight` and has `bias` added, where it has them."""

    weight: Array | None
    bias: Array | None

    def _declare_affine(self, shape: tuple[int, ...], affine: bool, bias: bool) -> None:
        self.register_parameter("weight", init.constant(shape, 1) if affine else None)
        self.register_parameter("bias", init.constant(shape, 0) if affine and bias else None)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Return to weight 1, bias 0."""
        if self.weight is not None:
            self.weight = init.constant(self.weight.shape, 1)
        if self.bias is not None:
            self.bias = init.constant(self.bias.shape, 0)


class ChannelNorm(Affine):
    """What batch and instance norms have: running statistics, too, where these are tracked."""

    running_mean: Array | None
    running_var: Array | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
        bias: bool,
    ) -> None:
        check_neutral(momentum=momentum)
        self.num_features = as_size("num_features", num_features)
        self.eps = as_eps(eps)
        self.momentum = momentum
        self.track_running_stats = as_bool("track_running_stats", track_running_stats)
        self._declare_affine((self.num_features,), affine, bias)
        mean, variance = self._initial_statistics()
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", variance)
        count = np.array(0, np.int64) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.to(device=device, dtype=dtype)

    def _initial_statistics(self) -> tuple[Array | None, Array | None]:
        shape = (self.num_features,)
        tracked = self.track_running_stats
        return (init.constant(shape, 0), init.constant(shape, 1)) if tracked else (None, None)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Return to mean 0, variance 1, weight 1, bias 0."""
        super().reset_parameters()
        self.running_mean, self.running_var = self._initial_statistics()

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.num_features}, eps={self.eps}"
