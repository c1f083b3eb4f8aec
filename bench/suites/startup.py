"""What a user waits for, and pays for, before the first answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastconv
from fastconv.benchmark import machine
from fastconv.benchmark.runner import REFERENCE, Contender, Result, Settings

from bench.peers import environment

_ROUNDS = 7

_IMPORT = """
import time, numpy
start = time.perf_counter()
import fastconv
print(json.dumps(time.perf_counter() - start))
"""

_MODEL = """
import time, numpy
import fastconv
start = time.perf_counter()
model = fastconv.create_model({model!r})
{stop_after_load}
x = numpy.zeros((1, 3, 224, 224), numpy.float32)
model(x)
print(json.dumps(time.perf_counter() - start))
"""

_MEMORY = """
import resource, numpy
import fastconv
fastconv.create_model({model!r})(numpy.zeros((1, 3, 224, 224), numpy.float32))
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
"""

MODELS = ("resnet50", "mobilenet_v2")


def run(threads: Sequence[int]) -> list[Result]:
    """Time each step in fresh processes."""
    results = []
    for count in threads:
        results.append(_time("import, beyond NumPy", _IMPORT, count))
        for model in MODELS:
            loaded = "print(json.dumps(time.perf_counter() - start)); raise SystemExit"
            source = _MODEL.format(model=model, stop_after_load=loaded)
            results.append(_time(f"{model}: create", source, count))
            source = _MODEL.format(model=model, stop_after_load="")
            result = _time(f"{model}: create, first answer", source, count)
            result.contenders[0].memory = int(_ask(_MEMORY.format(model=model), count))
            results.append(result)
    return results


def _time(name: str, source: str, threads: int) -> Result:
    calibration, seconds = [], []
    for _ in range(_ROUNDS):
        calibration.append(machine.peak_flops(threads=1, repeats=1))
        seconds.append(_ask(source, threads))
    case: dict[str, Any] = {
        "suite": "startup",
        "name": name,
        "batch": 1,
        "threads": threads,
        "device": "cpu",
        "precision": "fp32",
        "installed_bytes": installed_bytes(),
    }
    contender = Contender(REFERENCE, fastconv.__version__, "", seconds)
    return Result(case, [contender], calibration, Settings.tolerance, "alone")


def _ask(source: str, threads: int) -> float:
    """Run Python source in a process of its own and return the number that it prints."""
    process = subprocess.run(
        [sys.executable, "-c", "import json\n" + source],
        env={**os.environ, **environment(threads)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(process.stdout.strip().splitlines()[-1]))


def installed_bytes() -> int:
    """Return what the package takes on disk."""
    folder = Path(fastconv.__file__).parent
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
