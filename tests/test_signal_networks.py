"""Networks of 1-d layers: what stands between them computes on their images of height 1."""

from __future__ import annotations

from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import nn


class Between(nn.Module):
    """A function between two convolutions."""

    def __init__(self, name: str, dtype: Any) -> None:
        rng = np.random.default_rng(0)
        self.first, self.second = nn.Conv1d(3, 20, 5, padding=2), nn.Conv1d(20, 7, 3)
        self.mean, self.weight, self.bias = rng.standard_normal((3, 20))
        self.row, self.column = rng.standard_normal((2, 30)), rng.standard_normal((20, 1))
        self.astype(dtype)
        self._name = name

    def forward(self, x: Any) -> Any:
        y = FUNCTIONS[self._name](self, self.first(x), x)
        return self.second(y) if y.ndim == 3 and y.shape[1] == 20 and y.shape[2] > 2 else y


FUNCTIONS: dict[str, Any] = {
    "relu": lambda m, y, x: fastconv.relu(y),
    "gelu": lambda m, y, x: fastconv.gelu(y),
    "exp": lambda m, y, x: np.exp(-abs(y)),
    "batch_norm": lambda m, y, x: fastconv.relu(
        fastconv.batch_norm(y, m.mean, m.weight * m.weight, m.weight, m.bias)
    ),
    "group_norm": lambda m, y, x: fastconv.group_norm(y, 4, m.weight, m.bias),
    "residual": lambda m, y, x: fastconv.relu(y + y * 0.5),
    "column": lambda m, y, x: y * m.column + 1,
    "row": lambda m, y, x: y + m.row[0],
    "rows": lambda m, y, x: y + m.row[:, None],
    "signals from outside": lambda m, y, x: y + fastconv.mean(x, 1, keepdims=True),
    "mask": lambda m, y, x: fastconv.where(y > fastconv.mean(y, 2, keepdims=True), y, 0.5),
    "concat of channels": lambda m, y, x: fastconv.concat([y[:, :4], y[:, 4:]], 1),
    "concat of lengths": lambda m, y, x: fastconv.concat([y, m.weight[:, None] + y * 0, y], 2),
    "concat with the input": lambda m, y, x: fastconv.concat([y[:, :17], x], 1),
    "slice": lambda m, y, x: y[:, ::-1, 3:-2:2],
    "pad": lambda m, y, x: fastconv.pad(y, (3, 1)),
    "reflect": lambda m, y, x: fastconv.pad(y, (3, 1), "reflect"),
    "mean": lambda m, y, x: fastconv.mean(y, 2),
    "largest of all": lambda m, y, x: fastconv.max(y, (1, 2)),
    "gate": lambda m, y, x: y * fastconv.sigmoid(fastconv.mean(y, 2, keepdims=True)),
    "mean of channels": lambda m, y, x: fastconv.mean(y, 1),
    "permute": lambda m, y, x: fastconv.permute(fastconv.permute(y, (0, 2, 1)) * 2, (0, 2, 1)),
    "softmax": lambda m, y, x: fastconv.softmax(y, 1),
    "pool": lambda m, y, x: fastconv.max_pool1d(fastconv.relu(y), 3, 2),
    "reshape": lambda m, y, x: fastconv.reshape(fastconv.relu(y), (2, 5, -1)),
    "cumsum": lambda m, y, x: fastconv.cumsum(y, 2),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_networks_compute_what_eager_calls_do(name: str, dtype: Any) -> None:
    module = Between(name, dtype)
    x = np.random.default_rng(1).standard_normal((2, 3, 30)).astype(dtype)
    tolerance = 200 * np.finfo(dtype).eps  # sums of at most 60 products of numbers of about 1
    expected = module.eager(x)
    network = module.compile(x.shape, precision=f"fp{8 * x.itemsize}")
    np.testing.assert_allclose(network(x), expected, rtol=tolerance, atol=tolerance)
    y, tapped = network(x, taps=["first"])
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    first = module.first.eager(x)
    np.testing.assert_allclose(tapped["first"], first, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("between", "ops"),
    [
        ([nn.ReLU()], ["conv2d+relu", "conv2d", "copy"]),
        ([nn.BatchNorm2d(20), nn.GELU()], ["conv2d+gelu", "conv2d", "copy"]),
        ([nn.ConstantPad1d((2, 0), 0.0)], ["conv2d", "conv2d", "copy"]),
    ],
)
def test_layers_follow_one_another_without_copies(between: list[Any], ops: list[str]) -> None:
    class Norm(nn.Module):
        def __init__(self, norm: Any) -> None:
            self.norm = norm

        def forward(self, x: Any) -> Any:
            n = self.norm
            return fastconv.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias)

    layers = [Norm(m) if isinstance(m, nn.BatchNorm2d) else m for m in between]
    net = nn.Sequential(nn.Conv1d(3, 20, 5), *layers, nn.Conv1d(20, 16, 3))
    assert [step["op"] for step in net.compile((1, 3, 40)).explain()] == ops


def test_residual_sums_of_signals_go_into_convolutions() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = (nn.Conv1d(16, 16, 3, padding=1) for _ in range(2))
            self.last = nn.Conv1d(16, 16, 1)

        def forward(self, x: Any) -> Any:
            x = fastconv.relu(self.first(x))
            return self.last(fastconv.relu(self.second(x) + x))

    block = Block()
    x = np.random.default_rng(0).standard_normal((2, 16, 33)).astype(np.float32)
    network = block.compile(x.shape)
    ops = [step["op"] for step in network.explain()]
    assert ops == ["conv2d+relu", "conv2d+add+relu", "conv2d", "copy"]
    np.testing.assert_allclose(network(x), block.eager(x), rtol=0, atol=1e-4)
