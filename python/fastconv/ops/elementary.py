"""Functions of one array, element by element: a row each."""

from __future__ import annotations

from typing import Protocol

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._native import native_first
from fastconv.ops._pointwise import apply
from fastconv.ops._torch import torch_arguments

__all__ = [
    "abs",
    "ceil",
    "cos",
    "erf",
    "exp",
    "expm1",
    "floor",
    "log",
    "log1p",
    "logical_not",
    "negative",
    "reciprocal",
    "round",
    "rsqrt",
    "sign",
    "sin",
    "sqrt",
    "square",
    "trunc",
]

_DOC = """{summary}.

Computed for each element.

Parameters
----------
x : array_like of {kinds}, any shape
out : ndarray, optional
    Where the result goes: an array of its shape and dtype. May be `x` itself.

Returns
-------
ndarray
    The shape and dtype of `x`.{error}

Raises
------
TypeError, ValueError
    If `x` is no {kind} array or `out` does not fit.

Examples
--------
>>> import fastconv
>>> fastconv.{name}({argument})
{result}
"""


class _Function(Protocol):
    def __call__(self, x: ArrayLike, *, out: Array | None = None) -> Array: ...


def _function(
    name: str,
    summary: str,
    argument: str,
    result: str,
    kind: str = "float",
    more: str = "",
    ulp: float | None = None,
) -> _Function:
    def function(x: ArrayLike, *, out: Array | None = None) -> Array:
        return apply(name, out, x=x)

    kinds = "float32, float64 or float16" if kind == "float" else kind
    error = f" The error is at most {ulp} units in the last place." if ulp else ""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DOC.format(
        name=name,
        summary=summary,
        argument=argument,
        result=result,
        kind=kind,
        kinds=kinds,
        error=error,
    )
    decorated = torch_arguments(f"input=x{more}")(takes_device_arrays("x")(function))
    return (
        native_first(_core.instruction_plain(name, 1))(decorated) if kind == "float" else decorated
    )


negative = _function("negative", "``-x``", "[1.0, -2.0]", "array([-1.,  2.])")
abs = _function("abs", "Magnitude", "[1.0, -2.0]", "array([1., 2.])")
sign = _function(
    "sign",
    "1 for positive numbers, -1 for negative ones, 0 for zeros; NaN stays NaN",
    "[3.0, -0.5, 0.0]",
    "array([ 1., -1.,  0.])",
)
reciprocal = _function("reciprocal", "``1 / x``", "[4.0, -0.5]", "array([ 0.25, -2.  ])")
square = _function("square", "``x * x``", "[3.0, -2.0]", "array([9., 4.])")
sqrt = _function("sqrt", "Square root; of negative numbers NaN", "[4.0, 9.0]", "array([2., 3.])")
rsqrt = _function("rsqrt", "``1 / sqrt(x)``", "[4.0, 0.25]", "array([0.5, 2. ])")
exp = _function(
    "exp",
    "e to the power of ``x``",
    "[0.0, 1.0]",
    "array([1.        , 2.71828183])",
    ulp=1.5,
)
expm1 = _function(
    "expm1",
    "``exp(x) - 1`` without cancellation near 0",
    "[0.0, 1e-20]",
    "array([0.e+00, 1.e-20])",
    ulp=2.5,
)
log = _function(
    "log",
    "Natural logarithm; of 0 -infinity, of negative numbers NaN",
    "[1.0, 10.0]",
    "array([0.        , 2.30258509])",
    ulp=2,
)
log1p = _function(
    "log1p",
    "``log(1 + x)`` without cancellation near 0",
    "[0.0, 1e-20]",
    "array([0.e+00, 1.e-20])",
    ulp=3,
)
erf = _function(
    "erf",
    "Error function",
    "[0.0, 1.0]",
    "array([0.        , 0.84270079])",
    ulp=4,
)
sin = _function(
    "sin", "Sine of an angle in radians", "[0.0, 1.0]", "array([0.        , 0.84147098])"
)
cos = _function(
    "cos", "Cosine of an angle in radians", "[0.0, 1.0]", "array([1.        , 0.54030231])"
)
floor = _function(
    "floor",
    "The largest integer that is not above ``x``, as a float",
    "[1.5, -1.5]",
    "array([ 1., -2.])",
)
ceil = _function(
    "ceil",
    "The smallest integer that is not below ``x``, as a float",
    "[1.5, -1.5]",
    "array([ 2., -1.])",
)
round = _function(
    "round",
    "The nearest integer, as a float; of two that are equally near, the even one",
    "[0.5, 1.5, -1.7]",
    "array([ 0.,  2., -2.])",
    more=" * decimals",
)
trunc = _function(
    "trunc",
    "``x`` rounded towards 0 to an integer, as a float",
    "[1.5, -1.7]",
    "array([ 1., -1.])",
)
logical_not = _function(
    "logical_not", "Whether ``x`` is false", "[True, False]", "array([False,  True])", "bool"
)
