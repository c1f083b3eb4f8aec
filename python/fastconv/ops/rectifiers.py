"""Activations that are pointwise programs: a program and an example each.

On symbolic values each is one operator, `pointwise`, with the program that it has on arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numpy.typing import ArrayLike

from fastconv._arguments import Array, as_axis, as_float
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._pointwise import apply_program, with_numbers
from fastconv.ops._programs import PROGRAMS
from fastconv.ops._symbols import is_symbolic, recordable
from fastconv.ops._torch import torch_arguments

__all__ = [
    "celu",
    "elu",
    "glu",
    "hardshrink",
    "hardtanh",
    "logsigmoid",
    "prelu",
    "selu",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
    "threshold",
]

_Function = TypeVar("_Function", bound=Callable[..., Array])

_DOC = """{summary}

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
{parameters}    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array{raises} or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.{name}({arguments}).round(4)
    {result}
    """


def _rectifier(
    torch: str,
    arguments: str,
    result: str,
    raises: str = ", an argument no number",
    **parameters: str,
) -> Callable[[_Function], _Function]:
    """Complete a function that has its summary as a docstring.

    `torch` are torch's arguments, `parameters` what the function's own arguments mean.
    """

    def decorate(function: _Function) -> _Function:
        function.__doc__ = _DOC.format(
            name=function.__name__,
            summary=function.__doc__,
            parameters="".join(
                f"    {n} : float\n        {is_}\n" for n, is_ in parameters.items()
            ),
            raises=raises if parameters else "",
            arguments=arguments,
            result=result,
        )
        return torch_arguments(torch)(takes_device_arrays("x")(function))

    return decorate


def _run(name: str, x: ArrayLike, out: Array | None, **numbers: float) -> Array:
    values = {key: as_float(key, value) for key, value in numbers.items()}
    return apply_program(PROGRAMS[name].format(**values), {"x": x}, out)


@_rectifier(
    "input=x alpha inplace",
    "[-1.0, 2.0], alpha=0.5",
    "array([-0.3161,  2.    ])",
    alpha="The result approaches ``-alpha`` for large negative ``x``.",
)
def elu(x: ArrayLike, alpha: float = 1.0, *, out: Array | None = None) -> Array:
    """Exponential linear unit: ``x`` where positive, else ``alpha * (exp(x) - 1)``."""
    return _run("elu", x, out, alpha=alpha)


@_rectifier(
    "input=x alpha inplace",
    "[-1.0, 2.0], alpha=0.5",
    "array([-0.4323,  2.    ])",
    raises=", `alpha` no number or 0,",
    alpha="If positive, the result approaches ``-alpha`` for large negative ``x``; not 0.",
)
def celu(x: ArrayLike, alpha: float = 1.0, *, out: Array | None = None) -> Array:
    """Smooth `elu`: ``x`` where positive, else ``alpha * (exp(x / alpha) - 1)``."""
    if as_float("alpha", alpha) == 0:
        raise ValueError("alpha must not be 0, by which x is divided: relu is the limit")
    return _run("celu", x, out, alpha=alpha)


@_rectifier("input=x inplace", "[-1.0, 2.0]", "array([-1.1113,  2.1014])")
def selu(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Self-normalising unit: ``1.0507 * elu(x, 1.6733)``, towards mean 0 and variance 1."""
    return _run("selu", x, out)


@_rectifier(
    "input=x beta threshold",
    "[-1.0, 0.0, 30.0]",
    "array([ 0.3133,  0.6931, 30.    ])",
    beta="The sharpness of the bend.",
    threshold="Where ``beta * x`` is above it, the result is ``x``.",
)
def softplus(
    x: ArrayLike, beta: float = 1.0, threshold: float = 20.0, *, out: Array | None = None
) -> Array:
    """Smooth rectifier: ``log(1 + exp(beta * x)) / beta``, but computed without overflow."""
    return _run("softplus", x, out, beta=beta, threshold=threshold)


@_rectifier("input=x", "[-1.0, 3.0]", "array([-0.5 ,  0.75])")
def softsign(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Smooth sign: ``x / (1 + abs(x))``; of infinities NaN."""
    return _run("softsign", x, out)


@_rectifier(
    "input=x min_val max_val inplace",
    "[-3.0, 0.5, 3.0]",
    "array([-1. ,  0.5,  1. ])",
    raises=", an argument no number, `min_val` above `max_val`",
    min_val="The least result.",
    max_val="The greatest result.",
)
def hardtanh(
    x: ArrayLike, min_val: float = -1.0, max_val: float = 1.0, *, out: Array | None = None
) -> Array:
    """Piecewise linear approximation of `tanh`: ``min(max(x, min_val), max_val)``."""
    if as_float("min_val", min_val) > as_float("max_val", max_val):
        raise ValueError(f"min_val must not be above max_val, got {min_val} and {max_val}")
    return _run("hardtanh", x, out, min_val=min_val, max_val=max_val)


@_rectifier(
    "input=x threshold value inplace",
    "[-1.0, 0.5, 2.0], 1, 0",
    "array([0., 0., 2.])",
    threshold="Elements above it stay, and so does NaN.",
    value="What the others become.",
)
def threshold(x: ArrayLike, threshold: float, value: float, *, out: Array | None = None) -> Array:
    """``x`` where it is above the threshold, else ``value``; NaN stays NaN."""
    return _run("threshold", x, out, threshold=threshold, value=value)


@_rectifier("input=x", "[-1000.0, 0.0, 3.0]", "array([-1.000e+03, -6.931e-01, -4.860e-02])")
def logsigmoid(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Logarithm of `sigmoid`: ``-log(1 + exp(-x))``, but computed without overflow."""
    return _run("logsigmoid", x, out)


@_rectifier("input=x", "[-1.0, 0.0, 3.0]", "array([-0.2384,  0.    ,  2.0049])")
def tanhshrink(x: ArrayLike, *, out: Array | None = None) -> Array:
    """``x - tanh(x)``."""
    return _run("tanhshrink", x, out)


@_rectifier(
    "input=x lambd",
    "[-1.0, 0.3, 2.0]",
    "array([-1.,  0.,  2.])",
    lambd="The threshold.",
)
def hardshrink(x: ArrayLike, lambd: float = 0.5, *, out: Array | None = None) -> Array:
    """``x`` where its magnitude is above ``lambd``, else 0; NaN stays NaN."""
    return _run("hardshrink", x, out, lambd=lambd)


@_rectifier(
    "input=x lambd",
    "[-1.0, 0.3, 2.0]",
    "array([-0.5,  0. ,  1.5])",
    raises=", `lambd` no number or negative,",
    lambd="What is subtracted from the magnitude; not negative.",
)
def softshrink(x: ArrayLike, lambd: float = 0.5, *, out: Array | None = None) -> Array:
    """Soft thresholding: ``sign(x) * max(abs(x) - lambd, 0)``."""
    if not as_float("lambd", lambd) >= 0:
        raise ValueError(f"lambd must not be negative, got {lambd}")
    return _run("softshrink", x, out, lambd=lambd)


@torch_arguments("input=x weight")
@takes_device_arrays("x")
def prelu(x: ArrayLike, weight: ArrayLike | float, *, out: Array | None = None) -> Array:
    """Leaky rectified linear unit with given slopes: ``x`` where positive, else ``weight * x``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
        Channels are on axis 1.
    weight : array_like of float32, float64 or float16, shape (C,), (1,) or (), or number
        One slope for each channel, or one for all, used where `x` is negative.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, the dtypes differ, `weight` is of another shape or `out` does not
        fit.

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", 2015, arXiv:1502.01852.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.prelu([[-1.0, -2.0], [3.0, 4.0]], [0.5, 0.25])
    array([[-0.5, -0.5],
           [ 3. ,  4. ]])
    """
    given = with_numbers({"x": x, "weight": weight})
    if is_symbolic(*given.values()):
        values = recordable(**given)
    else:
        operands = Operands(**given)
        values = {name: operands.source(name) for name in given}
    shape, slopes = values["x"].shape, values["weight"]
    channels = shape[1] if len(shape) > 1 else 1
    if slopes.ndim > 1 or slopes.shape not in ((), (1,), (channels,)):
        raise ValueError(
            f"weight must have one element or, as x has channels on axis 1, {channels}, got shape "
            f"{slopes.shape}"
        )
    new = () if slopes.shape in ((), (1,)) else (channels, *(1,) * (len(shape) - 2))
    values["weight"] = slopes if slopes.shape == new else slopes.reshape(new)
    return apply_program(PROGRAMS["prelu"], values, out)


@torch_arguments("input=x dim=axis")
@takes_device_arrays("x")
def glu(x: ArrayLike, axis: int = -1, *, out: Array | None = None) -> Array:
    """Gated linear unit: the first half along an axis times the `sigmoid` of the second.

    Parameters
    ----------
        x : array_like of float32, float64 or float16
        Any shape with at least one dimension.
    axis : int
        Along which `x` is halved: of even size.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray
        The shape of `x`, half as large along the axis.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `axis` is out of range or of odd size, or `out` does not fit.

    References
    ----------
    Y. Dauphin, A. Fan, M. Auli and D. Grangier, "Language modeling with gated convolutional
    networks", 2016, arXiv:1612.08083.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.glu([3.0, 4.0, 0.0, 1000.0])
    array([1.5, 4. ])
    """
    source: Any = x.copy() if is_symbolic(x) else Operands(x=x).source("x")
    if source.ndim == 0:
        raise ValueError("x must have at least one dimension to be halved")
    at = as_axis("axis", axis, source.ndim)
    size = source.shape[at]
    if size % 2:
        raise ValueError(f"axis {at} of x must be of even size, got {size}")
    before = (slice(None),) * at
    halves = {
        "x": source[(*before, slice(size // 2))],
        "gates": source[(*before, slice(size // 2, None))],
    }
    return apply_program(PROGRAMS["glu"], halves, out)
