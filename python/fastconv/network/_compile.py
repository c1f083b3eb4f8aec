"""From a module and options to a `Network`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastconv._arguments import as_int, choice
from fastconv.cuda._devices import device_index
from fastconv.network._network import PRECISIONS, Network
from fastconv.ops._conv import ACCURACIES

if TYPE_CHECKING:
    from fastconv.graph._inputs import InputShape
    from fastconv.graph._module import Recordable

_CUDA_PRECISIONS = ("fp32", "tf32", "fp16", "bf16")  # all take and return float32


def compile_module(
    module: Recordable,
    input_shape: InputShape,
    *,
    threads: int | None = None,
    device: str = "cpu",
    precision: str | None = None,
    accuracy: str = "fast",
    autotune: bool = False,
    max_workspace: int | None = None,
    taps: Sequence[str] = (),
    keep_weights: bool = True,
) -> Network:
    """Compile a module for inputs of one shape.

    Parameters
    ----------
    module : Module
        What to compile.
    input_shape : sequence of int, or sequence or mapping of such
        Usually (N, C, H, W). Of several inputs a shape for each, in the order of `forward`'s
        arguments or by their names: ``{"image": (1, 3, 224, 224), "mask": (1, 1, 224, 224)}``.
    threads : int, optional
        How many threads each call uses on the CPU; by default as `fastconv.get_num_threads` says
        then.
    device : {"cpu", "cuda", "cuda:N"}
        Where it runs. On a CUDA device calls give back what they get: NumPy arrays for NumPy
        arrays, and `fastconv.cuda.Array` for arrays on the device.
    precision : {"fp32", "fp64"} or, on a CUDA device, {"fp32", "tf32", "fp16", "bf16"}, optional
        What it computes in. By default the parameters' dtype. On the CPU also what it takes and
        returns; on a CUDA device that is always float32, sums are in float32, and `fp32` never is
        TF32.
    accuracy : {"fast", "exact", "fastest"}
        What results may differ by from exact arithmetic (docs/accuracy.md): a stated share of the
        sum of absolute products of the output's own channel; nothing but the rounding of sums in
        a fixed order; or, where that is faster, a share of the largest sum of any channel.
    autotune : bool
        Whether to measure which algorithm is the fastest for each convolution, here and on as many
        threads, instead of going by a rule; the rule's choice stays unless another is clearly
        faster. Under ``accuracy="exact"`` only algorithms that give the same bits take part; under
        ``"fast"`` results may then differ by rounding from machine to machine and with the number
        of threads. What was measured is kept in a file, so that the next time is fast: see
        docs/graph.md. On the CPU only.
    max_workspace : int, optional
        Bytes of scratch memory that an operator may take: of one thread, or of the CUDA device.
    taps : sequence of str
        Modules whose outputs every call returns too.
    keep_weights : bool
        Whether to keep the parameters besides their packed form, for pickling and new taps.

    Returns
    -------
    Network

    Raises
    ------
    ValueError, TypeError
        If an argument has no such value, or `forward` cannot take this shape.
    fastconv.cuda.CudaUnavailable
        If `device` is a CUDA device and there is none that this build can use.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> class Masked(nn.Module):
    ...     def forward(self, image, mask):
    ...         return {"masked": image * mask, "sum": image + mask}
    >>> network = Masked().compile({"image": (2, 3, 8, 8), "mask": (2, 1, 8, 8)})
    >>> y = network(np.ones((2, 3, 8, 8), np.float32), mask=np.zeros((2, 1, 8, 8), np.float32))
    >>> [(name, value.shape, float(value.max())) for name, value in y.items()]
    [('masked', (2, 3, 8, 8), 0.0), ('sum', (2, 3, 8, 8), 1.0)]
    """
    on_device = device_index(device) is not None
    choice("accuracy", accuracy, ACCURACIES)
    if precision is not None:
        if not on_device and precision in _CUDA_PRECISIONS[1:]:
            raise ValueError(f"precision={precision!r} needs device='cuda'")
        choice("precision", precision, _CUDA_PRECISIONS if on_device else tuple(PRECISIONS))
    if on_device and autotune:
        raise ValueError("autotune measures kernels of the CPU: leave it False on device='cuda'")
    if on_device and threads is not None:
        raise ValueError("threads are those of the CPU: leave it None on device='cuda'")
    if threads is not None and not 1 <= as_int("threads", threads) <= 1024:
        raise ValueError(f"threads must be from 1 to 1024, got {threads}")
    if max_workspace is not None and as_int("max_workspace", max_workspace) < 0:
        raise ValueError(f"max_workspace must not be negative, got {max_workspace}")
    options = {
        "threads": threads,
        "device": device,
        "precision": precision,
        "accuracy": accuracy,
        "autotune": bool(autotune),
        "max_workspace": max_workspace,
        "taps": Network._tap_names(taps),
        "keep_weights": bool(keep_weights),
    }
    return Network(module, input_shape, options)
