"""One library each, as plug-ins: `fastconv.benchmark.worker.Peer` says what they define."""

from __future__ import annotations

import os

from fastconv.benchmark import session

PEERS = {
    **session.PEERS,
    "onnxruntime": "bench.peers.onnxruntime:OnnxRuntime",
    "openvino": "bench.peers.openvino:OpenVino",
    "torch": "bench.peers.torch:Compiled",
    "torch-eager": "bench.peers.torch:Eager",
    "torch-cuda": "bench.peers.torch_cuda:Eager",
    "torch-cuda-compiled": "bench.peers.torch_cuda:Compiled",
    "cupy": "bench.peers.cupy:CuPy",
    "ncnn": "bench.peers.ncnn:Ncnn",
    "mnn": "bench.peers.mnn:Mnn",
    "litert": "bench.peers.litert:LiteRt",
    "jax": "bench.peers.jax:Jax",
    "scipy": "bench.peers.scipy:Scipy",
}
"""The class of each, in a module of its own that is imported in the peer's process only."""


_ISAS = {
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "baseline": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
}
"""What FASTCONV_ISA means to OpenVINO and torch; ONNX Runtime has no such switch."""


def environment(threads: int) -> dict[str, str]:
    """Return what libraries read when they are imported.

    As many threads for all of them, and where FASTCONV_ISA is set, that instruction set.
    """
    names = ("OMP", "MKL", "OPENBLAS", "FASTCONV")
    return {
        **{f"{name}_NUM_THREADS": str(threads) for name in names},
        **_ISAS.get(os.environ.get("FASTCONV_ISA", ""), {}),
        "ORT_DISABLE_TELEMETRY": "1",
        "OPENVINO_TELEMETRY_OPT_OUT": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
