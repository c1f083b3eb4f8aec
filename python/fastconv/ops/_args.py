"""What every functional op does with its arguments before native code sees them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from operator import index
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

ACTIVATIONS = (
    "relu",
    "relu6",
    "leaky_relu",
    "gelu",
    "gelu_tanh",
    "silu",
    "hardswish",
    "hardsigmoid",
    "sigmoid",
    "tanh",
)


_TooHardError = np.exceptions.TooHardError
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

LARGEST_SIZE = 2**40
"""What native code takes as sizes and paddings."""


def as_array(name: str, value: ArrayLike) -> Array:
    """`value` as an aligned float array in native byte order, without a copy where it is one.

    Raises
    ------
    TypeError
        If it is no array of float16, bfloat16, float32 or float64.
    """
    if type(value) is np.ndarray and (value.dtype is _FLOAT32 or value.dtype is _FLOAT64):
        flags = value.flags  # what most calls have: nothing to look into
        if flags.c_contiguous and flags.aligned:
            return value
    if value is None:
        raise TypeError(f"{name} must be an array, got None")
    array: Array = np.asarray(numpy_array(name, value))
    dtype = array.dtype
    if dtype.type not in (np.float32, np.float64, np.float16) and dtype.name != "bfloat16":
        raise TypeError(
            f"{name} must be float32 or float64 (or float16), got {dtype}: "
            f"convert it, for example {name}.astype(np.float32)"
        )
    itemsize = dtype.itemsize
    if (
        not dtype.isnative
        or not array.flags.aligned
        or any(stride % itemsize for stride in array.strides)
    ):
        array = np.array(array, dtype=dtype.newbyteorder("="), order="C")
    return array


def numpy_array(name: str, value: Any) -> Array:
    """What NumPy makes of `value`, by its own rules or by CPU DLPack.

    Raises
    ------
    TypeError
        If that fails, whatever it is that `value` itself raises.
    """
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:
        hint = ""  # of torch's tensors, where its own message is not enough
        if "bfloat16" in str(getattr(value, "dtype", "")):
            hint = ": convert it with .detach().float().cpu().numpy()"
        elif getattr(value, "requires_grad", False):
            hint = ": convert it with .detach().cpu().numpy()"
        reason = str(error).rstrip(".") or type(error).__name__
        raise TypeError(
            f"{name} must be an array, got {type(value).__name__}: {reason}{hint}"
        ) from error


def share_memory(a: Array, b: Array) -> bool:
    """Whether two arrays overlap; where that is too hard to tell, whether their bounds do."""
    limit: Any = 10**6  # NumPy's own stubs know only its special values
    try:
        return np.may_share_memory(a, b) and np.shares_memory(a, b, max_work=limit)
    except _TooHardError:
        return True


class Operands:
    """The float arrays of one call: same dtype, float16 and bfloat16 widened to float32.

    Parameters
    ----------
    **arrays
        The call's arrays by argument name; ``None`` where an optional one is absent. The first
        one sets the dtype.

    Attributes
    ----------
    dtype : numpy.dtype
        What the caller passed and gets back.
    compute_dtype : numpy.dtype
        What native code computes in: float32 or float64.
    """

    def __init__(self, **arrays: ArrayLike | None) -> None:
        first = next(iter(arrays))
        given = {
            name: as_array(name, value)  # type: ignore[arg-type]  # refuses None for the first
            for name, value in arrays.items()
            if value is not None or name == first
        }
        self.dtype = given[first].dtype
        self.compute_dtype = _FLOAT64 if self.dtype.itemsize == 8 else _FLOAT32
        for name, array in given.items():
            if array.dtype != self.dtype:
                raise TypeError(
                    f"{name} is {array.dtype} but {first} is {self.dtype}: "
                    f"convert one of them, for example {name}.astype(np.{self.dtype})"
                )
        self._arrays = given

    def __getitem__(self, name: str) -> Array:
        array = self.source(name)
        if array.dtype == self.compute_dtype:
            return array
        widened: Array = array.astype(self.compute_dtype)
        return widened

    def get(self, name: str) -> Array | None:
        """The array of this name, or ``None`` if it was not passed."""
        return self[name] if name in self._arrays else None

    def contiguous(self, name: str) -> Array:
        """The array of this name, C-contiguous."""
        return np.asarray(self[name], order="C")

    def vector(self, name: str, length: int, of: str) -> Array | None:
        """The contiguous vector of this name, or ``None`` if it was not passed.

        Raises
        ------
        ValueError
            If it has not `length` elements; `of` says what there are so many of.
        """
        if name not in self._arrays:
            return None
        shape = self._arrays[name].shape
        if shape != (length,):
            raise ValueError(f"{name} must have shape ({length},), as {of}, got {shape}")
        return self.contiguous(name)

    def required_vector(self, name: str, length: int, of: str) -> Array:
        """As `vector`, but absence is a `TypeError`."""
        if (vector := self.vector(name, length, of)) is None:
            raise TypeError(f"{name} must be an array, got None")
        return vector

    def source(self, name: str) -> Array:
        """The array of this name in the caller's dtype."""
        if name not in self._arrays:
            raise TypeError(f"{name} must be an array, got None")
        return self._arrays[name]

    def images(self, name: str = "x") -> Array:
        """The array of this name as (N, C, H, W): a (C, H, W) becomes a batch of one."""
        array = self[name]
        if array.ndim not in (3, 4):
            raise ValueError(f"{name} must have shape (N, C, H, W) or (C, H, W), got {array.shape}")
        return array if array.ndim == 4 else array[None]

    def check_out(
        self,
        out: Array | None,
        shape: Sequence[int],
        *,
        inplace: Sequence[str] = (),
        argument: str = "out",
    ) -> None:
        """Check `out=`: its shape, dtype and writability, and that it overlaps no operand.

        `inplace` names the operands that `out` may be, exactly; `argument` is what errors call it.
        """
        if out is None:
            return
        if not isinstance(out, np.ndarray):
            raise TypeError(f"{argument} must be a numpy.ndarray, got {type(out).__name__}")
        if out.dtype != self.dtype:
            raise TypeError(f"{argument} must be {self.dtype} as the other arrays, got {out.dtype}")
        if out.shape != tuple(shape):
            raise ValueError(f"{argument} must have shape {tuple(shape)}, got {out.shape}")
        if not out.flags.writeable:
            raise ValueError(f"{argument} is read-only")
        if _overlaps_itself(out):
            raise ValueError(
                f"{argument} has elements that share memory: its strides are {out.strides}"
            )
        for name, array in self._arrays.items():
            if not share_memory(out, array):
                continue
            same = (
                array.ctypes.data == out.ctypes.data
                and array.strides == out.strides
                and array.shape == out.shape
            )
            if not (same and name in inplace):
                raise ValueError(f"{argument} overlaps {name}: pass an array of its own")

    def native_out(self, out: Array | None) -> Array | None:
        """`out` if native code can write into it, else ``None``: then `finish` copies."""
        if (
            out is not None
            and out.dtype == self.compute_dtype
            and out.dtype.isnative
            and out.flags.aligned
        ):
            return None if any(s % out.itemsize for s in out.strides) else out
        return None

    def run(
        self,
        call: Callable[[Array], None],
        shape: Sequence[int],
        out: Array | None = None,
        *,
        inplace: Sequence[str] = (),
        contiguous: bool = False,
    ) -> Array:
        """Check `out`, let `call` write the result of this shape, and return it as `finish` does.

        `contiguous` says that native code writes C-contiguous arrays only.
        """
        self.check_out(out, shape, inplace=inplace)
        target = self.native_out(out)
        if target is None or (contiguous and not target.flags.c_contiguous):
            target = np.empty(shape, self.compute_dtype)
        call(target)
        return self.finish(target, out)

    def move(self, view: Array, out: Array | None = None) -> Array:
        """Copy `view`, made of an operand by moving elements only, to `out` or a new array."""
        self.check_out(out, view.shape)
        if out is None:
            return np.array(view, order="C")
        out[...] = view
        return out

    def finish(self, result: Array, out: Array | None = None) -> Array:
        """The result in the caller's dtype, in `out` if that was given."""
        if out is None:
            return result.astype(self.dtype, copy=False)
        if result is not out:
            out[...] = result
        return out


def _overlaps_itself(array: Array) -> bool:
    """Whether elements share memory: whether some axis's stride is less than what it steps over.

    True as well for some exotic interleaved layouts in which none do.
    """
    if array.flags.c_contiguous or array.size == 0:
        return False
    reach = array.itemsize
    axes = zip(array.strides, array.shape, strict=True)
    for stride, size in sorted((abs(stride), size) for stride, size in axes if size > 1):
        if stride < reach:
            return True
        reach += stride * (size - 1)
    return False


def is_symbolic(value: Any, /, *others: Any) -> TypeGuard[Any]:
    """Whether any of these is a `fastconv.graph._symbols.Symbol`, if there are any yet."""
    module = sys.modules.get("fastconv.graph._symbols")
    return module is not None and any(isinstance(v, module.Symbol) for v in (value, *others))


def record(
    op: str, inputs: Sequence[Any], attributes: Mapping[str, Any], out: Array | None = None
) -> Array:
    """Record an operator in the graph of the symbolic values among its inputs.

    The result is a `Symbol`, typed as the array in whose place it stands.
    """
    if out is not None:
        raise TypeError("out cannot be given with symbolic values, which have no memory")
    symbol: Any = sys.modules["fastconv.graph._symbols"].record(op, inputs, attributes)
    return symbol  # type: ignore[no-any-return]


def recordable(optional: Sequence[str] = (), /, **values: Any) -> dict[str, Any]:
    """These arguments of an op, by name, as `record` takes them: symbolic values or arrays.

    Those that are named in `optional` may be ``None``.

    Raises
    ------
    TypeError
        If one is nothing of these, nor can become a float array.
    """
    return {
        name: value
        if is_symbolic(value) or (value is None and name in optional)
        else as_array(name, value)
        for name, value in values.items()
    }


def record_images(
    op: str, inputs: Mapping[str, Any], attributes: Mapping[str, Any], out: Array | None = None
) -> Array:
    """As `record`, for an operator on images: of a (C, H, W) it makes an unbatched result.

    `inputs` go by their argument names; `x` and `residual` are images, `bias` and `residual` may be
    ``None``.
    """
    values = recordable(("bias", "residual"), **inputs)
    unbatched = values["x"].ndim == 3
    for name in ("x", "residual") if unbatched else ():
        if (value := values.get(name)) is not None:
            if value.ndim != 3:
                raise ValueError(
                    f"{name} must have the output's shape, with 3 dimensions as x has, "
                    f"got {value.shape}"
                )
            batch = {"shape": (1, *value.shape)}
            values[name] = record("reshape", (value,), batch) if is_symbolic(value) else value[None]
    y = record(op, tuple(values.values()), attributes, out)
    return record("reshape", (y,), {"shape": y.shape[1:]}) if unbatched else y


def as_bool(name: str, value: Any) -> bool:
    """`value` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def as_float(name: str, value: Any) -> float:
    """A number as a float: Python's and NumPy's; not bool, not a string."""
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {type(value).__name__} {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a number that a float can hold") from None


def as_eps(value: Any) -> float:
    """The argument `eps` as a float: finite and not negative."""
    eps = as_float("eps", value)
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must be finite and not negative, got {value}")
    return eps


def is_number(value: Any) -> bool:
    """Whether `value` is a real scalar of Python or NumPy; bool is none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def as_axis(name: str, value: Any, ndim: int) -> int:
    """An axis of an array of `ndim` dimensions, counted from the front."""
    axis = as_int(name, value)
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        raise ValueError(f"{name} = {axis} is out of range for an array of {ndim} dimensions")
    return axis % max(ndim, 1)


def as_int(name: str, value: Any) -> int:
    """`value` as an int: Python or NumPy integers; not bool, not float."""
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        integer = index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an integer, got {type(value).__name__} {value!r}"
        ) from None
    if not -(2**63) <= integer < 2**63:
        raise ValueError(f"{name} must fit into 64 bits, got {integer}")
    return integer


def as_size(name: str, value: Any) -> int:
    """An integer of at least 0."""
    size = as_int(name, value)
    if size < 0:
        raise ValueError(f"{name} must not be negative, got {size}")
    return size


def is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    """Whether `value` is a tuple, a list or an array with at least one dimension; not a string."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def as_shape(name: str, value: Any) -> tuple[int, ...]:
    """A sequence of integers as a tuple."""
    if not is_sequence(value):
        raise TypeError(f"{name} must be a sequence of integers, got {value!r}")
    return tuple(as_int(name, size) for size in value)


def as_ints(name: str, value: Any, length: int) -> tuple[int, ...]:
    """An integer, or a sequence of 1 or `length` integers, as a tuple of `length` integers."""
    if type(value) is int or not is_sequence(value):
        return (as_int(name, value),) * length
    values = tuple(as_int(name, v) for v in value)
    if len(values) == 1:
        values *= length
    if len(values) != length:
        expected = "an integer or a pair" if length == 2 else f"an integer or {length} integers"
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return values


def as_pair(name: str, value: Any) -> tuple[int, int]:
    """An integer or a pair of integers, as (height, width)."""
    height, width = as_ints(name, value, 2)
    return height, width


def choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """`value` if it is one of `choices`.

    Raises
    ------
    TypeError, ValueError
        If it is no string, or another one.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {type(value).__name__}")
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def activation_name(value: Any, name: str = "activation") -> str:
    """An activation argument as native code knows it: ``"none"`` for ``None``."""
    return "none" if value is None else choice(name, value, ACTIVATIONS)


def device_index(device: Any) -> int | None:
    """The number of the CUDA device that a `device` argument names, `None` for the CPU.

    Raises
    ------
    fastconv.cuda.CudaUnavailable
        If it is ``"cuda"`` or ``"cuda:N"`` and there is no device that this build can use.
    TypeError, ValueError
        If it is no string, or another one.
    """
    if device is None or (type(device) is str and device == "cpu"):
        return None
    kind, _, number = device.partition(":") if isinstance(device, str) else (device, "", "")
    named = device == kind or (number.isdecimal() and len(number) < 10)
    choice("device", kind if named else device, ("cpu", "cuda"))
    if device == "cpu":
        return None
    if kind == "cpu":
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    from fastconv import cuda

    try:
        cuda.get_device_properties(int(number or 0))
    except cuda.CudaUnavailable as error:
        raise cuda.CudaUnavailable(f"device={device!r} needs a CUDA device: {error}") from None
    return int(number or 0)
