"""What reductions along axes have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_axis, as_bool
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record


def as_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes as an ascending tuple; ``None`` stands for all."""
    if axis is None:
        return tuple(range(ndim))
    values = axis if hasattr(axis, "__len__") else (axis,)
    axes = tuple(sorted(as_axis("axis", value, ndim) for value in values))
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis names a dimension twice: {axis!r}")
    return axes if ndim else ()


def cube_of(x: Array, axes: tuple[int, ...]) -> Array:
    """`x` as contiguous (outer, count, inner), whose middle axis is `axes` as one."""
    # In place where they are neighbours, else moved to the end.
    if axes and axes[-1] - axes[0] == len(axes) - 1:
        before, after = x.shape[: axes[0]], x.shape[axes[-1] + 1 :]
    else:
        kept = [i for i in range(x.ndim) if i not in axes]
        x = x.transpose(*kept, *axes)
        before, after = x.shape[: len(kept)], ()
    outer, inner = math.prod(before), math.prod(after)
    count = math.prod(x.shape[len(before) : x.ndim - len(after)])
    return np.asarray(x, order="C").reshape(outer, count, inner)


def reduce(
    op: str,
    call: Callable[[Array, Array], None],
    x: ArrayLike,
    axis: Any,
    keepdims: bool,
    out: Array | None,
    *,
    needs_elements: bool = False,
    dtype: Any = None,
    **attributes: Any,
) -> Array:
    """Reduce `x`, or record that: ``call(x, y)`` does it for `cube_of` and y (outer, inner).

    `dtype` is the result's, if it is not that of `x`; what `needs_elements` has no value of none.
    """
    keepdims = as_bool("keepdims", keepdims)
    if is_symbolic(x):
        axes = as_axes(axis, x.ndim)
        return record(op, (x,), {"axis": axes, "keepdims": keepdims, **attributes}, out)
    operands = Operands(x=x)
    values = operands["x"]
    axes = as_axes(axis, values.ndim)
    shape = tuple(
        1 if i in axes else n for i, n in enumerate(values.shape) if keepdims or i not in axes
    )
    if needs_elements and (dtype or math.prod(shape)):
        for i in axes:
            if values.shape[i] == 0:
                raise ValueError(
                    f"{op}: axis {i} of x has no elements, and there is no {op} of none: "
                    f"shape {values.shape}"
                )
    cube = cube_of(values, axes)
    outer, _, inner = cube.shape
    return operands.run(
        lambda y: call(cube, y.reshape(outer, inner)), shape, out, contiguous=True, dtype=dtype
    )


def reduce_by_name(
    op: str, x: ArrayLike, axis: Any, keepdims: bool, out: Array | None, **options: Any
) -> Array:
    """Reduce `x` by the operator of graphs of this name that has no other attributes."""
    return reduce(op, lambda a, y: _core.reduce(op, a, y), x, axis, keepdims, out, **options)
