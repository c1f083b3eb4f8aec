"""What a user waits for, and pays for, before the first answer: each time in a fresh process."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fastconv
from fastconv.benchmark import machine, networks
from fastconv.benchmark.cases import ModelCase
from fastconv.benchmark.runner import REFERENCE, Contender, Result, Settings
from fastconv.benchmark.worker import peak_memory

from bench.peers import environment
from bench.suites import models

MODELS = ("resnet50", "mobilenet_v2")
ROUNDS = 7


class Library(NamedTuple):
    """How one library gets from a file to an answer, as its manual has it."""

    file: str
    source: str
    """With ``path``, the ``name`` of the model, ``threads`` and the input ``x``."""


_WEIGHTS = "safetensors" if importlib.util.find_spec("safetensors") else "npz"

LIBRARIES = {
    REFERENCE: Library(
        f"weights.{_WEIGHTS}",
        """
fastconv.create_model(name, weights=path)(x)
""",
    ),
    "onnxruntime": Library(
        "model.onnx",
        """
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
session.run(None, {"x": x})
""",
    ),
    "openvino": Library(
        "model.onnx",
        """
options = {
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_NUM_THREADS": threads,
}
openvino.Core().compile_model(path, "CPU", options)([x])
""",
    ),
}

_SOURCE = """
import json, resource, sys, time
import numpy
{peak_memory}
path, name, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
x = numpy.load(sys.argv[4])
start = time.perf_counter()
import {library}
imported = time.perf_counter()
{source}
answered = time.perf_counter()
seconds = [imported - start, answered - imported]
print(json.dumps([*seconds, peak_memory(), {library}.__version__]))
"""


def run(names: Sequence[str], threads: Sequence[int]) -> list[Result]:
    """Time the libraries in turns, in a fresh process each time.

    Raises
    ------
    ImportError
        If a library cannot answer; the message is the last line that it wrote.
    """
    return [result for count in threads for result in _run(names, count)]


def _run(names: Sequence[str], threads: int) -> list[Result]:
    imports = _result("import, beyond NumPy", names, threads)
    results = [imports]
    for model in MODELS:
        result = _result(f"{model}: load, first answer", names, threads)
        peaks: dict[str, list[int]] = {name: [] for name in names}
        with tempfile.TemporaryDirectory(prefix="fastconv-bench-") as folder:
            _prepare(model, names, Path(folder))
            for _ in range(ROUNDS):
                for each in (imports, result):
                    each.calibration.append(machine.peak_flops(threads=1, repeats=1))
                for name, a, b in zip(names, imports.contenders, result.contenders, strict=True):
                    importing, answering, peak, version = _ask(name, model, Path(folder), threads)
                    a.version = b.version = version
                    a.seconds.append(importing)
                    b.seconds.append(answering)
                    peaks[name].append(peak)
        for contender in result.contenders:
            contender.memory = int(statistics.median(peaks[contender.name]))
        results.append(result)
    return results


def _result(name: str, names: Sequence[str], threads: int) -> Result:
    case: dict[str, Any] = {
        "suite": "startup",
        "name": name,
        "batch": 1,
        "threads": threads,
        "device": "cpu",
        "precision": "fp32",
        "installed_bytes": {name: installed_bytes(name) for name in names},
    }
    contenders = [Contender(name, settings=f"from {LIBRARIES[name].file}") for name in names]
    return Result(case, contenders, [], Settings.tolerance, "rounds")


def _prepare(model: str, names: Sequence[str], folder: Path) -> None:
    """Write the network with its weights in the form of each library."""
    case = ModelCase(model)
    if any(LIBRARIES[name].file == "model.onnx" for name in names):
        models.prepare(case, folder)
    else:
        networks.prepare(case, folder)
    if _WEIGHTS != "npz":
        weights = fastconv.weights.load(folder / "weights.npz")
        fastconv.weights.save(folder / f"weights.{_WEIGHTS}", weights)


def _ask(name: str, model: str, folder: Path, threads: int) -> tuple[float, float, int, str]:
    """Return seconds of the import and up to the answer, peak memory and version."""
    library = LIBRARIES[name]
    function = inspect.getsource(peak_memory)
    source = _SOURCE.format(library=name, source=library.source, peak_memory=function)
    process = subprocess.run(
        [
            *(sys.executable, "-c", source),
            *(str(folder / library.file), model, str(threads), str(folder / "x.npy")),
        ],
        env={**os.environ, **environment(threads)},
        capture_output=True,
        text=True,
    )
    if process.returncode != 0:
        reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise ImportError(f"the peer {name} cannot start: {reason}")
    importing, answering, peak, version = json.loads(process.stdout.splitlines()[-1])
    return importing, answering, peak, version


def installed_bytes(library: str) -> int:
    """Return what a package takes on disk, without those that it needs."""
    spec = importlib.util.find_spec(library)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    files = (path for folder in folders for path in Path(folder).rglob("*"))
    return sum(path.stat().st_size for path in files if path.is_file())
