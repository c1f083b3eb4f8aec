"""What is timed: networks and single convolutions, as data that a peer's process can read."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ModelCase:
    """One whole network.

    Its folder holds ``x.npy``, ``weights.npz`` (the state dict by torchvision's names, or timm's
    where torchvision lacks the model) and ``model.onnx``, exported by fastconv.
    """

    model: str
    batch: int = 1
    size: tuple[int, int] = (224, 224)
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def name(self) -> str:
        """As it is called in tables."""
        return self.model

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        return {"suite": "models", "name": self.name, **asdict(self)}


@dataclass(frozen=True)
class LayerCase:
    """One convolution, with bias; padding is symmetric.

    Its folder holds ``x.npy``, ``weight.npy`` and ``bias.npy``.
    """

    network: str
    channels: int
    height: int
    width: int
    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    batch: int = 1
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the output."""
        sizes = zip(
            (self.height, self.width),
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            strict=True,
        )
        height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
        return height, width

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        (rows, columns), (kh, kw) = self.output_size, self.kernel
        per_output = self.channels // self.groups * kh * kw
        return self.batch * self.filters * rows * columns * per_output

    @property
    def bytes(self) -> int:
        """Of the input, the weights, the bias and the output, in float32: the least traffic."""
        rows, columns = self.output_size
        per_image = self.channels * self.height * self.width + self.filters * rows * columns
        weights = self.filters * (self.channels // self.groups * math.prod(self.kernel) + 1)
        return 4 * (self.batch * per_image + weights)

    @property
    def name(self) -> str:
        """As it is called in tables, such as ``64@56 -> 128, 3x3/2``."""
        size = str(self.height) if self.height == self.width else f"{self.height}x{self.width}"
        stride = f"/{self.stride[0]}" if self.stride != (1, 1) else ""
        dilation = f", dilation {self.dilation[0]}" if self.dilation != (1, 1) else ""
        kind = ""
        if self.groups > 1:
            depthwise = self.groups == self.channels
            kind = " depthwise" if depthwise else f", {self.groups} groups"
        kernel = f"{self.kernel[0]}x{self.kernel[1]}"
        return f"{self.channels}@{size} -> {self.filters}, {kernel}{stride}{kind}{dilation}"

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        return {
            "suite": "layers",
            "name": self.name,
            "macs": self.macs,
            "bytes": self.bytes,
            **asdict(self),
        }
