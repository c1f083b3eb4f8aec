"""Weight files: what they hold is read exactly, and no corrupt or hostile one does harm."""

from __future__ import annotations

import io
import pickle
import random
import re
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import types
import zipfile
import zlib
from pathlib import Path

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
    storage,
    tensor,
    text,
    tuple_of,
    write_stream,
    write_zip,
)

GOLDEN = Path(__file__).parent / "golden"

BASE = np.arange(10, dtype=np.float32)
EXPECTED = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "parameter": np.array([0.5, -1.25], dtype=np.float32),
    "num_batches_tracked": np.array(2**40 + 7, dtype=np.int64),
    "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    "shared.slice": BASE[2:5],
    "shared.steps": BASE[1::3],
    "shared.whole": BASE,
    "expanded": np.full((2, 4), 3, dtype=np.float32),
    "empty": np.empty((0, 3), dtype=np.float32),
    "float16": np.array([1.5, -65504], dtype=np.float16),
    "bfloat16": np.array([1, -3.140625, np.inf], dtype=np.float32),
    "int32": np.array([-(2**31), 5], dtype=np.int32),
    "int16": np.array([-300], dtype=np.int16),
    "int8": np.array([-128, 127], dtype=np.int8),
    "uint8": np.array([[0, 255]], dtype=np.uint8),
    "bool": np.array([True, False, True]),
}


def assert_equal(actual, expected):
    """Same names in the same order, same arrays, each as `load` promises it."""
    assert list(actual) == list(expected)
    for name, array in actual.items():
        assert array.dtype == expected[name].dtype, name
        assert array.dtype.isnative
        assert array.shape == expected[name].shape, name
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert array.flags.writeable
    arrays = [array for array in actual.values() if array.size]
    for index, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[:index])


@pytest.fixture(params=[write_zip, write_stream], ids=["zip", "stream"])
def write(request, tmp_path):
    """Write a pickle in one of torch's formats, return the path."""

    def write(value, *arguments, **options):
        path = tmp_path / "model.pth"
        request.param(path, value, *arguments, **options)
        return path

    return write


def refused(path, match=None):
    with pytest.raises(WeightsError) as caught:
        weights.load(path)
    before, file, message = str(caught.value).partition(str(path))
    assert (before, file) == ("", str(path))
    assert match is None or re.search(match, message)


# --- What is read ---


@pytest.mark.parametrize("name", ["zip", "stream", "protocol4", "checkpoint"])
def test_checkpoints_of_torch(name):
    assert_equal(weights.load(GOLDEN / f"{name}.pth"), EXPECTED)


def test_reading_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; from fastconv import weights; "
        "print(len(weights.load(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, GOLDEN / "stream.pth"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == f"{len(EXPECTED)}\n"


def test_content_decides_the_format_not_the_suffix(tmp_path):
    for suffix in (".npz", ".safetensors"):
        weights.save(tmp_path / f"a{suffix}", EXPECTED)
        path = (tmp_path / f"a{suffix}").rename(tmp_path / "a.pth")
        assert set(weights.load(path)) == set(EXPECTED)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_save_and_load_again(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    state_dict = {
        **EXPECTED,
        "file": np.ones(1),
        "big": np.arange(3, dtype=">f4"),
        "reversed": np.arange(6.0).reshape(2, 3)[:, ::-1],
        "uint64": np.array([2**64 - 1], dtype=np.uint64),
    }
    weights.save(path, state_dict)
    loaded = weights.load(path)
    if suffix == ".safetensors":  # which sorts
        assert set(loaded) == set(state_dict)
        loaded = {name: loaded[name] for name in state_dict}
    assert_equal(loaded, {n: a.astype(a.dtype.newbyteorder("=")) for n, a in state_dict.items()})
    assert list(tmp_path.iterdir()) == [path]


def test_bfloat16_in_safetensors(tmp_path):
    header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\x80\x3f\x49\xc0")
    assert_equal(weights.load(path), {"a": np.array([1, -3.140625], dtype=np.float32)})


def test_safetensors_whose_length_begins_like_a_pickle(tmp_path):
    path = tmp_path / "weights.safetensors"
    for length in range(1, 129):
        state_dict = {"n" * length: np.arange(3, dtype=np.float32)}
        weights.save(path, state_dict)
        assert_equal(weights.load(path), state_dict)
        if path.read_bytes()[0] == 0x80:
            return
    raise AssertionError("no header of 128 bytes")


def test_safetensors_of_odd_offsets(tmp_path):
    path = tmp_path / "a.safetensors"
    header = (
        b'{"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]},'
        b'"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}'
    )
    values = np.array([1.5, -2], np.float32)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\7" + values.tobytes())
    assert_equal(weights.load(path), {"b": values, "a": np.array(7, np.uint8)})


def test_a_file_that_changes_after_it_was_loaded(valid_file, tmp_path):
    """Arrays are read, not mapped: no later writer can change them or end the process."""
    path = tmp_path / "weights"
    path.write_bytes(valid_file)
    loaded = weights.load(path)
    copies = {name: array.copy() for name, array in loaded.items()}
    path.write_bytes(bytes(len(valid_file)))
    assert_equal(loaded, copies)
    path.write_bytes(b"")
    assert_equal(loaded, copies)


def test_safetensors_cut_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    weights.save(path, EXPECTED)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])

    def stat_before(descriptor):
        return types.SimpleNamespace(st_size=size)

    monkeypatch.setattr("fastconv.weights._load.os.fstat", stat_before)
    refused(path, "truncated while it was read")


def test_npz_of_numpy(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "f": np.asfortranarray(np.ones((3, 4), "f2"))}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        assert_equal(weights.load(tmp_path / "a.npz"), arrays)


def test_big_endian_zip(tmp_path):
    path = tmp_path / "model.pth"
    write_zip(path, dict_of(a=tensor()), {"0": VALUES.astype(">f4")}, byteorder="big")
    assert_equal(weights.load(path), {"a": VALUES})
    write_zip(path, dict_of(a=tensor()), byteorder="middle")
    refused(path, "byte order")


def test_compressed_zip(tmp_path):
    path = tmp_path / "model.pth"
    write_zip(path, dict_of(a=tensor()), compression=zipfile.ZIP_DEFLATED)
    assert_equal(weights.load(path), {"a": VALUES})


def test_zip_without_checksums(tmp_path):
    # As after torch.serialization.set_crc32_options(False).
    path = tmp_path / "model.pth"
    write_zip(path, dict_of(a=tensor()))
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            content = content.replace(struct.pack("<I", entry.CRC), bytes(4))
    path.write_bytes(content)
    assert_equal(weights.load(path), {"a": VALUES})


def test_storage_that_is_part_of_another(tmp_path):
    path = tmp_path / "model.pth"
    part = storage(view=tuple_of(text("view"), number(1), number(2)))
    write_stream(path, dict_of(a=tensor(part, 1, (1,)), b=tensor(part, 0, (2,))))
    assert_equal(weights.load(path), {"a": VALUES[2:3], "b": VALUES[1:3]})
    write_stream(path, dict_of(a=tensor(part, 0, (3,))))
    refused(path, "impossible tensor")


def test_older_forms(write):
    pairs = b"](" + b"](" + text("a") + tensor() + b"e" + b"e"  # Python 2's OrderedDict
    path = write(call("collections.OrderedDict", pairs))
    assert_equal(weights.load(path), {"a": VALUES})
    size = call("torch.Size", tuple_of(number(2), number(2)))
    stride = tuple_of(number(2), number(1))
    path = write(dict_of(a=call("torch._utils._rebuild_tensor", storage(), b"K\x00", size, stride)))
    assert_equal(weights.load(path), {"a": VALUES.reshape(2, 2)})


def test_unwrapping(write):
    inner, other = dict_of(a=tensor()), dict_of(b=tensor())
    one = b"K\x01"
    for key in ("state_dict", "model", "model_state_dict", "model_ema", "state_dict_ema"):
        assert list(weights.load(write(dict_of(epoch=one, **{key: inner})))) == ["a"]
    assert list(weights.load(write(dict_of(model=other, state_dict=inner)))) == ["a"]
    assert list(weights.load(write(dict_of(model=dict_of(state_dict=inner, epoch=one))))) == ["a"]
    assert list(weights.load(write(dict_of(state_dict=one, model=inner, loss=tensor())))) == ["a"]
    assert list(weights.load(write(dict_of(model=tensor(), b=tensor())))) == ["model", "b"]
    assert list(weights.load(write(dict_of(epoch=one, b=tensor())))) == ["b"]
    assert weights.load(write(b"}", {})) == {}


def test_data_parallel_prefix(write):
    both = write(b"}(" + text("module.a") + tensor() + text("module.b") + tensor() + b"u")
    assert list(weights.load(both)) == ["a", "b"]
    one = write(b"}(" + text("module.a") + tensor() + text("b") + tensor() + b"u")
    assert list(weights.load(one)) == ["module.a", "b"]


# --- What is refused: code ---


def hostile(opcodes):
    return dict_of(a=tensor(), b=opcodes)


def run_on(sentinel):
    """Pickles that would write the file ``sentinel`` and what the error must name."""
    command = text(f"touch {sentinel}")
    line = f"touch {sentinel}\n".encode()
    reduce = call("os.system", command)
    return {
        "reduce": (reduce, "os.system"),
        "stack_global": (
            text("os") + text("system") + b"\x93" + tuple_of(command) + b"R",
            "os.system",
        ),
        "inst": (b"(" + command + b"ios\nsystem\n", "os.system"),
        "obj": (b"(" + name_of("os.system") + command + b"o", "os.system"),
        "protocol 0": (b"cos\nsystem\n(V" + line + b"tR", "os.system"),
        "newobj": (name_of("subprocess.Popen") + tuple_of(command) + b"\x81", "subprocess.Popen"),
        "eval": (call("builtins.eval", command), "builtins.eval"),
        "open": (call("builtins.open", text(str(sentinel)), text("w")), "builtins.open"),
        "import": (call("__builtin__.__import__", text("this")), "__import__"),
        "argument": (call("copyreg._reconstructor", name_of("os.system")), "os.system"),
        "dotted": (text("os") + text("path.os.system") + b"\x93", "os.path.os.system"),
        "extension": (b"\x82\x01", "EXT1"),
        "persistent id": (
            tuple_of(text("file"), name_of("torch.Size"), text("x.py"), text("code")) + b"Q",
            "other than a storage",
        ),
        "persistent id of protocol 0": (b"Pos.system\n", "PERSID"),
        "call of a value": (text("x") + tuple_of() + b"R", "calls a str"),
        "call without arguments": (name_of("x.y") + b"NR", "unusable arguments"),
        "object of a value": (text("x") + b")\x81", "object of a str"),
        "object of nothing": (b"(o", "too little"),
        "endless name": (text("x" * 600) * 2 + b"\x93", "endless"),
        "memo": (name_of("torch.Size") + b"q\x05" + b"0" + b"h\x06", "recalls"),
        "build on a class": (
            name_of("collections.OrderedDict") + dict_of(__new__=name_of("torch.Size")) + b"b",
            "sets attributes",
        ),
        "build on a tensor": (tensor() + dict_of(x=b"N") + b"b", "sets attributes"),
        "build with a pair": (
            call("collections.OrderedDict") + tuple_of(b"}", dict_of(pop=b"N")) + b"b",
            "sets attributes",
        ),
        "append to a tensor": (tensor() + b"N" + b"a", "appends"),
        "item of a list": (b"]" + text("x") + b"N" + b"s", "sets items"),
        "items of a class": (name_of("torch.Size") + text("x") + b"N" + b"s", "sets items"),
        "odd items": (b"\x8f(Nu", "sets items"),
        "addition to a list": (b"](N\x90", "other than a set"),
        "state of a class": (name_of("x.y") + b"}b", "sets attributes"),
    }


@pytest.mark.parametrize("kind", run_on(""))
def test_hostile_pickles_are_refused_and_not_run(write, tmp_path, kind):
    sentinel = tmp_path / "sentinel"
    opcodes, match = run_on(sentinel)[kind]
    refused(write(hostile(opcodes)), match)
    assert not sentinel.exists()


def test_hostile_pickle_outside_any_container(tmp_path):
    sentinel = tmp_path / "sentinel"
    path = tmp_path / "model.pth"

    class Hostile:
        def __reduce__(self):
            return (open, (str(sentinel), "w"))

    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(Hostile(), protocol))
        refused(path, "open")
    path.write_bytes(pickle.dumps(Hostile(), 0))
    refused(path, "not a weight file")
    path.write_bytes(pickle.dumps({"a": 1}, 2))
    refused(path, "not one that torch.save wrote")
    assert not sentinel.exists()


# --- What is refused: corrupt and oversized descriptions ---


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (0, (2,), (4,)),
        (0, (2, 2), (2, 2)),
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (3, (2,), (-1,)),
        (0, (4,), ()),
        (2**62, (1,), (1,)),
        (2**200, (1,), (1,)),
        (0, (2**62, 2**62), (0, 0)),
        (0, (2**40,), (0,)),
        (0, (2**63, 0), (1, 1)),
        (0, (2**62, 2**62, 0), (1, 1, 1)),
        (0, (1,) * 33, (1,) * 33),
        (0, (100_000, 100_000), (0, 0)),
    ],
)
def test_impossible_views(write, offset, shape, stride):
    tracemalloc.start()
    try:
        refused(
            write(dict_of(a=tensor(None, offset, shape, stride))), "impossible|more mem|unusable"
        )
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_many_copies_of_one_storage(write):
    values = np.zeros(2**18, dtype=np.float32)  # 1 MiB
    state = b"".join(
        text(str(index)) + tensor(storage(numel=2**18), 0, (2**18,)) for index in range(100)
    )
    refused(write(b"}(" + state + b"u", {"0": values}), "more memory")


CORRUPT = [
    dict_of(a=tensor(storage(numel=-1))),
    dict_of(a=tensor(storage(numel=2**61))),
    dict_of(a=tensor(storage(numel=2**100))),
    dict_of(a=tensor(storage(numel=3), shape=(3,))),
    dict_of(a=tensor(storage(numel=5))),
    dict_of(a=tensor(storage(kind="torch.DoubleStorage"))),
    dict_of(a=tensor(storage(kind="torch.Size"))),
    dict_of(a=tensor(), b=tensor(storage(numel=3), shape=(3,))),
    dict_of(a=tensor(storage("../data.pkl"))),
    dict_of(a=tensor(storage("1"))),
    dict_of(a=tensor(b"N")),
    dict_of(a=call("torch._utils._rebuild_tensor_v2")),
    dict_of(a=call("torch._utils._rebuild_parameter", text("x"))),
    dict_of(a=name_of("torch._utils._rebuild_tensor_v2") + b"}R"),
    dict_of(a=call("torch.Size", number(3))),
    dict_of(a=call("collections.OrderedDict", b"K\x01")),
    dict_of(a=number(10**5000)),
    dict_of(a=b"K\x01"),
    b"}(K\x01" + tensor() + b"u",
    b"}(" + tuple_of(b"K\x01") + tensor() + b"u",
    b"}(" + text("a") + b"u",
    tensor(),
    b"N",
    b"]",
    b"0",
    b"h\x00",
    b"u",
    b"}(" * 2,
    b"Q",
    b"R",
    b"b",
    b"\xff",
    b"\x8e" + struct.pack("<Q", 2**62),
    b"\x8d" + struct.pack("<Q", 2**62) + b"a",
    b"\x8b" + struct.pack("<i", -5),
    b"r" + struct.pack("<I", 2**32 - 1),
    b"(N" + b"\x93",
    b"S'\\X'\n",
    b"c\\X\nx\n",
    b"ctorch",
    b"c\xff\n\xff\n",
    b"I" + b"9" * 10**6 + b"\n",
]


@pytest.mark.parametrize("value", CORRUPT, ids=range(len(CORRUPT)))
def test_corrupt_pickles(write, value):
    tracemalloc.start()
    try:
        refused(write(value))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_deep_nesting(write):
    # Far deeper than the C stack allows functions that recurse.
    assert list(weights.load(write(dict_of(a=tensor(), b=b")" + b"\x85" * 10**5)))) == ["a"]
    assert list(weights.load(write(dict_of(a=tensor(), b=b"]" * 10**5 + b"a" * (10**5 - 1))))) == [
        "a"
    ]
    refused(write(b"}" + b")" + b"\x85" * 10**5 + tensor() + b"s"), "must be a string; got a tuple")
    wrapped = dict_of(a=tensor())
    for _ in range(50):
        wrapped = dict_of(model=wrapped)
    refused(write(wrapped), "no tensors")


def test_exponential_pickle(write):
    # Each value is a pair of the one before it: 2**200 leaves when walked through.
    doubling = b")" + b"".join(b"q%c" % i + b"h%c" % i + b"\x86" for i in range(200))
    assert list(weights.load(write(dict_of(a=tensor(), b=doubling)))) == ["a"]


def test_cyclic_pickle(write):
    path = write(b"}q\x00(" + text("model") + b"h\x00" + text("epoch") + b"K\x01u", {})
    refused(path, "no tensors")


def test_endless_pickle(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(b"\x80\x02" + b"}0" * 2**20 + b"N.")
    refused(path, "more than 2097152 opcodes")


# --- What is refused: corrupt and oversized containers ---


def test_stream_whose_storages_do_not_fit(tmp_path):
    path = tmp_path / "model.pth"
    write_stream(path, dict_of(a=tensor()))
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    refused(path, "truncated")
    path.write_bytes(content.replace(struct.pack("<q", 4) + VALUES.tobytes(), b"\xff" * 24))
    refused(path, "has -1 elements; expected 4")
    write_stream(path, dict_of(a=tensor()), {})
    refused(path, "missing")
    write_stream(path, dict_of(a=b"N"), {"7": VALUES})
    refused(path, "does not fit")
    path.write_bytes(content.replace(b"\x4d\xe9\x03", b"\x4d\xea\x03"))
    refused(path, "expected 1001")


def rewrite_entry(path, name, **changes):
    """Change what a zip archive's table of contents says about an entry."""
    with zipfile.ZipFile(path, "a") as archive:
        for key, value in changes.items():
            setattr(archive.getinfo(name), key, value)
        archive.comment = b"rewrite"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"CRC": 12345}, "CRC"),
        ({"file_size": 2**40}, "declares"),
        ({"file_size": 2**40, "compress_size": 2**40}, "declares"),
        ({"file_size": 20, "compress_size": 20}, "20 bytes; expected 4 elements"),
        ({"header_offset": 5000}, "zip archive"),
        ({"flag_bits": 1}, "encrypted"),
        ({"compress_type": zipfile.ZIP_LZMA}, "compression"),
        ({"compress_type": zipfile.ZIP_DEFLATED}, "zip archive"),
    ],
)
def test_corrupt_zip_entries(tmp_path, changes, match):
    path = tmp_path / "model.pth"
    write_zip(path, dict_of(a=tensor()))
    rewrite_entry(path, "x/data/0", **changes)
    refused(path, match)


def test_zip_archives_of_other_kinds(tmp_path):
    path = tmp_path / "model.pth"

    def write(**entries):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name.replace("__", "/"), content)

    write(readme="x")
    refused(path, "neither torch's")
    write(x__data__pkl="x")
    refused(path, "neither torch's")
    write(**{"x__data.pkl": b"\x80\x02}.", "y__data.pkl": b"\x80\x02}."})
    refused(path, "more than one data.pkl")
    write(**{"x__data.pkl": b"\x80\x02}.", "x__constants.pkl": b""})
    refused(path, "TorchScript")
    write(**{"x__data.pkl": b"\x80\x02}.", "x__datA.pkl": b"\x80\x02}."})
    path.write_bytes(path.read_bytes().replace(b"datA", b"data"))
    refused(path, "two entries")


def test_zip_bombs(tmp_path):
    path = tmp_path / "model.npz"
    zeros = np.zeros(2**27, dtype=np.uint8)  # 128 MiB, 128 KiB compressed
    np.savez_compressed(path, a=zeros)
    assert path.stat().st_size < 2**18
    tracemalloc.start()
    try:
        refused(path, "far more data")
        write_zip(
            path,
            dict_of(a=tensor(storage(numel=2**27, kind="torch.ByteStorage"), 0, (2**27,))),
            {"0": zeros},
            compression=zipfile.ZIP_DEFLATED,
        )
        tracemalloc.reset_peak()
        refused(path, "far more data")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def npy(descr="'<f4'", shape="(2,)", data=bytes(8), order="False", version=b"\x01\x00"):
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (npy("'|O'"), "dtype"),
        (npy("'<c8'"), "is an array of <c8"),
        (npy("'<M8[s]'"), "is an array of <M8"),
        (npy("'<f1'"), "dtype"),
        (npy("'<f2x'"), "dtype"),
        (npy("'<U4'"), "is an array of <U4"),
        (npy("[('a', '<f4')]"), "header"),
        (npy("__import__('os').system('true')"), "header"),
        (npy(shape="(3,)"), "does not fill"),
        (npy(shape="(1,)"), "does not fill"),
        (npy(shape="(-2,)"), "impossible shape"),
        (npy(shape="(2.0,)"), r"header of .* shape is not valid: \(2\.0,\)"),
        (npy(shape="(" + "9" * 4000 + ",)"), "impossible shape"),
        (npy(shape="(" + "9" * 5000 + ",)"), "header of"),
        (npy(shape="(" * 5000), "header of"),
        (npy(shape="-" * 5000 + "1"), "header of"),
        (npy(shape="(True,)", data=bytes(4)), "header of .* shape is not valid"),
        (npy(shape="2"), "header of .* shape is not valid"),
        (npy(shape="(2,), 'shape': (3,)"), "does not fill"),
        (npy("('<f4', (2,))"), "header .* dtype"),
        (npy("5"), "header of"),
        (npy(shape="(" + "1," * 33 + ")"), "33 dimensions"),
        (npy(shape=f"({2**62}, {2**62})"), "impossible shape"),
        (npy(shape=f"(0, {2**62}, {2**62})", data=b""), "impossible shape"),
        (npy(shape=f"({2**40},)"), "more memory"),
        (npy(order="None"), "header"),
        (npy(version=b"\x09\x00"), "npy format"),
        (npy(version=b"\x01\x01"), "npy format"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "header of"),
        (b"\x93NUM", "npy format"),
        (b"", "npy format"),
    ],
)
def test_corrupt_npz(tmp_path, content, match):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    refused(path, match)


def test_npz_header_that_claims_more_than_the_entry_has(tmp_path):
    """Neither the header that is claimed, nor all of the entry, is read into memory."""
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(2**26 - 100))
    tracemalloc.start()
    try:
        refused(path, "header of")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_npz_entry_that_inflates_beyond_its_size(tmp_path):
    path = tmp_path / "a.npz"
    whole = npy(data=bytes(2**26))
    claimed = npy()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", whole)
        entry = archive.getinfo("a.npy")
        entry.file_size, entry.CRC = len(claimed), zlib.crc32(claimed)  # for the table of contents
    tracemalloc.start()
    try:
        assert_equal(weights.load(path), {"a": np.zeros(2, "f4")})
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00", b"\x03\x00"])
def test_npy_versions(tmp_path, version):
    path = tmp_path / "a.npz"
    content = npy(data=np.arange(2, dtype="<f4").tobytes(), version=version)
    if version != b"\x01\x00":  # the length of the header has four bytes
        content = content[:10] + bytes(2) + content[10:]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    assert_equal(weights.load(path), {"a": np.arange(2, dtype="f4")})


def test_npz_of_python_2(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", npy(shape="(2L,)"))
    with pytest.warns(UserWarning, match="created on Python 2"):  # NumPy's own
        loaded = weights.load(path)
    assert_equal(loaded, {"a": np.zeros(2, "f4")})


def test_npz_with_pickled_objects(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{"x": 1}], dtype=object))
    refused(tmp_path / "a.npz", "dtype '\\|O'")


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"{}}",
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"C64","shape":[],"data_offsets":[0,8]}}',
        b'{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}',
        b'{"a":' * 10_000,
    ],
)
def test_corrupt_safetensors(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    refused(path)
    path.write_bytes(struct.pack("<Q", 2**60) + header + bytes(4))
    refused(path)


def test_safetensors_writes_with_the_package_and_reads_without(tmp_path, monkeypatch):
    weights.save(tmp_path / "a.safetensors", EXPECTED)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    loaded = weights.load(tmp_path / "a.safetensors")
    assert_equal({name: loaded[name] for name in EXPECTED}, EXPECTED)
    with pytest.raises(ImportError, match=r"pip install 'fastconv\[weights\]'"):
        weights.save(tmp_path / "b.safetensors", EXPECTED)


def test_files_that_hold_no_weights(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(b"")
    refused(path, "is empty")
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    refused(path, "begins with b'version https")
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"), io.BytesIO())
    refused(path, "tar archive")
    with pytest.raises(FileNotFoundError):
        weights.load(tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match=r"no weights; expected model\.safetensors or"):
        weights.load(tmp_path)
    with pytest.raises(WeightsError, match="regular file"):
        weights.load("/dev/zero")
    with pytest.raises(TypeError):
        weights.load(io.BytesIO())


@pytest.fixture(params=["zip", "stream", "protocol4", "checkpoint", "npz", "safetensors"])
def valid_file(request, tmp_path):
    """The content of a valid file of each format."""
    if request.param in ("npz", "safetensors"):
        path = tmp_path / f"valid.{request.param}"
        weights.save(path, EXPECTED)
    else:
        path = GOLDEN / f"{request.param}.pth"
    return path.read_bytes()


def test_truncated_files(valid_file, tmp_path):
    path = tmp_path / "truncated"
    step = max(len(valid_file) // 200, 1)
    for length in {*range(0, len(valid_file), step), *range(30), len(valid_file) - 1}:
        path.write_bytes(valid_file[:length])
        refused(path)


def test_damaged_files(valid_file, tmp_path):
    """Changed bytes are either an error or without effect on the process."""
    path = tmp_path / "damaged"
    generator = random.Random(20)
    refusals = 0
    for _ in range(300):
        content = bytearray(valid_file)
        for _ in range(generator.choice([1, 1, 2, 8])):
            content[generator.randrange(len(content))] = generator.randrange(256)
        path.write_bytes(content)
        try:
            arrays = weights.load(path)
        except WeightsError:
            refusals += 1
        else:
            assert all(isinstance(array, np.ndarray) for array in arrays.values())
    assert 30 < refusals <= 300


# --- save ---


def test_save_refuses_what_it_cannot_write(tmp_path):
    for name in ("a.pth", "a", "a.npy"):
        with pytest.raises(ValueError, match=r"\.safetensors or \.npz"):
            weights.save(tmp_path / name, EXPECTED)
    path = tmp_path / "a.npz"
    for bad in (
        {"a": [1.0]},
        {"a": np.array([None])},
        {"a": np.zeros(1, "c8")},
        {1: np.zeros(1)},
        [1],
    ):
        with pytest.raises(TypeError, match="state_dict"):
            weights.save(path, bad)
    with pytest.raises(FileNotFoundError):
        weights.save(tmp_path / "none" / "a.npz", EXPECTED)
    assert not list(tmp_path.iterdir())


def test_save_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    weights.save(path, {"a": np.ones(3)})

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        weights.save(path, {"a": np.zeros(3)})
    assert list(tmp_path.iterdir()) == [path]
    assert_equal(weights.load(path), {"a": np.ones(3)})
