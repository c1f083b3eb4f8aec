"""Times transposed convolutions of decoders, inside a compiled network, beside torch's.

    python bench/transposed.py --threads 2

needs fastconv and torch. A row for each shape: milliseconds of fastconv's step and of torch's layer
in the better of its two layouts, and what share of the FMA peak each reaches, counting the
multiplications of the definition. All are timed in turns; passes over all shapes lie apart in time;
the minimum counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import fastconv
import numpy as np
import torch
from fastconv import nn
from timing import shortest, summary

KERNELS = ((2, 2, 0, 0), (4, 2, 1, 0), (3, 2, 1, 1))  # size, stride, padding, output_padding
CHANNELS = ((64, 64), (128, 64), (256, 128), (512, 256), (512, 512))
SIDES = (14, 28, 56, 112)
LARGEST = 512 * 256 * 28 * 28 * 16  # multiplications
PAUSE = 0.05  # seconds after torch, in which its idle threads stop spinning


def peers(kernel: tuple[int, ...], channels: tuple[int, int], x: Any) -> list[Callable[[], Any]]:
    """Torch's layer, contiguous and channels-last."""
    calls = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        layer = torch.nn.ConvTranspose2d(*channels, *kernel).eval().to(memory_format=memory_format)
        data = torch.from_numpy(x).to(memory_format=memory_format)
        calls.append(lambda layer=layer, data=data: layer(data))
    return calls


class Shape:
    """One transposed convolution."""

    def __init__(self, kernel: tuple[int, ...], channels: tuple[int, int], side: int) -> None:
        self.kernel, (c, o) = kernel, channels
        self.name = f"{c}@{side} -> {o}, {kernel[0]}x{kernel[0]}/{kernel[1]}"
        self.macs = c * o * (side * kernel[0]) ** 2
        self.channels = channels
        self.x = np.random.default_rng(0).standard_normal((1, c, side, side)).astype(np.float32)
        self.ours = self.theirs = np.inf
        self.peak, self.algorithm = 0.0, ""

    def measure(self, rounds: int) -> None:
        c, o = self.channels
        layer = nn.ConvTranspose2d(c, o, *self.kernel)
        network = nn.Sequential(nn.Conv2d(c, c, 1), layer, nn.Conv2d(o, o, 1)).compile(self.x.shape)
        calls = peers(self.kernel, self.channels, self.x)
        for _ in range(rounds):
            steps = network.profile(self.x)
            (step,) = (s for s in steps if "transpose" in s["op"])
            self.ours = min(self.ours, step["seconds"])
            self.peak = max(self.peak, steps.peak_gflops or 0.0)
            self.algorithm = step["algorithm"]
            self.theirs = min(self.theirs, *map(shortest, calls))
            time.sleep(PAUSE)

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours

    def row(self) -> str:
        of_peak = [2e-9 * self.macs / s / self.peak for s in (self.ours, self.theirs)]
        return (
            f"| {self.name} | {self.algorithm} | {self.ours * 1e3:.3g} | {self.theirs * 1e3:.3g} "
            f"| {self.ratio:.2f} | {of_peak[0]:.0%} | {of_peak[1]:.0%} |"
        )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2, help="in a pass")
    arguments = parser.parse_args()
    fastconv.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    shapes = [
        Shape(kernel, channels, side)
        for kernel in KERNELS
        for channels in CHANNELS
        for side in SIDES
        if channels[0] * channels[1] * (side * kernel[0]) ** 2 <= LARGEST
    ]
    with torch.inference_mode():
        for _ in range(arguments.passes):
            for shape in shapes:
                shape.measure(arguments.rounds)
    print(
        "| case | algorithm | fastconv ms | torch ms | torch / fastconv | of peak | torch of peak |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for shape in shapes:
        print(shape.row())
    for kernel in (*KERNELS, None):
        ratios = [s.ratio for s in shapes if kernel in (None, s.kernel)]
        name = f"{kernel[0]}x{kernel[0]}/{kernel[1]}" if kernel else "all"
        print(f"{name}: {summary(ratios)}")


if __name__ == "__main__":
    main()
