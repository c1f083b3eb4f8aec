"""A sample of each operator of graphs: what docs/make_operators.py measures, and tests compile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fastconv import _core

Sample = tuple[Sequence[tuple[int, ...] | None], Mapping[str, Any]]
"""The shapes of the inputs, None for what is absent, and the attributes."""

BFLOAT16 = np.dtype([("bfloat16", np.uint16)])
DTYPES = {
    name: np.dtype(name)
    for name in ("float32", "float64", "float16", "int8", "uint8", "int32", "int64", "bool")
} | {"bfloat16": BFLOAT16}

OPERANDS = {name: operands for name, operands, _ in _core.instructions()}
"""Of operators that are one instruction: an f for each float, an m for each mask."""

# Whole channel blocks on every instruction set.
X = (1, 64, 5, 5)
POOL = {"kernel_size": (2, 2), "stride": (2, 2)}
AXES = {"axis": (1,)}
INSTRUCTIONS: dict[str, Sample] = {
    name: ([X, (64, 1, 1), (5,)][: len(OPERANDS[name])], {})
    for name, *_ in _core.operators()
    if name in OPERANDS
}
MASKS = {name: sample for name, sample in INSTRUCTIONS.items() if "m" in OPERANDS[name]}
"""Operators of masks."""

COMPUTE: dict[str, Sample] = {
    "conv2d": ([X, (2, 64, 3, 3), None, None], {}),
    "conv_transpose2d": ([X, (64, 2, 2, 2), None], {}),
    "linear": ([(3, 64), (2, 64), None, None], {}),
    "matmul": ([(3, 4), (4, 2)], {}),
    "batch_norm": ([X, (64,), (64,), None, None], {}),
    "scale_shift": ([X, (64,), (64,)], {}),
    "layer_norm": ([X, None, None], {"begin": 3, "end": 4}),
    "local_response_norm": ([X], {"size": 3}),
    "group_norm": ([X, None, None], {"num_groups": 2}),
    "activation": ([X], {"kind": "relu"}),
    "max_pool2d": ([X], POOL),
    "avg_pool2d": ([X], POOL),
    "adaptive_max_pool2d": ([X], {"output_size": (1, 1)}),
    "adaptive_avg_pool2d": ([X], {"output_size": (1, 1)}),
    **dict.fromkeys(("mean", "sum", "prod", "max", "min", "norm"), ([X], AXES)),
    **dict.fromkeys(("argmax", "argmin"), ([X], AXES)),
    "cumsum": ([X], {"axis": 1}),
    "scatter_add": ([X, (1, 3, 5, 5)], {"axis": 1, "indices": (3, 0, 3)}),
    "softmax": ([X], {"axis": 1}),
    "log_softmax": ([X], {"axis": 1}),
    "interpolate": ([X], {"size": (10, 10)}),
    "grid_sample": ([X, (1, 3, 3, 2)], {}),
    "pointwise": ([X, (64, 1, 1)], {"program": "t0 = add(x0, x1); exp(t0)"}),
    **{name: sample for name, sample in INSTRUCTIONS.items() if name not in MASKS},
}
"""Operators that compute with floats."""

MOVES: dict[str, Sample] = {
    "input": ([X], {}),
    "constant": ([X], {}),
    "reshape": ([X], {"shape": (1, -1)}),
    "permute": ([X], {"order": (0, 2, 3, 1)}),
    "slice": ([X], {"start": (0, 0, 1, 0), "stop": (1, 64, 5, 5), "step": (1, 1, 2, 1)}),
    "concat": ([X, X], {"axis": 1}),
    "pad": ([X], {"before": (0, 0, 1, 1), "after": (0, 0, 1, 1)}),
    "channel_shuffle": ([X], {"groups": 2}),
    "pixel_shuffle": ([X], {"upscale_factor": 2}),
    "pixel_unshuffle": ([(1, 64, 4, 4)], {"downscale_factor": 2}),
    "take": ([X], {"axis": 1, "indices": (3, 0, 3)}),
    "tile": ([X], {"repeats": (1, 2, 1, 1)}),
}
"""Operators that move elements of any dtype."""

SAMPLES = COMPUTE | MASKS | MOVES

OTHER_SAMPLES: dict[str, list[Sample]] = {
    "scale_shift": [([X, (5,), (5,)], {"axis": 3})],
    "layer_norm": [([X, None, None], {"begin": 1, "end": 2})],
    "mean": [([X], {"axis": (2, 3), "keepdims": True})],
    "slice": [
        ([X], {"start": (0, 1, 0, 0), "stop": X, "step": (1, 1, 1, 1)}),
        ([(2, 64, 5, 5)], {"start": (1, 0, 0, 0), "stop": (2, 64, 5, 5), "step": (1, 1, 1, 1)}),
    ],
    "concat": [([(1, 3, 5, 5)] * 2, {"axis": 1})],
    "matmul": [([(2, 3, 4), (2, 4, 2)], {})],
    "interpolate": [([X], {"size": (10, 10), "mode": "bilinear"})],
}
"""What lies or runs elsewhere than the sample of its operator does."""
