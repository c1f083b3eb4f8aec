"""Peers for the tests of the benchmark: what a library may do well and badly."""

import os
import time
import weakref
from dataclasses import asdict, dataclass

import numpy as np
from fastconv.benchmark.worker import Bound, Timed


@dataclass(frozen=True)
class FakeCase:
    """A call that takes so long."""

    name: str = "sleep"
    batch: int = 1
    device: str = "cpu"
    precision: str = "fp32"
    seconds: float = 0.002

    def to_dict(self):
        return {"suite": "tests", "threads": 1, **asdict(self)}


class Fake:
    """Sleeps for as long as the case says, and returns its numbers."""

    name, version, settings = "fake", "1", "none"
    share = 1.0
    wrong = 0.0

    def __init__(self, threads):
        print("libraries print when they are imported")

    def load(self, case, folder):
        y = np.arange(1.0, 5.0) + self.wrong

        def run():
            time.sleep(case.seconds * self.share)
            return y

        return run


class Binding(Fake):
    """Reads and writes arrays that it was given once, and, as pointers do, keeps none alive."""

    name = "binding"

    def load(self, case, folder):
        x, y = np.arange(1.0, 5.0), np.empty(4)
        remembered = x.copy()
        x_pointer, y_pointer = weakref.ref(x), weakref.ref(y)

        def call():
            time.sleep(case.seconds)
            self.write(x_pointer(), y_pointer(), remembered)

        return Bound(call, x, y)

    def write(self, x, y, remembered):
        y[...] = x


class StaleOutput(Binding):
    """Computes into memory of its own, from the second call on."""

    name, calls = "stale output", 0

    def write(self, x, y, remembered):
        self.calls += 1
        if self.calls == 1:
            y[...] = x


class HalfOutput(Binding):
    name = "half an output"

    def write(self, x, y, remembered):
        y[:2] = x[:2]


class StaleInput(Binding):
    """Has copied the input when it was bound."""

    name = "stale input"

    def write(self, x, y, remembered):
        y[...] = remembered


class TwiceAsSlow(Fake):
    name, share = "slow", 2.0


class Wrong(Fake):
    """As with one wrong weight."""

    name, wrong = "wrong", 0.01


class Device(Fake):
    """Also computes on a device, in all precisions, and knows how long it copies."""

    name = "device"
    devices = ("cpu", "cuda")
    precisions = ("fp32", "fp64", "fp16")

    def load(self, case, folder):
        compute = super().load(case, folder)
        if case.device == "cpu":
            return compute

        def run():
            time.sleep(case.seconds)  # to the device and back
            return Timed(compute(), case.seconds * self.share, case.seconds)

        return run


class SlowDevice(Device):
    """Computes on the device only."""

    name, share = "slow device", 3.0
    devices = ("cuda",)


class WrongOnDevice(Device):
    """Is wrong there by what fp16 is allowed, and fp32 is not."""

    def load(self, case, folder):
        self.wrong = 0.01 if case.device == "cuda" else 0.0
        return super().load(case, folder)


class Unable(Fake):
    name = "unable"

    def load(self, case, folder):
        raise NotImplementedError("cannot sleep")


class Crashing(Fake):
    name = "crashing"

    def load(self, case, folder):
        os._exit(3)


class CrashingLater(Fake):
    name = "later"

    def load(self, case, folder):
        calls = iter(range(3))

        def run():
            next(calls)  # the third call raises StopIteration
            return np.arange(1.0, 5.0)

        return run


class NotInstalled(Fake):
    def __init__(self, threads):
        raise ImportError("no module named fake")


class Profiled(Fake):
    """Knows its steps."""

    name = "profiled"

    def profile(self):
        return [{"name": "sleep", "seconds": 0.002}]
