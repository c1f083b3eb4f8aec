"""Receptive fields, by going through the recorded operators of a network once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from fastconv._symbolic import Symbol
from fastconv.analysis._recording import Operator, Recording, build, record
from fastconv.nn import Module, ModuleList, Sequential
from fastconv.ops._args import as_int, as_pair, is_sequence

Shape = tuple[int, ...]
Span = tuple[float, float]
"""First and last pixel; infinite for the whole image, (inf, -inf) for none."""

EVERYTHING: Span = (-math.inf, math.inf)


class Taps(NamedTuple):
    """Which inputs each output reads along an axis.

    Output ``q * len(phases) + r`` reads, for each ``t`` in ``phases[r]``, input ``q * step + t``.
    """

    step: int
    phases: tuple[Sequence[int], ...]


@dataclass(frozen=True)
class Window:
    """What the elements of a value see along one axis of the image.

    Element ``q * len(spans) + r`` along the value's axis `axis` sees the pixels from
    ``spans[r][0] + q * step`` to ``spans[r][1] + q * step``. There are several spans only after
    upsampling, which gives neighbours different windows. `axis` is `None` where all elements see
    the same; where they are no longer in the image's order (flattened), `scattered` is true and
    only the size of the span means something.
    """

    axis: int | None
    step: int
    spans: tuple[Span, ...]
    scattered: bool = False

    @property
    def jump(self) -> Fraction:
        return Fraction(self.step, len(self.spans))

    @property
    def size(self) -> float:
        return max(last - first + 1 for first, last in self.spans)

    @property
    def is_whole(self) -> bool:
        return self.spans[0] == EVERYTHING

    def at(self, index: int) -> Span:
        """Return what element `index` sees; elements of the padding count on in both directions."""
        q, r = divmod(index, len(self.spans))
        first, last = self.spans[r]
        return first + q * self.step, last + q * self.step

    def moved(self, axis: int | None) -> Window:
        """Return the same along another axis of the value."""
        return Window(axis, self.step, self.spans, self.scattered)

    def through(self, taps: Taps) -> Window:
        """Return the window of an operator's result from that of its input."""
        period, phases = len(self.spans), taps.phases
        repeats = period // math.gcd(period, taps.step)
        spans = tuple(
            _hull(self.at(q * taps.step + t) for t in phases[r])
            for q in range(repeats)
            for r in range(len(phases))
        )
        return _periodic(self.axis, repeats * taps.step * self.step // period, spans)


WHOLE = Window(None, 0, (EVERYTHING,))


def _hull(spans: Iterable[Span]) -> Span:
    firsts, lasts = zip(*spans, (math.inf, -math.inf), strict=True)
    return min(firsts), max(lasts)


def _periodic(axis: int | None, step: int, spans: tuple[Span, ...]) -> Window:
    """Return a window with the smallest period, so that equal windows are equal objects."""
    n = len(spans)
    for period in range(1, n):
        if n % period or (period * step) % n:
            continue
        candidate = Window(axis, period * step // n, spans[:period])
        if all(candidate.at(i) == spans[i] for i in range(n)):
            return candidate
    return Window(axis, step, spans)


def _union(windows: Sequence[Window]) -> Window:
    """Return the window of a value that depends on several.

    Where their jumps differ, the distance between what they see grows with the position: together
    they count as the whole image.
    """
    first = windows[0]
    if all(window == first for window in windows):
        return first
    if any(w.is_whole or w.axis != first.axis or w.scattered != first.scattered for w in windows):
        return WHOLE
    if first.scattered:
        return max(windows, key=lambda window: window.size)
    if any(window.jump != first.jump for window in windows):
        return WHOLE
    period = math.lcm(*(len(window.spans) for window in windows))
    spans = tuple(_hull(window.at(i) for window in windows) for i in range(period))
    return _periodic(first.axis, first.step * period // len(first.spans), spans)


@dataclass(frozen=True)
class Field:
    """The windows along all axes of the image, and whether gates let in the rest of it."""

    windows: tuple[Window, ...]
    context: bool = False


# ---- Operators ---------------------------------------------------------------------------------


def _window_taps(kernel: int, stride: int, before: int, dilation: int) -> Taps:
    return Taps(stride, (range(-before, -before + dilation * (kernel - 1) + 1, dilation),))


def _conv2d(op: Operator, x: Shape) -> dict[int, Taps | None]:
    weight: Any = op.inputs[1]
    mixed: dict[int, Taps | None] = {1: None}
    for i in range(2):
        kernel, stride, dilation = (
            weight.shape[2 + i],
            op.attributes["stride"][i],
            op.attributes["dilation"][i],
        )
        padding = op.attributes["padding"]
        if padding == "same":
            size, covered = x[2 + i], dilation * (kernel - 1) + 1
            total = max((math.ceil(size / stride) - 1) * stride + covered - size, 0)
            before = total // 2
        else:
            before = 0 if padding == "valid" else padding[i][0]
        mixed[2 + i] = _window_taps(kernel, stride, before, dilation)
    return mixed


def _conv_transpose2d(op: Operator, x: Shape) -> dict[int, Taps | None]:
    weight: Any = op.inputs[1]
    mixed: dict[int, Taps | None] = {1: None}
    for i in range(2):
        stride, padding, dilation = (
            op.attributes[name][i] for name in ("stride", "padding", "dilation")
        )
        # Output o gets input n where o = n * stride - padding + k * dilation.
        reads = [
            [r + padding - k * dilation for k in range(weight.shape[2 + i])] for r in range(stride)
        ]
        phases = tuple([n // stride for n in row if n % stride == 0] for row in reads)
        mixed[2 + i] = Taps(1, phases)
    return mixed


def _pool(op: Operator, x: Shape) -> dict[int, Taps | None]:
    a = op.attributes
    dilation = a.get("dilation", (1, 1))
    return {
        2 + i: _window_taps(a["kernel_size"][i], a["stride"][i], a["padding"][i], dilation[i])
        for i in range(2)
    }


def _adaptive_pool(op: Operator, x: Shape) -> dict[int, Taps | None]:
    return {2 + i: _adaptive(x[2 + i], op.attributes["output_size"][i]) for i in range(2)}


def _adaptive(size: int, out: int) -> Taps | None:
    if out == 1:
        return None
    phases = out // math.gcd(size, out)
    return Taps(
        size * phases // out,
        tuple(range(r * size // out, -(-(r + 1) * size // out)) for r in range(phases)),
    )


def _interpolate(op: Operator, x: Shape) -> dict[int, Taps | None]:
    a = op.attributes
    bilinear, aligned = a["mode"] == "bilinear", a["align_corners"]
    mixed: dict[int, Taps | None] = {}
    for i in range(2):
        size, out, scale = x[2 + i], a["size"][i], a["scale"][i]
        if size == out:
            continue
        if aligned:
            ratio = Fraction(size - 1, out - 1) if out > 1 else Fraction(0)
        else:
            ratio = Fraction(scale).limit_denominator(1 << 16) if scale else Fraction(size, out)
        shift = (ratio - 1) / 2 if bilinear and not aligned else Fraction(0)
        places = [r * ratio + shift for r in range(ratio.denominator)]
        mixed[2 + i] = Taps(
            ratio.numerator,
            tuple(
                range(math.floor(p), (math.ceil(p) if bilinear else math.floor(p)) + 1)
                for p in places
            ),
        )
    return mixed


def _pixel_shuffle(op: Operator, x: Shape) -> dict[int, Taps | None]:
    taps = Taps(1, ((0,),) * op.attributes["upscale_factor"])
    return {1: None, 2: taps, 3: taps}


def _slice(op: Operator, x: Shape) -> dict[int, Taps | None]:
    bounds = zip(op.attributes["start"], op.attributes["step"], strict=True)
    return {axis: Taps(step, ((start,),)) for axis, (start, step) in enumerate(bounds)}


def _pad(op: Operator, x: Shape) -> dict[int, Taps | None]:
    return {axis: Taps(1, ((-before,),)) for axis, (before, _) in enumerate(op.attributes["pad"])}


_Mixes = Callable[[Operator, Shape], Mapping[int, Taps | None]]

_MIXES: dict[str, _Mixes] = {
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "linear": lambda op, x: {len(x) - 1: None},
    "max_pool2d": _pool,
    "avg_pool2d": _pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "adaptive_max_pool2d": _adaptive_pool,
    "mean": lambda op, x: dict.fromkeys(op.attributes["axis"]),
    "interpolate": _interpolate,
    "pixel_shuffle": _pixel_shuffle,
    "channel_shuffle": lambda op, x: {1: None},
    "local_response_norm": lambda op, x: {1: None},
    "slice": _slice,
    "pad": _pad,
    "batch_norm": lambda op, x: {},
    "activation": lambda op, x: {},
    "permute": lambda op, x: {},
    "reshape": lambda op, x: {},
    "layer_norm": lambda op, x: {},
    "softmax": lambda op, x: {},
}
"""Along which axes of its first input an operator mixes elements: which ones, `None` for all."""

_NORMALISED: dict[str, Callable[[Operator, Shape], Sequence[int]]] = {
    "layer_norm": lambda op, x: range(len(x) - len(op.attributes["normalized_shape"]), len(x)),
    "softmax": lambda op, x: [op.attributes["axis"]],
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
    """Return the field of an elementwise operator's result; `gates` where it multiplies."""
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
        windows.append(_union(operands))
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
        windows.append(_union(placed) if continues else WHOLE)
    return Field(tuple(windows), any(f.context for f in known))


def _moved(op: Operator, window: Window, old: Shape) -> Window:
    """Follow the window's axis through operators that renumber the axes."""
    if op.name == "reshape":
        return _reshaped(window, old, op.output.shape)
    if window.axis is None:
        return window
    if op.name == "permute":
        return window.moved(tuple(op.attributes["order"]).index(window.axis))
    if op.name == "mean" and not op.attributes["keepdims"]:
        return window.moved(window.axis - sum(a < window.axis for a in op.attributes["axis"]))
    return window


def _unary(op: Operator, x: Field, shape: Shape) -> Field:
    """Return the field of the result of an operator with one input besides its weights."""
    mixes = _MIXES[op.name](op, shape)
    context = x.context
    if op.name in _NORMALISED:
        axes = _NORMALISED[op.name](op, shape)
        context = context or any(window.axis in axes for window in x.windows)
    return Field(tuple(_moved(op, _mixed(w, mixes), shape) for w in x.windows), context)


def _propagate(op: Operator, fields: Mapping[int, Field]) -> Field | None:
    """Return the field of an operator's result, `None` if it does not depend on the image."""
    operands = [
        (fields.get(value.id) if isinstance(value, Symbol) else None, tuple(value.shape))
        for value in op.inputs
        if value is not None
    ]
    known = [(f, shape) for f, shape in operands if f is not None]
    if not known:
        return None
    if op.name == "concat":
        return _concat(operands, op.attributes["axis"])
    if op.name in ("add", "multiply"):
        return _broadcast(known, op.output.shape, gates=op.name == "multiply")
    x, shape = operands[0]
    if x is None:
        return known[0][0]  # the residual alone
    result = _unary(op, x, shape)
    with_residual = [(f, op.output.shape) for f in (result, *(f for f, _ in known[1:]))]
    return _broadcast(with_residual, op.output.shape, gates=False)


# ---- What users see ----------------------------------------------------------------------------


@dataclass(frozen=True)
class ReceptiveField:
    """The part of the image that one element of a network's result depends on.

    One number for each axis: (height, width), or (length,) of a one-dimensional input.

    Attributes
    ----------
    size : tuple of int or float
        Its side in pixels, padding included; ``inf`` for the whole image, however large.
    jump : tuple of int, Fraction or None
        How many pixels it moves from one element to the next (the effective stride); a fraction
        after upsampling. `None` where elements have no place in the image.
    start : tuple of int or None
        Its first pixel, for element 0; negative in the padding. So element i sees the pixels from
        ``start + i * jump`` to ``start + i * jump + size - 1``. After upsampling neighbours may
        see parts of different sizes: then `size` is the largest, `jump` the mean, and `window`
        tells what each of them sees.
    global_context : bool
        Whether values computed from the whole image scale the result besides; see
        `receptive_field`.
    modules : dict of str to ReceptiveField
        That of what each submodule returned last, by its dotted name.

    Examples
    --------
    >>> from fastconv.analysis import receptive_field
    >>> receptive_field([(3, 1, 1)] * 5)
    ReceptiveField(size=(11, 11), jump=(1, 1), start=(0, 0))
    """

    size: tuple[float, ...]
    jump: tuple[Fraction | int | None, ...]
    start: tuple[int | None, ...]
    global_context: bool = False
    modules: dict[str, ReceptiveField] = field(default_factory=dict, compare=False)
    _windows: tuple[Window, ...] = field(default=(), compare=False)

    def window(self, *index: int) -> tuple[tuple[float, float], ...]:
        """Return the first and the last pixel that the element at `index` sees, for each axis.

        Parameters
        ----------
        *index : int
            Row and column.

        Returns
        -------
        tuple of (int, int)
            Infinite for the whole image; outside of it for padding.

        Raises
        ------
        ValueError
            If there is not one index for each axis, or elements have no place in the image.

        Examples
        --------
        >>> from fastconv.analysis import receptive_field
        >>> receptive_field([(3, 2, 1), (3, 2, 1)]).window(0, 10)
        ((0, 6), (40, 46))
        """
        if len(index) != len(self._windows):
            raise ValueError(f"expected {len(self._windows)} indices, got {len(index)}")
        if any(window.scattered for window in self._windows):
            raise ValueError("the elements are flattened: they have no place in the image")
        places = [as_int("index", i) for i in index]
        axes = [window.axis for window in self._windows if window.axis is not None]
        if axes != sorted(axes):  # the image was transposed
            places.reverse()
        return tuple(w.at(i) for w, i in zip(self._windows, places, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return size, jump, start and global_context for JSON, with `None` for infinite sizes."""
        return {
            "size": [None if math.isinf(size) else size for size in self.size],
            "jump": [float(j) if isinstance(j, Fraction) else j for j in self.jump],
            "start": list(self.start),
            "global_context": self.global_context,
        }

    def __repr__(self) -> str:
        jump = ", ".join(map(str, self.jump)) + ("," if len(self.jump) == 1 else "")
        context = ", global_context=True" if self.global_context else ""
        return f"ReceptiveField(size={self.size}, jump=({jump}), start={self.start}{context})"


def _public(f: Field) -> ReceptiveField:
    jumps: list[Fraction | int | None] = []
    starts: list[int | None] = []
    for window in f.windows:
        first, jump = window.spans[0][0], window.jump
        placed = not window.scattered and not window.is_whole
        jumps.append((jump.numerator if jump.denominator == 1 else jump) if placed else None)
        starts.append(int(first) if placed and math.isfinite(first) else None)
    sizes = tuple(w.size if math.isinf(w.size) else int(w.size) for w in f.windows)
    return ReceptiveField(sizes, tuple(jumps), tuple(starts), f.context, {}, f.windows)


def receptive_fields(recording: Recording) -> dict[str, ReceptiveField]:
    """Return the field of what each module returned last, by its name; ``""`` is the network."""
    rank = len(recording.input.shape)
    image = tuple(Window(axis, 1, ((0, 0),)) for axis in range(2, rank))
    fields = {recording.input.id: Field(image)}
    for op in recording.operators:
        if (result := _propagate(op, fields)) is not None:
            fields[op.output.id] = result
    return {
        path: _public(fields[y.id])
        for path, y in recording.outputs.items()
        if isinstance(y, Symbol) and y.id in fields
    }


def receptive_field(
    model_or_layers: Module | str | Sequence[Any], input_shape: Sequence[int] | None = None
) -> ReceptiveField:
    """Return which part of the image the elements of a network's result depend on.

    It follows the network's operators, and is exact through strides, dilation, padding of any kind,
    pooling, upsampling, transposed convolutions, branches and residual sums; channels are not told
    apart. Where paths meet, their windows are joined.

    Global pooling, and linear layers over flattened images, see the whole image: their size is
    ``inf``. So do joined paths whose jumps differ. A gate does not count: where an image is
    multiplied by values without place, as in squeeze-and-excitation, or normalised by statistics
    over positions, the field is that of the image alone, and `global_context` says that all the
    rest of it has an influence too. Counted in, the field of every such network would be the whole
    image from its first block on.

    Parameters
    ----------
    model_or_layers : Module, str or sequence
        A module with one input, the name of a model, modules that follow each other, or layers
        without padding as tuples ``(kernel_size, stride, dilation)`` of ints or pairs, of which
        the last ones may be left out.
    input_shape : sequence of int, optional
        What the module is recorded with; by default the input size of its `default_cfg`, else 224
        pixels. The result does not depend on it, except through operators that ask for the size of
        the image: padding ``"same"`` at a stride, adaptive pooling and resizing to several pixels.

    Returns
    -------
    ReceptiveField
        Of the result, and in `modules` of each module's.

    Raises
    ------
    TypeError, ValueError
        If there is no such model, it does not take `input_shape`, or it has several results.

    References
    ----------
    Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill
    (2019), which calls the jump "effective stride" and minus the start "effective padding".

    Examples
    --------
    >>> from fastconv.analysis import receptive_field
    >>> receptive_field("resnet50").modules["layer4"]
    ReceptiveField(size=(427, 427), jump=(32, 32), start=(-213, -213))
    >>> [f.size for f in receptive_field([(3, 1, 1), (3, 1, 2), (3, 1, 4)]).modules.values()]
    [(3, 3), (7, 7), (15, 15)]
    """
    model: Any = model_or_layers
    if isinstance(model, ModuleList) or is_sequence(model):
        layers = list(model)
        if layers and all(map(is_sequence, layers)):
            return _stack(layers)
        if not layers or not all(isinstance(layer, Module) for layer in layers):
            raise TypeError(
                "model_or_layers must be a module, a model's name, modules, or tuples "
                f"(kernel_size, stride, dilation), got {model!r}"
            )
        model = Sequential(*layers)
    recording = record(build(model), input_shape)
    shape = recording.input.shape
    if len(shape) not in (3, 4):
        raise ValueError(
            f"input_shape must be (N, C, H, W) or (N, C, L), got {shape}: a receptive field is a "
            "part of an image"
        )
    fields = receptive_fields(recording)
    if "" not in fields:
        raise ValueError(
            f"{type(recording.module).__name__} does not return one value that depends on its "
            "input: ask for the module inside that does"
        )
    result = fields.pop("")
    result.modules.update(fields)
    return result


def _stack(layers: Sequence[Sequence[Any]]) -> ReceptiveField:
    """Return the field of layers ``(kernel_size, stride, dilation)`` without padding."""
    windows = (Window(2, 1, ((0, 0),)), Window(3, 1, ((0, 0),)))
    modules: dict[str, ReceptiveField] = {}
    for i, layer in enumerate(layers):
        if not 1 <= len(layer) <= 3:
            raise ValueError(f"a layer must be (kernel_size, stride, dilation), got {layer!r}")
        values = [*layer, 1, 1][:3]
        names = ("kernel_size", "stride", "dilation")
        pairs = [as_pair(name, value) for name, value in zip(names, values, strict=True)]
        if min(map(min, pairs)) < 1:
            raise ValueError(f"kernel_size, stride and dilation must be at least 1, got {layer!r}")
        kernel, stride, dilation = pairs
        height, width = (
            window.through(_window_taps(k, s, 0, d))
            for window, k, s, d in zip(windows, kernel, stride, dilation, strict=True)
        )
        windows = (height, width)
        modules[str(i)] = _public(Field(windows))
    result = _public(Field(windows))
    result.modules.update(modules)
    return result
