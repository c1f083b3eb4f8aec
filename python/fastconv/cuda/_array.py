"""Arrays in the memory of CUDA devices, our own and other libraries'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastconv._arguments import numpy_array
from fastconv.cuda._devices import _native, device_number

if TYPE_CHECKING:
    from types import ModuleType

    from fastconv import _cuda

_KINDS = {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}
_DTYPES = "float16, float32, float64, bool and integers"
_DLPACK_CUDA = (2, 13)  # device and managed memory

ON_HOST = frozenset({np.ndarray, int, float, bool, str, type(None)})
"""Types of most arguments, none of them on a device."""


class Array:
    """An array in the memory of a CUDA device.

    `asarray` makes one, and so do operators and networks that get one. It owns its memory, or
    shares the memory of another library's array and keeps that array alive. NumPy never converts it
    behind the scenes: call ``.numpy()``. Other libraries take it without a copy:
    ``torch.from_dlpack(array)``, ``cupy.asarray(array)``.

    Its values are computed in the order of a stream. A library that takes it by one of the
    protocols waits for them on its own stream.
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
        """The size of each axis."""
        return self._native.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next, for each axis."""
        return self._native.strides

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype of the elements."""
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
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    @property
    def device(self) -> str:
        """The device that it is on, such as ``"cuda:0"``."""
        return f"cuda:{self._native.device}"

    def numpy(self) -> NDArray[Any]:
        """Wait for the values and copy them to a C-contiguous NumPy array.

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
        """Share it by DLPack, as in the Python array API standard."""
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


def is_on_device(value: Any) -> bool:
    """Whether `value` is an array in the memory of a CUDA device, or a list or tuple with one."""
    if type(value) in ON_HOST:
        return False
    if hasattr(type(value), "__fastconv_record__"):  # symbolic: it has no memory
        return False
    if isinstance(value, (list, tuple)):
        for item in value:  # noqa: SIM110 - any() takes three times as long, and every op asks
            if type(item) not in ON_HOST and is_on_device(item):
                return True
        return False
    device = getattr(value, "__dlpack_device__", None)
    if device is not None:
        try:
            return device()[0] in _DLPACK_CUDA
        except Exception:  # what it is on has no number there: no array that could be taken
            return False
    return hasattr(value, "__cuda_array_interface__")


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
        A `cuda.Array` is returned as it is. An array of torch, CuPy or another library in CUDA
        memory is shared without a copy, by DLPack or ``__cuda_array_interface__``; the current
        stream waits for its values. Anything that ``np.asarray`` takes is copied. The dtype is
        float16, float32, float64, bool or an integer type. The other library must not change its
        memory until the work on it is done: if it uses another stream, choose that with `stream`.
    device : int or str, optional
        ``"cuda:N"`` or N. Default: the device of `x`; device 0 for NumPy arrays.

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
        If `x` has another dtype, or its library refuses to share it.
    ValueError
        If `x` is on another device than `device`, or there is no such device.

    Examples
    --------
    >>> import fastconv.cuda
    >>> if fastconv.cuda.is_available():
    ...     x = fastconv.cuda.asarray([[1.0, 2.0]])
    ...     assert x.numpy().tolist() == [[1.0, 2.0]]
    """
    index = None if device is None else device_number(device)
    native = _native()
    if isinstance(x, Array):
        array = x
    elif hasattr(x, "__dlpack_device__") and x.__dlpack_device__()[0] in _DLPACK_CUDA:
        native.device_properties(x.__dlpack_device__()[1])
        array = Array._wrap(native.Array.from_dlpack(_dlpack_of(x, native.current_stream())))
    elif (interface := getattr(x, "__cuda_array_interface__", None)) is not None:
        array = Array._wrap(_from_interface(native, x, interface))
    else:
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
