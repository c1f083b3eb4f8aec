"""Whole networks with their arrays on the device, against torch eager and compiled, channels-last.

``milliseconds`` are those of the device, between two events around successive calls; ``latency`` is
the wall-clock time from a call to its result, which has the time of launching too.
"""

from __future__ import annotations

import copy
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fastconv import cuda
from fastconv.benchmark import networks
from fastconv.benchmark.cases import AGREEMENT, ModelCase

from bench.gpu import device

MODELS = ("resnet50", "mobilenet_v2", "efficientnet_b0", "convnext_tiny")

_BLOCK = 0.03  # seconds of a measurement


def names(quick: bool) -> list[str]:
    """Batch 1 with `torch.compile` first; without it for larger batches; then with it."""
    device.torch_with_cuda()
    models = MODELS[1:2] if quick else MODELS
    precisions = ("fp32", "fp16") if quick else ("fp32", "tf32", "fp16")
    return [
        f"{model}, {precision}, batch {batch}{compiled}"
        for batches, compiled in (((1,), ", compiled"), ((8, 64), ""), ((8, 64), ", compiled"))
        for batch in batches
        for precision in precisions
        for model in models
        if not quick or batch == 1
    ]


@functools.cache
def _model(name: str) -> tuple[Any, Any]:
    """Return the network with random weights, and torch's with the same."""
    from bench.peers.torch import network

    case = ModelCase(name)
    with tempfile.TemporaryDirectory(prefix="fastconv-gpu-") as folder:
        model = networks.prepare(case, Path(folder))
        return model, network(case, Path(folder))


def run(name: str) -> dict[str, Any]:
    """Compare the outputs, then let all time the network in turn."""
    model_name, precision, batch_text, *rest = name.split(", ")
    batch = int(batch_text.removeprefix("batch "))
    torch = device.torch_with_cuda()
    model, original = _model(model_name)
    form, dtype = torch.channels_last, device.dtype_of(torch, precision)
    shape = (batch, *model.default_cfg["input_size"])
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    given = torch.from_numpy(x).cuda().to(memory_format=form)
    device.set_tf32(torch, False)
    with torch.inference_mode():
        expected = copy.deepcopy(original).to("cuda", memory_format=form)(given).cpu().numpy()
    device.set_tf32(torch, precision == "tf32")
    module = copy.deepcopy(original).to("cuda", dtype, memory_format=form)
    peers = {"torch": module}
    if rest:
        torch.compiler.reset()
        peers["torch-compiled"] = torch.compile(module, mode="max-autotune")
    start = time.monotonic()
    network = model.compile(shape, device="cuda", precision=precision)
    compile_seconds = {"fastconv": round(time.monotonic() - start, 1)}
    own, converted = cuda.asarray(given), given.to(dtype)
    calls: dict[str, Callable[[], Any]] = {"fastconv": lambda: network(own)}
    calls |= {
        peer: functools.partial(_call, torch, module, converted) for peer, module in peers.items()
    }
    errors, times, latency = {}, {}, {}
    for contender, call in calls.items():
        start = time.monotonic()
        for _ in range(4):  # so that all is compiled, tried out and captured
            y = call()
        torch.cuda.synchronize()
        compile_seconds.setdefault(contender, round(time.monotonic() - start, 1))
        output = y.numpy() if contender == "fastconv" else y.float().cpu().numpy()
        errors[contender] = device.difference(output, expected)
        times[contender] = _seconds(torch, call)
        latency[contender] = functools.partial(_latency, torch, call)
    result = device.take_turns(times, seconds=3.0)
    wrong = not errors["fastconv"] <= AGREEMENT[precision]
    why = f"its output differs by {errors['fastconv']:.1e} of the largest value"
    return {
        "batch": batch,
        "precision": precision,
        "errors": errors,
        "compile_seconds": compile_seconds,
        "latency": device.take_turns(latency, seconds=1.0),
        **result,
        **({"status": "failed", "why": why} if wrong else {}),
    }


def _call(torch: Any, module: Any, x: Any) -> Any:
    with torch.inference_mode():
        return module(x)


def _seconds(torch: Any, call: Callable[[], Any]) -> Callable[[], float]:
    """Return what measures a call by events around many."""

    def measure(count: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / count

    count = max(3, round(_BLOCK / measure(3)))
    return lambda: measure(count)


def _latency(torch: Any, call: Callable[[], Any]) -> float:
    """Return the least of a few calls, each waited for."""
    found = []
    for _ in range(5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return min(found)
