"""Peers for the tests of the benchmark: what a library may do well and badly."""

import os
import time

import numpy as np


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
            time.sleep(case["seconds"] * self.share)
            return y

        return run


class TwiceAsSlow(Fake):
    name, share = "slow", 2.0


class Wrong(Fake):
    """As with one wrong weight."""

    name, wrong = "wrong", 0.01


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
