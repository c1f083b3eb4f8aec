"""Every model on the device against the CPU, at its own size, in each precision."""

from __future__ import annotations

import re
import time
from typing import Any

import fastconv
import numpy as np
from fastconv import nn
from fastconv.benchmark.cases import AGREEMENT
from fastconv.benchmark.random_weights import randomise

from bench.gpu import device

ALLOWED = AGREEMENT | {"fp32": 1e-4}
"""Of max|b|, as docs/accuracy.md and docs/performance.md say."""

_HUGE = r"128gf|32gf|16gf|convnext_(large|base)|efficientnet_(b[5-7]|v2_[lm])|lite4|101_64|wide|161"

_QUICK = (
    *("resnet50", "mobilenet_v2", "efficientnet_b0", "convnext_tiny", "vgg11", "densenet121"),
    *("googlenet", "shufflenet_v2_x1_0", "squeezenet1_1", "regnet_y_400mf", "alexnet"),
)


def names(quick: bool) -> list[str]:
    """All models, the largest last."""
    if device.emulated():
        return ["lenet5"]
    found = list(_QUICK) if quick else fastconv.list_models()
    return sorted(found, key=lambda name: re.search(_HUGE, name) is not None)


def run(name: str) -> dict[str, Any]:
    """Compare the outputs for two images."""
    with nn.init.skip():
        model = fastconv.create_model(name)
    shape = (2, *model.default_cfg["input_size"])
    rng = np.random.default_rng(0)
    randomise(model, rng.standard_normal((4, *shape[1:]), np.float32))
    x = rng.standard_normal(shape, np.float32)
    expected = model.compile(shape)(x)
    errors, compile_seconds, wrong = {}, {}, []
    for precision in device.PRECISIONS:
        start = time.monotonic()
        network = model.compile(shape, device="cuda", precision=precision, keep_weights=False)
        compile_seconds[precision] = round(time.monotonic() - start, 2)
        y = network(x)  # step by step; then captured
        if not np.array_equal(network(x), y):
            wrong.append(f"{precision}: the captured graph gives other bits")
        errors[precision] = device.difference(y, expected)
        if not errors[precision] <= ALLOWED[precision]:
            wrong.append(f"{precision}: off by {errors[precision]:.1e} of the largest value")
    failed = {"status": "failed", "why": "; ".join(wrong)} if wrong else {}
    return {"errors": errors, "compile_seconds": compile_seconds, **failed}
