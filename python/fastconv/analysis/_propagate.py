"""How each recorded operator changes what the elements of a value see."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from fastconv.analysis._window import WHOLE, Taps, Window, union
from fastconv.graph import Node
from fastconv.ops._pointwise import INSTRUCTIONS

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Field:
    """The windows along all axes of the image, and whether gates depend on the rest of it."""

    windows: tuple[Window, ...]
    context: bool = False


# ---- Operators ---------------------------------------------------------------------------------


def window_taps(kernel: int, stride: int, before: int, dilation: int) -> Taps:
    """Return what a sliding window reads, with `before` pixels of padding before the image."""
    return Taps(stride, (range(-before, -before + dilation * (kernel - 1) + 1, dilation),))


def _conv2d(node: Node, x: Shape) -> dict[int, Taps | None]:
    weight: Any = node.inputs[1]
    mixed: dict[int, Taps | None] = {1: None}
    for i in range(2):
        kernel, stride, dilation = (
            weight.shape[2 + i],
            node.fields["stride"][i],
            node.fields["dilation"][i],
        )
        before = node.fields["padding"][2 * i]
        mixed[2 + i] = window_taps(kernel, stride, before, dilation)
    return mixed


def _conv_transpose2d(node: Node, x: Shape) -> dict[int, Taps | None]:
    weight: Any = node.inputs[1]
    mixed: dict[int, Taps | None] = {1: None}
    for i in range(2):
        stride, padding, dilation = (
            node.fields[name][i] for name in ("stride", "padding", "dilation")
        )
        # Output o gets input n where o = n * stride - padding + k * dilation.
        reads = [
            [r + padding - k * dilation for k in range(weight.shape[2 + i])] for r in range(stride)
        ]
        phases = tuple([n // stride for n in row if n % stride == 0] for row in reads)
        mixed[2 + i] = Taps(1, phases)
    return mixed


def _pool(node: Node, x: Shape) -> dict[int, Taps | None]:
    a = node.fields
    return {
        2 + i: window_taps(*(a[key][i] for key in ("kernel_size", "stride", "padding", "dilation")))
        for i in range(2)
    }


def _adaptive_pool(node: Node, x: Shape) -> dict[int, Taps | None]:
    return {2 + i: _adaptive(x[2 + i], node.fields["output_size"][i]) for i in range(2)}


def _adaptive(size: int, out: int) -> Taps | None:
    if out == 1:
        return None
    phases = out // math.gcd(size, out)
    return Taps(
        size * phases // out,
        tuple(range(r * size // out, -(-(r + 1) * size // out)) for r in range(phases)),
    )


def _interpolate(node: Node, x: Shape) -> dict[int, Taps | None]:
    a = node.fields
    mixed: dict[int, Taps | None] = {}
    for i in range(2):
        size, out, scale = x[2 + i], a["size"][i], a["scale"][i]
        if size == out and (a["mode"] == "bilinear" or a["antialias"] or not scale):
            continue
        if a["coordinates"] == "align_corners":
            ratio = Fraction(size - 1, out - 1) if out > 1 else Fraction(0)
        else:
            ratio = Fraction(scale).limit_denominator(1 << 16) if scale else Fraction(size, out)
        shift = Fraction(0)
        if a["antialias"] or a["coordinates"] not in ("align_corners", "asymmetric"):
            shift = (ratio - 1) / 2
        if a["coordinates"] == "half_pixel_symmetric":
            shift += (size - out * ratio) / 2
        mixed[2 + i] = Taps(
            ratio.numerator,
            tuple(_interpolated(a, r * ratio + shift, ratio) for r in range(ratio.denominator)),
        )
    return mixed


_ROUNDED: dict[str, Callable[[Fraction], int]] = {
    "round_prefer_floor": lambda place: math.ceil(place - Fraction(1, 2)),
    "round_prefer_ceil": lambda place: math.floor(place + Fraction(1, 2)),
    "floor": math.floor,
    "ceil": math.ceil,
}


def _interpolated(fields: Mapping[str, Any], place: Fraction, ratio: Fraction) -> range:
    """Return what an interpolation reads for an element at this place of its input."""
    if fields["mode"] == "nearest":
        nearest = _ROUNDED[fields["nearest_mode"]](place)
        return range(nearest, nearest + 1)
    if fields["mode"] == "bilinear" and not fields["antialias"]:
        return range(math.floor(place), math.ceil(place) + 1)
    reach = {"bilinear": 1, "bicubic": 2}[fields["mode"]] * (
        max(ratio, Fraction(1)) if fields["antialias"] else 1
    )
    # Where the filter is not zero.
    return range(math.floor(place - reach) + 1, math.ceil(place + reach))


def _pixel_shuffle(node: Node, x: Shape) -> dict[int, Taps | None]:
    taps = Taps(1, ((0,),) * node.fields["upscale_factor"])
    return {1: None, 2: taps, 3: taps}


def _pixel_unshuffle(node: Node, x: Shape) -> dict[int, Taps | None]:
    r = node.fields["downscale_factor"]
    taps = Taps(r, (range(r),))
    return {1: None, 2: taps, 3: taps}


def _tile(node: Node, x: Shape) -> dict[int, Taps | None]:
    repeats = zip(x, node.fields["repeats"], strict=True)
    return {axis: None for axis, (n, times) in enumerate(repeats) if n > 1 and times > 1}


def _slice(node: Node, x: Shape) -> dict[int, Taps | None]:
    bounds = zip(node.fields["start"], node.fields["step"], strict=True)
    return {axis: Taps(step, ((start,),)) for axis, (start, step) in enumerate(bounds)}


def _pad(node: Node, x: Shape) -> dict[int, Taps | None]:
    return {axis: Taps(1, ((-before,),)) for axis, before in enumerate(node.fields["before"])}


_REDUCTIONS = ("mean", "sum", "prod", "max", "min", "argmax", "argmin", "norm")
_Mixes = Callable[[Node, Shape], Mapping[int, Taps | None]]

MIXES: dict[str, _Mixes] = {
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "linear": lambda node, x: {len(x) - 1: None},
    "max_pool2d": _pool,
    "avg_pool2d": _pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "adaptive_max_pool2d": _adaptive_pool,
    **dict.fromkeys(_REDUCTIONS, lambda node, x: dict.fromkeys(node.fields["axis"])),
    "cumsum": lambda node, x: {node.fields["axis"]: None},
    "interpolate": _interpolate,
    "grid_sample": lambda node, x: {2: None, 3: None},
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "channel_shuffle": lambda node, x: {1: None},
    "local_response_norm": lambda node, x: {1: None},
    "group_norm": lambda node, x: {1: None},
    "slice": _slice,
    "pad": _pad,
    "tile": _tile,
    "take": lambda node, x: {node.fields["axis"]: None},
    "batch_norm": lambda node, x: {},
    "activation": lambda node, x: {},
    "permute": lambda node, x: {},
    "reshape": lambda node, x: {},
    "layer_norm": lambda node, x: {},
    "softmax": lambda node, x: {},
    "log_softmax": lambda node, x: {},
}
"""For each axis of its first input along which an operator mixes elements: which ones, or `None`
for all."""

_NORMALISED: dict[str, Callable[[Node, Shape], Sequence[int]]] = {
    "layer_norm": lambda node, x: range(node.fields["begin"], node.fields["end"]),
    "group_norm": lambda node, x: range(1, len(x)),
    "softmax": lambda node, x: [node.fields["axis"]],
    "log_softmax": lambda node, x: [node.fields["axis"]],
}
"""Along which axes an operator divides by a statistic of all elements."""


def _mixed(window: Window, mixes: Mapping[int, Taps | None]) -> Window:
    if window.axis is None or window.axis not in mixes:
        return window
    taps = mixes[window.axis]
    if taps is None:
        return WHOLE
    return window if window.scattered else window.through(taps)


def _reshaped(window: Window, old: Shape, new: Shape) -> Window:
    """Follow the window's axis into another shape with the same elements."""
    axis = window.axis
    if axis is None:
        return window
    # The axis itself, if nothing changes before or after it.
    for moved in (axis, len(new) - len(old) + axis):
        if not (0 <= moved < len(new) and new[moved] == old[axis]):
            continue
        if new[:moved] == old[:axis] or new[moved + 1 :] == old[axis + 1 :]:
            return window.moved(moved)
    if old[axis] == 1:
        return window.moved(None)
    # Row-major order: `before` elements make up the axes before it, `after` those and itself.
    before = math.prod(old[:axis])
    after = before * old[axis]
    product = 1
    for moved, size in enumerate(new):
        start, product = product, product * size
        if product <= before:
            continue
        if start == before and not window.scattered:
            if after % product == 0:  # cut into parts, of which this axis counts the first
                parts = after // product
                return window.moved(moved).through(Taps(parts, (range(parts),)))
            if product % after == 0:  # joined with the axes after it
                return window.moved(moved).through(Taps(1, ((0,),) * (product // after)))
        if product >= after:
            return Window(moved, 0, ((0, window.size - 1),), scattered=True)
        break
    return WHOLE


def _broadcast(fields: Sequence[tuple[Field, Shape]], shape: Shape, gates: bool) -> Field:
    """Return the field of an elementwise operator's result; `gates`: it multiplies or divides."""
    context = any(f.context for f, _ in fields)
    windows = []
    for i in range(len(fields[0][0].windows)):
        operands = []
        for operand, own_shape in fields:
            window = operand.windows[i]
            if window.axis is not None:
                axis = window.axis + len(shape) - len(own_shape)
                window = window.moved(axis if own_shape[window.axis] == shape[axis] else None)
            operands.append(window)
        moving = [window for window in operands if window.axis is not None]
        if gates and moving and len(moving) < len(operands):
            operands, context = moving, True
        windows.append(union(operands))
    return Field(tuple(windows), context)


def _concat(fields: Sequence[tuple[Field | None, Shape]], axis: int) -> Field:
    known = [f for f, _ in fields if f is not None]
    windows = []
    for i in range(len(known[0].windows)):
        placed, offset = [], 0
        along = False
        for operand, shape in fields:
            if operand is not None:
                window = operand.windows[i]
                if window.axis == axis and not window.scattered:
                    along = True
                    window = window.through(Taps(1, ((-offset,),)))
                placed.append(window)
            offset += shape[axis]
        # One image after the other has one window only if it continues the other's.
        continues = not along or all(window == placed[0] for window in placed)
        windows.append(union(placed) if continues else WHOLE)
    return Field(tuple(windows), any(f.context for f in known))


def _moved(node: Node, window: Window, old: Shape) -> Window:
    """Follow the window's axis through operators that renumber the axes."""
    if node.op == "reshape":
        return _reshaped(window, old, node.shape)
    if window.axis is None:
        return window
    if node.op == "permute":
        return window.moved(tuple(node.fields["order"]).index(window.axis))
    if node.op == "tile" and old[window.axis] == 1 != node.shape[window.axis]:
        return window.moved(None)  # the same everywhere
    if node.op in _REDUCTIONS and not node.fields["keepdims"]:
        return window.moved(window.axis - sum(a < window.axis for a in node.fields["axis"]))
    return window


def _unary(node: Node, x: Field, shape: Shape) -> Field:
    """Return the field of the result of an operator with one input besides its weights."""
    mixes = MIXES[node.op](node, shape)
    context = x.context
    if node.op in _NORMALISED:
        axes = _NORMALISED[node.op](node, shape)
        context = context or any(window.axis in axes for window in x.windows)
    return Field(tuple(_moved(node, _mixed(w, mixes), shape) for w in x.windows), context)


POINTWISE = {*INSTRUCTIONS, "pointwise"}


def _scatter_add(operands: Sequence[tuple[Field | None, Shape]], node: Node) -> Field:
    """Return the field of `x`, to which updates from anywhere along the axis are added."""
    (x, shape), (updates, _) = operands
    known = [] if x is None else [(x, shape)]
    if updates is not None:
        windows = tuple(_mixed(w, {node.fields["axis"]: None}) for w in updates.windows)
        known.append((Field(windows, updates.context), shape))
    return _broadcast(known, shape, gates=False)


def _matmul(operands: Sequence[tuple[Field | None, Shape]], node: Node) -> Field:
    """Return the field of a product of matrices: each element sees a row and a column."""
    (_, a), (_, b) = operands
    rank = max(len(a), len(b), 2)  # of the result, with the axes that vectors do not give it
    removed = [axis for axis, shape in ((rank - 2, a), (rank - 1, b)) if len(shape) == 1]
    kept = [axis for axis in range(rank) if axis not in removed]
    fields = []
    for (operand, shape), inner in zip(operands, (len(a) - 1, max(len(b) - 2, 0)), strict=True):
        if operand is None:
            continue
        windows = []
        for window in operand.windows:
            moved = _mixed(window, {inner: None})
            if moved.axis is not None:
                axis = kept.index(moved.axis + rank - len(shape))
                repeats = node.shape[axis] != shape[moved.axis]
                moved = moved.moved(None if repeats else axis)
            windows.append(moved)
        fields.append((Field(tuple(windows), operand.context), node.shape))
    return _broadcast(fields, node.shape, gates=False)


def _weights(operand: Field, node: Node) -> Field:
    """Return what the weights or the bias of a layer add, which are values themselves."""
    channels = len(node.shape) - 1 if node.op == "linear" else 1
    others: dict[int, Taps | None] = dict.fromkeys(range(1, 4))
    windows = [_mixed(window, others) for window in operand.windows]
    return Field(
        tuple(w if w.axis is None else w.moved(channels) for w in windows), operand.context
    )


def propagate(node: Node, fields: Mapping[int, Field]) -> Field | None:
    """Return the field of an operator's result, `None` if it does not depend on the image."""
    operands = [
        (None, ()) if value is None else (fields.get(value.id), value.shape)
        for value in node.inputs
    ]
    known = [(f, shape) for f, shape in operands if f is not None]
    if not known:
        return None
    if node.op == "concat":
        return _concat(operands, node.fields["axis"])
    if node.op == "scatter_add":
        return _scatter_add(operands, node)
    if node.op in POINTWISE:
        return _broadcast(known, node.shape, gates=node.op in ("multiply", "divide"))
    if node.op == "matmul":
        return _matmul(operands, node)
    results = []
    for i, (operand, shape) in enumerate(operands):
        if operand is not None and i == 0:
            results.append(_unary(node, operand, shape))
        elif operand is not None:
            is_residual = i == 3
            results.append(operand if is_residual else _weights(operand, node))
    return _broadcast([(f, node.shape) for f in results], node.shape, gates=False)
