"""Functional convolutions against PyTorch's, layer by layer.

    python bench/layers.py --threads 1 2

times ``fastconv.conv2d`` and ``torch.nn.functional.conv2d`` on the distinct convolutions of
ResNet-50, MobileNetV2 and ConvNeXt-Tiny: float32, batch 1, NCHW in and out, weights as the caller
has them (both pack them inside the call). The contenders take turns; what counts is the minimum
over all rounds, because everything else on a shared machine only makes a call slower.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import fastconv
import numpy as np
import torch


@dataclass(frozen=True)
class Layer:
    """One convolution: square image, square kernel, padding on all sides."""

    network: str
    channels: int
    size: int
    filters: int
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def padding(self) -> int:
        return self.kernel // 2 if self.kernel % 2 else 0

    @property
    def flops(self) -> int:
        out = (self.size + 2 * self.padding - self.kernel) // self.stride + 1
        return 2 * self.filters * out**2 * (self.channels // self.groups) * self.kernel**2

    @property
    def name(self) -> str:
        kind = " depthwise" if self.groups > 1 else ""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return (
            f"{self.channels}@{self.size} -> {self.filters}, "
            f"{self.kernel}x{self.kernel}{stride}{kind}"
        )


def _resnet50() -> list[Layer]:
    shapes = [(3, 224, 64, 7, 2)]
    for channels, size, width in ((64, 56, 64), (256, 56, 128), (512, 28, 256), (1024, 14, 512)):
        stride = 1 if width == 64 else 2
        out = size // stride
        shapes += [
            (channels, size, width, 1, 1),
            (width, size, width, 3, stride),
            (width, out, 4 * width, 1, 1),
            (channels, size, 4 * width, 1, stride),
            (4 * width, out, width, 1, 1),
            (width, out, width, 3, 1),
        ]
    return [Layer("ResNet-50", *shape) for shape in dict.fromkeys(shapes)]


def _mobilenet_v2() -> list[Layer]:
    layers = [
        Layer("MobileNetV2", 3, 224, 32, 3, 2),
        Layer("MobileNetV2", 32, 112, 32, 3, 1, 32),
        Layer("MobileNetV2", 32, 112, 16, 1),
    ]
    channels, size = 16, 112
    for filters, repeats, stride in (
        (24, 2, 2),
        (32, 3, 2),
        (64, 4, 2),
        (96, 3, 1),
        (160, 3, 2),
        (320, 1, 1),
    ):
        for step in [stride] + [1] * (repeats - 1):
            hidden = 6 * channels
            layers.append(Layer("MobileNetV2", channels, size, hidden, 1))
            layers.append(Layer("MobileNetV2", hidden, size, hidden, 3, step, hidden))
            size //= step
            layers.append(Layer("MobileNetV2", hidden, size, filters, 1))
            channels = filters
    layers.append(Layer("MobileNetV2", 320, 7, 1280, 1))
    return list(dict.fromkeys(layers))


def _convnext_tiny() -> list[Layer]:
    layers = [Layer("ConvNeXt-T", 3, 224, 96, 4, 4)]
    for width, size in ((96, 56), (192, 28), (384, 14), (768, 7)):
        layers.append(Layer("ConvNeXt-T", width, size, width, 7, 1, width))
        if width < 768:
            layers.append(Layer("ConvNeXt-T", width, size, 2 * width, 2, 2))
    return layers


LAYERS = [*_resnet50(), *_mobilenet_v2(), *_convnext_tiny()]


def time_layer(layer: Layer, rounds: int, calls: int) -> dict[str, float]:
    """The shortest time of each contender, in seconds."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, layer.channels, layer.size, layer.size), np.float32)
    fan_in = layer.channels // layer.groups * layer.kernel**2
    weight = rng.standard_normal(
        (layer.filters, layer.channels // layer.groups, layer.kernel, layer.kernel), np.float32
    ) / np.float32(math.sqrt(fan_in))
    bias = rng.standard_normal(layer.filters, np.float32)
    tensors = [torch.from_numpy(a) for a in (x, weight, bias)]
    options = (layer.stride, layer.padding, 1, layer.groups)
    contenders: dict[str, Callable[[], object]] = {
        "fastconv": lambda: fastconv.conv2d(x, weight, bias, *options),
        "torch": lambda: torch.nn.functional.conv2d(*tensors, *options),
    }
    difference = np.abs(contenders["fastconv"]() - contenders["torch"]().numpy()).max()
    assert difference < 1e-4, f"{layer.name}: the results differ by {difference}"
    best = dict.fromkeys(contenders, math.inf)
    for _ in range(rounds):
        for name, call in contenders.items():
            time.sleep(0.01)  # OpenMP's idle threads spin for milliseconds on the other's cores
            for timed in [False] * 2 + [True] * calls:  # the first calls wake the threads
                start = time.perf_counter()
                call()
                if timed:
                    best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=10, help="calls in a row, each round")
    parser.add_argument("--network", help="only the layers of networks whose name contains this")
    parser.add_argument("--json", metavar="FILE", help="write all timings to FILE")
    arguments = parser.parse_args()
    layers = [x for x in LAYERS if (arguments.network or "").lower() in x.network.lower()]
    isa = fastconv.show_config("dict")["isa"]
    print(
        f"fastconv {fastconv.__version__} ({isa}), torch {torch.__version__}, "
        f"{fastconv.show_config('dict')['cpu']}, Python {platform.python_version()}\n"
    )
    rows = []
    for threads in arguments.threads:
        fastconv.set_num_threads(threads)
        torch.set_num_threads(threads)
        print(f"{threads} thread{'s' * (threads > 1)}:\n")
        print("| network | layer | MFLOP | fastconv us | torch us | GFLOP/s | torch / fastconv |")
        print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
        ratios = {}
        with torch.inference_mode():
            for layer in layers:
                best = time_layer(layer, arguments.rounds, arguments.calls)
                ratio = ratios[layer] = best["torch"] / best["fastconv"]
                rows.append({**asdict(layer), "threads": threads, **best})
                print(
                    f"| {layer.network} | {layer.name} | {layer.flops / 1e6:.1f} "
                    f"| {best['fastconv'] * 1e6:.0f} | {best['torch'] * 1e6:.0f} "
                    f"| {layer.flops / best['fastconv'] / 1e9:.0f} | {ratio:.2f} |"
                )
                sys.stdout.flush()
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        slowest = min(ratios, key=lambda layer: ratios[layer])
        print(
            f"\ngeometric mean {mean:.3f} over {len(ratios)} layers; slowest: {slowest.network} "
            f"{slowest.name} ({ratios[slowest]:.2f})\n"
        )
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"isa": isa, "torch": torch.__version__, "layers": rows}, file, indent=1)


if __name__ == "__main__":
    main()
