"""CUDA devices and streams, and the extension module that reaches them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._arguments import choice

if TYPE_CHECKING:
    from types import ModuleType


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


def build_config() -> dict[str, Any] | None:
    """Describe this build's CUDA backend for `fastconv.show_config`; the driver is not asked."""
    from importlib.util import find_spec  # here, as few ask: import fastconv must stay fast

    if find_spec("fastconv._cuda") is None:
        return None
    try:
        config: dict[str, Any] = _native().config()
    except CudaUnavailable as error:  # it is there, but cannot be loaded
        return {"toolkit": None, "architectures": None, "error": str(error)}
    return config


def device_number(device: Any) -> int:
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


def device_index(device: Any) -> int | None:
    """Return the number of the CUDA device that `device` names, `None` for the CPU.

    Raises
    ------
    fastconv.cuda.CudaUnavailable
        If `device` is ``"cuda"`` or ``"cuda:N"`` and there is no device that this build can use.
    TypeError, ValueError
        If `device` is no string, or a string of another form.
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
    try:
        get_device_properties(int(number or 0))
    except CudaUnavailable as error:
        raise CudaUnavailable(f"device={device!r} needs a CUDA device: {error}") from None
    return int(number or 0)


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
    """The result of `get_device_properties`; sizes are in bytes."""

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    total_memory: int
    shared_memory_per_block: int
    l2_cache: int


def get_device_properties(device: int | str = 0) -> DeviceProperties:
    """Return a device's name, compute capability and sizes.

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
    index = device_number(device)
    return DeviceProperties(**_native().device_properties(index))


def synchronize(device: int | str = 0) -> None:
    """Wait until all work that was issued to a device is done.

    Calls issue work and do not wait for it. So errors of kernels may show here, and a clock stopped
    before this call measures only the time of issuing.

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
    _native().synchronize(device_number(device))


def _stream_number(value: Any) -> int:
    """Return the number that DLPack gives a stream, from any library's stream object."""
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
    """Issue the work of this thread to a stream, inside the ``with`` block.

    Outside of it, work goes to the legacy default stream.

    Parameters
    ----------
    stream : object or int
        A stream of torch or CuPy, an object with ``__cuda_stream__``, or a pointer. The stream must
        live as long as the arrays that are made on it.

    Raises
    ------
    CudaUnavailable
        If this build has no CUDA backend.
    TypeError, ValueError
        If `stream` is no stream.

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
