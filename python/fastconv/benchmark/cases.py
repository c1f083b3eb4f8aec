"""The cases that are timed: networks and convolutions, as data that a peer's process can read."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

AGREEMENT = {"fp32": 1e-3, "fp64": 1e-3, "tf32": 1e-2, "fp16": 1e-2, "bf16": 8e-2}
"""How far outputs may be from float32's, relative to the largest output, by precision. For reduced
precisions it is 20 times the unit roundoff."""


@dataclass(frozen=True)
class ModelCase:
    """One whole network.

    Its folder holds ``x.npy``, ``weights.npz`` (the state dict by torchvision's names, or timm's
    if torchvision lacks the model) and, if there are peers, ``model.onnx``, exported by fastconv.
    Arrays are float64 for ``"fp64"``, else float32.
    """

    model: str
    batch: int = 1
    size: int | None = None
    """Height and width of the images; those of the model by default."""
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def name(self) -> str:
        """The name in tables, such as ``resnet50``, or ``resnet50@160`` at another size."""
        return self.model if self.size is None else f"{self.model}@{self.size}"

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        return {"suite": "models", "name": self.name, **asdict(self)}


@dataclass(frozen=True)
class LayerCase:
    """One convolution, with bias; padding is symmetric.

    Its folder holds ``x.npy``, ``weight.npy`` and ``bias.npy``, in float64 for ``"fp64"``, else
    in float32.
    """

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
    networks: tuple[str, ...] = ()
    """In which it occurs."""
    algorithm: str = ""
    """Fastconv's."""

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of ``x``."""
        return self.batch, self.channels, self.height, self.width

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of ``weight``."""
        return self.filters, self.channels // self.groups, *self.kernel

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of a convolution, by their names."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

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
        """Bytes of input, weights, bias and output, in float32: the least traffic."""
        rows, columns = self.output_size
        per_image = self.channels * self.height * self.width + self.filters * rows * columns
        weights = self.filters * (self.channels // self.groups * math.prod(self.kernel) + 1)
        return 4 * (self.batch * per_image + weights)

    @property
    def name(self) -> str:
        """The name in tables, such as ``64@56 -> 128, 3x3/2``."""
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
