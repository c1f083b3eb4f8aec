"""SciPy: what one has without a library for networks; single convolutions only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Run
from scipy import signal


class Scipy:
    """`scipy.signal.correlate`, a pair of channels at a time."""

    name = "scipy"
    version = scipy.__version__
    settings = "signal.correlate, the faster of direct and FFT; one thread"
    precisions = ("fp32", "fp64")

    def __init__(self, threads: int) -> None:
        pass

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        if not isinstance(case, LayerCase):
            raise NotImplementedError("SciPy has no networks")
        if case.dilation != (1, 1) or case.macs > 5e7:
            raise NotImplementedError("dilated or too large for a loop over channels")
        x, weight, bias = (np.load(folder / f"{name}.npy") for name in ("x", "weight", "bias"))
        (ph, pw), (sh, sw) = case.padding, case.stride
        per_group = case.channels // case.groups
        filters_per_group = case.filters // case.groups

        def run() -> np.ndarray:
            padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
            y = np.empty((case.batch, case.filters, *case.output_size), x.dtype)
            for n in range(case.batch):
                for k in range(case.filters):
                    first = k // filters_per_group * per_group
                    group = padded[n, first : first + per_group]
                    full = signal.correlate(group, weight[k], "valid")[0]
                    y[n, k] = full[::sh, ::sw] + bias[k]
            return y

        return run
