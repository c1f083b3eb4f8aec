"""Torch's own tensors, methods and names at our modules and symbolic values."""

from __future__ import annotations

from typing import Any

import fastconv
import numpy as np
import pytest
import torch
import torchvision
from fastconv import nn
from fastconv.graph._substitutes import GENERAL, substitute
from fastconv.graph._symbols import Recorder
from fastconv.nn._torch_methods import SUBSTITUTES

pytestmark = pytest.mark.oracle

X = np.random.default_rng(0).standard_normal((2, 3, 6, 5)).astype(np.float32)
W = torch.arange(108, dtype=torch.float32).reshape(4, 3, 3, 3)


@pytest.mark.parametrize(
    "tensor",
    [
        W,
        torch.nn.Parameter(W),
        W.clone().requires_grad_(),
        W.double(),
        W.to(memory_format=torch.channels_last),
        W.half(),
        W.bfloat16(),
        W.expand(4, 3, 3, 3),
    ],
)
def test_tensors_become_parameters(tensor: Any) -> None:
    conv = nn.Conv2d(3, 4, 3)
    conv.weight = tensor
    assert type(conv.weight) is np.ndarray
    assert conv.weight.dtype == np.float32
    np.testing.assert_array_equal(conv.state_dict()["weight"], W.numpy())
    module = torch.nn.Conv2d(3, 4, 3)
    module.load_state_dict({"weight": W, "bias": torch.ones(4)})
    conv.bias = module.bias
    x = torch.from_numpy(X)
    # Sums of 27 products below 110 * 4: 28 * 2**-24 of the sum of their absolute values, < 1e-2.
    np.testing.assert_allclose(conv(X), module(x).detach().numpy(), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize(
    ("tensor", "match"),
    [
        (W.to("meta"), "Conv2d.weight must be an array, got Tensor.*meta"),
        (W.to_sparse(), "Conv2d.weight must be an array, got Tensor"),
        (W.long(), "Conv2d.weight: .*floating dtype, got int64"),
    ],
)
def test_tensors_that_cannot_be_kept_are_refused(tensor: Any, match: str) -> None:
    conv = nn.Conv2d(3, 4, 3)
    before = conv.weight
    with pytest.raises(TypeError, match=match):
        conv.weight = tensor
    with pytest.raises(TypeError, match=r"state_dict\['weight'\]"):
        conv.load_state_dict({"weight": tensor, "bias": torch.zeros(4)})
    assert conv.weight is before


def test_named_parameters_of_a_torch_module_load() -> None:
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    ours.load_state_dict({**dict(theirs.named_parameters()), **dict(theirs.named_buffers())})
    expected = theirs(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(ours(X), expected, rtol=1e-4, atol=1e-5)


def test_tensors_are_no_part_of_lists() -> None:
    with pytest.raises(TypeError, match="no part of the state"):
        nn.ReLU().weights = [torch.zeros(2)]


def test_torchs_dtypes_and_devices_convert() -> None:
    conv = nn.Conv2d(3, 4, 3)
    assert conv.to(torch.float64).dtype == np.float64
    assert conv.to(torch.device("cpu"), torch.float32).dtype == np.float32
    assert conv.to(memory_format=torch.channels_last) is conv
    assert conv.astype(torch.float64).dtype == np.float64
    assert fastconv.create_model("lenet5", dtype=torch.float64).dtype == np.float64
    with pytest.raises(ValueError, match=r"device must be 'cpu' here, got device\(type='cuda'\)"):
        conv.to(torch.device("cuda"))
    with pytest.raises(TypeError, match=r"got float16: for lower precision compile"):
        conv.to(torch.float16)


def test_every_method_of_torchs_modules_is_there_or_names_the_substitute() -> None:
    module = nn.ReLU()
    public = [name for name in dir(torch.nn.Module) if not name.startswith("_")]
    assert len(public) > 50
    for name in public:
        if getattr(getattr(torch.nn.Module, name), "__module__", "torch").split(".")[0] != "torch":
            continue  # added by another package that is imported
        if name in ("T_destination", "dump_patches", "call_super_init"):
            continue
        if name in SUBSTITUTES:
            with pytest.raises(AttributeError, match=f"'ReLU' object has no attribute '{name}': "):
                getattr(module, name)
        else:
            assert hasattr(module, name), name


def test_every_method_of_tensors_works_or_names_a_substitute() -> None:
    """Those that work are NumPy's, too, so that `forward` runs on arrays as well."""
    symbol = Recorder(np.dtype(np.float32)).input((2, 3))
    there, named = [], []
    for name in dir(torch.Tensor):
        if name.startswith("_"):
            continue
        if hasattr(symbol, name):
            there.append(name)
            assert hasattr(np.ndarray, name), name
        else:
            with pytest.raises(TypeError, match=f"no attribute '{name}': use "):
                getattr(symbol, name)
            if not substitute(name).startswith(GENERAL):
                named.append(name)
    assert there == [
        *("argmax", "argmin", "clip", "cumsum", "dtype", "flatten", "max", "mean", "min", "ndim"),
        *("prod", "ravel", "repeat", "reshape", "round", "shape", "squeeze", "std", "sum"),
        *("swapaxes", "take", "transpose", "var"),
    ]
    assert len(named) > 100
    for name in fastconv.ops.__all__:
        assert name in there or not hasattr(torch.Tensor, name) or name in named, name


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (torch.relu, r"torch\.relu .*fastconv\.relu\(x"),
        (torch.nn.functional.relu, r"fastconv\.relu"),
        (lambda x: torch.cat([x, x], 1), r"torch\.cat .*fastconv\.concat\(arrays, axis\)"),
        (lambda x: torch.flatten(x, 1), r"fastconv\.flatten\(x, 1\)"),
        (lambda x: torch.nn.functional.conv2d(x, W), r"fastconv\.conv2d\(x"),
        (lambda x: x * torch.nn.Parameter(torch.ones(5)), "an input of multiply must be an array"),
    ],
)
def test_functions_of_torch_in_forward_name_ours(call: Any, match: str) -> None:
    class Forward(nn.Module):
        def forward(self, x: Any) -> Any:
            return call(x)

    with pytest.raises(TypeError, match=match):
        Forward()(X)


GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (lambda: torch.rand(1).item(), "torch"),
        (lambda: torch.rand(1, generator=GENERATOR).item(), "test_torch_modules_oracle.GENERATOR"),
    ],
)
def test_random_numbers_of_torch_are_refused(draw: Any, name: str) -> None:
    class Leaky(nn.Module):
        def forward(self, x: Any) -> Any:
            return fastconv.leaky_relu(x, draw())

    with pytest.raises(TypeError, match=rf"Leaky.forward draws random numbers from .*{name},"):
        Leaky()(X)


def test_what_is_changed_in_place_is_changed_for_all_as_in_torch() -> None:
    class Aliased(nn.Module):
        def forward(self, x: Any) -> Any:
            y = fastconv.relu(x)
            z = y
            z += 1
            return fastconv.multiply(y, z)

    theirs = torch.relu(torch.from_numpy(X)).add_(1)
    for y in (Aliased()(X), Aliased().eager(X)):
        np.testing.assert_allclose(y, (theirs * theirs).numpy(), rtol=1e-6)


def test_tensors_are_constants_in_forward() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * torch.full((5,), 2.0) + torch.ones(5)

    np.testing.assert_array_equal(Scaled()(X), 2 * X + 1)


@pytest.mark.parametrize("name", ["IMAGENET1K_V1", "IMAGENET1K_V2", "DEFAULT"])
def test_torchvisions_weights_say_what_to_pass(name: str) -> None:
    member = torchvision.models.ResNet50_Weights[name]
    for weights in (member, str(member), name):
        with pytest.raises(ValueError, match=r'pass weights="hub:timm/resnet50.*download of'):
            fastconv.create_model("resnet50", weights=weights)
    with pytest.raises(ValueError, match=r"https://download.pytorch.org/models/resnet50-\w+\.pth"):
        fastconv.create_model("resnet50", weights=member)


def test_every_name_of_torchvisions_weights_is_known() -> None:
    for model in fastconv.list_models():
        if model in torchvision.models.list_models():
            for member in torchvision.models.get_model_weights(model):
                with pytest.raises(ValueError, match="is a name that torchvision knows"):
                    fastconv.create_model(model, weights=member.name)
