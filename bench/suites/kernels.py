"""Kernels inside a network, on blocked arrays, against the machine's peak of the same run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import fastconv
import numpy as np
from fastconv import nn
from fastconv.benchmark import machine
from fastconv.benchmark.cases import LayerCase
from fastconv.benchmark.runner import REFERENCE, Contender, Result, Settings

_SETTINGS = Settings()


def _square(
    channels: int, size: int, filters: int, kernel: int, stride: int = 1, groups: int = 1
) -> LayerCase:
    pads, kernels, strides = ((n, n) for n in (kernel // 2, kernel, stride))
    return LayerCase(channels, size, size, filters, kernels, strides, pads, groups=groups)


DENSE = (
    _square(64, 56, 64, 3),
    _square(128, 28, 128, 3),
    _square(256, 14, 256, 3),
    _square(512, 7, 512, 3),
    _square(256, 56, 256, 3),
    _square(256, 28, 256, 1),
    _square(64, 56, 256, 1),
    _square(1024, 14, 256, 1),
    _square(128, 56, 128, 3, 2),
    _square(256, 56, 512, 1, 2),
)
DEPTHWISE = tuple(
    _square(channels, size, channels, kernel, 1, channels)
    for channels, size, kernel in ((144, 56, 3), (384, 14, 3), (240, 28, 5), (384, 14, 7))
)


def run(threads: Sequence[int]) -> list[Result]:
    """Time every kernel: exact ones, and Winograd's where it is the choice."""
    results = []
    for count in threads:
        for accuracy, cases in (("exact", (*DENSE, *DEPTHWISE)), ("fast", DENSE[:5])):
            results += [_time(case, accuracy, count) for case in cases]
    return results


def _time(case: LayerCase, accuracy: str, threads: int) -> Result:
    """Time the middle of three layers: what lies between two blocked neighbours."""
    with nn.init.skip():
        model = nn.Sequential(
            nn.Conv2d(case.channels, case.channels, 1),
            nn.Conv2d(case.channels, case.filters, case.kernel, **case.options),
            nn.Conv2d(case.filters, case.filters, 1),
        )
    model.reset_parameters(0)
    network = model.compile(case.input_shape, threads=threads, accuracy=accuracy)
    x = np.random.default_rng(0).standard_normal(case.input_shape, np.float32)
    seconds, calibration, peaks = [], [], []
    algorithm = ""
    end = time.monotonic() + 1.0
    while len(seconds) < 5 or time.monotonic() < end:
        calibration.append(machine.peak_flops(threads=1, repeats=1))
        peaks.append(machine.peak_flops(threads=threads, repeats=5))
        step = next(s for s in network.profile(x, repeats=5) if s["name"] == "1")
        algorithm = step["algorithm"]
        seconds.append(step["seconds"])
    contender = Contender(REFERENCE, fastconv.__version__, "between two layers", seconds)
    described = replace(case, algorithm=algorithm).to_dict()
    described |= {"suite": "kernels", "threads": threads, "accuracy": accuracy}
    described["share_of_peak"] = 2 * case.macs / min(seconds) / max(peaks)
    return Result(described, [contender], calibration, _SETTINGS.tolerance, "rounds")
