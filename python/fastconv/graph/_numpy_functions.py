"""NumPy's functions on symbolic values: a row each, with what of their arguments can be recorded.

What they return shares memory with an argument where it does in NumPy, so that ``+=`` on either is
refused.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import ops
from fastconv._arguments import as_axes, as_axis, is_sequence
from fastconv.graph._arithmetic import refuse_promotion
from fastconv.graph._refusals import unsupported

_REDUCTION = "a axis -dtype -out keepdims -initial -where"
_INDEX = "a axis -out keepdims"
_VARIANCE = "a axis -dtype -out ddof keepdims -where -mean correction=ddof"
_CONCAT = "arrays axis -out -dtype -casting"
_ROUND = "a -decimals -out"
_LIKE = "a dtype -order -subok shape -device"

_NEUTRAL: Mapping[str, Sequence[Any]] = {
    "casting": ("same_kind",),
    "copy": (None, True),
    "decimals": (0,),
    "device": (None, "cpu"),
    "end_values": (0,),
    "include_initial": (False,),
    "mode": ("raise",),
    "order": ("C", "K", "A"),
    "reflect_type": ("even",),
    "subok": (False, True),
    "where": (True,),
}
"""The values, beside `None`, with which an argument that is marked by ``-`` changes nothing."""


def _broadcast_to(array: Any, shape: Any) -> Any:
    if min(shape if is_sequence(shape) else (shape,), default=0) < 0:
        raise ValueError(f"shape must not have negative sizes, got {shape}")
    return array._view(ops.expand(array, shape))


def _clip(a: Any, a_min: Any = None, a_max: Any = None, **bounds: Any) -> Any:
    low, high = bounds.get("min", a_min), bounds.get("max", a_max)
    refuse_promotion("clip", (a, low, high))
    return ops.clip(a, low, high)


def _concatenate(arrays: Any, axis: int | None = 0) -> Any:
    if axis is None:
        return ops.concat([ops.flatten(array) for array in arrays], 0)
    return ops.concat(list(arrays), axis)


def _flip(m: Any, axis: Any = None) -> Any:
    axes = as_axes("axis", axis, m.ndim)
    return m[tuple(slice(None, None, -1 if i in axes else 1) for i in range(m.ndim))]


def _expand_dims(a: Any, axis: Any) -> Any:
    ndim = a.ndim + (len(axis) if is_sequence(axis) else 1)
    axes = as_axes("axis", axis, ndim)
    return a[tuple(None if i in axes else slice(None) for i in range(ndim))]


def _moveaxis(a: Any, source: Any, destination: Any) -> Any:
    sources, places = (
        [as_axis("axis", axis, a.ndim) for axis in (axes if is_sequence(axes) else (axes,))]
        for axes in (source, destination)
    )
    if not len({*sources}) == len(sources) == len(places) == len({*places}):
        raise ValueError(
            f"source and destination must name as many axes, each once, got {source} and "
            f"{destination}"
        )
    order = [axis for axis in range(a.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return a.transpose(order)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    axes = x.ndim if axis is None else len(axis) if is_sequence(axis) else 1
    if axes == 2 and ord == "fro":
        ord = None
    if axes > 2 and axis is not None:
        raise ValueError(f"axis must name one axis or two, got {axis}")
    if axes != 1 and ord is not None:
        unsupported(f"numpy.linalg.norm with ord={ord!r} over {axes} axes", "norm")
    return ops.norm(x, ord, axis, keepdims)


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _pad(array: Any, pad_width: Any, mode: Any = "constant", constant_values: Any = 0) -> Any:
    if mode not in _PAD_MODES:
        unsupported(f"numpy.pad with mode={mode!r}", "pad")
    if np.ndim(constant_values):
        unsupported("numpy.pad with several constant_values", "pad")
    if isinstance(pad_width, Mapping):
        given = {as_axis("axis", axis, array.ndim): width for axis, width in pad_width.items()}
        pad_width = [np.broadcast_to(given.get(axis, 0), 2) for axis in range(array.ndim)]
    pairs = np.broadcast_to(pad_width, (array.ndim, 2))
    if pairs.size and (pairs.dtype.kind not in "iu" or pairs.min() < 0):
        raise ValueError(f"pad_width must have integers that are not negative, got {pad_width!r}")
    return ops.pad(array, pairs[::-1].ravel().tolist(), _PAD_MODES[mode], constant_values)


def _reshape(a: Any, shape: Any = None, newshape: Any = None) -> Any:
    return a.reshape(newshape if shape is None else shape)


def _split(ary: Any, indices_or_sections: Any, axis: int = 0, *, cut: Callable[..., Any]) -> Any:
    at = as_axis("axis", axis, ary.ndim)
    parts = cut(np.arange(ary.shape[at]), indices_or_sections)
    before = (slice(None),) * at
    ends = [(int(part[0]), int(part[-1]) + 1) if len(part) else (0, 0) for part in parts]
    return [ary[(*before, slice(*end))] for end in ends]


def _size(a: Any, axis: int | None = None) -> Any:
    return math.prod(a.shape) if axis is None else a.shape[axis]


def _where(condition: Any, **choices: Any) -> Any:
    if len(choices) < 2:
        unsupported("numpy.where of a condition alone", "where")
    refuse_promotion("where", choices.values())
    return ops.where(condition, choices["x"], choices["y"])


def _like(a: Any, fill_value: Any, dtype: Any = None, shape: Any = None) -> Any:
    sizes, of = a.shape if shape is None else shape, a.dtype if dtype is None else dtype
    return np.full(sizes, fill_value, of)


_ROWS: Mapping[str, tuple[str, str | Callable[..., Any]]] = {
    "amax": (_REDUCTION, "max"),
    "amin": (_REDUCTION, "min"),
    "argmax": (_INDEX, "argmax"),
    "argmin": (_INDEX, "argmin"),
    "around": (_ROUND, "round"),
    "array_split": (
        "ary indices_or_sections axis",
        functools.partial(_split, cut=np.array_split),
    ),
    "broadcast_to": ("array shape -subok", _broadcast_to),
    "clip": ("a a_min a_max -out min max", _clip),
    "concatenate": (_CONCAT, _concatenate),
    "copy": ("a -order -subok", "copy"),
    "cumsum": ("a axis -dtype -out", "cumsum"),
    "cumulative_sum": ("x axis -dtype -out -include_initial", "cumsum"),
    "expand_dims": ("a axis", _expand_dims),
    "flip": ("m axis", _flip),
    "fliplr": ("m", lambda m: m[:, ::-1]),
    "flipud": ("m", lambda m: m[::-1]),
    "full_like": (_LIKE.replace("a", "a fill_value", 1), _like),
    "linalg.matrix_transpose": ("x", lambda x: x.swapaxes(-2, -1)),
    "linalg.norm": ("x ord axis keepdims", _norm),
    "linalg.vector_norm": ("x axis keepdims ord", ops.norm),
    "matrix_transpose": ("x", lambda x: x.swapaxes(-2, -1)),
    "max": (_REDUCTION, "max"),
    "mean": (_REDUCTION.replace(" -initial", ""), "mean"),
    "min": (_REDUCTION, "min"),
    "moveaxis": ("a source destination", _moveaxis),
    "ndim": ("a", lambda a: a.ndim),
    "ones_like": (_LIKE, functools.partial(_like, fill_value=1)),
    "pad": (
        "array pad_width mode constant_values -stat_length -end_values -reflect_type",
        _pad,
    ),
    "prod": (_REDUCTION, "prod"),
    "ravel": ("a -order", "ravel"),
    "repeat": ("a repeats axis", "repeat"),
    "reshape": ("a shape -order newshape -copy", _reshape),
    "roll": ("a=x shift axis", ops.roll),
    "round": (_ROUND, "round"),
    "shape": ("a", lambda a: a.shape),
    "size": ("a axis", _size),
    "split": ("ary indices_or_sections axis", functools.partial(_split, cut=np.split)),
    "squeeze": ("a axis", "squeeze"),
    "stack": (_CONCAT, lambda arrays, axis=0: ops.stack(list(arrays), axis)),
    "std": (_VARIANCE, "std"),
    "sum": (_REDUCTION, "sum"),
    "swapaxes": ("a axis1 axis2", "swapaxes"),
    "take": ("a indices axis -out -mode", "take"),
    "tile": ("A=x reps", ops.tile),
    "transpose": ("a axes", lambda a, axes=None: a.transpose(axes)),
    "var": (_VARIANCE, "var"),
    "where": ("condition x y", _where),
    "zeros_like": (_LIKE, functools.partial(_like, fill_value=0)),
}
"""By NumPy's name: its parameters in order, and who records it: a function of them, or the method
of this name of the first. ``name=ours`` has another name there; what ``-`` marks is not passed on
(`_NEUTRAL`)."""


def _functions() -> dict[Any, tuple[str, str | Callable[..., Any]]]:
    """Return the rows by the functions, as far as this version of NumPy has them."""
    found = {}
    for path, row in _ROWS.items():
        room, _, name = path.rpartition(".")
        function = getattr(getattr(np, room) if room else np, name, None)
        if function is not None:
            found[function] = row
    return found


_FUNCTIONS = _functions()


class NumpyFunctions:
    """A base of `Symbol`."""

    __slots__ = ()

    if TYPE_CHECKING:  # what `Symbol` has

        @property
        def dtype(self) -> np.dtype[Any]: ...

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """NumPy's functions that are not of single elements come by here."""
        name = f"{func.__module__}.{func.__name__}"
        if func not in _FUNCTIONS:
            unsupported(name, func.__name__)
        parameters, record = _FUNCTIONS[func]
        words = parameters.split()
        places = [word.strip("-").partition("=")[0] for word in words]
        passed = {place: word.partition("=") for place, word in zip(places, words, strict=True)}
        given: dict[str, Any] = {}
        for key, value in {**dict(zip(places, args, strict=False)), **kwargs}.items():
            word, _, ours = passed.get(key, (f"-{key}", "", ""))
            if not word.startswith("-"):
                given[ours or word] = value
            elif not self._is_neutral(key, value):
                unsupported(f"{name} with {key}={value!r}", func.__name__)
        if callable(record):
            return record(**given)
        return getattr(given.pop(places[0]), record)(**given)

    def _is_neutral(self, key: str, value: Any) -> bool:
        """Whether a function does the same without this argument."""
        if value is None or (key == "dtype" and np.dtype(value) == self.dtype):
            return True
        kind = (bool, int, float, str)
        return isinstance(value, kind) and value in _NEUTRAL.get(key, ())
