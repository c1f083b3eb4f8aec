"""Symbolic values among the arguments of ops.

A symbolic value stands for an array while `forward` is recorded. It has ``shape``, ``ndim``,
``dtype``, slices and ``copy()`` as arrays have, and its class has one method more, by which ops
know it and reach the graph that it is of:

``__fastconv_record__(op, inputs, attributes)``
    Adds an operator to the graph, and returns its result, a symbolic value. `op` and `attributes`
    are as docs/operators.md has them; `inputs` are symbolic values, arrays, or ``None``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from fastconv._arguments import Array, as_array

_METHOD = "__fastconv_record__"


def is_symbolic(value: Any, /, *others: Any) -> TypeGuard[Any]:
    """Whether any of these is a symbolic value."""
    # Asked of the class, as Python does for special methods: a value may answer to any name.
    if hasattr(type(value), _METHOD):
        return True
    for other in others:  # noqa: SIM110 - any() takes twice as long, and every op asks
        if hasattr(type(other), _METHOD):
            return True
    return False


def record(
    op: str, inputs: Sequence[Any], attributes: Mapping[str, Any], out: Array | None = None
) -> Array:
    """Record an operator in the graph of the symbolic values among its inputs.

    The result is a symbolic value, typed as the array in whose place it stands.
    """
    refuse_out(out)
    first: Any = next(filter(is_symbolic, inputs))
    return first.__fastconv_record__(op, inputs, attributes)  # type: ignore[no-any-return]


def refuse_out(out: Array | None) -> None:
    """Refuse an `out` that is given together with a symbolic value."""
    if out is not None:
        raise TypeError("out cannot be given with symbolic values, which have no memory")


def recordable(optional: Sequence[str] = (), /, **values: Any) -> dict[str, Any]:
    """These arguments of an op, by name, as `record` takes them: symbolic values or arrays.

    Those that are named in `optional` may be ``None``.

    Raises
    ------
    TypeError
        If one is nothing of these, nor can become a float array.
    """
    for name, value in values.items():
        if not (is_symbolic(value) or (value is None and name in optional)):
            values[name] = as_array(name, value)
    return values


def record_images(
    op: str, inputs: Mapping[str, Any], attributes: Mapping[str, Any], out: Array | None = None
) -> Array:
    """As `record`, for an operator on images: of a (C, H, W) it makes an unbatched result.

    `inputs` go by their argument names; `x` and `residual` are images, `bias` and `residual` may be
    ``None``.
    """
    values = recordable(("bias", "residual"), **inputs)
    if values["x"].ndim != 3:
        return record(op, tuple(values.values()), attributes, out)
    for name in ("x", "residual"):
        if (value := values.get(name)) is not None:
            if value.ndim != 3:
                raise ValueError(
                    f"{name} must have the output's shape, with 3 dimensions as x has, "
                    f"got {value.shape}"
                )
            batch = {"shape": (1, *value.shape)}
            values[name] = record("reshape", (value,), batch) if is_symbolic(value) else value[None]
    y = record(op, tuple(values.values()), attributes, out)
    return record("reshape", (y,), {"shape": y.shape[1:]})
