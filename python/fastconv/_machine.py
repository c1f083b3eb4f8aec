"""What this machine reaches at most."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

import fastconv._core as _core
from fastconv.config import get_num_threads, num_threads, show_config

_SECONDS = 0.002  # of one measurement: short, so that some fall between the time slices of others


def peak_flops(
    threads: int | None = None, dtype: npt.DTypeLike = "float32", repeats: int = 50
) -> float:
    """Measure the most floating-point operations a second that multiply-adds in registers reach.

    Parameters
    ----------
    threads : int, optional
        On how many threads at once; by default as many as are in use.
    dtype : {"float32", "float64"}
        Of the numbers.
    repeats : int
        Measurements of 2 ms, of which the best counts.

    Examples
    --------
    >>> from fastconv.benchmark import machine
    >>> machine.peak_flops(threads=1, repeats=1) > 1e8
    True
    """
    kind = np.dtype(dtype)
    return _best(lambda: _core.measure_flops(kind, _SECONDS), threads, repeats)


def read_bandwidth(nbytes: int, threads: int | None = None, repeats: int = 25) -> float:
    """Measure the bytes a second that threads read, each from its own memory.

    Parameters
    ----------
    nbytes : int
        Bytes each thread reads over and over; the size decides from which cache.
    threads : int, optional
        On how many threads at once; by default as many as are in use.
    repeats : int
        Measurements of 2 ms, of which the best counts.

    Examples
    --------
    >>> from fastconv.benchmark import machine
    >>> machine.read_bandwidth(2**14, threads=1, repeats=1) > 1e8
    True
    """
    return _best(lambda: _core.measure_read_bandwidth(nbytes, _SECONDS), threads, repeats)


def limits(threads: int) -> dict[str, float]:
    """Measure what bounds any kernel on so many threads.

    Parameters
    ----------
    threads : int
        On how many threads at once.

    Returns
    -------
    dict
        ``threads``, ``peak_flops`` in float32, ``l2_bandwidth`` and ``memory_bandwidth`` in bytes
        a second.

    Examples
    --------
    >>> from fastconv.benchmark import machine
    >>> sorted(machine.limits(threads=1))
    ['l2_bandwidth', 'memory_bandwidth', 'peak_flops', 'threads']
    """
    config = show_config("dict")
    l2, beyond_l3 = config["cache_l2"] // 2 or 2**18, max(2**26, 4 * config["cache_l3"])
    measures: dict[str, Callable[[], float]] = {
        "peak_flops": lambda: peak_flops(threads, repeats=1),
        "l2_bandwidth": lambda: read_bandwidth(l2, threads, 1),
        "memory_bandwidth": lambda: read_bandwidth(beyond_l3, threads, 1),
    }
    found: dict[str, float] = {"threads": threads}
    for name, measure in measures.items():
        # Until some come close to the best: others may keep the machine busy for a while.
        values: list[float] = []
        end = time.monotonic() + 2
        while len(values) < 10 or (
            sorted(values)[-5] < 0.97 * max(values) and time.monotonic() < end
        ):
            values.append(measure())
        found[name] = max(values)
    return found


def _best(measure: Callable[[], float], threads: int | None, repeats: int) -> float:
    with num_threads(get_num_threads() if threads is None else threads):
        return max(measure() for _ in range(repeats))
