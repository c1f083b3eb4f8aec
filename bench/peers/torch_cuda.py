"""PyTorch with cuDNN on a CUDA device."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Run, Timed

from bench.peers.torch import layer, network

_DTYPES = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


class Eager:
    """Modules in channels-last layout, timed with events."""

    name = "torch-cuda"
    version = f"{torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    settings = "inference mode, channels-last, cudnn.benchmark; TF32 for tf32 only; pinned memory"
    devices = ("cuda",)
    precisions = tuple(_DTYPES)

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = True

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        torch.backends.cudnn.allow_tf32 = case.precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = case.precision == "tf32"
        dtype, form = _DTYPES[case.precision], torch.channels_last
        module = layer(case, folder) if isinstance(case, LayerCase) else network(case, folder)
        model = self._optimise(module.to("cuda", dtype, memory_format=form))
        x = torch.from_numpy(np.load(folder / "x.npy")).to(dtype, memory_format=form).pin_memory()
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(4)]

        def run() -> Timed:
            with torch.inference_mode():
                marks[0].record()
                given = x.to("cuda", non_blocking=True)
                marks[1].record()
                computed = model(given)
                marks[2].record()
                y = computed.cpu()
                marks[3].record()
            marks[3].synchronize()
            there, compute, back = (
                first.elapsed_time(second) / 1e3 for first, second in itertools.pairwise(marks)
            )
            if case.precision == "bf16":
                y = y.float()  # NumPy has no bfloat16
            return Timed(y.numpy(), compute, there + back)

        return run

    def _optimise(self, model: Any) -> Any:
        return model


class Compiled(Eager):
    """`torch.compile`, which tries the kernels out and captures them as a CUDA graph."""

    name = "torch-cuda-compiled"
    settings = f'torch.compile(mode="max-autotune"), {Eager.settings}'

    def _optimise(self, model: Any) -> Any:
        return torch.compile(model, mode="max-autotune")
