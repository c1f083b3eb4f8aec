"""CUDA devices and arrays in their memory.

Where this build, the driver or the machine lacks something, all that needs a device raises
`CudaUnavailable`, which says what is missing. Nothing here touches the driver before it is called.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from types import ModuleType

    from fastconv import _cuda

__all__ = [
    "Array",
    "CudaUnavailable",
    "DeviceProperties",
    "asarray",
    "device_count",
    "get_device_properties",
    "is_available",
    "stream",
    "synchronize",
]

_KINDS = {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}
_DTYPES = "float16, float32, float64, bool and integers"
_DLPACK_CUDA = (2, 13)  # device and managed memory


class CudaUnavailable(RuntimeError):
    """A CUDA device was asked for, but there is none or this build cannot use it."""


def _native() -> ModuleType:
    """Import the extension module."""
    try:
        return importlib.import_module("fastconv._cuda")
    except ModuleNotFoundError:
        raise CudaUnavailable(
            "this build of fastconv has no CUDA backend: where nvcc is, build it from a clone with "
            "pip install . -C cmake.define.FASTCONV_CUDA=ON"
        ) from None
    except ImportError as error:
        raise CudaUnavailable(f"the CUDA backend cannot be loaded: {error}") from error


def _device_index(device: Any) -> int:
    """Number of a device given as 1, "cuda:1" or "cuda"."""
    if isinstance(device, str):
        kind, separator, number = device.partition(":")
        if kind == "cuda" and (number.isdecimal() and len(number) < 10 if separator else True):
            return int(number or 0)
    elif isinstance(device, (int, np.integer)):
        if 0 <= device < 2**31 and not isinstance(device, bool):
            return int(device)
    else:
        raise TypeError(f"device must be a number or 'cuda:N', got {type(device).__name__}")
    raise ValueError(f"device must be a number from 0 or 'cuda:N', got {device!r}")


def is_available() -> bool:
    """Whether a CUDA device can be used. Never raises.

    Examples
    --------
    >>> import fastconv.cuda
    >>> fastconv.cuda.is_available() == (fastconv.cuda.device_count() > 0)
    True
    """
    return device_count() > 0


def device_count() -> int:
    """Count the CUDA devices that can be used. Never raises.

    Examples
    --------
    >>> import fastconv.cuda
    >>> fastconv.cuda.device_count() >= 0
    True
    """
    try:
        native = _native()
        found: int = native.device_count()
    except RuntimeError:
        return 0
    return sum(_is_usable(native, device) for device in range(found))


def _is_usable(native: ModuleType, device: int) -> bool:
    try:
        native.device_properties(device)
    except RuntimeError:
        return False
    return True


@dataclass(frozen=True)
class DeviceProperties:
    """What `get_device_properties` tells of a device; sizes are in bytes."""

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    total_memory: int
    shared_memory_per_block: int
    l2_cache: int


def get_device_properties(device: int | str = 0) -> DeviceProperties:
    """Tell a device's name, compute capability and sizes.

    Parameters
    ----------
    device : int or str, optional
        Its number, counted from 0, or ``"cuda:N"``.

    Returns
    -------
    DeviceProperties

    Raises
    ------
    CudaUnavailable
        If there is no device that this build can use.
    TypeError, ValueError
        If `device` is no such number.

    Examples
    --------
    >>> import fastconv.cuda
    >>> if fastconv.cuda.is_available():
    ...     assert fastconv.cuda.get_device_properties(0).compute_capability >= (8, 0)
    """
    index = _device_index(device)
    return DeviceProperties(**_native().device_properties(index))


def synchronize(device: int | str = 0) -> None:
    """Wait until all work that was issued to a device is done.

    Work is issued and not waited for, so that errors of kernels may show here, and time that is
    taken without this is the time of issuing.

    Parameters
    ----------
    device : int or str, optional
        Its number, or ``"cuda:N"``.

    Raises
    ------
    CudaUnavailable
        If there is no device that this build can use.
    RuntimeError
        If work has failed.
    """
    _native().synchronize(_device_index(device))


def _stream_number(value: Any) -> int:
    """The number of a stream, as DLPack has it, of anything that stands for a stream."""
    for attribute in ("cuda_stream", "ptr"):  # torch's, CuPy's
        value = getattr(value, attribute, value)
    if hasattr(value, "__cuda_stream__"):  # (version of the protocol, pointer)
        value = value.__cuda_stream__()[1]
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"stream must be a CUDA stream, got {type(value).__name__}")
    if value < 0:
        raise ValueError(f"stream must be a CUDA stream's pointer, got {value}")
    return int(value) or 1


@contextmanager
def stream(stream: Any) -> Iterator[None]:
    """Issue what this thread does inside the ``with`` block to a stream.

    Elsewhere it is the legacy default stream.

    Parameters
    ----------
    stream : object or int
        A stream of torch, of CuPy, of anything with ``__cuda_stream__``, or a pointer. It must live
        as long as the arrays that are made on it.

    Raises
    ------
    CudaUnavailable
        If this build has no CUDA backend.
    TypeError, ValueError
        If it is no stream.

    Examples
    --------
    >>> import fastconv.cuda
    >>> if fastconv.cuda.is_available():
    ...     with fastconv.cuda.stream(0):
    ...         x = fastconv.cuda.asarray([1.0, 2.0])
    """
    native = _native()
    before = native.set_stream(_stream_number(stream))
    try:
        yield
    finally:
        native.set_stream(before)


class Array:
    """An array in the memory of a CUDA device.

    Made by `asarray`, and by operators and networks that are given one. It owns its memory or
    keeps alive the array of another library whose memory it shares. NumPy never converts it behind
    the scenes: say ``.numpy()``. Other libraries take it without a copy:
    ``torch.from_dlpack(array)``, ``cupy.asarray(array)``.

    Values are made in the order of a stream; whoever takes them by one of the protocols waits for
    that on its own stream.
    """

    __slots__ = ("_native",)

    def __init__(self, *_: Any, **__: Any) -> None:
        raise TypeError("make a cuda.Array with fastconv.cuda.asarray")

    _native: _cuda.Array

    @classmethod
    def _wrap(cls, native: _cuda.Array) -> Array:
        array = object.__new__(cls)
        array._native = native
        return array

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return self._native.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next, for each axis."""
        return self._native.strides

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type of its elements."""
        return self._native.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return self.size * self.dtype.itemsize

    @property
    def device(self) -> str:
        """The device that has it: ``"cuda:0"``."""
        return f"cuda:{self._native.device}"

    def numpy(self) -> NDArray[Any]:
        """Copy it to a C-contiguous NumPy array, after waiting for its values.

        Returns
        -------
        ndarray
        """
        return np.ascontiguousarray(self._native.numpy()).reshape(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<fastconv.cuda.Array {self.shape} {self.dtype} on {self.device}>"

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "a cuda.Array is not converted to NumPy behind the scenes: use its method numpy()"
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return (_DLPACK_CUDA[0], self._native.device)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Lend it by DLPack, as the Python array API standard says."""
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError(f"the array is on {self.device}: use its method numpy() on the CPU")
        if (
            stream == 0
            or not isinstance(stream, (int, np.integer, type(None)))
            or (stream or 0) < -1
        ):
            raise ValueError(
                f"stream must be -1, 1, 2, a pointer or None, got {stream!r} (0 would be ambiguous)"
            )
        native = self._native.copy() if copy else self._native
        versioned = max_version is not None and max_version[0] >= 1
        return native.to_dlpack(1 if stream is None else int(stream), versioned, bool(copy))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3 of the protocol of Numba, CuPy and others."""
        native = self._native
        pointer = native.lend_pointer()
        return {
            "version": 3,
            "data": (pointer if self.size else 0, native.read_only),
            "shape": native.shape,
            "strides": None if native.contiguous else native.strides,
            "typestr": native.dtype.str,
            "stream": native.stream,
        }


def _check_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.itemsize not in _KINDS.get(dtype.kind, ()) or not dtype.isnative:
        raise TypeError(f"the dtype of x must be one of {_DTYPES}, got {dtype}")
    return dtype


def _from_interface(native: ModuleType, x: Any, interface: dict[str, Any]) -> Any:
    if interface.get("mask") is not None:
        raise TypeError(
            "x has a mask, which __cuda_array_interface__ may have but fastconv does not"
        )
    pointer, read_only = interface["data"]
    waits = interface.get("stream")
    if waits == 0:
        raise ValueError("the stream of x is 0, which __cuda_array_interface__ forbids")
    dtype = _check_dtype(np.dtype(interface["typestr"]))
    return native.Array.from_interface(
        x, pointer or 0, read_only, interface["shape"], interface.get("strides"), dtype, waits
    )


def asarray(x: Any, *, device: int | str | None = None) -> Array:
    """Share an array that is in device memory, or copy one from NumPy to a device.

    Parameters
    ----------
    x : object
        A `cuda.Array` (returned as it is), an array of torch, CuPy or another library in CUDA
        memory (shared by DLPack or ``__cuda_array_interface__``, without a copy; the current stream
        waits for its values), or what ``np.asarray`` takes (copied). Float16, float32, float64,
        bool or an integer type. Another library's memory must stay as it is until the work on it
        is done: where its stream is another one, say so with `stream`.
    device : int or str, optional
        ``"cuda:N"`` or N; by default where `x` is, for NumPy arrays device 0.

    Returns
    -------
    Array

    Raises
    ------
    CudaUnavailable
        If there is no device that this build can use.
    MemoryError
        If the device has too little memory.
    TypeError
        If `x` has another dtype, or does not let itself be taken.
    ValueError
        If `x` is on another device than `device`, or there is no such device.

    Examples
    --------
    >>> import fastconv.cuda
    >>> if fastconv.cuda.is_available():
    ...     x = fastconv.cuda.asarray([[1.0, 2.0]])
    ...     assert x.numpy().tolist() == [[1.0, 2.0]]
    """
    index = None if device is None else _device_index(device)
    native = _native()
    if isinstance(x, Array):
        array = x
    elif hasattr(x, "__dlpack_device__") and x.__dlpack_device__()[0] in _DLPACK_CUDA:
        native.device_properties(x.__dlpack_device__()[1])
        array = Array._wrap(native.Array.from_dlpack(_dlpack_of(x, native.current_stream())))
    elif (interface := getattr(x, "__cuda_array_interface__", None)) is not None:
        array = Array._wrap(_from_interface(native, x, interface))
    else:
        from fastconv.ops._args import numpy_array  # which itself needs this module

        values = np.asarray(numpy_array("x", x))
        if values.dtype.kind in _KINDS:
            values = values.astype(values.dtype.newbyteorder("="), order="C", copy=False)
        _check_dtype(values.dtype)
        return Array._wrap(native.Array.from_numpy(values, index or 0))
    if index is not None and index != array._native.device:
        raise ValueError(f"x is on {array.device}, not on cuda:{index}: copy it there first")
    return array


def _dlpack_of(x: Any, stream: int) -> Any:
    """The capsule of a producer, of DLPack 1.0 where it can."""
    try:
        try:
            return x.__dlpack__(stream=stream, max_version=(1, 0))
        except TypeError:  # older than the argument
            return x.__dlpack__(stream=stream)
    except (BufferError, RuntimeError) as error:  # torch's, of a tensor that requires gradients
        raise TypeError(f"x of type {type(x).__name__} cannot be shared: {error}") from error


def build_config() -> dict[str, Any] | None:
    """What this build has for CUDA, for `fastconv.show_config`; does not touch the driver."""
    if importlib.util.find_spec("fastconv._cuda") is None:
        return None
    try:
        config: dict[str, Any] = _native().config()
    except CudaUnavailable as error:  # it is there, but cannot be loaded
        return {"toolkit": None, "architectures": None, "error": str(error)}
    return config
