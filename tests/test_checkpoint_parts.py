"""Checkpoints as training leaves them: wrapped, prefixed, averaged, in shards, for RGB images."""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import nn, weights
from fastconv.cli import main
from fastconv.models._registry import model_keys
from fastconv.weights import WeightsError
from fastconv.weights._parts import WRAPPERS, Part, by_prefix
from PIL import Image
from torch_files import state_dict_of, storage, tensor, text, write_zip

MODEL = "lenet5"

State = Mapping[str, np.ndarray]


def state_dict(seed: int = 1) -> dict[str, np.ndarray]:
    return dict(fastconv.create_model(MODEL, seed=seed).state_dict())


def prefixed(prefix: str, state: State) -> dict[str, np.ndarray]:
    return {prefix + key: value for key, value in state.items()}


def assert_loaded(model: fastconv.models.ImageClassifier, state: State) -> None:
    assert_equal(model.state_dict(), state)


def assert_equal(loaded: State, state: State) -> None:
    assert loaded.keys() == state.keys()
    for key, value in loaded.items():
        np.testing.assert_array_equal(value, state[key], err_msg=key)


def write_checkpoint(path: Path, entries: Mapping[str, Any]) -> None:
    """Write dicts of dicts of arrays, and any other objects, as ``torch.save`` does."""
    arrays: dict[str, np.ndarray] = {}

    def opcodes(value: Any) -> bytes:
        if not isinstance(value, Mapping):
            return pickle.dumps(value, 2)[2:-1]
        tensors = {k: v for k, v in value.items() if isinstance(v, np.ndarray)}
        begin = len(arrays)
        pickled, data = state_dict_of(tensors, begin)
        arrays.update(data)
        others = {k: v for k, v in value.items() if k not in tensors}
        return pickled + b"(" + b"".join(text(k) + opcodes(v) for k, v in others.items()) + b"u"

    write_zip(path, opcodes(entries), arrays)


@pytest.fixture(params=["mapping", ".safetensors", ".npz", ".pth"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[State], Any]:
    """Make of a flat state dict what `create_model` takes."""

    def store(state: State) -> Any:
        path = tmp_path / f"weights{request.param}"
        match request.param:
            case "mapping":
                return state
            case ".pth":
                write_checkpoint(path, state)
            case _:
                weights.save(path, state)
        return path

    return store


@pytest.fixture(params=["mapping", "file"])
def nested(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Mapping[str, Any]], Any]:
    """Make of a checkpoint what `create_model` takes."""

    def store(entries: Mapping[str, Any]) -> Any:
        if request.param == "mapping":
            return entries
        write_checkpoint(tmp_path / "checkpoint.pth", entries)
        return tmp_path / "checkpoint.pth"

    return store


# --- Prefixes ---

PREFIXES = [
    *("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."),
    *("model.", "net.", "network.", "backbone.", "ema.", "ema_model.", "student."),
    *("module._orig_mod.model.", "model._orig_mod.", "_forward_module.model.net."),
]


@pytest.mark.parametrize("prefix", ["", *PREFIXES])
def test_prefixes(stored, prefix):
    state = state_dict()
    model = fastconv.create_model(MODEL, stored(prefixed(prefix, state)))
    assert_loaded(model, state)
    assert model.checkpoint.key == prefix.rstrip(".")
    assert model.checkpoint.ema == ("ema" in prefix)
    assert model.checkpoint.left_out == ()


def test_no_model_has_a_prefix_in_its_own_names():
    for name in fastconv.list_models():
        part = Part((), "", dict.fromkeys(model_keys(name)), {}, False)
        assert [group.prefix for group in by_prefix(part)] == [""], name


@pytest.mark.parametrize("prefix", ["model.", "net.", "backbone.", "model._orig_mod."])
def test_lightning(nested, prefix):
    state = state_dict()
    beside = {"criterion.weight": np.ones(3, np.float32), "acc.tp": np.array(3)}
    checkpoint = {
        "epoch": 3,
        "pytorch-lightning_version": "2.1",
        "hyper_parameters": argparse.Namespace(lr=0.1),
        "state_dict": {**prefixed(prefix, state), **beside},
        "optimizer_states": [{"state": {}}],
    }
    model = fastconv.create_model(MODEL, nested(checkpoint))
    assert_loaded(model, state)
    assert model.checkpoint.key == f"state_dict.{prefix.rstrip('.')}"
    left_out = {name.split(" ")[0] for name in model.checkpoint.left_out}
    names = {"epoch", "pytorch-lightning_version", "hyper_parameters", "optimizer_states"}
    assert left_out == names | {f"state_dict.{name}" for name in beside}


@pytest.mark.parametrize("average", ["ema_model.", "model_ema.", "ema.", "ema.module."])
def test_average_under_a_prefix(stored, average):
    plain, ema = state_dict(1), state_dict(2)
    weights = stored({**prefixed("model.", plain), **prefixed(average, ema)})
    for use_ema, state, key in (
        (None, plain, "model"),
        (False, plain, "model"),
        (True, ema, average.rstrip(".")),
    ):
        model = fastconv.create_model(MODEL, weights, use_ema=use_ema)
        assert_loaded(model, state)
        assert (model.checkpoint.key, model.checkpoint.ema) == (key, state is ema)
        assert len(model.checkpoint.left_out) == len(state)


def test_averaged_model(stored):
    """`torch.optim.swa_utils.AveragedModel`, which torchvision's EMA is."""
    state = state_dict()
    weights_ = stored({"n_averaged": np.array(7), **prefixed("module.", state)})
    for use_ema in (None, True):
        model = fastconv.create_model(MODEL, weights_, use_ema=use_ema)
        assert_loaded(model, state)
        assert (model.checkpoint.key, model.checkpoint.ema) == ("module", True)
        assert model.checkpoint.left_out == ("n_averaged",)
    with pytest.raises(ValueError, match="use_ema=False: the checkpoint has no other"):
        fastconv.create_model(MODEL, weights_, use_ema=False)
    if isinstance(weights_, Path):
        loaded = weights.load(weights_)
        assert {*loaded} == {"n_averaged", *state}
        assert_loaded(fastconv.create_model(MODEL, loaded), state)


def test_two_parts_that_fit_alike(nested):
    first, second = state_dict(1), state_dict(2)
    checkpoint = nested(
        {"state_dict": {**prefixed("student.", first), **prefixed("teacher.", second)}}
    )
    with pytest.raises(ValueError, match="2 state dicts that fit 'lenet5' alike") as caught:
        fastconv.create_model(MODEL, checkpoint)
    keys = ("state_dict.student", "state_dict.teacher")
    assert all(f"key={key!r}" in str(caught.value) for key in keys)
    if isinstance(checkpoint, Path):
        for key, state in zip(keys, (first, second), strict=True):
            model = fastconv.create_model(MODEL, weights.load(checkpoint, key=key))
            assert_loaded(model, state)


def test_load_parts_an_average_by_its_prefix(tmp_path):
    plain, ema = state_dict(1), state_dict(2)
    path = tmp_path / "model.safetensors"
    weights.save(path, {**prefixed("model.", plain), **prefixed("model_ema.module.", ema)})
    assert len(weights.load(path)) == 2 * len(plain)
    assert_equal(weights.load(path, use_ema=False), prefixed("model.", plain))
    assert_equal(weights.load(path, use_ema=True), ema)
    for use_ema in (None, True):
        assert_equal(weights.load(path, key="model_ema", use_ema=use_ema), ema)
    with pytest.raises(WeightsError, match="no other weights than EMA's"):
        weights.load(path, key="model_ema", use_ema=False)
    with pytest.raises(WeightsError, match="no EMA weights"):
        weights.load(path, key="model", use_ema=True)


def test_load_parts_an_average_in_a_wrapper(tmp_path):
    plain, ema = state_dict(1), state_dict(2)
    path = tmp_path / "lightning.ckpt"
    average = {"model_ema.n_averaged": np.array(3), **prefixed("model_ema.module.", ema)}
    write_checkpoint(path, {"state_dict": {**prefixed("model.", plain), **average}})
    found = {**ema, "n_averaged": np.array(3)}
    assert_equal(weights.load(path, use_ema=True), found)
    assert_equal(weights.load(path, key="state_dict.model_ema", use_ema=True), found)
    assert_equal(weights.load(path, use_ema=False), prefixed("model.", plain))


# --- Wrappers ---

PLAIN = (
    *("state_dict", "model", "model_state_dict", "model_state", "net", "network", "module"),
    *("params", "weights"),
)
AVERAGES = (
    *("model_ema", "state_dict_ema", "ema_state_dict", "model_ema_state_dict"),
    *("ema", "ema_model", "params_ema"),
)


@pytest.mark.parametrize("wrapper", [*PLAIN, *AVERAGES])
def test_wrappers(nested, wrapper):
    state = state_dict()
    checkpoint = nested({"epoch": 1, wrapper: prefixed("module.", state)})
    model = fastconv.create_model(MODEL, checkpoint)
    assert_loaded(model, state)
    found = model.checkpoint
    assert (found.key, found.ema) == (f"{wrapper}.module", wrapper in AVERAGES)
    assert found.left_out == ("epoch",)
    if isinstance(checkpoint, Path):
        assert list(weights.load(checkpoint)) == list(state)


@pytest.mark.parametrize("average", AVERAGES)
def test_average_in_an_entry_of_its_own(nested, average):
    plain, ema = state_dict(1), state_dict(2)
    checkpoint = nested({average: ema, "params": plain})
    for use_ema, state in ((None, plain), (False, plain), (True, ema)):
        model = fastconv.create_model(MODEL, checkpoint, use_ema=use_ema)
        assert_loaded(model, state)
        assert model.checkpoint.left_out == (average if state is plain else "params",)
        if isinstance(checkpoint, Path):
            loaded = weights.load(checkpoint, use_ema=use_ema)
            np.testing.assert_array_equal(*(next(iter(d.values())) for d in (loaded, state)))


@pytest.mark.parametrize("average", AVERAGES)
def test_average_beside_weights_at_the_top(nested, average):
    plain = state_dict()
    ema = {key: 2 * value for key, value in plain.items()}
    checkpoint = nested({**plain, average: ema})
    for use_ema, state in ((None, plain), (False, plain), (True, ema)):
        model = fastconv.create_model(MODEL, checkpoint, use_ema=use_ema)
        assert_loaded(model, state)
        if isinstance(checkpoint, Path):
            assert_equal(weights.load(checkpoint, use_ema=use_ema), state)
    assert fastconv.create_model(MODEL, checkpoint).checkpoint.left_out == (average,)


def test_few_tensors_in_a_wrapper_beside_the_weights(nested):
    state, one = state_dict(), np.ones(1, np.float32)
    checkpoint = nested({**state, "params": {"lr": one}})
    assert_loaded(fastconv.create_model(MODEL, checkpoint), state)
    if isinstance(checkpoint, Path):
        assert_equal(weights.load(checkpoint), state)
    for beside in ({"loss": one}, {"criterion.weight": one}):
        checkpoint = nested({**beside, "state_dict": state})
        assert_loaded(fastconv.create_model(MODEL, checkpoint), state)
        if isinstance(checkpoint, Path):
            assert_equal(weights.load(checkpoint), state)
    checkpoint = nested({"loss": one, "ema": state})
    assert fastconv.create_model(MODEL, checkpoint).checkpoint.ema
    if isinstance(checkpoint, Path):
        assert_equal(weights.load(checkpoint), state)


def test_weights_at_the_top_and_in_a_wrapper_that_fit_alike(nested):
    checkpoint = nested({**state_dict(1), "model": state_dict(2)})
    with pytest.raises(ValueError, match=r"alike, one of them at its top level: .*key='model'"):
        fastconv.create_model(MODEL, checkpoint)


def test_an_average_that_fits_better_is_not_taken(nested):
    plain, ema = state_dict(1), state_dict(2)
    missing = next(iter(plain))
    less = {key: value for key, value in plain.items() if key != missing}
    for average in ("ema", "model_ema"):
        with pytest.raises(ValueError, match=rf"missing keys \(1\):\n    {missing}"):
            fastconv.create_model(MODEL, nested({"model": less, average: ema}))
    head = list(plain)[-2:]
    headless = {key: value for key, value in plain.items() if key not in head}
    checkpoint = nested({"model": headless, "model_ema": ema})
    with pytest.warns(UserWarning, match="the classifier of 10 classes is new"):
        model = fastconv.create_model(MODEL, checkpoint, num_classes=10)
    assert model.checkpoint.key == "model"
    for key, value in headless.items():
        np.testing.assert_array_equal(model.state_dict()[key], value)


def test_a_tensor_that_numpy_lacks_beside_an_average(tmp_path):
    state = state_dict()
    *readable, lacked = state
    value, data = state_dict_of({key: state[key] for key in readable})
    complex64 = tensor(storage("c", 4, "torch.ComplexFloatStorage"))
    ema, averages = state_dict_of(state, begin=len(state))
    path = tmp_path / "model.pth"
    plain = value + b"(" + text(lacked) + complex64 + b"u"
    entries = b"}(" + text("model") + plain + text("ema") + ema + b"u"
    write_zip(path, entries, {**data, **averages, "c": np.zeros(4, np.complex64)})
    with pytest.raises(ValueError, match=f"NumPy lacks .1.: {lacked} is a tensor of complex64"):
        fastconv.create_model(MODEL, path)
    assert_loaded(fastconv.create_model(MODEL, path, use_ema=True), state)


def test_only_an_average_fits(nested):
    state, other = state_dict(), {"criterion.weight": np.ones(3, np.float32)}
    for checkpoint, key in (
        ({"state_dict": {**other, **prefixed("ema.", state)}}, "state_dict.ema"),
        ({"model": other, "ema": state}, "ema"),
    ):
        stored = nested(checkpoint)
        with pytest.raises(ValueError, match=f"only averages .* '{key}': pass use_ema=True"):
            fastconv.create_model(MODEL, stored)
        assert_loaded(fastconv.create_model(MODEL, stored, use_ema=True), state)


def test_use_ema_without_a_choice(nested):
    checkpoint = nested({"state_dict": state_dict()})
    with pytest.raises(ValueError, match="use_ema=True: the checkpoint has no EMA weights"):
        fastconv.create_model(MODEL, checkpoint, use_ema=True)
    if isinstance(checkpoint, Path):
        with pytest.raises(WeightsError, match="no EMA weights"):
            weights.load(checkpoint, use_ema=True)
    with pytest.raises(ValueError, match="use_ema=True chooses among trained weights"):
        fastconv.create_model(MODEL, use_ema=True)
    with pytest.raises(TypeError, match="use_ema must be None or a bool, got int"):
        fastconv.models.lenet5(checkpoint, use_ema=1)


def test_the_part_that_fits_is_taken(nested):
    state = state_dict()
    other = {"conv1.weight": np.ones((3, 3), np.float32), "x": np.ones(1, np.float32)}
    model = fastconv.create_model(MODEL, nested({"state_dict": other, "net": state}))
    assert_loaded(model, state)
    assert model.checkpoint.key == "net"
    with pytest.raises(ValueError, match="missing keys") as caught:
        fastconv.create_model(MODEL, nested({"state_dict": {"x.y": other["x"]}, "net": other}))
    assert "taken from 'net', beside" in str(caught.value)


def test_no_weights_at_all(nested):
    for use_ema in (None, False):
        with pytest.raises(ValueError, match=r"a state dict does not|checkpoint\.pth does not"):
            fastconv.create_model(MODEL, nested({}), use_ema=use_ema)
    with pytest.raises(ValueError, match="no EMA weights"):
        fastconv.create_model(MODEL, nested({}), use_ema=True)
    for entries in ({"epoch": 1}, {"model": {}}, {"model": {"n": 1}, "net": "x"}):
        with pytest.raises(ValueError, match="no tensors at its top level, nor under"):
            fastconv.create_model(MODEL, nested(entries))


def test_key(tmp_path):
    path = tmp_path / "gan.pth"
    generator, discriminator = state_dict(1), state_dict(2)
    entries = {"generator": {"module": generator}, "d": prefixed("module.", discriminator), "n": 1}
    write_checkpoint(path, entries)
    assert list(weights.load(path, key="generator")) == list(generator)
    assert list(weights.load(path, key="d")) == list(discriminator)
    assert list(weights.load(path, key="d.module")) == list(discriminator)
    with pytest.raises(WeightsError, match=r"key='x': .* the entries are: 'generator', 'd'$"):
        weights.load(path, key="x")
    with pytest.raises(WeightsError, match="there is no entry 'y'"):
        weights.load(path, key="d.y")
    with pytest.raises(WeightsError, match="there is no entry ''"):
        weights.load(path, key="")
    with pytest.raises(WeightsError, match="no tensors at its top level, nor under"):
        weights.load(path)
    with pytest.raises(TypeError, match="key must be None or a string, got int"):
        weights.load(path, key=1)
    with pytest.raises(TypeError, match="use_ema must be None or a bool, got str"):
        weights.load(path, use_ema="yes")


def test_classify_takes_the_average(tmp_path, capsys):
    digit = tmp_path / "digit.png"
    Image.new("L", (28, 28)).save(digit)
    path = tmp_path / "checkpoint.pth"
    write_checkpoint(path, {"state_dict": state_dict(1), "state_dict_ema": state_dict(2)})
    command = ["classify", str(digit), f"--model={MODEL}", f"--weights={path}", "--json"]
    results = []
    for options in ([], ["--set=use_ema=False"], ["--set=use_ema=True"]):
        assert main([*command, *options]) == 0
        results.append(json.loads(capsys.readouterr().out)[0]["predictions"])
    assert results[0] == results[1] != results[2]


def test_many_parts(nested, monkeypatch):
    """Each would be compared with the model's names, which are asked for once."""
    built = []

    def counted(name: str) -> list[str]:
        built.append(name)
        return model_keys(name)

    monkeypatch.setattr("fastconv.models._registry.model_keys", counted)
    state, one = {"conv1.weight": np.ones(1, np.float32)}, np.ones(1, np.float32)
    few = {name: state for name in PLAIN[:4]} | {"params": {"x": one}}
    with pytest.raises(ValueError, match="4 state dicts that fit 'lenet5' alike"):
        fastconv.create_model(MODEL, nested({key: dict(value) for key, value in few.items()}))
    assert built == [MODEL]
    many = {name: {inner: dict(state) for inner in WRAPPERS} for name in WRAPPERS}
    with pytest.raises(WeightsError, match="at most 64 state dicts in one checkpoint; got more"):
        fastconv.create_model(MODEL, nested(many))
    assert built == [MODEL]
    long = {"model." * count + "conv1.weight": one for count in range(100, 116)}
    with pytest.raises(WeightsError, match="16 state dicts that fit 'lenet5' alike") as caught:
        fastconv.create_model(MODEL, nested({"model": long}))
    assert len(str(caught.value)) < 1200


# --- Mappings ---


def test_objects_in_mappings_are_skipped_as_in_files(nested):
    state = state_dict()
    checkpoint = nested({**state, "args": argparse.Namespace(lr=0.1), "hist": [1, 2], "set": {1}})
    model = fastconv.create_model(MODEL, checkpoint)
    assert_loaded(model, state)
    names = [name.split(" ")[0] for name in model.checkpoint.left_out]
    assert names == ["args", "hist", "set"]


class Tensor:
    """What a tensor of torch is to NumPy: one that wants gradients or is bfloat16 refuses."""

    def __init__(self, array: np.ndarray, dtype: str = "torch.float32", grad: bool = False) -> None:
        self.array, self.dtype, self.grad = array, dtype, grad
        self.shape = array.shape

    def detach(self) -> Tensor:
        return Tensor(self.array, self.dtype)

    def float(self) -> Tensor:
        return Tensor(self.array)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.dtype != "torch.float32":
            raise TypeError(f"Got unsupported ScalarType {self.dtype}")
        return self.array


def test_mappings_of_tensors_and_parameters():
    state = state_dict()
    tensors = {
        key: Tensor(value, ("torch.float32", "torch.bfloat16")[index % 2], grad=index % 3 == 0)
        for index, (key, value) in enumerate(state.items())
    }
    assert_loaded(fastconv.create_model(MODEL, tensors), state)
    assert_loaded(fastconv.create_model(MODEL, {"state_dict": tensors, "epoch": 3}), state)
    model = fastconv.create_model(MODEL)
    model.load_state_dict(tensors)
    assert_loaded(model, state)
    key = next(iter(state))
    tensors[key] = Tensor(state[key], "torch.float8_e4m3fn")
    with pytest.raises(TypeError, match=rf"state_dict\['{key}'\] must be an array, got Tensor"):
        fastconv.create_model(MODEL, tensors)


def test_mappings_of_memmaps(tmp_path):
    state, mapped = state_dict(), {}
    for index, (key, value) in enumerate(state.items()):
        np.save(tmp_path / f"{index}.npy", value)
        mapped[key] = np.load(tmp_path / f"{index}.npy", mmap_mode="r")
    assert_loaded(fastconv.create_model(MODEL, mapped), state)


# --- Tied parameters ---


class Tied(nn.Module):
    """A module in two places, and a parameter in two modules."""

    def __init__(self) -> None:
        self.a = nn.Linear(3, 3)
        self.b = self.a
        self.c = nn.Linear(3, 3)
        self.c.weight = self.a.weight


def test_tied_parameters_stored_once():
    every = Tied().state_dict()
    for kept in ("a.weight", "b.weight", "c.weight"):
        model = Tied()
        state = {key: np.full_like(every[key], 2) for key in (kept, "b.bias", "c.bias")}
        for _ in range(2):
            assert model.load_state_dict(state) == ([], [])
            assert model.a.weight is model.c.weight
            assert all((value == 2).all() for value in model.state_dict().values())
    del state["c.bias"]
    with pytest.raises(ValueError, match=r"missing keys \(1\):\n    c\.bias"):
        Tied().load_state_dict(state)
    assert Tied().load_state_dict({}, strict=False).missing_keys == list(every)


# --- Shards ---


def write_shards(folder: Path, state: State, count: int = 3, **changes: Any) -> Path:
    """Write shards and their index, with another ``weight_map`` for some names."""
    names = list(state)
    weight_map = {}
    for number in range(count):
        shard = f"model-{number + 1:05}-of-{count:05}.safetensors"
        part = {name: state[name] for name in names[number::count]}
        weights.save(folder / shard, part)
        weight_map |= dict.fromkeys(part, shard)
    index = {"metadata": {"total_size": 1}, "weight_map": {**weight_map, **changes}}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index, indent=2))
    return path


def test_shards(tmp_path):
    state = state_dict()
    index = write_shards(tmp_path, prefixed("module.", state))
    for path in (index, tmp_path, str(tmp_path)):
        assert {*weights.load(path)} == {*state}
        model = fastconv.create_model(MODEL, path)
        assert_loaded(model, state)
        assert model.checkpoint.source == str(path)
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    with pytest.raises(ValueError, match="config"):
        fastconv.create_model(MODEL, index)


def test_shards_of_torch(tmp_path):
    state = state_dict()
    names = list(state)
    files = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
    for file, part in files.items():
        write_zip(tmp_path / file, *state_dict_of({name: state[name] for name in part}))
    weight_map = {name: file for file, part in files.items() for name in part}
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert_loaded(fastconv.create_model(MODEL, tmp_path), state)


def test_shards_with_tensors_that_numpy_lacks(tmp_path):
    """Also one that has no others; the index is checked against these tensors, too."""
    state = state_dict()
    *readable, last = state
    complex64 = tensor(storage("c", 4, "torch.ComplexFloatStorage"))
    data = {"c": np.zeros(4, np.complex64)}
    value, arrays = state_dict_of({key: state[key] for key in readable})
    write_zip(tmp_path / "1.bin", value + b"(" + text("x") + complex64 + b"u", {**arrays, **data})
    write_zip(tmp_path / "2.bin", b"}(" + text(last) + complex64 + b"u", data)
    index = tmp_path / "pytorch_model.bin.index.json"
    weight_map = {**dict.fromkeys((*readable, "x"), "1.bin"), last: "2.bin"}
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.warns(UserWarning, match="left out 2 tensors .*'x' is a tensor of complex64"):
        assert list(weights.load(tmp_path)) == readable
    with pytest.raises(ValueError, match=f"NumPy lacks .2.: .*{last} is a tensor of complex64"):
        fastconv.create_model(MODEL, tmp_path)
    index.write_text(json.dumps({"weight_map": {**weight_map, "y": "2.bin"}}))
    refused(index, "2.bin lacks the tensor 'y'")
    del weight_map["x"]
    index.write_text(json.dumps({"weight_map": weight_map}))
    refused(index, "1.bin has the tensor 'x', which the index does not")


def test_one_file_comes_before_shards(tmp_path):
    write_shards(tmp_path, state_dict(1))
    state = state_dict(2)
    weights.save(tmp_path / "model.safetensors", state)
    assert_loaded(fastconv.create_model(MODEL, tmp_path), state)


def refused(path: Path, match: str, error: type[Exception] = WeightsError) -> None:
    with pytest.raises(error, match=match) as caught:
        fastconv.create_model(MODEL, path)
    assert str(caught.value).startswith(str(path.parent))
    assert len(str(caught.value)) < len(str(path)) + 400


@pytest.mark.parametrize(
    "name",
    [
        *("../model-00001-of-00003.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", ""),
        *("a\\b.safetensors", "c:b.safetensors", ".hidden", "a\0b", "x\n", "\u00e9", 3, None, []),
    ],
)
def test_index_that_leaves_the_folder(tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    write_shards(tmp_path, state_dict())
    key = next(iter(state_dict()))
    refused(write_shards(inside, state_dict(), **{key: name}), "expected the name of a file in the")


def test_shards_that_do_not_fit_their_index(tmp_path):
    state = state_dict()
    first, second, *_ = state
    shards = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    refused(
        write_shards(tmp_path, state, **{first: shards[1]}), f"2-of.* lacks the tensor '{first}'"
    )
    refused(write_shards(tmp_path, state, **{"fc9.x": shards[0]}), "lacks the tensor 'fc9.x'")
    index = write_shards(tmp_path, state)
    both = weights.load(tmp_path / shards[0]) | {second: state[second]}
    weights.save(tmp_path / shards[0], both)
    refused(index, f"1-of-.* has the tensor '{second}', which the index does not")
    (tmp_path / shards[0]).unlink()
    refused(index, f"the shard {shards[0]} is missing", FileNotFoundError)
    (tmp_path / shards[0]).mkdir()
    with pytest.raises(OSError, match="1-of"):
        weights.load(index)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{}", "with a weight_map"),
        ('{"weight_map": {}}', "with a weight_map"),
        ('{"weight_map": []}', "with a weight_map"),
        ('{"weight_map": {"a": "x.bin", "a": "y.bin"}}', "occurs twice"),
        ('{"weight_map": {"a"', "not valid JSON"),
        ('{"a":' * 10**5, "nested too deeply"),
        ('{"weight_map": {"a": "model.safetensors.index.json"}}', "not a weight file"),
        ('{"weight_map": {"a": "' + "x" * 2**23 + '"}}', "at most 8388608 bytes"),
    ],
)
def test_hostile_index(tmp_path, content, match):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(content)
    refused(path, match)


# --- Weights for RGB images ---

FAMILIES = [
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_lite0"),
    *("efficientnet_v2_s", "googlenet", "inception_v3", "mnasnet0_5", "mobilenet_v2"),
    *("mobilenet_v3_small", "mobilenetv1_100", "regnet_y_400mf", "resnet18", "seresnet50"),
    *("shufflenet_v2_x0_5", "squeezenet1_0", "vgg11"),
]


def input_weight(model: fastconv.models.ImageClassifier) -> np.ndarray:
    return next(m for m in model.modules() if isinstance(m, nn.Conv2d)).weight


def test_families_are_all():
    families = {fastconv.models.model_entry(name).family for name in fastconv.list_models()}
    tested = {fastconv.models.model_entry(name).family for name in FAMILIES}
    assert families - tested == {"lenet"}


@pytest.mark.parametrize("name", FAMILIES)
def test_channels(name):
    options = {"transform_input": False} if name in ("googlenet", "inception_v3") else {}
    with nn.init.skip():
        rgb = fastconv.create_model(name, num_classes=2, **options)
    state = dict(rgb.state_dict())
    key = next(key for key, value in state.items() if value is input_weight(rgb))
    state[key] = np.random.default_rng(0).standard_normal(state[key].shape, np.float32)
    old = state[key].astype(np.float64)
    for channels in (1, 2, 4, 6, 3):
        model = fastconv.create_model(name, state, in_chans=channels, **options)
        new = input_weight(model)
        assert new.shape == (len(old), channels, *old.shape[2:])
        expected = old if channels == 3 else old[:, np.arange(channels) % 3] * (3 / channels)
        if channels == 1:
            expected = old.sum(1, keepdims=True)
        # Two additions, or a product by a rounded factor.
        atol = 3 * 2.0**-24 * np.abs(old).sum(1, keepdims=True).max()
        np.testing.assert_allclose(new, expected, rtol=0, atol=atol)
        assert model.default_cfg["input_size"][0] == len(model.default_cfg["mean"]) == channels
        adapted = model.checkpoint.adapted
        assert adapted is None if channels == 3 else f"{key}: 3 input channels" in adapted
        for other, value in model.state_dict().items():
            assert other == key or np.array_equal(value, state[other])


def test_grey_pictures_give_the_same(tmp_path):
    rgb = fastconv.create_model("resnet18", num_classes=5, dtype="float64", seed=3)
    weights.save(tmp_path / "model.safetensors", rgb.state_dict())
    grey = np.random.default_rng(0).standard_normal((1, 1, 64, 64))
    expected = rgb(np.repeat(grey, 3, axis=1))
    for channels in (1, 6):
        model = fastconv.create_model("resnet18", tmp_path, in_chans=channels, dtype="float64")
        result = model(np.repeat(grey, channels, axis=1))
        np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-11 * abs(expected).max())


def test_channels_beside_a_config(tmp_path):
    rgb = fastconv.create_model("resnet18", num_classes=2)
    weights.save(tmp_path / "model.safetensors", rgb.state_dict())
    cfg = {"input_size": [3, 192, 192], "mean": [0.1, 0.2, 0.6], "std": [1, 1, 1]}
    config = {"architecture": "resnet18", "pretrained_cfg": cfg}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = fastconv.create_model("resnet18", tmp_path, in_chans=4)
    assert model.default_cfg["input_size"] == (4, 192, 192)
    assert model.default_cfg["mean"] == pytest.approx((0.3,) * 4)


def test_half_precision_is_added_up_in_single():
    state = fastconv.create_model("resnet18", num_classes=2).state_dict()
    half = {
        key: value.astype(np.float16) for key, value in state.items() if value.dtype.kind == "f"
    }
    model = fastconv.create_model("resnet18", half, in_chans=1)
    expected = half["conv1.weight"].astype(np.float32).sum(1, keepdims=True)
    np.testing.assert_array_equal(model.conv1.weight, expected)


@pytest.mark.parametrize(("of", "asked"), [(4, 3), (1, 3), (4, 1), (6, 2)])
def test_other_channels_than_rgb_are_not_adapted(of, asked):
    state = fastconv.create_model("resnet18", num_classes=2, in_chans=of).state_dict()
    with pytest.raises(ValueError, match=rf"conv1\.weight: expected \(64, {asked}, 7, 7\), got"):
        fastconv.create_model("resnet18", state, in_chans=asked)
