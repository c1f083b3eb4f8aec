"""Times the two products of attention beside NumPy's `matmul` and our `linear`.

    OPENBLAS_NUM_THREADS=2 OPENBLAS_THREAD_TIMEOUT=20 python bench/matmul.py --threads 2

needs fastconv alone. NumPy's BLAS takes its threads from the environment. With the timeout its idle
threads spin for 2**20 cycles only; without it they can hold cores while others are timed. A row for
each product: milliseconds, how many times as long NumPy takes, and, for one head, how many times as
long `linear` takes for the same product. All are timed in turns; passes over all products lie apart
in time; the minimum counts. Calls take 5 ms at a time with a pause after them: a process that may
use its cores for a part of the time only is stopped when it has used that up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import fastconv
import numpy as np
from timing import shortest, summary

TOKENS = (64, 197, 256, 577, 1024)
CHANNELS = (32, 64)
HEADS = (1, 8)
PAUSE = 0.02  # seconds


class Product:
    """One product of attention: ``q @ k.T`` or ``p @ v``."""

    def __init__(self, name: str, heads: int, tokens: int, channels: int) -> None:
        draw = np.random.default_rng(0).random
        tall = draw((heads, tokens, channels), np.float32)
        if name == "q @ k.T":
            a, b = tall, draw((heads, tokens, channels), np.float32).swapaxes(1, 2)
        else:
            a, b = draw((heads, tokens, tokens), np.float32), tall
        out = np.empty((heads, tokens, b.shape[2]), np.float32)
        weight = np.ascontiguousarray(b[0].T)
        self.name = f"{name}, {heads} x {tokens}, {channels}"
        self.calls: list[Callable[[], Any]] = [
            lambda: fastconv.matmul(a, b, out=out),
            lambda: np.matmul(a, b, out=out),
        ]
        if heads == 1:
            self.calls.append(lambda: fastconv.linear(a[0], weight, out=out[0]))
        self.seconds = np.full(len(self.calls), np.inf)

    def measure(self) -> None:
        for i, call in enumerate(self.calls):
            self.seconds[i] = min(self.seconds[i], shortest(call, 0.005))
            time.sleep(PAUSE)

    @property
    def ratios(self) -> Any:
        return self.seconds[1:] / self.seconds[0]

    def row(self) -> str:
        linear = f"{self.ratios[1]:.2f}" if len(self.ratios) > 1 else ""
        return f"| {self.name} | {self.seconds[0] * 1e3:.3f} | {self.ratios[0]:.2f} | {linear} |"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--only", default="", help="products whose name has this in it")
    arguments = parser.parse_args()
    fastconv.set_num_threads(arguments.threads)
    products = [
        Product(name, heads, tokens, channels)
        for name in ("q @ k.T", "p @ v")
        for heads in HEADS
        for tokens in TOKENS
        for channels in CHANNELS
    ]
    products = [product for product in products if arguments.only in product.name]
    for _ in range(arguments.passes):
        for product in products:
            product.measure()
    print("| product | ms | numpy / matmul | linear / matmul |")
    print("| --- | ---: | ---: | ---: |")
    for product in products:
        print(product.row())
    for i, peer in enumerate(("numpy", "linear")):
        if ratios := [p.ratios[i] for p in products if len(p.ratios) > i]:
            print(f"{peer}: {summary(ratios)}")


if __name__ == "__main__":
    main()
