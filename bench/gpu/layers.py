"""Convolutions alone, against torch with cuDNN: both channels-last, without bias, replayed graphs.

Neither side is measured from the L2 cache: calls take turns among sets of input, weights and output
that do not fit it together.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Callable
from typing import Any

import fastconv
from fastconv import cuda
from fastconv.benchmark.cases import AGREEMENT, LayerCase

from bench.gpu import device
from bench.suites import layers

CALLS = 24
"""In one captured graph."""

REPLAYS = 4
"""In one measurement."""

RIVALS = ("implicit_gemm", "wgmma")
"""Kernels for tensor cores: where both serve, both are timed, so that the rule can be corrected."""

_DEPTHWISE = ("mobilenet_v2", "efficientnet_b0", "convnext_tiny")


@functools.cache
def _cases() -> dict[str, tuple[str, LayerCase]]:
    """Return the layers and the kind of each, by name."""
    found = {}
    for kind, networks, batches, precisions in (
        ("resnet50", ("resnet50",), (32,), ("fp32", "tf32", "fp16")),
        ("depthwise", _DEPTHWISE, (32, 1), ("fp32", "fp16")),
    ):
        for case in layers.cases(networks, batches, ("cuda",), precisions):
            if kind == "resnet50" or case.groups == case.channels > 1:
                found[f"{kind}: {case.name}, {case.precision}, batch {case.batch}"] = kind, case
    return found


def names(quick: bool) -> list[str]:
    """Each distinct layer, for each precision and batch size."""
    if not device.emulated():
        device.torch_with_cuda()
    return list(_cases())[:: 4 if quick else 1]


def run(name: str) -> dict[str, Any]:
    """Compare the outputs, then let both sides time the layer in turn."""
    kind, case = _cases()[name]
    torch = device.torch_with_cuda()
    device.set_tf32(torch, case.precision == "tf32")
    error = _difference(torch, case)
    if not error <= AGREEMENT[case.precision]:
        why = f"its output differs by {error:.1e} of the largest value"
        return {"status": "failed", "why": why, "errors": {case.precision: error}}
    with contextlib.ExitStack() as stack:
        timer = stack.enter_context(Timer())
        sets, size, serving, algorithm = timer.prepare(case, CALLS)
        contenders = {
            "fastconv": lambda: timer.time(REPLAYS),
            "torch": _by_torch(torch, case, sets),
        }
        for rival in _rivals(serving, algorithm):
            other = stack.enter_context(Timer())
            other.prepare(case, CALLS, rival)
            contenders[f"fastconv, {rival}"] = functools.partial(other.time, REPLAYS)
        result = device.take_turns(contenders, seconds=0.3)
    best = result["milliseconds"]["fastconv"]["minimum"] / 1e3
    return {
        "kind": kind,
        "precision": case.precision,
        "batch": case.batch,
        "macs": case.macs,
        "algorithm": algorithm,
        "sets": sets,
        "bytes_of_all_sets": size,
        "tflops": 2e-12 * case.macs / best,
        "errors": {case.precision: error},
        **result,
    }


def _rivals(serving: list[str], algorithm: str) -> list[str]:
    """Return the other kernels that could serve in the place of the one that does."""
    chosen = algorithm.partition(":")[0]
    return [name for name in RIVALS if chosen in RIVALS and name in serving and name != chosen]


def _difference(torch: Any, case: LayerCase) -> float:
    """Compare fastconv's output with torch's, on random data."""
    x = torch.randn(case.input_shape, device="cuda").to(memory_format=torch.channels_last)
    module = _module(torch, case).float()
    model = fastconv.nn.Conv2d(case.channels, case.filters, case.kernel, bias=False, **case.options)
    model.load_state_dict({"weight": module.weight.detach().cpu().numpy()})
    network = model.compile(case.input_shape, device="cuda", precision=case.precision)
    with torch.inference_mode():
        expected = module.double()(x.double()).cpu().numpy()
    return device.difference(network(cuda.asarray(x)).numpy(), expected)


def _module(torch: Any, case: LayerCase) -> Any:
    module = torch.nn.Conv2d(case.channels, case.filters, case.kernel, bias=False, **case.options)
    return module.to("cuda", memory_format=torch.channels_last)


def _by_torch(torch: Any, case: LayerCase, sets: int) -> Callable[[], float]:
    """Capture the calls; return what replays them and returns the seconds of one."""
    dtype, form = device.dtype_of(torch, case.precision), torch.channels_last
    modules = [_module(torch, case).to(dtype) for _ in range(sets)]
    inputs = [
        torch.randn(case.input_shape, device="cuda").to(dtype, memory_format=form)
        for _ in range(sets)
    ]
    graph = torch.cuda.CUDAGraph()
    outputs: list[Any] = [None] * sets

    def calls() -> None:
        for i in range(CALLS):
            outputs[i % sets] = modules[i % sets](inputs[i % sets])

    with torch.inference_mode():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            calls()  # cuDNN tries its kernels out
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            calls()
    graph.replay()

    def measure() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(REPLAYS):
            graph.replay()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / REPLAYS / CALLS

    measure()
    return measure


class Timer:
    """The process of ``layer_times.cc``."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [device.built("bench/gpu/fastconv_cuda_layer_times")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )

    def __enter__(self) -> Timer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def prepare(
        self, case: LayerCase, calls: int, wanted: str = "auto"
    ) -> tuple[int, int, list[str], str]:
        """Load a layer to be computed by an algorithm, the rule's by default.

        Returns how many sets there are, their bytes, the algorithms that could serve, and the one
        that does, with its reason.
        """
        numbers = (
            *case.input_shape,
            case.filters,
            *case.kernel,
            *case.stride,
            *case.padding,
            *case.dilation,
            case.groups,
            calls,
        )
        answer = self._ask("layer", case.precision, *numbers, wanted)
        sets, size, serving, algorithm = answer.split(" ", 3)
        return int(sets), int(size), serving.split(","), algorithm

    def time(self, replays: int) -> float:
        """Return the seconds of one call."""
        return float(self._ask("time", replays))

    def _ask(self, *words: object) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().strip()
        if not answer:
            status = self._process.wait()
            raise RuntimeError(f"fastconv_cuda_layer_times ended with status {status}: see the log")
        return answer
