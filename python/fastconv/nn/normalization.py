"""Normalisation layers; those by statistics of each sample's channels are in `grouped`."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from fastconv import ops as F
from fastconv._arguments import as_eps, as_size, is_sequence
from fastconv.nn._affine import Affine, ChannelNorm
from fastconv.nn.module import Array, Module, Value
from fastconv.ops._torch import check_neutral


class _BatchNorm(ChannelNorm):
    """Normalise each channel by its running statistics."""

    running_mean: Array
    running_var: Array

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
        check_neutral(track_running_stats=track_running_stats)
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def _normalised(self, x: Value, ranks: Container[int], shapes: str) -> Value:
        """Normalise what has one of these numbers of dimensions, as `shapes` says."""
        if x.ndim not in ranks:
            raise ValueError(
                f"{type(self).__name__} takes {shapes}, got {x.shape}: fastconv.batch_norm takes "
                f"channels on axis 1 of any shape"
            )
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return super().extra_repr() + ("" if self.weight is not None else ", affine=False")


class BatchNorm1d(_BatchNorm):
    """`BatchNorm2d` of vectors ``(N, C)`` or signals ``(N, C, L)``.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.BatchNorm1d(64)
    BatchNorm1d(64, eps=1e-05)
    """

    def forward(self, x: Value) -> Value:
        """Normalise."""
        return self._normalised(x, (2, 3), "vectors (N, C) or signals (N, C, L)")


class BatchNorm2d(_BatchNorm):
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

    def forward(self, x: Value) -> Value:
        """Normalise."""
        if x.ndim == 3:  # a single image, whose channels F.batch_norm would look for on axis 1
            y = self.forward(F.reshape(x, (1, *x.shape)))
            return F.reshape(y, y.shape[1:])
        return self._normalised(x, (4,), "images (N, C, H, W) or (C, H, W)")


class BatchNorm3d(_BatchNorm):
    """`BatchNorm2d` of volumes ``(N, C, D, H, W)``.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.BatchNorm3d(64)
    BatchNorm3d(64, eps=1e-05)
    """

    def forward(self, x: Value) -> Value:
        """Normalise."""
        return self._normalised(x, (5,), "volumes (N, C, D, H, W)")


class LayerNorm(Affine):
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
        self._declare_affine(self.normalized_shape, elementwise_affine, bias)
        self.to(device=device, dtype=dtype)

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
