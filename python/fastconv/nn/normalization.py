"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import ops as F
from fastconv._arguments import as_eps, as_size, is_sequence
from fastconv.nn import init
from fastconv.nn.module import Array, Module, Value
from fastconv.ops._torch import check_neutral


class BatchNorm2d(Module):
    """Normalise each channel by its running statistics: ``(x - mean) / sqrt(var + eps)``.

    It takes images ``(N, C, H, W)``, as in torch, or one ``(C, H, W)``.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Added to the variance.
    momentum : float or None
        Of the running statistics in training; inference does not use it.
    affine : bool
        Whether `weight` multiplies the result and `bias` is added to it.
    track_running_stats : True
        Present because torch has it.
    device, dtype
        As for `Conv2d`.
    bias : bool
        Whether there is a `bias`, if `affine`.

    Notes
    -----
    Ioffe and Szegedy, Batch Normalization (2015), algorithm 2. A compiled network folds it into the
    convolution before it.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.BatchNorm2d(64)
    BatchNorm2d(64, eps=1e-05)
    """

    input_ndim = 4

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        check_neutral(momentum=momentum, track_running_stats=track_running_stats)
        self.num_features = num_features = as_size("num_features", num_features)
        self.eps = as_eps(eps)
        self.momentum = momentum
        self.weight: Array | None
        self.bias: Array | None
        self.register_parameter("weight", init.constant((num_features,), 1) if affine else None)
        self.register_parameter(
            "bias", init.constant((num_features,), 0) if affine and bias else None
        )
        self.running_mean: Array
        self.running_var: Array
        self.register_buffer("running_mean", init.constant((num_features,), 0))
        self.register_buffer("running_var", init.constant((num_features,), 1))
        self.register_buffer("num_batches_tracked", np.array(0, np.int64))
        self.to(device=device, dtype=dtype)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Return to the identity: mean 0, variance 1, weight 1, bias 0."""
        _reset_affine(self)
        self.running_mean = init.constant((self.num_features,), 0)
        self.running_var = init.constant((self.num_features,), 1)

    def forward(self, x: Value) -> Value:
        """Normalise."""
        if x.ndim == 3:  # a single image, whose channels F.batch_norm would look for on axis 1
            y = self.forward(F.reshape(x, (1, *x.shape)))
            return F.reshape(y, y.shape[1:])
        if x.ndim != 4:
            raise ValueError(
                f"BatchNorm2d takes images (N, C, H, W) or (C, H, W), got {x.shape}: "
                "fastconv.batch_norm takes channels on axis 1 of any shape"
            )
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.num_features}, eps={self.eps}" + (
            "" if self.weight is not None else ", affine=False"
        )


class LayerNorm(Module):
    """Normalise over the last axes by the mean and variance of each sample there.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Sizes of the last axes.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Whether `weight` multiplies the result and `bias` is added to it.
    bias : bool
        Whether there is a `bias`, if `elementwise_affine`.
    device, dtype
        As for `Conv2d`.

    Notes
    -----
    Ba, Kiros and Hinton, Layer Normalization (2016), section 3.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.LayerNorm(96, eps=1e-6)
    LayerNorm((96,), eps=1e-06)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape = (
            tuple(as_size("normalized_shape", size) for size in normalized_shape)
            if is_sequence(normalized_shape)
            else (as_size("normalized_shape", normalized_shape),)
        )
        self.eps = as_eps(eps)
        shape = self.normalized_shape
        self.weight: Array | None
        self.bias: Array | None
        self.register_parameter("weight", init.constant(shape, 1) if elementwise_affine else None)
        self.register_parameter(
            "bias", init.constant(shape, 0) if elementwise_affine and bias else None
        )
        self.to(device=device, dtype=dtype)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Return to weight 1, bias 0."""
        _reset_affine(self)

    def forward(self, x: Value) -> Value:
        """Normalise."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.normalized_shape}, eps={self.eps}"


class LayerNorm2d(LayerNorm):
    """`LayerNorm` over the channels of ``(N, C, H, W)``, for each pixel; torchvision's.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.LayerNorm2d(96, eps=1e-6)
    LayerNorm2d((96,), eps=1e-06)
    """

    input_ndim = 4

    def forward(self, x: Value) -> Value:
        """Normalise."""
        x = F.permute(x, (0, 2, 3, 1))
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return F.permute(x, (0, 3, 1, 2))


def _reset_affine(layer: BatchNorm2d | LayerNorm) -> None:
    if layer.weight is not None:
        layer.weight = init.constant(layer.weight.shape, 1)
    if layer.bias is not None:
        layer.bias = init.constant(layer.bias.shape, 0)


class LocalResponseNorm(Module):
    """Divide by a power of the energy in neighbouring channels.

    Parameters
    ----------
    size : int
        Channels in the window.
    alpha, beta, k : float
        ``x / (k + alpha * mean(x**2 over the window)) ** beta``, the mean over `size` channels with
        zeros beyond the first and last.

    Notes
    -----
    Krizhevsky, Sutskever and Hinton, ImageNet Classification (2012), section 3.3, with torch's
    meaning of alpha, which is `size` times the paper's.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.LocalResponseNorm(5)
    LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Value) -> Value:
        """Normalise."""
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
