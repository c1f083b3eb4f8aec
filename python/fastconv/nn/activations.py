"""Activations, and the layers that do nothing at inference.

`inplace` is accepted where torch has it and changes nothing: compiled networks decide by themselves
where a result may overwrite its input.
"""

from __future__ import annotations

from typing import Any

from fastconv import ops as F
from fastconv._arguments import as_float, as_int
from fastconv.nn.module import Module, Value

__all__ = [
    "GELU",
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "StochasticDepth",
    "Tanh",
]


class _Activation(Module):
    """A pointwise function without parameters."""

    def __init__(self, inplace: bool = False) -> None:
        pass


class ReLU(_Activation):
    """``max(x, 0)``."""

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.relu(x)


class ReLU6(_Activation):
    """``min(max(x, 0), 6)``."""

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.relu6(x)


class LeakyReLU(Module):
    """``x`` where positive, else ``negative_slope * x``."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"negative_slope={self.negative_slope}"


class GELU(Module):
    """``x * Phi(x)``, Phi the normal distribution function, or with ``"tanh"`` near it."""

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"approximate={self.approximate!r}"


class SiLU(_Activation):
    """``x * sigmoid(x)``, also called swish."""

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.silu(x)


class Hardswish(_Activation):
    """``x * relu6(x + 3) / 6``."""

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.hardswish(x)


class Hardsigmoid(_Activation):
    """``relu6(x + 3) / 6``."""

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.hardsigmoid(x)


class Mish(_Activation):
    """``x * tanh(log(1 + exp(x)))``."""

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.mish(x)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.tanh(x)


class Softmax(Module):
    """``exp(x) / sum(exp(x))`` along the axis `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = as_int("dim", dim)

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of `Softmax`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = as_int("dim", dim)

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"dim={self.dim}"


class Identity(Module):
    """Return the input; arguments are taken as torch takes them, and change nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, x: Value) -> Value:
        """Return the input."""
        return x


def _probability(p: float) -> float:
    if not 0 <= as_float("p", p) <= 1:
        raise ValueError(f"p must be a probability from 0 to 1, got {p}")
    return p


class Dropout(Identity):
    """Drop values in training (Srivastava et al. 2014); the identity at inference."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        self.p = _probability(p)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"p={self.p}"


class Dropout1d(Dropout):
    """`Dropout2d` of signals."""


class Dropout2d(Dropout):
    """Drop channels in training (Tompson et al. 2015); the identity at inference."""


class Dropout3d(Dropout):
    """`Dropout2d` of volumes."""


class AlphaDropout(Dropout):
    """`Dropout` for `SELU`, which keeps mean and variance; the identity at inference."""


class FeatureAlphaDropout(Dropout):
    """`AlphaDropout` of whole channels; the identity at inference."""


class StochasticDepth(Identity):
    """Drop residual branches in training (Huang et al. 2016); the identity at inference."""

    def __init__(self, p: float, mode: str = "row") -> None:
        self.p = _probability(p)
        self.mode = mode

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"p={self.p}, mode={self.mode}"
