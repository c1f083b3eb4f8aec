"""Arithmetic, comparisons and choices, element by element."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_float, is_number
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._native import native_first
from fastconv.ops._pointwise import apply
from fastconv.ops._torch import torch_arguments

__all__ = [
    "add",
    "clip",
    "divide",
    "equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "not_equal",
    "power",
    "subtract",
    "where",
]

_DOC = """{summary}, element by element.

Parameters
----------
a, b : array_like of {kind}
    Of shapes that broadcast as in NumPy.{numbers}
out : ndarray, optional
    Where the result goes.{inplace}

Returns
-------
ndarray{of}

Raises
------
TypeError, ValueError
    If the dtypes differ or the shapes do not broadcast.

Examples
--------
>>> import fastconv
>>> fastconv.{name}({arguments})
{result}
"""
_NUMBERS = " A number takes the dtype of the other operand."
_INPLACE = " May be `a` or `b` itself."


class _Function(Protocol):
    def __call__(self, a: ArrayLike, b: ArrayLike, *, out: Array | None = None) -> Array: ...


def _function(name: str, torch: str, **parts: str) -> _Function:
    def function(a: ArrayLike, b: ArrayLike, *, out: Array | None = None) -> Array:
        return apply(name, out, a=a, b=b)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DOC.format(name=name, **parts)
    return torch_arguments(torch)(takes_device_arrays("a", "b")(function))


def _operation(name: str, summary: str, result: str, more: str = "") -> _Function:
    parts = {"kind": "float, or number", "numbers": _NUMBERS, "inplace": _INPLACE, "of": ""}
    arguments = "[1.0, 3.0], 2"
    function = _function(
        name, f"input=a other=b{more}", summary=summary, arguments=arguments, result=result, **parts
    )
    return native_first(_core.instruction_plain(name, 2))(function)


def _comparison(name: str, summary: str, result: str) -> _Function:
    parts = {"kind": "float, or number", "numbers": _NUMBERS, "inplace": "", "of": " of bool"}
    arguments = "[1.0, 2.0], 2"
    return _function(
        name, "input=a other=b", summary=summary, arguments=arguments, result=result, **parts
    )


def _logic(name: str, summary: str, result: str) -> _Function:
    parts = {"kind": "bool", "numbers": "", "inplace": _INPLACE, "of": " of bool"}
    arguments = "[True, False], [True, True]"
    return _function(
        name, "input=a other=b", summary=summary, arguments=arguments, result=result, **parts
    )


add = _operation("add", "Sum", "array([3., 5.])", " * alpha")
multiply = _operation("multiply", "Product", "array([2., 6.])")
subtract = _operation("subtract", "Difference", "array([-1.,  1.])", " * alpha")
divide = _operation(
    "divide",
    "Quotient: as IEEE has it, infinity or NaN where `b` is 0",
    "array([0.5, 1.5])",
    " * rounding_mode",
)
minimum = _operation("minimum", "The smaller one; NaN where one is NaN", "array([1., 2.])")
maximum = _operation("maximum", "The larger one; NaN where one is NaN", "array([2., 3.])")
equal = _comparison("equal", "Whether `a` equals `b`", "array([False,  True])")
not_equal = _comparison("not_equal", "Whether `a` differs from `b`", "array([ True, False])")
less = _comparison("less", "Whether `a` is below `b`", "array([ True, False])")
less_equal = _comparison("less_equal", "Whether `a` is not above `b`", "array([ True,  True])")
greater = _comparison("greater", "Whether `a` is above `b`", "array([False, False])")
greater_equal = _comparison(
    "greater_equal", "Whether `a` is not below `b`", "array([False,  True])"
)
logical_and = _logic("logical_and", "Whether both are true", "array([ True, False])")
logical_or = _logic("logical_or", "Whether one is true, or both", "array([ True,  True])")
logical_xor = _logic("logical_xor", "Whether exactly one is true", "array([False,  True])")

_POWERS = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}  # as NumPy's `**` has it


@native_first(_core.instruction_plain("power", 2))
@torch_arguments("input=a exponent=b")
@takes_device_arrays("a", "b")
def power(a: ArrayLike, b: ArrayLike, *, out: Array | None = None) -> Array:
    """``a`` to the power of ``b``, element by element, as IEEE has it.

    The numbers 2, 0.5 and -1 as `b` are `square`, `sqrt` and `reciprocal`, which are faster.

    Parameters
    ----------
    a, b : array_like of float32, float64 or float16, or number
        Of shapes that broadcast as in NumPy. A number takes the dtype of the other operand.
    out : ndarray, optional
        Where the result goes. May be `a` or `b` itself.

    Returns
    -------
    ndarray
        NaN where `a` is negative and `b` no integer.

    Raises
    ------
    TypeError, ValueError
        If the dtypes differ or the shapes do not broadcast.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.power([2.0, 3.0], 3)
    array([ 8., 27.])
    """
    if is_number(b) and not is_number(a) and (special := _POWERS.get(as_float("b", b))):
        return apply(special, out, x=a)
    return apply("power", out, a=a, b=b)


@torch_arguments("input=x min max")
@takes_device_arrays("x", "min", "max")
def clip(
    x: ArrayLike,
    min: ArrayLike | None = None,
    max: ArrayLike | None = None,
    *,
    out: Array | None = None,
) -> Array:
    """``minimum(maximum(x, min), max)``, element by element.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
    min, max : array_like of float32, float64 or float16, or number, optional
        Bounds, of shapes that broadcast with `x`; no bound where absent. Where `min` is above
        `max`, the result is `max`.
    out : ndarray, optional
        Where the result goes. May be `x` itself.

    Returns
    -------
    ndarray
        NaN stays NaN.

    Raises
    ------
    TypeError, ValueError
        If both bounds are absent, the dtypes differ or the shapes do not broadcast.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.clip([-2.0, 0.5, 7.0], 0, 1)
    array([0. , 0.5, 1. ])
    """
    bounds: dict[str, Any] = {"min": min, "max": max}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    if not given:
        raise TypeError("clip takes min, max or both, got neither")
    name = "clip" if len(given) == 2 else "maximum" if min is not None else "minimum"
    return apply(name, out, x=x, **given)


@torch_arguments("condition input=a other=b")
@takes_device_arrays("condition", "a", "b")
def where(condition: ArrayLike, a: ArrayLike, b: ArrayLike, *, out: Array | None = None) -> Array:
    """``a`` where the condition is true and ``b`` elsewhere, element by element.

    Parameters
    ----------
    condition : array_like of bool
    a, b : array_like of float32, float64 or float16, or number
        All shapes broadcast as in NumPy. A number takes the dtype of the array among `a` and `b`;
        two numbers give float64.
    out : ndarray, optional
        Where the result goes. May be `a` or `b` itself, if that has the shape of the result.

    Returns
    -------
    ndarray
        The broadcast shape; the dtype of `a` and `b`.

    Raises
    ------
    TypeError, ValueError
        If `condition` is not bool, the dtypes differ, the shapes do not broadcast or `out` does not
        fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.where([True, False], [1.0, 2.0], 0)
    array([1., 0.])
    """
    return apply("where", out, condition=condition, a=a, b=b)
