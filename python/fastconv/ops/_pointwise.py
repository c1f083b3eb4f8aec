"""Pointwise programs: instructions on corresponding elements, computed in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastconv import _core
from fastconv._arguments import Array, as_float, is_number, numpy_array
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record, recordable

INSTRUCTIONS = {name: (operands, result) for name, operands, result in _core.instructions()}
"""What each instruction takes, and what it gives: "f" stands for floats, "m" for masks (bool)."""

_BOOL = np.dtype(np.bool_)


def as_mask(name: str, value: Any) -> Any:
    """`value` as an array of bools, or the symbolic value that it is.

    Raises
    ------
    TypeError
        If it is neither.
    """
    array = value if is_symbolic(value) else np.asarray(numpy_array(name, value))
    if array.dtype != _BOOL:
        raise TypeError(f"{name} must be bool, got {array.dtype}: compare, for example {name} != 0")
    return array


def apply(instruction: str, out: Array | None = None, **operands: Any) -> Array:
    """Compute an instruction, or record it where an operand is symbolic.

    Numbers take the dtype of the arrays that they meet.
    """
    kinds, result = INSTRUCTIONS[instruction]
    given = with_numbers(operands)
    masked = [name for name, kind in zip(given, kinds, strict=True) if kind == "m"]
    given |= {name: as_mask(name, given[name]) for name in masked}
    if is_symbolic(*given.values()):
        arrays = recordable(**{n: value for n, value in given.items() if n not in masked})
        return record(instruction, tuple((given | arrays).values()), {}, out)
    inputs = ", ".join(f"x{i}" for i in range(len(given)))
    return compute(f"{instruction}({inputs})", given, out, masked, result)


def apply_program(program: str, operands: Mapping[str, Any], out: Array | None = None) -> Array:
    """Compute a program of floats, or record it where an operand is symbolic."""
    if not is_symbolic(*operands.values()):
        return compute(program, operands, out)
    return record("pointwise", tuple(recordable(**operands).values()), {"program": program}, out)


def with_numbers(operands: Mapping[str, Any]) -> dict[str, Any]:
    """Return the operands, numbers among them as arrays of the dtype that the floats have."""
    if not any(map(is_number, operands.values())):
        return dict(operands)
    dtype: Any = np.float64
    for name, value in operands.items():
        if not is_number(value):
            array = value if is_symbolic(value) else np.asarray(numpy_array(name, value))
            dtype = dtype if array.dtype == _BOOL else array.dtype
    return {
        name: np.asarray(as_float(name, value), dtype) if is_number(value) else value
        for name, value in operands.items()
    }


def compute(
    program: str,
    operands: Mapping[str, Any],
    out: Array | None = None,
    masked: Sequence[str] = (),
    result: str = "f",
) -> Array:
    """Compute a program of arrays, of which `masked` are bools; so is its result if that is "m"."""
    floats = {name: value for name, value in operands.items() if name not in masked}
    checked = Operands(**(floats or {"x": np.empty(0)}))
    arrays = [operands[name] if name in masked else checked[name] for name in operands]
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        names, shapes = (
            " and ".join(map(str, parts)) for parts in (operands, (a.shape for a in arrays))
        )
        raise ValueError(f"{names} must have shapes that broadcast, got {shapes}") from None
    inputs = [np.broadcast_to(array, shape) for array in arrays]
    return checked.run(
        lambda y: _core.pointwise(program, inputs, y),
        shape,
        out,
        inplace=tuple(operands),
        dtype=_BOOL if result == "m" else None,
    )
