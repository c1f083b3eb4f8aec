"""Receptive fields, from one pass over the recorded operators of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from fastconv._arguments import as_int, as_pair, is_sequence
from fastconv.analysis._propagate import Field, propagate, window_taps
from fastconv.analysis._subject import build, record
from fastconv.analysis._window import Window
from fastconv.graph._recording import Recording
from fastconv.nn import Module, ModuleList, Sequential


@dataclass(frozen=True)
class ReceptiveField:
    """The part of the image that one element of a network's result depends on.

    Each attribute has a number for each axis: (height, width), or (length,) for a one-dimensional
    input.

    Attributes
    ----------
    size : tuple of int or float
        The sides in pixels, padding included; ``inf`` for the whole image, however large.
    jump : tuple of int, Fraction or None
        The pixels from the field of one element to that of the next (the effective stride); a
        fraction after upsampling. `None` if elements have no place in the image.
    start : tuple of int or None
        The first pixel of element 0; negative in the padding. Element i sees the pixels from
        ``start + i * jump`` to ``start + i * jump + size - 1``. After upsampling, neighbours may
        see parts of different sizes. Then `size` is the largest, `jump` the mean, and `window`
        gives the part that each of them sees.
    global_context : bool
        Whether values computed from the whole image also scale the result; see `receptive_field`.
    modules : dict of str to ReceptiveField
        The field of each submodule's last result, by its dotted name.

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
            Infinite for the whole image; outside the image for padding.

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
    """Return the field of each module's last result, by its name; ``""`` is the network."""
    graph = recording.graph()
    x = graph.inputs[0]
    image = tuple(Window(axis, 1, ((0, 0),)) for axis in range(2, x.ndim))
    fields = {x.id: Field(image)}
    for node in graph:
        if node.inputs and (result := propagate(node, fields)) is not None:
            fields[node.id] = result
    return {path: _public(fields[y]) for path, y in recording.taps.items() if y in fields}


def receptive_field(
    model_or_layers: Module | str | Sequence[Any], input_shape: Sequence[int] | None = None
) -> ReceptiveField:
    """Return which part of the image the elements of a network's result depend on.

    It follows the network's operators. It is exact through strides, dilation, padding of any kind,
    pooling, upsampling, transposed convolutions, branches and residual sums. It does not
    distinguish channels. Where paths meet, their windows are joined.

    Global pooling, and linear layers over flattened images, see the whole image: their size is
    ``inf``. So is that of joined paths whose jumps differ. Gates do not count: if an image is
    multiplied by values without a place, as in squeeze-and-excitation, or normalised by statistics
    over positions, the field is that of the image alone, and `global_context` says that the rest
    has an influence too. If gates counted, the field of every such network would be the whole image
    from its first block on.

    Parameters
    ----------
    model_or_layers : Module, str or sequence
        A module with one input; the name of a model; a sequence of modules; or layers without
        padding, as tuples ``(kernel_size, stride, dilation)`` of ints or pairs. `dilation`, or
        `stride` and `dilation`, may be left out.
    input_shape : sequence of int, optional
        The shape at which the module is recorded; by default the input size of its `default_cfg`,
        else 224 pixels. The result depends on it only through operators that use the size of the
        image: padding ``"same"`` at a stride, adaptive pooling and resizing to several pixels.

    Returns
    -------
    ReceptiveField
        The field of the result, and in `modules` those of the modules' results.

    Raises
    ------
    TypeError, ValueError
        If there is no such model, it does not take `input_shape`, or it has several results.

    References
    ----------
    Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill
    (2019). It calls the jump "effective stride", and minus the start "effective padding".

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
    module = build(model)
    recording = record(module, input_shape)
    shape = recording.graph().inputs[0].shape
    if len(shape) not in (3, 4):
        raise ValueError(
            f"input_shape must be (N, C, H, W) or (N, C, L), got {shape}: a receptive field is a "
            "part of an image"
        )
    fields = receptive_fields(recording)
    if "" not in fields:
        raise ValueError(
            f"{type(module).__name__} does not return one value that depends on its "
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
            window.through(window_taps(k, s, 0, d))
            for window, k, s, d in zip(windows, kernel, stride, dilation, strict=True)
        )
        windows = (height, width)
        modules[str(i)] = _public(Field(windows))
    result = _public(Field(windows))
    result.modules.update(modules)
    return result
