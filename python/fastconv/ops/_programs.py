"""The pointwise programs of activations, and which one a program is.

They are written as graphs print them (src/ops/pointwise_program.cc): x0, x1 are the arrays, t0, t1
the results of instructions (include/fastconv/instructions.h), the last of which has no name.
"""

from __future__ import annotations

import re

PROGRAMS = {
    "celu": (
        "t0 = greater(x0, 0); t1 = divide(x0, {alpha}); t2 = expm1(t1); "
        "t3 = multiply(t2, {alpha}); where(t0, x0, t3)"
    ),
    "elu": ("t0 = greater(x0, 0); t1 = expm1(x0); t2 = multiply(t1, {alpha}); where(t0, x0, t2)"),
    # x * sigmoid(y), whose exponential does not overflow
    "glu": (
        "t0 = abs(x1); t1 = negative(t0); t2 = exp(t1); t3 = less(x1, 0); t4 = where(t3, t2, 1); "
        "t5 = add(t2, 1); t6 = divide(t4, t5); multiply(x0, t6)"
    ),
    "hardshrink": "t0 = abs(x0); t1 = less_equal(t0, {lambd}); where(t1, 0, x0)",
    "hardtanh": "clip(x0, {min_val}, {max_val})",
    "logsigmoid": (
        "t0 = minimum(x0, 0); t1 = abs(x0); t2 = negative(t1); t3 = exp(t2); t4 = log1p(t3); "
        "subtract(t0, t4)"
    ),
    "prelu": "t0 = less(x0, 0); t1 = multiply(x0, x1); where(t0, t1, x0)",
    "selu": (
        "t0 = greater(x0, 0); t1 = multiply(x0, 1.0507009873554805); t2 = expm1(x0); "
        "t3 = multiply(t2, 1.7580993408473766); where(t0, t1, t3)"
    ),
    "softplus": (
        "t0 = multiply(x0, {beta}); t1 = abs(t0); t2 = negative(t1); t3 = exp(t2); t4 = log1p(t3); "
        "t5 = maximum(t0, 0); t6 = add(t5, t4); t7 = divide(t6, {beta}); "
        "t8 = greater(t0, {threshold}); where(t8, x0, t7)"
    ),
    "softshrink": "t0 = clip(x0, -{lambd}, {lambd}); subtract(x0, t0)",
    "softsign": "t0 = abs(x0); t1 = add(t0, 1); divide(x0, t1)",
    # tanh(x) = expm1(2 x) / (expm1(2 x) + 2), which beyond 20 is 1 in double, too
    "tanhshrink": (
        "t0 = clip(x0, -20, 20); t1 = add(t0, t0); t2 = expm1(t1); t3 = add(t2, 2); "
        "t4 = divide(t2, t3); subtract(x0, t4)"
    ),
    "threshold": "t0 = less_equal(x0, {threshold}); where(t0, {value}, x0)",
}
"""By function; what stands in braces are its arguments."""

_NUMBER = re.compile(r"(?<![\w{.])-?(?:\{(\w+)\}|\d[\d.]*(?:e[+-]?\d+)?|inf|nan)")


def recognise(program: str) -> tuple[str, dict[str, float]] | None:
    """Return the function that has this program, however its numbers are written, and its numbers.

    Examples
    --------
    >>> from fastconv.ops._programs import recognise
    >>> recognise("t0 = less_equal(x0, 1e-1); where(t0, 0, x0)")
    ('threshold', {'threshold': 0.1, 'value': 0.0})
    """
    numbers = _numbers(program)
    for name, template in PROGRAMS.items():
        if _NUMBER.sub("#", template) != _NUMBER.sub("#", program):
            continue
        names = [match[1] for match in _NUMBER.finditer(template)]
        given = {key: number for key, number in zip(names, numbers, strict=True) if key}
        if repr(_numbers(template.format(**given))) == repr(numbers):  # NaN is NaN
            return name, given
    return None


def _numbers(program: str) -> list[float]:
    return [float(match[0]) for match in _NUMBER.finditer(program)]
