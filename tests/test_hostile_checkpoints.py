"""Corrupt and hostile checkpoints of every format through `create_model`: one clear error each.

Nothing that a file names is run, no file appears, and memory stays within bounds.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import fastconv
import numpy as np
import pytest
from fastconv import weights
from fastconv.weights import WeightsError
from torch_files import (
    call,
    dict_of,
    number,
    state_dict_of,
    storage,
    tensor,
    text,
    tuple_of,
    write_stream,
    write_zip,
)

MODEL = "lenet5"


def write_torch(write: Callable[..., None], path: Path, arrays: dict[str, np.ndarray]) -> None:
    write(path, *state_dict_of(arrays))


WRITERS: dict[str, Callable[[Path, dict[str, np.ndarray]], None]] = {
    "safetensors": weights.save,
    "npz": weights.save,
    "zip": lambda path, arrays: write_torch(write_zip, path, arrays),
    "stream": lambda path, arrays: write_torch(write_stream, path, arrays),
}
SUFFIX = {"safetensors": ".safetensors", "npz": ".npz", "zip": ".pth", "stream": ".pth"}


@pytest.fixture(params=WRITERS)
def file_format(request: pytest.FixtureRequest) -> str:
    """Each supported format in turn."""
    return request.param


@pytest.fixture
def path(tmp_path: Path, file_format: str) -> Path:
    return tmp_path / f"model{SUFFIX[file_format]}"


@pytest.fixture
def write(path: Path, file_format: str) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda arrays: WRITERS[file_format](path, arrays)


@pytest.fixture
def state_dict() -> dict[str, np.ndarray]:
    return dict(fastconv.create_model(MODEL, seed=3).state_dict())


def refused(path: Path, *parts: str, error: type[Exception] = ValueError) -> None:
    """One error, that says all of `parts`; the folder holds what it held."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(error) as caught:
        fastconv.create_model(MODEL, weights=path)
    for part in parts:
        assert part in str(caught.value)
    assert sorted(path.parent.rglob("*")) == before


# Loads in a process that may take 128 MiB more than it has: the error must be about the file.
IN_LITTLE_MEMORY = """
import resource, sys
import fastconv
import fastconv.weights._torch_stream, fastconv.weights._zip, fastconv.weights._safetensors
used = 4096 * int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, used + 2**27))
for path in sys.argv[2:]:
    try:
        fastconv.create_model(sys.argv[1], weights=path)
    except ValueError as error:
        assert str(error).startswith(path), error
        print(str(error).splitlines()[0])
    else:
        raise AssertionError(f"{path} was taken")
"""


@pytest.fixture
def refused_in_little_memory(run_python: Callable[..., str]) -> Callable[..., list[str]]:
    """Load files in a process with little memory; return the errors."""

    def refuse(*paths: Path) -> list[str]:
        arguments = [str(path) for path in paths]
        errors = run_python("-c", IN_LITTLE_MEMORY, MODEL, *arguments).splitlines()
        assert len(errors) == len(paths)
        return errors

    return refuse


# --- Every format, every defect ---


def test_what_is_damaged_below_is_valid(path, write, state_dict):
    write(state_dict)
    model = fastconv.create_model(MODEL, weights=path)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state_dict[name])


def test_missing_tensor(path, write, state_dict):
    name = list(state_dict)[-1]
    del state_dict[name]
    write(state_dict)
    refused(path, "missing", name)


def test_extra_tensor(path, write, state_dict):
    write({**state_dict, "extra.weight": np.ones((3, 2), dtype=np.float32)})
    refused(path, "unexpected", "extra.weight")


def test_wrong_shape(path, write, state_dict):
    name = next(name for name, array in state_dict.items() if array.ndim == 4)
    shape = state_dict[name].shape
    write({**state_dict, name: np.ones((*shape[:3], 4), dtype=np.float32)})
    refused(path, name, str(shape), str((*shape[:3], 4)))


def test_truncated_file(path, write, state_dict):
    write(state_dict)
    content = path.read_bytes()
    for length in (0, 1, 9, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(path, str(path), error=WeightsError)


def write_bomb(file_format: str, path: Path) -> None:
    """A file under 2 MB that stands for 256 MiB or more."""
    zeros = np.zeros(2**26, dtype=np.float32)
    huge = tensor(storage(numel=zeros.size), 0, zeros.shape)
    options = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
    match file_format:
        case "npz":
            with (
                zipfile.ZipFile(path, "w", **options) as archive,
                archive.open("fc.weight.npy", "w") as file,
            ):
                np.lib.format.write_array(file, zeros)
        case "zip":
            write_zip(path, dict_of(a=huge), {"0": zeros}, **options)
        case "stream":  # not compressed: a view that repeats one element
            write_stream(path, dict_of(a=tensor(None, 0, (2**14, 2**14), (0, 0))))
        case "safetensors":  # neither: a megabyte of header that claims more than the file has
            entry = {"dtype": "F32", "shape": [2**28], "data_offsets": [0, 2**30]}
            header = json.dumps({"a": entry, "__metadata__": {"x": "x" * 2**20}}).encode()
            path.write_bytes(struct.pack("<Q", len(header)) + header)


def test_bomb(path, file_format, refused_in_little_memory):
    write_bomb(file_format, path)
    assert path.stat().st_size < 2 * 2**20
    [error] = refused_in_little_memory(path)
    assert "file of" in error


def test_pickle_that_calls_os_system(path, file_format, state_dict, tmp_path):
    sentinel = tmp_path / "sentinel"
    command = f"touch {sentinel}"
    value, data = state_dict_of(state_dict)
    attack = value + b"(" + text("x") + call("os.system", text(command)) + b"u"

    class Attack:
        def __reduce__(self):
            return os.system, (command,)

    match file_format:
        case "zip":
            write_zip(path, attack, data)
        case "stream":
            write_stream(path, attack, data)
        case "npz":
            np.savez(path, **state_dict, attack=np.array([Attack()], dtype=object))
        case "safetensors":  # which holds no pickles: a pickle under its name
            path.write_bytes(pickle.dumps({"attack": Attack()}, 2))
    refused(path, str(path), "'|O'" if file_format == "npz" else "system", error=WeightsError)
    assert not sentinel.exists()


# --- safetensors ---


def safetensors(header: bytes | dict[str, object], data: bytes = bytes(8)) -> bytes:
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def entry(shape: list[object], *offsets: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


SAFETENSORS = {
    "header of 100 MB claimed": (struct.pack("<Q", 10**8) + b"{}", "claims 100000000 bytes"),
    "header of exabytes claimed": (struct.pack("<Q", 2**63) + b"{}", "at most 8388608"),
    "header longer than the file": (struct.pack("<Q", 1000) + b"{}    ", "not valid JSON|end at"),
    "one range twice": (safetensors({"a": entry([2], 0, 8), "b": entry([2], 0, 8)}), "offset"),
    "overlap": (safetensors({"a": entry([2], 0, 8), "b": entry([1], 4, 8)}), "offset"),
    "hole": (safetensors({"a": entry([1], 0, 4), "b": entry([0], 8, 8)}), "offset"),
    "backwards": (safetensors({"a": entry([1], 8, 4), "b": entry([1], 4, 8)}), "offset"),
    "unclaimed data": (safetensors({"a": entry([1], 0, 4)}), "end at byte"),
    "missing data": (safetensors({"a": entry([4], 0, 16)}), "end at byte"),
    "one name twice": (
        safetensors(b'{"a":%b,"a":%b}' % ((json.dumps(entry([2], 0, 8)).encode(),) * 2)),
        "the name 'a' occurs twice",
    ),
    "NaN as a size": (safetensors({"a": entry([float("nan")], 0, 8)}), "whole numbers"),
    "fraction as a size": (safetensors({"a": entry([2.0], 0, 8)}), "whole numbers"),
    "text as a size": (safetensors({"a": entry(["2"], 0, 8)}), "whole numbers"),
    "negative size": (safetensors({"a": entry([-2], 0, 8)}), "whole numbers"),
    "sizes that overflow": (safetensors({"a": entry([2**33, 2**33], 0, 8)}), "impossible"),
    "huge sizes and none": (safetensors({"a": entry([0, 2**62, 2**62], 0, 0)}, b""), "impossible"),
    "33 dimensions": (safetensors({"a": entry([1] * 33, 0, 4)}, bytes(4)), "33 dimensions"),
    "no offsets": (safetensors({"a": {"dtype": "F32", "shape": [2]}}), "no data_offsets"),
    "offsets of text": (
        safetensors({"a": {**entry([2]), "data_offsets": ["0", "8"]}}),
        "no data_off",
    ),
    "huge offsets": (safetensors({"a": entry([1], 10**4000, 10**4000 + 4)}), "begin at 0"),
    "offsets that do not fit": (safetensors({"a": entry([3], 0, 8)}), r"offsets \(0, 8\), which"),
    "huge offset": (safetensors({"a": entry([1], 0, 10**4000)}), r"\(0, a huge number\)"),
    "three offsets": (safetensors({"a": entry([2], 0, 4, 8)}), "no data_offsets"),
    "truth as a size": (safetensors({"a": entry([True], 0, 4)}, bytes(4)), "whole numbers"),
    "lacked dtype": (
        safetensors({"a": entry([8], 0, 8, dtype="F8_E4M3")}),
        "'a' is a tensor of F8",
    ),
    "unheard-of dtype": (safetensors({"a": entry([8], 0, 8, dtype="F9")}), "dtype 'F9'"),
    "lacked dtype of wrong size": (
        safetensors({"a": entry([9], 0, 8, dtype="F8_E5M2")}),
        "do not fit its dtype F8_E5M2",
    ),
    "huge lacked dtype": (
        safetensors({"a": entry([2**63, 2**63], 0, 8, dtype="F4")}),
        "impossible shape",
    ),
    "list as a dtype": (safetensors({"a": entry([2], 0, 8, dtype=[])}), "dtype"),
    "list as an entry": (safetensors({"a": [1, 2]}), "no dtype, shape and data_offsets"),
    "list as a header": (safetensors(b'{"a":[]} []'), "not valid JSON"),
    "nested": (safetensors(b'{"a":' * 10**5), "nested too deeply"),
    "no UTF-8": (safetensors(b'{"\xff":[]}'), "not valid JSON"),
}


@pytest.mark.parametrize("kind", SAFETENSORS)
def test_hostile_safetensors(tmp_path, kind):
    content, match = SAFETENSORS[kind]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=match) as caught:
        fastconv.create_model(MODEL, weights=path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < len(str(path)) + 400


def test_safetensors_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "model.safetensors"
    names = [f"t{index}" for index in range(20)]
    path.write_bytes(safetensors({name: entry([0], 0, 0) for name in names}, b""))
    assert list(weights.load(path)) == names


def test_sparse_and_long_files(tmp_path, refused_in_little_memory):
    """Files of gigabytes that take no room on the disk, and a long header that says nothing."""
    header = safetensors({"a": entry([2], 0, 8)})
    sparse = {"a.safetensors": header, "b.pth": b"\x80\x02", "c.pth": b"PK\x03\x04"}
    paths = []
    for name, content in sparse.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
        os.truncate(paths[-1], 2**34)
    paths.append(tmp_path / "d.safetensors")
    tensors = {f"t{index}": entry([0], 0, 0) for index in range(200_000)}
    paths[-1].write_bytes(safetensors(tensors, b""))
    assert refused_in_little_memory(*paths)[-1].endswith("expected at most 8388608")


# --- Zip archives ---


def test_names_that_leave_the_folder(tmp_path, state_dict):
    inside = tmp_path / "folder"
    inside.mkdir()
    for name in ("../evil", "/tmp/fastconv-evil", "..\\evil", "a/../../evil", "evil\n\x1b[31m"):
        path = inside / "model.npz"
        weights.save(path, {**state_dict, name: np.ones(1, dtype=np.float32)})
        refused(path, "unexpected")
        outside = storage(f"../../{name}", 1)
        write_zip(path, dict_of(a=tensor(outside, 0, (1,))), {f"../../{name}": np.ones(1, "f4")})
        refused(path, "missing")
    assert sorted(tmp_path.iterdir()) == [inside]
    assert not Path("/tmp/fastconv-evil").exists()


def test_overlapping_zip_entries(tmp_path, refused_in_little_memory):
    """Many entries of one stretch of compressed data (Fifield, A better zip bomb, 2019)."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (33554432,), }".ljust(117)
        magic = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
        archive.writestr("0000.npy", magic + header + b"\n" + bytes(2**25))
        first = archive.getinfo("0000.npy")
        for index in range(1, 1000):
            copy = zipfile.ZipInfo(f"{index:04}.npy")
            for field in ("CRC", "compress_size", "file_size", "header_offset", "compress_type"):
                setattr(copy, field, getattr(first, field))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
    path = tmp_path / "model.npz"
    path.write_bytes(content.getvalue())
    [error] = refused_in_little_memory(path)
    assert "far more data" in error


def test_compressed_pickle(tmp_path, refused_in_little_memory):
    """A string that takes four bytes a character once it is decoded."""
    path = tmp_path / "model.pth"
    value = text("\U0001f600" + "a" * 60 * 2**20)
    write_zip(path, value, {}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**18
    [error] = refused_in_little_memory(path)
    assert "data.pkl" in error


# --- Numbers that mislead what comes after reading ---


def test_classifier_without_inputs(path, file_format, write, state_dict):
    """No bytes in the file, yet as many classes as fill the memory."""
    weight = list(state_dict)[-2]
    assert state_dict[weight].ndim == 2
    write({**state_dict, weight: np.empty((2**40, 0), dtype=np.float32)})
    refused(path, weight, str((2**40, 0)))


def test_classifier_of_many_classes(path, write, state_dict, refused_in_little_memory):
    """A vector in the place of the classifier's matrix."""
    weight = list(state_dict)[-2]
    write({**state_dict, weight: np.zeros(2**22, dtype=np.float32)})
    refused(path, weight, str((2**22,)))
    [error] = refused_in_little_memory(path)
    assert "does not fit" in error


# --- config.json ---


def timm(**cfg: object) -> dict[str, object]:
    return {"architecture": "resnet18", "pretrained_cfg": cfg}


CONFIGS = {
    "many channels": timm(input_size=[10**9, 224, 224]),
    "no channels": timm(input_size=[0, 224, 224]),
    "large image": timm(input_size=[3, 10**9, 10**9]),
    "negative image": timm(input_size=[3, -1, 224]),
    "two sizes": timm(input_size=[224, 224]),
    "text as sizes": timm(input_size="abc"),
    "NaN as mean": timm(mean=[float("nan")] * 3),
    "no deviation": timm(std=[0, 0, 0]),
    "one mean": timm(mean=[0.5]),
    "tiny crop": timm(crop_pct=1e-300),
    "text as classes": timm(num_classes="x" * 5000),
    "infinite classes": timm(num_classes=float("inf")),
    "list of cfg": {"architecture": "resnet18", "pretrained_cfg": []},
    "other architecture": {"architecture": "x" * 5000},
    "no architecture": {"architecture": None},
    "long model_args": {"architecture": "resnet18", "model_args": {"x": "y" * 5000}},
    "dict as model_type": {"model_type": {}},
    "many channels, transformers": {"model_type": "resnet", "num_channels": 10**9},
    "labels with holes": {"model_type": "resnet", "id2label": {"0": "a", "5": "b"}},
    "nested": '{"architecture":' * 10**5,
    "twice": '{"architecture": "resnet18", "architecture": "resnet18"}',
    "too long": json.dumps({"architecture": "resnet18", "x": "y" * 2**23}),
}


@pytest.fixture(scope="module")
def resnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resnet")
    weights.save(folder / "model.safetensors", fastconv.create_model("resnet18").state_dict())
    return folder


@pytest.mark.parametrize("kind", CONFIGS)
def test_hostile_config(resnet_folder, kind):
    config = CONFIGS[kind]
    path = resnet_folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(ValueError, match=r"expected|nested|twice|cannot do") as caught:
        fastconv.create_model("resnet18", weights=resnet_folder)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < len(str(path)) + 500


@pytest.mark.parametrize(
    ("preprocessor", "match"),
    [
        ({"resample": 99}, "resample is 99; expected 0 to 5"),
        ({"resample": -1}, "resample is -1; expected 0 to 5"),
        ({"resample": 2.5}, "resample is 2.5; expected a whole number"),
        ({"size": 0}, "size is 0; expected 1 or more"),
        ({"size": 224.7}, "size is 224.7; expected a whole number"),
        ({"size": True}, "size is True; expected a whole number"),
        ({"size": {"shortest_edge": 0}}, "size is 0; expected 1 or more"),
        ({"size": 10**9}, "malformed: input_size is"),
        ({"size": [1]}, "size is .1.; expected a whole number"),
        ({"crop_pct": "1", "size": {"shortest_edge": 224}}, "crop_pct is '1'; expected a number"),
        ({"rescale_factor": 0}, "malformed"),
        ({"rescale_factor": "1/255"}, "rescale_factor is '1/255'; expected a number"),
        ({"image_mean": [0.5] * 2}, "image_mean is .0.5, 0.5.; expected 3 numbers"),
        ({"image_std": [0.5] * 2}, "image_std is .0.5, 0.5.; expected 3 numbers"),
        ({"image_std": "0.5"}, "image_std is '0.5'; expected 3 numbers"),
        ({"image_std": [float("nan")] * 3}, "malformed: std is"),
    ],
)
def test_hostile_preprocessor(resnet_folder, preprocessor, match):
    (resnet_folder / "config.json").write_text('{"model_type": "resnet"}')
    path = resnet_folder / "preprocessor_config.json"
    path.write_text(json.dumps(preprocessor))
    with pytest.raises(ValueError, match=match) as caught:
        fastconv.create_model("resnet18", weights=resnet_folder)
    assert str(caught.value).startswith(f"{path}: ")
    path.unlink()


# --- What is no file ---


def test_special_files(tmp_path):
    refused(tmp_path / "none.pth", "none.pth", error=FileNotFoundError)
    fifo = tmp_path / "fifo.pth"
    os.mkfifo(fifo)
    refused(fifo, str(fifo), "regular file", error=WeightsError)
    loop = tmp_path / "loop.pth"
    loop.symlink_to(loop)
    refused(loop, str(loop), "symbolic links", error=OSError)
    folder = tmp_path / "folder.pth"
    folder.mkdir()
    refused(folder, str(folder), error=OSError)
    device = Path("/dev/zero")
    with pytest.raises(WeightsError, match="regular file"):
        fastconv.create_model(MODEL, weights=device)


def test_recursive_calls_in_a_pickle(tmp_path):
    """Opcodes within the limits, nested as deep as they go."""
    deep = b"".join([b"ccollections\nOrderedDict\n"] * 10**5) + b")R" * 10**5
    for write in (write_zip, write_stream):
        path = tmp_path / "model.pth"
        write(path, dict_of(a=tensor(), b=deep))
        refused(path, str(path), error=WeightsError)
        write(path, dict_of(a=tensor(number(1)), b=tuple_of(*[tensor()] * 3)))
        refused(path, str(path), error=WeightsError)
