"""Times chains of pointwise functions in a compiled network, which computes each in one pass.

    python bench/pointwise.py --threads 2

needs fastconv and numexpr. A row for each chain, on arrays of 8 million floats: milliseconds of
fastconv, of NumPy, of numexpr, and of a copy of as many bytes as the chain reads and writes. All
are timed in turns; the minimum counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import fastconv
import numexpr
import numpy as np
from fastconv import nn

SHAPE = (1, 64, 354, 354)
RNG = np.random.default_rng(0)
A, B, C, D = (RNG.standard_normal((64, 1, 1)).astype(np.float32) for _ in range(4))

# With what computes "clip" and the like: fastconv on symbols, or NumPy.
CHAINS: dict[str, tuple[Callable[..., Any], str]] = {
    "clip(abs(x*a + b) - y, -1, 1)*c + d": (
        lambda m, x, y: m.clip(abs(x * A + B) - y, -1, 1) * C + D,
        "minimum(maximum(abs(x*a + b) - y, -1), 1)*c + d",
    ),
    "x - y": (lambda m, x, y: x - y, "x - y"),
    "exp(-(x - y)**2)*a": (
        lambda m, x, y: m.exp(-m.square(x - y)) * A,
        "exp(-(x - y)**2)*a",
    ),
    "tanh(x*a + b)*y": (lambda m, x, y: m.tanh(x * A + B) * y, "tanh(x*a + b)*y"),
    "sin(x)*y + cos(y)": (lambda m, x, y: m.sin(x) * y + m.cos(y), "sin(x)*y + cos(y)"),
    "log1p(exp(-abs(x))) + y": (
        lambda m, x, y: m.log1p(m.exp(-abs(x))) + y,
        "log1p(exp(-abs(x))) + y",
    ),
}


class Chain(nn.Module):
    """A function of two arrays."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def forward(self, x: Any, y: Any) -> Any:
        """Compute it."""
        return self._function(fastconv, x, y)


def shortest(call: Callable[[], Any], rounds: int) -> float:
    """Milliseconds of the fastest call."""
    best = np.inf
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5, help="in a pass")
    arguments = parser.parse_args()
    fastconv.set_num_threads(arguments.threads)
    numexpr.set_num_threads(arguments.threads)
    x, y = (RNG.standard_normal(SHAPE).astype(np.float32) for _ in range(2))
    values = {"x": x, "y": y, "a": A, "b": B, "c": C, "d": D}
    out = np.empty_like(x)
    # Half as much in, half out.
    source, target = (np.ones(x.size * 3 // 2, np.float32) for _ in range(2))
    parts = [np.array_split(array, arguments.threads) for array in (target, source)]
    pool = ThreadPoolExecutor(arguments.threads)

    def copy() -> None:
        list(pool.map(np.copyto, *parts))

    print("| chain | fastconv ms | copy ms | fastconv / copy | NumPy ms | numexpr ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (function, expression) in CHAINS.items():
        network = Chain(function).compile((SHAPE, SHAPE))
        np.testing.assert_allclose(network(x, y), function(np, x, y), rtol=1e-4, atol=1e-4)
        calls: tuple[Callable[[], Any], ...] = (
            partial(network, x, y, out=out),
            copy,
            partial(function, np, x, y),
            partial(numexpr.evaluate, expression, values, out=out),
        )
        best = [np.inf] * len(calls)
        for _ in range(arguments.passes):
            times = (shortest(call, arguments.rounds) for call in calls)
            best = list(map(min, best, times))
        ours, copied, *others = best
        row = [
            f"{ours:.2f}",
            f"{copied:.2f}",
            f"{ours / copied:.2f}",
            *(f"{t:.1f}" for t in others),
        ]
        print(f"| `{name}` | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
