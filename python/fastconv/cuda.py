"""CUDA devices. This build has no CUDA backend: what needs one raises `CudaUnavailable`."""

from __future__ import annotations

__all__ = ["CudaUnavailable", "device_count", "is_available"]


class CudaUnavailable(RuntimeError):
    """A CUDA device was asked for, but there is none or this build cannot use it."""


def is_available() -> bool:
    """Whether a CUDA device can be used.

    Examples
    --------
    >>> import fastconv.cuda
    >>> fastconv.cuda.is_available()
    False
    """
    return False


def device_count() -> int:
    """Count the CUDA devices that can be used.

    Examples
    --------
    >>> import fastconv.cuda
    >>> fastconv.cuda.device_count()
    0
    """
    return 0
