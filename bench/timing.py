"""What the scripts beside this share: the time of a call, and what to say of many ratios."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def shortest(
    call: Callable[[], Any],
    seconds: float = 0.01,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of the fastest of at least 3 calls, and of what fits in `seconds`."""
    best, begin, calls = np.inf, clock(), 0
    while calls < 3 or clock() - begin < seconds:
        start = clock()
        call()
        best = min(best, clock() - start)
        calls += 1
    return best


def summary(ratios: Iterable[float]) -> str:
    """The geometric mean and the least."""
    values = list(ratios)
    mean = np.exp(np.mean(np.log(values)))
    return f"geometric mean {mean:.2f}, least {min(values):.2f} of {len(values)}"
