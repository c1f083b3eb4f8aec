"""Torch's own samples of its functions, and its own wrong calls: ours compute the same, or refuse.

What is refused, accepted or computed otherwise is named here, so that nothing else is.
"""

import re
import warnings

import fastconv as fc
import numpy as np
import pytest
import torch
from make_operators import TORCH, rows, torch_name

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ImportWarning)  # of packages that its own tests use
    from torch.testing._internal.common_methods_invocations import op_db

pytestmark = pytest.mark.oracle

REFUSED = {
    "adaptive_max_pool1d": ["return_indices"],
    "adaptive_max_pool2d": ["return_indices"],
    "add": ["alpha"],
    "avg_pool2d": ["divisor_override", r"got \(\)"],
    "cat": ["axis = 1 is out of range for an array of 1 dim"],  # a vector without elements
    "avg_pool3d": ["windows of one slice"],
    "batch_norm": ["training=True", r"got \(0,\)"],
    "clip": ["(min|max) must be float32 or float64"],
    "concat": ["axis = 1 is out of range for an array of 1 dim"],  # a vector without elements
    "conv3d": ["windows of one slice"],
    "cumsum": ["dtype"],
    "divide": ["rounding_mode"],
    "grid_sample": [r"x must have shape .* got \(\d, \d, \d, \d, \d\)"],
    "group_norm": ["eps must be finite"],
    "interpolate": [r"x must have shape .* got \(\d, \d, \d, \d, \d\)", "got 'trilinear'"],
    "layer_norm": ["eps must be finite"],
    "log_softmax": ["dtype"],
    "max": ["dim="],
    "max_pool1d": ["return_indices"],
    "max_pool2d": ["return_indices"],
    "max_pool3d": ["return_indices", "windows of one slice"],
    "min": ["dim="],
    "norm": ["at least one axis"],
    "prod": ["dtype"],
    "round": ["decimals"],
    "scatter_add": ["alpha", "at least one dimension"],
    "softmax": ["dtype"],
    "softmin": ["dtype"],
    "squeeze": ["is not of size 1"],
    "subtract": ["alpha"],
    "take": ["at least one dimension"],
    "where": ["condition must be bool"],
}
"""Parts of the messages."""

OTHERWISE = {
    "cumsum": lambda x, *args, **more: x.ndim == 0,  # a vector of one, as in NumPy
    # (C, H, W), where torch sees (N, C, L)
    "interpolate": lambda x, size=None, scale_factor=None, **more: (
        x.ndim == 3 and np.ndim(size) == 0 and np.ndim(scale_factor) == 0
    ),
    "local_response_norm": lambda x, *args, **more: x.ndim == 3,
}

ACCEPTED = {
    "equal": [""],  # broadcasting in place of `out`
    "greater": [""],
    "greater_equal": [""],
    "less": [""],
    "less_equal": [""],
    "maximum": [""],
    "minimum": [""],
    "not_equal": [""],
    "power": [""],
    "roll": ["shifts` required", "must align"],  # NumPy broadcasts
}
"""Torch's messages of calls that are none of ours' errors."""

AXIS_LAST = ("take", "scatter_add")
"""Functions whose second argument in torch is our last one."""

MOST = 100
"""Samples of a variant."""


def infos(name):
    """Return torch's entries for our function."""
    theirs = TORCH.get(name, name)
    for full in (f"nn.functional.{theirs}", theirs, f"special.{theirs}"):
        if found := [info for info in op_db if info.name == full]:
            return found
    return []


def to_numpy(value):
    if isinstance(value, torch.Tensor):
        return value.detach().numpy()
    if isinstance(value, list | tuple):
        return type(value)(map(to_numpy, value))
    return value


def arguments(sample):
    named = {key: to_numpy(value) for key, value in sample.kwargs.items()}
    return [to_numpy(sample.input), *map(to_numpy, sample.args)], named


def call(name, sample):
    """Call it with the sample as arrays; NumPy refuses more than 64 dimensions."""
    args, named = arguments(sample)
    if name in AXIS_LAST:
        x, axis, *rest = args
        args = [x, *rest, axis]
    return getattr(fc, name)(*args, **named)


def is_named(table, name, message):
    return any(re.search(part, message) for part in table.get(name, []))


FUNCTIONS = [(name, i) for name in sorted(fc.ops.__all__) for i, _ in enumerate(infos(name))]


def test_operators_have_torchs_names():
    named = {row.function for row in rows() if torch_name(row.function)}
    assert named - {name for name, _ in FUNCTIONS} == {"gelu_tanh", "slice"}  # no functions of ours
    assert TORCH.keys() <= named


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "variant"), FUNCTIONS)
def test_torchs_samples(name, variant):
    info = infos(name)[variant]
    dtype = torch.bool if name.startswith("logical") else torch.float64
    samples = list(info.sample_inputs("cpu", dtype))
    assert samples
    for sample in samples[:: max(1, len(samples) // MOST)]:
        args, named = arguments(sample)
        expected = to_numpy(info(sample.input, *sample.args, **sample.kwargs))
        if name in OTHERWISE and OTHERWISE[name](*args, **named):
            continue
        try:
            y = call(name, sample)
        except (TypeError, ValueError) as error:
            if not is_named(REFUSED, name, str(error)):
                raise
            continue
        several = isinstance(expected, list | tuple)
        for ours, theirs in zip(
            y if several else [y], expected if several else [expected], strict=True
        ):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "variant"),
    [(name, i) for name, i in FUNCTIONS if infos(name)[i].error_inputs_func is not None],
)
def test_torchs_wrong_calls(name, variant):
    for wrong in infos(name)[variant].error_inputs("cpu"):
        if is_named(ACCEPTED, name, wrong.error_regex):
            continue
        with pytest.raises((TypeError, ValueError)):
            call(name, wrong.sample_input)
