"""Activations that are pointwise programs, and gates; their functions are `fastconv.ops`'.

`inplace` is accepted where torch has it and changes nothing.
"""

from __future__ import annotations

from typing import Any

from fastconv import ops as F
from fastconv._arguments import as_float, as_int, as_size
from fastconv.nn import init
from fastconv.nn.module import Module, Value
from fastconv.ops._torch import check_neutral

__all__ = [
    "CELU",
    "ELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardtanh",
    "LogSigmoid",
    "PReLU",
    "RReLU",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanhshrink",
    "Threshold",
]


class _Function(Module):
    """The function `_name` with the numbers that `_keep` was given."""

    _name: str
    _numbers: tuple[str, ...] = ()

    def _keep(self, **numbers: float) -> None:
        self._numbers = tuple(numbers)
        for name, value in numbers.items():
            setattr(self, name, as_float(name, value))

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        y: Value = getattr(F, self._name)(x, *(getattr(self, name) for name in self._numbers))
        return y

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self._numbers)


class ELU(_Function):
    """``x`` where positive, else ``alpha * (exp(x) - 1)``."""

    _name = "elu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self._keep(alpha=alpha)


class CELU(_Function):
    """``x`` where positive, else ``alpha * (exp(x / alpha) - 1)``."""

    _name = "celu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self._keep(alpha=alpha)


class SELU(_Function):
    """``1.0507 * elu(x, 1.6733)``, which keeps mean 0 and variance 1."""

    _name = "selu"

    def __init__(self, inplace: bool = False) -> None:
        pass


class RReLU(_Function):
    """`LeakyReLU` whose slope is drawn in training; at inference ``(lower + upper) / 2``."""

    _name = "leaky_relu"

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        self.lower, self.upper = as_float("lower", lower), as_float("upper", upper)
        self._keep(negative_slope=(self.lower + self.upper) / 2)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"lower={self.lower}, upper={self.upper}"


class Softplus(_Function):
    """``log(1 + exp(beta * x)) / beta``, or ``x`` where ``beta * x`` is above the threshold."""

    _name = "softplus"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self._keep(beta=beta, threshold=threshold)


class Softsign(_Function):
    """``x / (1 + abs(x))``."""

    _name = "softsign"


class Hardtanh(_Function):
    """``min(max(x, min_val), max_val)``."""

    _name = "hardtanh"

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: None = None,
        max_value: None = None,
    ) -> None:
        check_neutral(min_value=min_value, max_value=max_value)
        if not as_float("min_val", min_val) < as_float("max_val", max_val):
            raise ValueError(f"min_val must be below max_val, got {min_val} and {max_val}")
        self._keep(min_val=min_val, max_val=max_val)


class Threshold(_Function):
    """``x`` where it is above the threshold, else ``value``."""

    _name = "threshold"

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self._keep(threshold=threshold, value=value)


class LogSigmoid(_Function):
    """``-log(1 + exp(-x))``."""

    _name = "logsigmoid"


class Tanhshrink(_Function):
    """``x - tanh(x)``."""

    _name = "tanhshrink"


class Hardshrink(_Function):
    """``x`` where its magnitude is above `lambd`, else 0."""

    _name = "hardshrink"

    def __init__(self, lambd: float = 0.5) -> None:
        self._keep(lambd=lambd)


class Softshrink(_Function):
    """``sign(x) * max(abs(x) - lambd, 0)``."""

    _name = "softshrink"

    def __init__(self, lambd: float = 0.5) -> None:
        self._keep(lambd=lambd)


class PReLU(Module):
    """``x`` where positive, else ``weight * x``; the slopes are parameters.

    Parameters
    ----------
    num_parameters : int
        1, or the channels, on axis 1: then each has a slope of its own.
    init : float
        Each slope before others are loaded.
    device, dtype
        As for `Conv2d`.

    Notes
    -----
    He, Zhang, Ren and Sun, Delving Deep into Rectifiers (2015), section 2.1.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.PReLU(64)
    PReLU(num_parameters=64)
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.num_parameters = as_size("num_parameters", num_parameters)
        self.init = as_float("init", init)
        self.reset_parameters()
        self.to(device=device, dtype=dtype)

    def reset_parameters(self, rng: Any = None) -> None:
        """Return to the slopes of the beginning."""
        self.weight = init.constant((self.num_parameters,), self.init)

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_parameters={self.num_parameters}"


class GLU(Module):
    """The first half along the axis `dim` times the sigmoid of the second."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = as_int("dim", dim)

    def forward(self, x: Value) -> Value:
        """Gate."""
        return F.glu(x, self.dim)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"dim={self.dim}"


class Softmin(Module):
    """`Softmax` of ``-x`` along the axis `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = as_int("dim", dim)

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        return F.softmin(x, self.dim)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"dim={self.dim}"


class Softmax2d(Module):
    """`Softmax` along the channels of images ``(N, C, H, W)`` or one ``(C, H, W)``."""

    input_ndim = 4

    def forward(self, x: Value) -> Value:
        """Apply the activation."""
        if x.ndim not in (3, 4):
            raise ValueError(f"Softmax2d takes images (N, C, H, W) or (C, H, W), got {x.shape}")
        return F.softmax(x, -3)
