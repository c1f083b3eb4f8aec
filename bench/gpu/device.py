"""What stages have in common: which device it is, torch on it, contenders that take turns."""

from __future__ import annotations

import importlib
import itertools
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fastconv
from fastconv.benchmark.statistics import Ratio, Timing

from bench.gpu.items import Missing

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")

REFERENCE = "fastconv"


def emulated() -> bool:
    """Whether the device is this CPU, for trying the script."""
    return bool(fastconv.show_config("dict")["cuda"]["architectures"] == "emulated")


def built(path: str) -> Path:
    """Return a file of the build."""
    return Path(os.environ["FASTCONV_GPU_CHECK_BUILD"]) / path


def torch_with_cuda() -> Any:
    """Import torch.

    Raises
    ------
    Missing
        If it is not installed, or has no CUDA device.
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise Missing(f"torch: {error}") from error
    if not torch.cuda.is_available():
        raise Missing(f"torch {torch.__version__} has no CUDA device")
    return torch


def set_tf32(torch: Any, allowed: bool) -> None:
    """Let torch use TF32, or not, in convolutions and matrix products."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def dtype_of(torch: Any, precision: str) -> Any:
    """Return the type of torch's tensors for a precision."""
    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)


def take_turns(
    contenders: Mapping[str, Callable[[], float]], seconds: float, rounds: int = 7
) -> dict[str, Any]:
    """Let contenders measure themselves in turn; return their times and ratios to `REFERENCE`.

    Parameters
    ----------
    contenders : mapping of str to callable
        Each returns the seconds of one call.
    seconds : float
        How long at least, over all rounds.
    rounds : int
        How many at least.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    end = time.monotonic() + seconds
    for done in itertools.count():
        if done >= rounds and time.monotonic() >= end:
            break
        for name, measure in contenders.items():
            times[name].append(measure())
    milliseconds = {}
    for name, found in times.items():
        timing = Timing.of(found)
        milliseconds[name] = {
            "minimum": 1e3 * timing.minimum,
            "median": 1e3 * timing.median,
            "spread": timing.spread,
            "rounds": timing.rounds,
        }
    ratios = {
        name: Ratio.of(times[REFERENCE], found)._asdict()
        for name, found in times.items()
        if name != REFERENCE
    }
    return {"milliseconds": milliseconds, "ratios": ratios}


def difference(output: Any, expected: Any) -> float:
    """Return max|output - expected| / max|expected| of NumPy arrays; NaN stays NaN."""
    return float(abs(output - expected).max() / abs(expected).max())
