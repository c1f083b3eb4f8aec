"""Checkpoints as torch and the libraries around it write them, with all that they put in."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import enum
import json
import random
import types
import warnings
from pathlib import Path
from typing import Any

import fastconv
import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import transformers
from fastconv import nn, weights
from timm.models._manipulate import adapt_input_conv

pytestmark = pytest.mark.oracle


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Config:
    lr: float


class OwnDict(dict):
    pass


class OwnTensor(torch.Tensor):
    pass


def trained() -> tuple[torch.nn.Module, torch.optim.Optimizer, Any]:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    scheduler.step()
    return model, optimizer, scheduler


def quantized() -> list[torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        per_tensor = torch.quantize_per_tensor(torch.ones(3), 0.1, 2, torch.quint8)
        scales, zeros = torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
        per_channel = torch.quantize_per_channel(torch.ones(2, 3), scales, zeros, 0, torch.qint8)
    return [per_tensor, per_channel]


def with_attribute() -> torch.Tensor:
    tensor = torch.ones(2)
    tensor.note = "x"
    return tensor


MODEL, OPTIMIZER, SCHEDULER = trained()

BESIDE: dict[str, Any] = {
    "optimizer": OPTIMIZER.state_dict(),
    "scheduler": SCHEDULER.state_dict(),
    "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 0},
    "Counter": collections.Counter([1, 1, 2]),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "OrderedDict": collections.OrderedDict(a=1),
    "device": torch.device("cuda:1"),
    "dtype": torch.bfloat16,
    "dtypes": [torch.float8_e4m3fn, torch.uint16, torch.complex64, torch.qint8],
    "Size": torch.Size([1, 2]),
    "set": {1, 2},
    "frozenset": frozenset([1]),
    "complex": 1 + 2j,
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"ab"),
    "tuple keys": {(1, 2): 3},
    "None as a key": {None: 1},
    "int keys": {1: 2},
    "bool keys": {True: 1},
    "large int": 2**200,
    "float8": torch.ones(4).to(torch.float8_e4m3fn),
    "float8_e5m2": torch.ones(4).to(torch.float8_e5m2),
    "uint16": torch.ones(4, dtype=torch.uint16),
    "sparse": torch.eye(3).to_sparse(),
    "quantized": quantized(),
    "complex tensor": torch.ones(2, dtype=torch.complex64),
    "conjugate": torch.ones(2, dtype=torch.complex128).conj(),
    "meta": torch.ones(2, device="meta"),
    "Namespace": argparse.Namespace(lr=0.1),
    "SimpleNamespace": types.SimpleNamespace(a=1),
    "NumPy scalars": [np.float32(1), np.int64(2), np.bool_(True)],
    "NumPy array": np.arange(3),
    "NumPy dtype": np.dtype("int8"),
    "path": Path("a/b"),
    "datetime": datetime.datetime(2020, 1, 2),
    "enum": Colour.RED,
    "dataclass": Config(0.1),
    "own dict": OwnDict(a=1),
    "generator": torch.Generator().get_state(),
    "RNG states": [torch.get_rng_state(), np.random.RandomState(0).get_state(), random.getstate()],
    "requires grad": torch.ones(2, requires_grad=True),
    "Parameter": torch.nn.Parameter(torch.ones(2)),
    "shared": [MODEL[0].weight, MODEL[0].weight.data[1:]],
    "views": [torch.ones(4, 4).t()[::2], torch.ones(1).expand(7)],
    "empty": [torch.empty(0, 3), torch.tensor(3.0)],
    "subclass": torch.ones(2).as_subclass(OwnTensor),
    "attribute": with_attribute(),
    "function": torch.nn.functional.relu,
    "class": torch.nn.Linear,
    "layout": torch.sparse_csr,
    "whole optimizer": OPTIMIZER,
    "storage": torch.ones(3).untyped_storage(),
}


def sparse_csr() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that these tensors are beta
        return torch.eye(3).to_sparse_csr()


def nested() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


BESIDE |= {"sparse CSR": sparse_csr(), "nested": nested()}


def save(value: object, path: Path, zip_format: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(value, path, _use_new_zipfile_serialization=zip_format)


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("kind", BESIDE)
def test_beside_the_weights(tmp_path, kind, zip_format):
    path = tmp_path / "model.pth"
    state = MODEL.state_dict()
    expected = {key: value.numpy() for key, value in state.items()}
    for checkpoint in (
        {"x": BESIDE[kind], "state_dict": state},
        {"state_dict": state, "nested": {"x": [BESIDE[kind]]}},
        {**state, "an entry": BESIDE[kind]},
    ):
        save(checkpoint, path, zip_format)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            loaded = weights.load(path)
        loaded.pop("an entry", None)
        assert list(loaded) == list(expected)
        for key, value in expected.items():
            np.testing.assert_array_equal(loaded[key], value)


BESIDE["negated"] = torch.view_as_complex(torch.ones(3, 2)).conj().imag

LACKED = {
    "negated": "negated view",
    "float8": "tensor of torch.float8_e4m3fn",
    "uint16": "tensor of torch.uint16",
    "sparse": "sparse tensor",
    "sparse CSR": "sparse tensor",
    "complex tensor": "tensor of complex64",
    "meta": "meta tensor",
}


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("kind", LACKED)
def test_in_the_place_of_weights(tmp_path, kind, zip_format):
    path = tmp_path / "model.pth"
    state = {k: torch.tensor(v) for k, v in fastconv.create_model("lenet5").state_dict().items()}
    key = list(state)[-1]
    save({**state, key: BESIDE[kind]}, path, zip_format)
    with pytest.raises(ValueError, match=f"NumPy lacks .1.: {key} is a {LACKED[kind]}"):
        fastconv.create_model("lenet5", path)
    with pytest.warns(UserWarning, match=f"left out 1 tensors .*{key}"):
        assert len(weights.load(path)) == len(state) - 1


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "stream"])
def test_whole_models(tmp_path, zip_format):
    path = tmp_path / "model.pth"
    for value in (MODEL, {"model": MODEL, "epoch": 1}, {"ema": MODEL, "loss": torch.ones(1)}):
        save(value, path, zip_format)
        with pytest.raises(weights.WeightsError, match=r"Sequential.*save model.state_dict"):
            weights.load(path)


def test_subclasses_and_parameters_with_attributes(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = "x"
    state = {"a": BESIDE["subclass"], "b": with_attribute(), "c": parameter}
    state["d"] = torch.nn.Parameter(BESIDE["subclass"])
    torch.save(state, tmp_path / "model.pth")
    loaded = weights.load(tmp_path / "model.pth")
    assert list(loaded) == list(state)
    assert all((value == 1).all() for value in loaded.values())


# --- What wraps a network ---


def resnet() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=3)


def assert_loaded(model: fastconv.models.ImageClassifier, expected: torch.nn.Module) -> None:
    loaded = model.state_dict()
    for key, value in expected.state_dict().items():
        np.testing.assert_array_equal(loaded[key], value.numpy(), err_msg=key)


class Lightning(torch.nn.Module):
    """What a LightningModule's checkpoint comes to."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.backbone = model
        self.loss = torch.nn.CrossEntropyLoss(weight=torch.ones(3))
        self.metric = torch.nn.BatchNorm1d(2)


# torch.compile imports what torch itself calls deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("wrap", "key"),
    [
        (torch.nn.DataParallel, "module"),
        (torch.compile, "_orig_mod"),
        (lambda model: torch.nn.DataParallel(torch.compile(model)), "module._orig_mod"),
        (lambda model: torch.compile(torch.nn.DataParallel(model)), "_orig_mod.module"),
        (Lightning, "backbone"),
        (lambda model: Lightning(torch.compile(model)), "backbone._orig_mod"),
        (torch.optim.swa_utils.AveragedModel, "module"),
        (timm.utils.ModelEmaV3, "module"),
    ],
)
def test_wrapped_networks(tmp_path, wrap, key):
    model = resnet()
    state = wrap(model).state_dict()
    torch.save({"model": state, "epoch": 1}, tmp_path / "model.pth")
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    for source in (state, tmp_path / "model.safetensors", tmp_path / "model.pth"):
        loaded = fastconv.create_model("resnet18", source)
        assert_loaded(loaded, model)
    assert loaded.checkpoint.key == f"model.{key}"


def test_reference_script_of_torchvision(tmp_path):
    """``references/classification/train.py`` with ``--model-ema``."""
    model, average = resnet(), resnet()
    with torch.no_grad():
        average.conv1.weight.mul_(2)
    ema = torch.optim.swa_utils.AveragedModel(average, use_buffers=True)
    checkpoint = {
        "model": torch.nn.DataParallel(model).state_dict(),
        "optimizer": OPTIMIZER.state_dict(),
        "lr_scheduler": SCHEDULER.state_dict(),
        "epoch": 3,
        "args": argparse.Namespace(data_path="/data", lr=0.1),
        "model_ema": ema.state_dict(),
    }
    path = tmp_path / "checkpoint.pth"
    torch.save(checkpoint, path)
    assert_loaded(fastconv.create_model("resnet18", path), model)
    found = fastconv.create_model("resnet18", path, use_ema=True)
    assert_loaded(found, average)
    assert found.checkpoint.key == "model_ema.module"
    assert "args (argparse.Namespace)" in found.checkpoint.left_out
    assert "model_ema.n_averaged" in found.checkpoint.left_out


def test_checkpoints_of_timm(tmp_path):
    """``train.py`` with ``--model-ema``: its saver, and what its loader makes of the file."""
    model, optimizer = resnet(), torch.optim.SGD(resnet().parameters())
    ema = timm.utils.ModelEmaV3(model)
    with torch.no_grad():
        ema.module.conv1.weight.mul_(2)
    saver = timm.utils.CheckpointSaver(
        model,
        optimizer,
        args=argparse.Namespace(model="resnet18"),
        model_ema=ema,
        checkpoint_dir=str(tmp_path),
    )
    saver.save_checkpoint(3, metric=1.0)
    path = tmp_path / "last.pth.tar"
    for use_ema in (True, False):
        theirs = timm.models.load_state_dict(path, use_ema=use_ema)
        ours = fastconv.create_model("resnet18", path, use_ema=use_ema).state_dict()
        for key, value in theirs.items():
            np.testing.assert_array_equal(ours[key], value.numpy())


# --- Mappings ---


def test_mappings_of_tensors():
    model = resnet()
    assert_loaded(
        fastconv.create_model(
            "resnet18", dict(model.named_parameters()) | dict(model.named_buffers())
        ),
        model,
    )
    half = {
        key: value.bfloat16() if value.ndim else value for key, value in model.state_dict().items()
    }
    expected = resnet()
    expected.load_state_dict(half)
    assert_loaded(fastconv.create_model("resnet18", half), expected)
    arrays = {
        key: value.float().numpy().astype(ml_dtypes.bfloat16) if value.ndim else value.numpy()
        for key, value in half.items()
    }
    assert_loaded(fastconv.create_model("resnet18", arrays), expected)
    for bad in (torch.ones(3, device="meta"), torch.eye(3).to_sparse()):
        with pytest.raises(
            TypeError, match=r"state_dict\['fc.bias'\] must be an array, got Tensor"
        ):
            fastconv.create_model("resnet18", {**model.state_dict(), "fc.bias": bad})


# --- Shards and tied tensors ---


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_shards_of_transformers(tmp_path, form):
    config = transformers.ResNetConfig(
        hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic", num_labels=3
    )
    model = transformers.ResNetForImageClassification(config)
    model.save_pretrained(tmp_path, max_shard_size="9MB")
    if form == "bin":  # which transformers no longer writes
        index_path = tmp_path / "model.safetensors.index.json"
        index = json.loads(index_path.read_text())
        for file in {*index["weight_map"].values()}:
            shard = safetensors.torch.load_file(tmp_path / file)
            (tmp_path / file).unlink()
            torch.save(shard, tmp_path / file.replace("safetensors", "bin"))
        text = json.dumps(index).replace("safetensors", "bin")
        index_path.unlink()
        (tmp_path / "pytorch_model.bin.index.json").write_text(text)
    assert len([*tmp_path.glob(f"*-of-*.{form}")]) > 2
    x = torch.randn(1, 3, 64, 64)
    with pytest.warns(UserWarning, match="preprocessor_config.json is missing"):
        ours = fastconv.create_model("resnet18", tmp_path, dtype="float64")
    with torch.no_grad():
        expected = model.double().eval()(x.double()).logits.numpy()
    np.testing.assert_allclose(ours(x.double().numpy()), expected, rtol=1e-9, atol=1e-9)


def test_tied_tensors_stored_once(tmp_path):
    class Theirs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.c = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
            self.b = self.a
            self.c.weight = self.a.weight

    class Ours(nn.Module):
        def __init__(self) -> None:
            self.a, self.c = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b = self.a
            self.c.weight = self.a.weight

    theirs, ours = Theirs(), Ours()
    safetensors.torch.save_model(theirs, str(tmp_path / "model.safetensors"))
    stored = weights.load(tmp_path / "model.safetensors")
    assert len(stored) == 3
    ours.load_state_dict(stored)
    for key, value in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[key], value.numpy())


# --- Weights for RGB images ---


@pytest.mark.parametrize("in_chans", [1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "vgg11"])
def test_channels_are_adapted_as_in_timm(name, in_chans):
    model = timm.create_model(name, num_classes=3)
    state = model.state_dict()
    key = model.pretrained_cfg["first_conv"] + ".weight"
    expected = adapt_input_conv(in_chans, state[key]).numpy()
    ours = fastconv.create_model(name, state, in_chans=in_chans)
    found = next(m for m in ours.modules() if isinstance(m, nn.Conv2d)).weight
    # Both add three numbers, or round one product, in single precision.
    atol = 4 * 2.0**-24 * np.abs(state[key].numpy()).sum(1).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
