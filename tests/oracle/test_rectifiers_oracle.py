"""Rectifiers, group and instance norms against torch in float64, torch's own samples among them."""

from __future__ import annotations

from typing import Any

import fastconv
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fastconv.ops._programs import PROGRAMS
from test_ops_oracle import OPINFO, assert_near, strided, to_torch

pytestmark = pytest.mark.oracle

# Powers of two where they multiply or are subtracted, so that they round nothing.
ARGUMENTS: dict[str, list[tuple[float, ...]]] = {
    "celu": [(), (0.5,), (4.0,), (-1.0,)],
    "elu": [(), (0.5,), (-1.0,)],
    "hardshrink": [(), (0.25,)],
    "hardtanh": [(), (-0.25, 3.0), (0.0, 6.0)],
    "logsigmoid": [()],
    "selu": [()],
    "softplus": [(), (4.0, 5.0), (0.5,)],
    "softshrink": [(), (0.25,)],
    "softsign": [()],
    "tanhshrink": [()],
    "threshold": [(0.5, 0.0), (-0.5, 7.0)],
}
ENDS = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e30, -1e30, 88.0, -88.0, 1e-30]


def test_every_rectifier_is_here() -> None:
    assert ARGUMENTS.keys() | {"glu", "prelu"} == PROGRAMS.keys()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_rectifiers(name: str, dtype: Any) -> None:
    """Within the 6 roundings of exp, log1p and the sums, and 6 of torch's own in double."""
    rng = np.random.default_rng(0)
    for arguments in ARGUMENTS[name]:
        for size in (1, 5, 16, 333):
            for x in (
                strided(rng, (2, 3, size), dtype) * dtype(rng.choice([0.1, 1, 10])),
                np.array(ENDS, dtype),
            ):
                finite = x[np.isfinite(x) & (abs(x) < 1e3)]
                scale = float(abs(finite).max()) if name in ("tanhshrink", "softshrink") else None
                y = getattr(fastconv, name)(x, *arguments)
                expected = getattr(F, name)(to_torch(x), *arguments)
                assert_near(y, expected, ulps=12, scale=scale)


@pytest.mark.parametrize("name", ["celu", "elu", "selu", "softplus", "logsigmoid", "glu", "prelu"])
def test_torchs_own_samples(name: str, dtype: Any) -> None:
    """Numbers below 10 in their shapes and layouts; one rounding more of the argument times 10."""

    def converted(value: Any) -> Any:
        return value.numpy().astype(dtype) if isinstance(value, torch.Tensor) else value

    def double(value: Any) -> Any:
        return torch.from_numpy(value.astype("f8")) if isinstance(value, np.ndarray) else value

    info = OPINFO[(f"nn.functional.{name}", "")]
    samples = list(info.sample_inputs("cpu", torch.float64, requires_grad=False))
    assert samples
    for sample in samples:
        args = [converted(value) for value in (sample.input, *sample.args)]
        kwargs = {key: converted(value) for key, value in sample.kwargs.items()}
        expected = info.op(*map(double, args), **{key: double(v) for key, v in kwargs.items()})
        assert_near(getattr(fastconv, name)(*args, **kwargs), expected, ulps=12 + 10)


@pytest.mark.parametrize("shape", [(2, 6, 5), (3, 6, 4, 7), (1, 6, 1, 2), (2, 6, 3, 2, 2), (2, 6)])
@pytest.mark.parametrize("offset", [0, 100])
def test_norms_of_samples(shape: tuple[int, ...], offset: float, dtype: Any) -> None:
    """Errors are those of the mean, of x's size, over the deviation, which is about 1."""
    rng = np.random.default_rng(1)
    x = (rng.standard_normal(shape) + offset).astype(dtype)
    mean, weight, bias = (rng.standard_normal(6).astype(dtype) for _ in range(3))
    variance = rng.uniform(0.5, 2, 6).astype(dtype)
    pairs = [(None, None), (weight, bias), (weight, None), (None, bias)]
    for w, b in pairs:
        tensors = [None if v is None else to_torch(v) for v in (w, b)]
        scale = 8.0 * (offset + 4)
        for groups in (1, 2, 3, 6) if len(shape) > 2 else (1, 2, 3):
            y = fastconv.group_norm(x, groups, w, b, 1e-2)
            expected = F.group_norm(to_torch(x), groups, *tensors, 1e-2)
            assert_near(y, expected, ulps=8, scale=scale)
        running = [to_torch(v) for v in (mean, variance)]
        y = fastconv.instance_norm(x, mean, variance, w, b, False, eps=1e-2)
        expected = F.instance_norm(to_torch(x), *running, *tensors, False, 0.1, 1e-2)
        assert_near(y, expected, ulps=8, scale=scale)
        if len(shape) > 2:
            y = fastconv.instance_norm(x, None, None, w, b, eps=1e-2)
            expected = F.instance_norm(to_torch(x), None, None, *tensors, True, 0.1, 1e-2)
            assert_near(y, expected, ulps=8, scale=scale)
