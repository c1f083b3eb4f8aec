"""What the device is, and can do at most, by torch: copies, and products of large matrices."""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import asdict
from typing import Any

from fastconv import cuda
from fastconv.benchmark import machine

from bench.gpu import device
from bench.gpu.items import Missing
from bench.gpu.record import ROOT

_SIZE = 8192


def names(quick: bool) -> list[str]:
    """The device, the copy, and a product in each precision."""
    return ["device", "copy", *(f"matmul, {precision}" for precision in device.PRECISIONS)]


def run(name: str) -> dict[str, Any]:
    """Return the median rate of many calls; of the device, what it and its libraries are."""
    if name == "device":
        return _device()
    torch = device.torch_with_cuda()
    precision = name.rpartition(" ")[2]
    if name == "copy":
        x, y = (torch.randn(1 << 30, device="cuda") for _ in range(2))
        amount, unit = 2 * 4 * x.numel(), "TB/s, read and written"

        def call() -> None:
            y.copy_(x)
    else:
        device.set_tf32(torch, precision == "tf32")
        dtype = device.dtype_of(torch, precision)
        a, b = (torch.randn(_SIZE, _SIZE, device="cuda", dtype=dtype) for _ in range(2))
        amount, unit = 2 * _SIZE**3, "TFLOP/s"

        def call() -> None:
            torch.matmul(a, b)

    seconds = []
    for _ in range(25):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    rate = amount / statistics.median(seconds[5:])
    return {"rate": f"{rate / 1e12:.4g} {unit}", "per_second": rate, "median_of": 20}


def _device() -> dict[str, Any]:
    found: dict[str, Any] = {"environment": machine.environment(ROOT / "CMakeLists.txt")}
    found["device"] = asdict(cuda.get_device_properties())
    found["built_for"] = cuda.build_config()
    with contextlib.suppress(Missing):
        torch = device.torch_with_cuda()
        found["cuda_of_torch"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()
    return found
