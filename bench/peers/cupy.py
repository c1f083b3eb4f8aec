"""CuPy on a CUDA device; single convolutions only.

CuPy has dropped its interface of cuDNN, and `cupyx.scipy.signal.correlate` takes one pair of
channels at a time. What is left is im2col and cuBLAS.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import cupy
import numpy as np
from cupy.lib.stride_tricks import as_strided
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Run, Timed


class CuPy:
    """im2col by a strided view, then `cupy.matmul`, timed with events."""

    name = "cupy"
    version = cupy.__version__
    settings = "im2col by a strided view, cupy.matmul (cuBLAS, no TF32)"
    devices = ("cuda",)
    precisions = ("fp32", "fp64")

    def __init__(self, threads: int) -> None:
        pass

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        if not isinstance(case, LayerCase):
            raise NotImplementedError("CuPy has no networks")
        x = np.load(folder / "x.npy")
        weight, bias = (
            cupy.asarray(np.load(folder / f"{name}.npy")) for name in ("weight", "bias")
        )
        marks = [cupy.cuda.Event() for _ in range(4)]

        def run() -> Timed:
            marks[0].record()
            given = cupy.asarray(x)
            marks[1].record()
            computed = convolve(case, given, weight, bias)
            marks[2].record()
            y = cupy.asnumpy(computed)
            marks[3].record()
            marks[3].synchronize()
            there, compute, back = (
                cupy.cuda.get_elapsed_time(first, second) / 1e3
                for first, second in itertools.pairwise(marks)
            )
            return Timed(y, compute, there + back)

        return run


def convolve(
    case: LayerCase, x: cupy.ndarray, weight: cupy.ndarray, bias: cupy.ndarray
) -> cupy.ndarray:
    """Return the convolution: windows as columns [n][group][channel, kh, kw][pixel]."""
    (ph, pw), (sh, sw), (dh, dw) = case.padding, case.stride, case.dilation
    padded = cupy.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    n, c, h, w = padded.strides
    windows = as_strided(
        padded,
        (case.batch, case.channels, *case.kernel, *case.output_size),
        (n, c, h * dh, w * dw, h * sh, w * sw),
    )
    pixels = case.output_size[0] * case.output_size[1]
    columns = windows.reshape(case.batch, case.groups, -1, pixels)
    y = weight.reshape(case.groups, case.filters // case.groups, -1) @ columns
    return y.reshape(case.batch, case.filters, *case.output_size) + bias[:, None, None]
