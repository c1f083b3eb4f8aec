"""Writes conv2d.npz: small integer-valued convolutions and torch's results in float64.

Run by hand, with torch installed: ``python tests/golden/make_conv2d.py``.
"""

from pathlib import Path

import numpy as np
import torch

# name: x shape, weight shape, stride, padding ((top, bottom), (left, right)), dilation, groups
CASES = {
    "plain": ((2, 3, 7, 6), (4, 3, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "padded": ((1, 5, 6, 7), (6, 5, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "sides": ((1, 4, 5, 6), (3, 4, 3, 2), (1, 1), ((2, 0), (1, 3)), (1, 1), 1),
    "strided": ((2, 3, 9, 8), (5, 3, 3, 3), (2, 3), ((1, 1), (1, 1)), (1, 1), 1),
    "dilated": ((1, 3, 9, 9), (4, 3, 3, 2), (1, 2), ((2, 2), (1, 1)), (2, 3), 1),
    "grouped": ((1, 6, 6, 6), (9, 2, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
    "depthwise": ((2, 5, 8, 7), (5, 1, 5, 3), (2, 1), ((2, 2), (1, 1)), (1, 1), 5),
    "multiplier": ((1, 4, 6, 6), (8, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 4),
    "pointwise": ((2, 7, 5, 4), (5, 7, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "pointwise_padded": ((1, 3, 5, 4), (4, 3, 1, 1), (1, 1), ((0, 2), (0, 0)), (1, 1), 1),
    "large_kernel": ((1, 2, 11, 10), (3, 2, 7, 7), (2, 2), ((3, 3), (3, 3)), (1, 1), 1),
    "one_pixel": ((3, 8, 4, 4), (6, 8, 4, 4), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
}


def main() -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for name, (x_shape, weight_shape, stride, padding, dilation, groups) in CASES.items():
        x, weight, bias = (
            rng.integers(-9, 10, shape).astype(np.int8)
            for shape in (x_shape, weight_shape, weight_shape[:1])
        )
        (top, bottom), (left, right) = padding
        y = torch.nn.functional.conv2d(
            torch.nn.functional.pad(torch.from_numpy(x).double(), (left, right, top, bottom)),
            torch.from_numpy(weight).double(),
            torch.from_numpy(bias).double(),
            stride,
            0,
            dilation,
            groups,
        ).numpy()
        assert np.array_equal(y, y.astype(np.int16))
        arrays |= {
            f"{name}.x": x,
            f"{name}.weight": weight,
            f"{name}.bias": bias,
            f"{name}.y": y.astype(np.int16),
            f"{name}.options": np.array([*stride, top, bottom, left, right, *dilation, groups]),
        }
    np.savez_compressed(Path(__file__).with_name("conv2d.npz"), **arrays)


if __name__ == "__main__":
    main()
