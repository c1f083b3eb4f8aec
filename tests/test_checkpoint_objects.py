"""Checkpoints with any objects beside the weights: skipped, never made, at no cost."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import json
import pathlib
import pickle
import random
import re
import struct
import tracemalloc
import types
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import weights
from fastconv.weights import WeightsError
from torch_files import (
    VALUES,
    call,
    dict_of,
    name_of,
    number,
    state_dict_of,
    storage,
    tensor,
    text,
    tuple_of,
    write_stream,
    write_zip,
)

MADE: list[object] = []
"""What a pickle has made of the classes below: it must stay empty."""


class Plain:
    def __init__(self) -> None:
        self.x = [1, 2]

    def __setstate__(self, state: object) -> None:
        MADE.append(self)


class Reduced:
    def __reduce__(self) -> Any:
        return MADE.append, (1,), {"a": 1}, iter([1]), iter([("k", 2)])


class Arguments:
    def __getnewargs_ex__(self) -> Any:
        return (), {"x": 1}

    def __new__(cls, **options: int) -> Arguments:
        MADE.append(cls)
        return super().__new__(cls)


class OwnDict(dict):
    """As the configurations of many libraries are."""


class OwnList(list):
    pass


class Colour(enum.Enum):
    RED = 1


class Flags(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Config:
    lr: float
    path: Path


Pair = collections.namedtuple("Pair", "a b")

SHARED = [1, 2, 3]

OBJECTS: dict[str, Any] = {
    "Counter": collections.Counter([7, 7, 9]),
    "defaultdict": collections.defaultdict(list, {"a": [1]}),
    "OrderedDict": collections.OrderedDict([((1, 2), 3)]),
    "set": {1, "a", None},
    "frozenset": frozenset([1, (2, 3)]),
    "complex": 1 + 2j,
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"abc"),
    "keys": {(1, 2): 3, None: 1, True: 2, b"k": 3, 1.5: 4, 2**100: 5, frozenset(): 6},
    "Namespace": argparse.Namespace(lr=0.1, data=Path("/data")),
    "SimpleNamespace": types.SimpleNamespace(a=1),
    "NumPy scalars": [np.float32(1.5), np.float64(2), np.int64(3), np.bool_(True)],
    "NumPy array": np.arange(6).reshape(2, 3),
    "NumPy dtype": np.dtype("float32"),
    "NumPy objects": np.array([{"a": 1}], dtype=object),
    "RNG states": [
        random.getstate(),
        np.random.RandomState(0).get_state(),
        np.random.default_rng(0).bit_generator.state,
        np.random.default_rng(0),
    ],
    "paths": [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("c:/d"), Path("e")],
    "datetime": [datetime.datetime(2020, 1, 2), datetime.timedelta(3), datetime.date(2020, 1, 2)],
    "enum": [Colour.RED, Flags.A | Flags.B],
    "dataclass": Config(0.1, Path("x")),
    "namedtuple": Pair(1, [2]),
    "deque": collections.deque([1, 2], maxlen=3),
    "numbers": [
        range(3),
        decimal.Decimal("1.5"),
        fractions.Fraction(1, 3),
        2**300,
        uuid.UUID(int=5),
    ],
    "pattern": re.compile("a+"),
    "partial": functools.partial(int, base=2),
    "names": [Plain, len, np.float32, collections.OrderedDict],
    "exception": ValueError("x"),
    "own classes": [Plain(), Reduced(), Arguments()],
    "own dict": OwnDict(a=1, b=OwnDict(c=2)),
    "own list": OwnList([1, 2]),
    "shared": [SHARED, SHARED, (SHARED,)],
    "slice": slice(1, 2),
}


@pytest.fixture(params=[write_zip, write_stream], ids=["zip", "stream"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    def write(value: bytes, data: dict[str, np.ndarray] | None = None) -> Path:
        path = tmp_path / "model.pth"
        request.param(path, value, data)
        return path

    return write


@pytest.fixture(autouse=True)
def nothing_is_made() -> Any:
    MADE.clear()
    yield
    assert not MADE


def opcodes(value: object, protocol: int) -> bytes:
    """The pickle of a value, without its beginning and end."""
    return pickle.dumps(value, protocol)[2:-1]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_beside_the_weights(write, kind, protocol):
    MADE.clear()
    beside = opcodes(OBJECTS[kind], protocol)
    MADE.clear()  # pickling makes some
    for value in (
        b"}(" + text("x") + beside + text("a") + tensor() + b"u",
        dict_of(state_dict=dict_of(a=tensor()), x=beside),
        b"}(" + beside + text("value") + text("a") + tensor() + b"u",  # as a key
    ):
        loaded = weights.load(write(value))
        assert list(loaded) == ["a"]
        np.testing.assert_array_equal(loaded["a"], VALUES)


SIZES = tuple_of(number(2)), tuple_of(number(1))
TENSORS = {
    "sparse": (
        call("torch._utils._rebuild_sparse_tensor", name_of("torch.sparse_coo"), tuple_of()),
        "a sparse tensor",
    ),
    "quantized": (
        call("torch._utils._rebuild_qtensor", storage(kind="torch.QInt8Storage"), b"K\x00", *SIZES),
        "a quantized tensor",
    ),
    "meta": (
        call("torch._utils._rebuild_meta_tensor_no_storage", name_of("torch.float32"), *SIZES),
        "a meta tensor",
    ),
    "float8": (
        call(
            "torch._utils._rebuild_tensor_v3",
            storage(kind="torch.storage.UntypedStorage"),
            b"K\x00",
            *SIZES,
            b"\x89",
            call("collections.OrderedDict"),
            name_of("torch.float8_e4m3fn"),
        ),
        "a tensor of torch.float8_e4m3fn",
    ),
    "complex": (
        tensor(storage(kind="torch.ComplexFloatStorage"), 0, (2,)),
        "a tensor of complex64",
    ),
}


def negated(metadata):
    """A view whose elements are stored with the other sign."""
    function, arguments = tensor().split(b"(", 1)
    return function + b"(" + arguments[:-2] + metadata + b"tR"


TENSORS["negated"] = negated(dict_of(neg=b"\x88")), "a negated view"


def of_eight_bytes(value: bytes) -> tuple[bytes, dict[str, np.ndarray]]:
    """Give the storage "0" of a value a key of its own, and data of any kind."""
    return value.replace(text("0"), text("9")), {"9": np.zeros(4, np.complex64), "0": VALUES}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_numpy_lacks(tmp_path, kind):
    """Beside the weights they are skipped, and said so; in their place they are an error."""
    opcodes, name = TENSORS[kind]
    opcodes, data = of_eight_bytes(opcodes)
    path = tmp_path / "model.pth"
    write_zip(path, dict_of(a=tensor(), b=opcodes), data)
    with pytest.warns(UserWarning, match=f"left out 1 tensors .*'b' is {name}"):
        assert list(weights.load(path)) == ["a"]
    write_zip(path, dict_of(state_dict=dict_of(a=tensor()), ema=dict_of(a=opcodes)), data)
    assert list(weights.load(path)) == ["a"]
    write_zip(path, dict_of(a=opcodes), data)
    with pytest.raises(WeightsError, match=f"'a' is {name}"):
        weights.load(path)
    state = dict(fastconv.create_model("lenet5").state_dict())
    missing = list(state)[-1]
    del state[missing]
    value, arrays = state_dict_of(state)
    opcodes = opcodes.replace(text("9"), text("99"))
    write_zip(path, value + b"(" + text(missing) + opcodes + b"u", {**arrays, "99": data["9"]})
    with pytest.raises(ValueError, match=f"of kinds that NumPy lacks .1.: {missing} is {name}"):
        fastconv.create_model("lenet5", path)


def test_metadata_without_effect(tmp_path):
    path = tmp_path / "model.pth"
    for metadata in (b"N", b"}", dict_of(neg=b"\x89"), dict_of(conj=b"\x88")):
        write_zip(path, dict_of(a=negated(metadata)))
        np.testing.assert_array_equal(weights.load(path)["a"], VALUES)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F4", "C64"])
def test_safetensors_of_dtypes_that_numpy_lacks(tmp_path, dtype):
    shape, size = [4, 2], {"F6_E2M3": 6, "F4": 4, "C64": 64}.get(dtype, 8)
    header = json.dumps(
        {
            "scale": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]},
            "a": {"dtype": "F32", "shape": [4], "data_offsets": [size, size + 16]},
        }
    ).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size) + VALUES.tobytes())
    with pytest.warns(UserWarning, match=f"'scale' is a tensor of {dtype}"):
        loaded = weights.load(path)
    assert list(loaded) == ["a"]
    np.testing.assert_array_equal(loaded["a"], VALUES)


def test_npz_of_dtypes_that_no_weights_have(tmp_path):
    beside = {
        "classes": np.array(["cat", "dog"]),
        "bytes": np.array([b"ab"]),
        "date": np.array(["2020-01-02"], "M8[D]"),
        "complex": np.ones(2, np.complex64),
    }
    np.savez(tmp_path / "a.npz", a=VALUES, **beside)
    with pytest.warns(UserWarning, match="left out 4 tensors .*'classes' is an array of <U3"):
        loaded = weights.load(tmp_path / "a.npz")
    assert list(loaded) == ["a"]
    state = fastconv.create_model("lenet5").state_dict()
    np.savez(tmp_path / "b.npz", **state, **beside)
    model = fastconv.create_model("lenet5", tmp_path / "b.npz")
    assert model.checkpoint.left_out[0] == "classes (an array of <U3)"
    assert len(model.checkpoint.left_out) == 4


def test_tensors_of_subclasses_and_with_attributes(write):
    plain = tensor()
    function, arguments = plain.split(b"(", 1)
    arguments = b"(" + arguments[:-1]
    state = dict_of(note=text("x"))
    for wrapper in ("_rebuild_from_type_v2", "_rebuild_from_type"):
        value = call(f"torch._tensor.{wrapper}", function, name_of("my.Tensor"), arguments, state)
        path = write(dict_of(a=value))
        np.testing.assert_array_equal(weights.load(path)["a"], VALUES)
    parameter = call("torch._utils._rebuild_parameter_with_state", tensor(), b"\x88", b"N", state)
    np.testing.assert_array_equal(weights.load(write(dict_of(a=parameter)))["a"], VALUES)
    nested = call(
        "torch._tensor._rebuild_from_type_v2", name_of("torch._tensor._rebuild_from_type_v2")
    )
    with pytest.raises(WeightsError):
        weights.load(write(dict_of(a=nested)))


def test_storages_of_tensors_that_numpy_lacks_in_a_stream(tmp_path):
    """Their data lie between those of the weights."""
    path = tmp_path / "model.pth"
    for kind, itemsize in {
        "torch.ComplexFloatStorage": 8,
        "torch.ComplexDoubleStorage": 16,
        "torch.QInt8Storage": 1,
        "torch.QUInt8Storage": 1,
        "torch.QInt32Storage": 4,
        "torch.QUInt4x2Storage": 1,
        "torch.QUInt2x4Storage": 1,
        "torch.storage.UntypedStorage": 1,
    }.items():
        other = tensor(storage("7", 3, kind), 0, (3,))
        data = {"7": np.zeros(3, f"V{itemsize}"), "0": VALUES}
        write_stream(path, dict_of(x=dict_of(y=other), a=tensor()), data)
        np.testing.assert_array_equal(weights.load(path)["a"], VALUES)


# --- Whole models ---


@pytest.mark.parametrize(
    "model",
    [
        name_of("net.Net") + b")\x81}b",
        name_of("net.Net") + b")}\x92",
        b"(inet\nNet\n",
        b"(" + name_of("net.Net") + b"o",
        call("net.Net", text("x")),
        tuple_of(text("module"), name_of("net.Net"), text("x.py"), text("code")) + b"Q)\x81}b",
        call("copyreg._reconstructor", name_of("net.Net"), b"N") + b"}b",
    ],
)
def test_whole_models_are_refused(write, model):
    name = "copyreg" if b"copyreg" in model else r"net\.Net"
    for value in (
        model,
        dict_of(model=model),
        dict_of(model=model, epoch=b"K\x01"),
        dict_of(model=model, optimizer=dict_of(a=tensor())),
        dict_of(ema=model, loss=tensor()),
    ):
        with pytest.raises(WeightsError, match=f"asks for '{name}.*save model.state_dict"):
            weights.load(write(value, None if b"storage" in value else {}))
    assert list(weights.load(write(dict_of(model=model, state_dict=dict_of(a=tensor()))))) == ["a"]


# --- What costs: time, memory, the C stack ---


def nested_tuples(levels: int) -> bytes:
    """Each a pair of the one before it, so that its hash takes 2**levels steps."""
    return b")" + b"".join(b"q%c" % i + b"h%c" % i + b"\x86" for i in range(levels))


PAIRS = nested_tuples(200)
DEEP = b")" + b"\x85" * 3 * 10**4

COSTLY = {
    "key": b"}(" + PAIRS + b"Nu",
    "deep key": b"}(" + DEEP + b"Nu",
    "set": b"\x8f(" + PAIRS + DEEP + b"\x90",
    "frozenset": b"(" + PAIRS + DEEP + b"\x91",
    "set of sets": b"\x8f" + b"(\x8f\x90" * 10**4,
    "argument": call("builtins.set", PAIRS),
    "state": name_of("x.y") + b")\x81" + PAIRS + b"b",
    "items": name_of("x.y") + b")\x81(" + PAIRS + PAIRS + b"u",
    "list": name_of("x.y") + b")\x81(" + PAIRS + DEEP + b"e",
    "keyword": name_of("x.y") + PAIRS + PAIRS + b"\x92",
    "chain": name_of("x.y") + b")R" * 10**5,
    "class of a class": name_of("x.y") + b")\x81" * 10**5,
    "itself": name_of("x.y") + b")\x81q\x01h\x01b(h\x01h\x01u(h\x01e",
    "itself as a key": b"}q\x01(" + name_of("x.y") + b")\x81q\x02h\x02u(h\x02h\x01u",
    "unhashable": b"}(]N}N\x8fNu",
    "objects as keys": b"}(" + b"\x8fN" * 10**5 + b"u",
    "many objects": b"](" + b"\x8f" * 10**5 + b"e",
    "long names": text("x" * 499) + b"q\x010](" + b"h\x01h\x01\x93" * 10**5 + b"e",
    "long names of dtypes": name_of("torch._utils._rebuild_tensor_v3")
    + b"q\x010"
    + tuple_of(*[b"N"] * 6, name_of("x" * 400 + "." + "y" * 400))
    + b"q\x020]("
    + b"h\x01h\x02R" * 10**5
    + b"e",
    "long integers": b"](" + b"\x8a\xff" + b"\x7f" * 255 + b"e",
}


@pytest.mark.parametrize("kind", COSTLY)
def test_costly_objects(write, kind):
    path = write(dict_of(a=tensor(), b=COSTLY[kind]))
    tracemalloc.start()
    try:
        assert list(weights.load(path)) == ["a"]
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_long_names_of_many_objects_in_the_report(tmp_path):
    state, arrays = state_dict_of(fastconv.create_model("lenet5").state_dict())
    thing = name_of("x" * 400 + "." + "y" * 400) + b")\x81q\x010"
    many = b"".join(b"J" + struct.pack("<i", index) + b"h\x01" for index in range(10**5))
    write_zip(tmp_path / "model.pth", thing + state + b"(" + many + b"u", arrays)
    tracemalloc.start()
    try:
        model = fastconv.create_model("lenet5", tmp_path / "model.pth")
        assert len(model.checkpoint.left_out) == 10**5
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "function", ["collections.OrderedDict", "torch.Size", "torch._utils._rebuild_tensor_v2", "x.y"]
)
@pytest.mark.parametrize("items", [b"](", b"("])
def test_long_arguments_many_times(write, function, items):
    """One opcode recalls a list of any length: to copy it each time would take hours."""
    value = items + b"N" * 2 * 10**5 + (b"e" if items[:1] == b"]" else b"t") + b"q\x010"
    calls = (name_of(function) + b"h\x01" + (b"\x85" if items == b"](" else b"") + b"R0") * 10**4
    with pytest.raises(WeightsError, match=r"unusable arguments|values"):
        weights.load(write(value + calls + dict_of(a=tensor())))


def test_cyclic_wrappers(write):
    """Entries that lead round and round, each with as many names."""
    names = ("state_dict", "model", "net", "ema", "params", "module", "weights", "model_ema")
    loop = b"}q\x00(" + b"".join(text(name) + b"h\x00" for name in names) + text("n") + b"K\x01u"
    with pytest.raises(WeightsError, match="no tensors"):
        weights.load(write(loop, {}))
