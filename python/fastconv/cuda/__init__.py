"""CUDA devices and arrays in their memory.

If this build, the driver or the machine lacks something, every function that needs a device raises
`CudaUnavailable`, which says what is missing. Importing this package does not touch the driver.
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
