"""Linear layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import ops as F
from fastconv._arguments import as_size
from fastconv.nn import init
from fastconv.nn.module import Array, Module, Value


class Linear(Module):
    """Matrix product over the last axis, ``(..., in)`` to ``(..., out)``.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis.
    bias : bool
        Whether a bias is added.
    device, dtype
        As for `Conv2d`.

    Raises
    ------
    TypeError, ValueError
        If a size is no integer, or negative.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.Linear(512, 10).weight.shape
    (10, 512)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.in_features = as_size("in_features", in_features)
        self.out_features = as_size("out_features", out_features)
        self.weight = init.constant((self.out_features, self.in_features), 0)
        self.bias: Array | None
        self.register_parameter("bias", init.constant((self.out_features,), 0) if bias else None)
        if not init.is_skipping():
            self.reset_parameters()
        self.to(device=device, dtype=dtype)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw weight and bias uniformly from ``+-1 / sqrt(in_features)``."""
        init.reset_uniform(self, rng)

    def forward(self, x: Value) -> Value:
        """Multiply by the transposed weight and add the bias."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
