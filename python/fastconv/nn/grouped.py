"""Normalisation by statistics of each sample: of groups of its channels, or of each one."""

from __future__ import annotations

from typing import Any

from fastconv import ops as F
from fastconv._arguments import as_eps, as_size
from fastconv.nn._affine import Affine, ChannelNorm
from fastconv.nn.module import Value


class GroupNorm(Affine):
    """Normalise each group of channels of a sample by its own mean and variance.

    Takes (N, num_channels, ...).

    Parameters
    ----------
    num_groups, num_channels : int
        `num_groups` must divide `num_channels`.
    eps : float
        Added to the variance.
    affine : bool
        Whether `weight` multiplies the result and `bias` is added to it.
    device, dtype
        As for `Conv2d`.
    bias : bool
        Whether there is a `bias`, if `affine`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or `num_groups` does not divide `num_channels`.

    Notes
    -----
    Wu and He, Group Normalization (2018), section 3.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.GroupNorm(8, 64)
    GroupNorm(8, 64, eps=1e-05)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        self.num_groups = as_size("num_groups", num_groups)
        self.num_channels = as_size("num_channels", num_channels)
        if self.num_groups == 0 or self.num_channels % self.num_groups:
            raise ValueError(
                f"num_groups must divide num_channels = {num_channels}, got {num_groups}"
            )
        self.eps = as_eps(eps)
        self._declare_affine((self.num_channels,), affine, bias)
        self.to(device=device, dtype=dtype)

    def forward(self, x: Value) -> Value:
        """Normalise."""
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}" + (
            "" if self.weight is not None else ", affine=False"
        )


class _InstanceNorm(ChannelNorm):
    """Normalise each channel of a sample by its own mean and variance."""

    input_ndim: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, x: Value) -> Value:
        """Normalise."""
        if x.ndim == self.input_ndim - 1:
            y = self.forward(F.reshape(x, (1, *x.shape)))
            return F.reshape(y, y.shape[1:])
        if x.ndim != self.input_ndim:
            raise ValueError(
                f"{type(self).__name__} takes {self.input_ndim} dimensions, or one less without a "
                f"batch, got {x.shape}"
            )
        return F.instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            not self.track_running_stats,
            eps=self.eps,
        )

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return super().extra_repr() + (
            f", affine={self.weight is not None}, track_running_stats={self.track_running_stats}"
        )


class InstanceNorm1d(_InstanceNorm):
    """`InstanceNorm2d` of signals ``(N, C, L)`` or ``(C, L)``."""

    input_ndim = 3


class InstanceNorm2d(_InstanceNorm):
    """Normalise each channel of a sample by its own mean and variance.

    It takes images ``(N, C, H, W)`` or one ``(C, H, W)``.

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
    track_running_stats : bool
        Whether there are running statistics. They are used then in the place of those of the
        sample, as in torch at inference.
    device, dtype
        As for `Conv2d`.
    bias : bool
        Whether there is a `bias`, if `affine`.

    Notes
    -----
    Ulyanov, Vedaldi and Lempitsky, Instance Normalization (2016).

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.InstanceNorm2d(64, affine=True)
    InstanceNorm2d(64, eps=1e-05, affine=True, track_running_stats=False)
    """

    input_ndim = 4


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm2d` of volumes ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""

    input_ndim = 5
