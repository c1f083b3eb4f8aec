"""Times `grid_sample` beside torch's.

    python bench/grid_sample.py --threads 2

needs fastconv and torch. Images are resampled to their own size: by a rotation, whose places lie
beside each other, and at random places, some of them outside of the image. A row for each shape and
kind: milliseconds of fastconv and, for each mode, how many times as long torch takes. Both are
timed in turns; passes over all rows lie apart in time; the minimum counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import fastconv
import numpy as np
import torch
from timing import shortest, summary

SHAPES = (
    *((8, 1, 64, 64), (4, 3, 224, 224), (1, 8, 128, 128), (2, 16, 64, 64), (1, 64, 64, 64)),
    *((1, 256, 32, 32), (1, 64, 128, 128)),
)
KINDS = ("rotated", "random")
MODES = ("bilinear", "nearest", "bicubic")
PAUSE = 0.02  # seconds after torch, in which its idle threads stop spinning


def grid(kind: str, n: int, h: int, w: int) -> Any:
    """Places for an image, in float64."""
    rng = np.random.default_rng(0)
    if kind == "random":
        return rng.uniform(-1.3, 1.3, (n, h, w, 2))
    turn = 1.1 * np.array([[np.cos(0.3), np.sin(0.3), 0.0], [-np.sin(0.3), np.cos(0.3), 0.0]])
    return fastconv.affine_grid(np.tile(turn, (n, 1, 1)), (n, 1, h, w))


class Row:
    """One shape, in all modes."""

    def __init__(self, shape: tuple[int, int, int, int], kind: str, dtype: Any) -> None:
        n, c, h, w = shape
        self.kind, self.name = kind, f"{n}x{c}@{h}"
        x = np.random.default_rng(1).standard_normal(shape).astype(dtype)
        places, out = grid(kind, n, h, w).astype(dtype), np.empty_like(x)
        tensors = torch.from_numpy(x), torch.from_numpy(places)
        self.calls: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {}
        for mode in MODES:
            self.calls[mode] = (
                lambda mode=mode: fastconv.grid_sample(x, places, mode, out=out),
                lambda mode=mode: torch.nn.functional.grid_sample(
                    *tensors, mode, align_corners=False
                ),
            )
            ours, theirs = (call() for call in self.calls[mode])
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-2)
        self.seconds = {mode: [np.inf, np.inf] for mode in MODES}

    def measure(self) -> None:
        for mode, calls in self.calls.items():
            for i, call in enumerate(calls):
                self.seconds[mode][i] = min(self.seconds[mode][i], shortest(call, 0.005))
            time.sleep(PAUSE)

    def ratio(self, mode: str) -> float:
        ours, theirs = self.seconds[mode]
        return theirs / ours

    def row(self) -> str:
        cells = (f"{self.seconds[m][0] * 1e3:.3g} | {self.ratio(m):.2f}" for m in MODES)
        return f"| {self.name}, {self.kind} | {' | '.join(cells)} |"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    arguments = parser.parse_args()
    fastconv.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    rows = [Row(shape, kind, arguments.dtype) for shape in SHAPES for kind in KINDS]
    with torch.inference_mode():
        for _ in range(arguments.passes):
            for row in rows:
                row.measure()
    print(f"| case | {' | '.join(f'{mode} ms | torch / fastconv' for mode in MODES)} |")
    print(f"| --- |{' ---: | ---: |' * len(MODES)}")
    for row in rows:
        print(row.row())
    for mode in MODES:
        print(f"{mode}: {summary(row.ratio(mode) for row in rows)}")


if __name__ == "__main__":
    main()
