"""Networks with several inputs and outputs, against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fastconv import nn
from fastconv import ops as F

pytestmark = pytest.mark.oracle

IMAGE, MASK, SCALE = (2, 3, 12, 10), (2, 1, 12, 10), (2, 8, 1, 1)


class Ours(nn.Module):
    input_ndim = 4

    def __init__(self) -> None:
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, image: Any, mask: Any, *, scale: Any = None) -> Any:
        features = F.relu(self.conv(image)) * F.sigmoid(mask)
        if scale is not None:
            features = features * scale
        return {"logits": self.head(F.mean(features, axis=(2, 3))), "features": features}


class Theirs(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, image: Any, mask: Any, *, scale: Any = None) -> Any:
        features = torch.relu(self.conv(image)) * torch.sigmoid(mask)
        if scale is not None:
            features = features * scale
        return {"logits": self.head(features.mean((2, 3))), "features": features}


@pytest.mark.parametrize("with_scale", [False, True])
def test_mappings_in_and_out(with_scale: bool) -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    theirs = Theirs().double()
    ours = Ours().astype("float64")
    ours.load_state_dict(theirs.state_dict())
    shapes = {"mask": MASK, "image": IMAGE} | ({"scale": SCALE} if with_scale else {})
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    with torch.no_grad():
        expected = theirs(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    network = ours.compile(shapes)
    more = {"scale": arrays["scale"]} if with_scale else {}
    outputs = [
        ours.eager(**arrays),
        ours(**arrays),
        ours(arrays["image"], arrays["mask"], **more),
        network(arrays["image"], arrays["mask"], **more),
        network(arrays),
    ]
    for y in outputs:
        assert list(y) == list(expected)
        for name, value in expected.items():
            # Sums of 27 and of 120 numbers below 100, in double precision.
            np.testing.assert_allclose(y[name], value.numpy(), rtol=0, atol=1e-11)
