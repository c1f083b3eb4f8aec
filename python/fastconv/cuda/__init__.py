"""CUDA devices and arrays in their memory.

Where this build, the driver or the machine lacks something, all that needs a device raises
`CudaUnavailable`, which says what is missing. Nothing here touches the driver before it is called.
"""

from fastconv.cuda._array import Array, asarray
from fastconv.cuda._devices import (
    CudaUnavailable,
    DeviceProperties,
    device_count,
    get_device_properties,
    is_available,
    stream,
    synchronize,
)
from fastconv.cuda._devices import _native as _native

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

for _name in __all__:  # what pickles and messages call them
    globals()[_name].__module__ = __name__
