"""Arrays of torch and CuPy, there and back, on streams that wait for nobody by themselves.

Work that takes milliseconds is in the queue before each step, so that a missing wait gives what was
there before: NaN.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

import fastconv
import numpy as np
from fastconv import cuda, nn

from bench.gpu import device
from bench.gpu.items import Missing

ROUNDS = 5

_SHAPE = (4, 32, 56, 56)


def _relu(x: Any) -> Any:
    return fastconv.relu(x)


def _network() -> Any:
    model = nn.Sequential(nn.Conv2d(32, 48, 3, padding=1), nn.ReLU())
    model.reset_parameters(0)
    return model.compile(_SHAPE, device="cuda")


class _Torch:
    """Torch on a stream of its own."""

    def __init__(self) -> None:
        self.torch = device.torch_with_cuda()
        self.stream = self.torch.cuda.Stream()

    def on(self) -> Any:
        return self.torch.cuda.stream(self.stream)

    def upload(self, x: Any) -> Any:
        return self.torch.from_numpy(x).cuda()

    def delay(self) -> None:
        self.torch.cuda._sleep(20_000_000)

    def busy(self) -> bool:
        return not self.stream.query()

    def fill(self, x: Any, value: Any) -> None:
        x.copy_(value) if self.torch.is_tensor(value) else x.fill_(value)

    def synchronize(self) -> None:
        self.torch.cuda.synchronize()

    def from_dlpack(self, y: Any) -> Any:
        return self.torch.from_dlpack(y)

    def from_interface(self, y: Any) -> Any:
        self.synchronize()  # torch does not look at the interface's stream
        return self.torch.as_tensor(y, device="cuda")

    def interface(self, x: Any) -> Any:
        self.synchronize()  # nor does it say on which stream its own values are made
        return _Only("__cuda_array_interface__", x)

    def numpy(self, x: Any) -> Any:
        return x.cpu().numpy()


class _CuPy:
    """CuPy on a stream of its own."""

    def __init__(self) -> None:
        try:
            self.cupy = importlib.import_module("cupy")
            self.cupy.cuda.runtime.getDeviceCount()
        except Exception as error:  # CuPy has errors of its own where there is no driver
            raise Missing(f"cupy: {error}") from error
        self.stream = self.cupy.cuda.Stream(non_blocking=True)
        self.matrix = self.cupy.ones((4096, 4096), np.float32)

    def on(self) -> Any:
        return self.stream

    def upload(self, x: Any) -> Any:
        return self.cupy.asarray(x)

    def delay(self) -> None:
        for _ in range(4):
            self.matrix @ self.matrix

    def busy(self) -> bool:
        return not self.stream.done

    def fill(self, x: Any, value: Any) -> None:
        x[...] = value

    def synchronize(self) -> None:
        self.cupy.cuda.Device().synchronize()

    def from_dlpack(self, y: Any) -> Any:
        return self.cupy.from_dlpack(y)

    def from_interface(self, y: Any) -> Any:
        return self.cupy.asarray(_Only("__cuda_array_interface__", y))

    def interface(self, x: Any) -> Any:
        return _Only("__cuda_array_interface__", x)

    def numpy(self, x: Any) -> Any:
        return self.cupy.asnumpy(x)


class _Only:
    """An array of which one protocol is seen."""

    def __init__(self, protocol: str, array: Any) -> None:
        self._array = array
        setattr(self, protocol, getattr(array, protocol))


_LIBRARIES: dict[str, Callable[[], Any]] = {"torch": _Torch, "cupy": _CuPy}


def names(quick: bool) -> list[str]:
    """Library, protocol, whether fastconv works on the library's stream, what is computed."""
    return [
        f"{library}, {protocol}, {stream} stream, {what}"
        for library in _LIBRARIES
        for protocol in ("dlpack", "interface")
        for stream in ("its", "fastconv's")
        for what in ("relu", "network")
    ]


def run(name: str) -> dict[str, Any]:
    """Go there and back a few times."""
    library, protocol, stream, what = name.split(", ")
    lib = _LIBRARIES[library]()
    call = _relu if what == "relu" else _network()
    rng = np.random.default_rng(0)
    busy = []
    for _ in range(ROUNDS):
        values = rng.standard_normal(_SHAPE, np.float32)
        busy.append(_there_and_back(lib, protocol, stream == "its stream", call, values))
    waits = (library, protocol) != ("torch", "interface")  # which needs a wait by hand
    assert any(busy) or not waits, "the library was never busy: nothing is proved"
    return {"rounds": ROUNDS, "rounds_that_could_show_a_missing_wait": sum(busy)}


def _there_and_back(lib: Any, protocol: str, same: bool, call: Any, values: Any) -> bool:
    """Check one round; return whether the library was still busy when fastconv got its array."""
    expected = 2 * call(cuda.asarray(values)).numpy()  # and nothing is left to compile
    ready = lib.upload(values)
    x = lib.upload(np.full_like(values, np.nan))
    lib.synchronize()
    with lib.on():
        lib.delay()
        lib.fill(x, ready)
        with cuda.stream(lib.stream) if same else contextlib.nullcontext():
            given = x if protocol == "dlpack" else lib.interface(x)
            busy: bool = lib.busy()
            y = call(given)
        if same:
            lib.fill(x, np.nan)  # after it was read
        else:
            cuda.synchronize()  # another stream may still read x
        lib.delay()
        z = (lib.from_dlpack(y) if protocol == "dlpack" else lib.from_interface(y)) * 2
    lib.synchronize()
    actual = lib.numpy(z)
    assert actual.shape == expected.shape
    assert np.array_equal(actual, expected), f"off by {abs(actual - expected).max()}"
    return busy
