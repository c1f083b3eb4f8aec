"""Times 1-d convolutions beside ONNX Runtime's and torch's.

    python bench/conv1d.py --threads 2

needs fastconv, onnx, onnxruntime and torch. A row for each shape: microseconds of a network of
three layers with ReLU, of equal numbers of channels, in fastconv, ONNX Runtime (its own 1-d
operator) and torch, and of one eager call of fastconv and torch. All are timed in turns; passes
over all shapes lie apart in time; the minimum counts. With one thread it is time of the CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import fastconv
import numpy as np
import onnx
import onnxruntime
import torch
from fastconv import nn
from onnx import helper, numpy_helper
from timing import shortest

TAPS = (3, 5, 9, 15, 25)
CHANNELS = (16, 32, 64, 128, 256)
SAMPLES = (1000, 3000, 10000)
LARGEST = 64 * 64 * 25 * 10000  # multiplications of a layer
LAYERS = 3
PAUSE = 0.02  # seconds after each peer, in which its idle threads stop spinning


class Shape:
    """Three convolutions of one shape."""

    def __init__(self, taps: int, channels: int, samples: int, threads: int) -> None:
        self.taps, self.channels = taps, channels
        # All of one thread's work is that of the calling one: what others delay does not count.
        self.clock = time.thread_time if threads == 1 else time.perf_counter
        self.name = f"{channels}@{samples}, {taps}"
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((1, channels, samples)).astype(np.float32)
        scale = 1 / np.sqrt(channels * taps)
        weights = rng.standard_normal((LAYERS, channels, channels, taps)) * scale
        self.weights = weights.astype(np.float32)
        self.bias = rng.standard_normal((LAYERS, channels)).astype(np.float32)
        self.network = self._fastconv()
        self.calls = {
            "fastconv": lambda: self.network(self.x),
            "onnxruntime": self._onnxruntime(threads),
            "torch": self._torch(),
            "eager": lambda: fastconv.conv1d(
                self.x, self.weights[0], self.bias[0], 1, self.taps // 2
            ),
            "torch eager": self._torch_eager(),
        }
        self.seconds = dict.fromkeys(self.calls, np.inf)
        expected = self.calls["torch"]().numpy()
        for name in ("fastconv", "onnxruntime"):
            np.testing.assert_allclose(self.calls[name](), expected, rtol=0, atol=1e-3)

    def _fastconv(self) -> Any:
        layers: list[nn.Module] = []
        for weight, bias in zip(self.weights, self.bias, strict=True):
            layer = nn.Conv1d(self.channels, self.channels, self.taps, padding=self.taps // 2)
            layer.weight, layer.bias = weight, bias
            layers += [layer, nn.ReLU()]
        return nn.Sequential(*layers).compile(self.x.shape)

    def _onnxruntime(self, threads: int) -> Callable[[], Any]:
        nodes, constants, name = [], [], "x"
        for i, (weight, bias) in enumerate(zip(self.weights, self.bias, strict=True)):
            constants.append(numpy_helper.from_array(weight, f"w{i}"))
            constants.append(numpy_helper.from_array(bias, f"b{i}"))
            pads = [self.taps // 2] * 2
            nodes.append(helper.make_node("Conv", [name, f"w{i}", f"b{i}"], [f"c{i}"], pads=pads))
            nodes.append(helper.make_node("Relu", [f"c{i}"], [f"y{i}"]))
            name = f"y{i}"
        x, y = (
            helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, self.x.shape)
            for n in ("x", name)
        )
        graph = helper.make_graph(nodes, "conv1d", [x], [y], constants)
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        return lambda: session.run(None, {"x": self.x})[0]

    def _torch(self) -> Callable[[], Any]:
        x, *arrays = map(torch.from_numpy, (self.x, *self.weights, *self.bias))

        def call() -> Any:
            y = x
            for weight, bias in zip(arrays[:LAYERS], arrays[LAYERS:], strict=True):
                y = torch.relu_(torch.nn.functional.conv1d(y, weight, bias, 1, self.taps // 2))
            return y

        return call

    def _torch_eager(self) -> Callable[[], Any]:
        x, weight, bias = map(torch.from_numpy, (self.x, self.weights[0], self.bias[0]))
        return lambda: torch.nn.functional.conv1d(x, weight, bias, 1, self.taps // 2)

    def measure(self, rounds: int) -> None:
        for _ in range(rounds):
            for name, call in self.calls.items():
                self.seconds[name] = min(self.seconds[name], shortest(call, clock=self.clock))
                if "fastconv" not in name:
                    time.sleep(PAUSE)

    def ratio(self, theirs: str, ours: str = "fastconv") -> float:
        return self.seconds[theirs] / self.seconds[ours]

    def row(self) -> str:
        algorithm = self.network.explain()[0]["algorithm"]
        times = " | ".join(f"{s * 1e6:.0f}" for s in self.seconds.values())
        ratios = (
            self.ratio("onnxruntime"),
            self.ratio("torch"),
            self.ratio("torch eager", "eager"),
        )
        return f"| {self.name} | {algorithm} | {times} | " + " | ".join(f"{r:.2f}" for r in ratios)


def summary(title: str, ratios: list[float]) -> None:
    mean = np.exp(np.mean(np.log(ratios)))
    print(f"{title}: geometric mean {mean:.3f}, least {min(ratios):.3f} of {len(ratios)}")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1, help="in a pass")
    arguments = parser.parse_args()
    fastconv.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    shapes = [
        Shape(taps, channels, samples, arguments.threads)
        for taps in TAPS
        for channels in CHANNELS
        for samples in SAMPLES
        if channels**2 * taps * samples <= LARGEST
    ]
    with torch.inference_mode():
        for _ in range(arguments.passes):
            for shape in shapes:
                shape.measure(arguments.rounds)
    print(
        "| case | algorithm | fastconv us | onnxruntime us | torch us | eager us | torch eager us "
        "| onnxruntime / fastconv | torch / fastconv | torch eager / eager |"
    )
    print("| --- | --- | " + " | ".join(["---:"] * 8) + " |")
    for shape in shapes:
        print(shape.row(), "|")
    for taps in TAPS:
        summary(f"{taps} taps", [s.ratio("onnxruntime") for s in shapes if s.taps == taps])
    summary("onnxruntime / fastconv", [s.ratio("onnxruntime") for s in shapes])
    summary("torch / fastconv", [s.ratio("torch") for s in shapes])
    summary("torch eager / eager", [s.ratio("torch eager", "eager") for s in shapes])


if __name__ == "__main__":
    main()
