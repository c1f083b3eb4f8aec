"""torch's two formats, written by hand: also what ``torch.save`` would not write.

A value is the opcodes of a pickle: https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import pickle
import struct
import zipfile

import numpy as np


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<I", len(data)) + data


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def dict_of(**items):
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def name_of(path):
    module, name = path.rsplit(".", 1)
    return f"c{module}\n{name}\n".encode()


def call(path, *arguments):
    return name_of(path) + tuple_of(*arguments) + b"R"


def storage(key="0", numel=4, kind="torch.FloatStorage", view=b""):
    return (
        tuple_of(text("storage"), name_of(kind), text(key), text("cpu"), number(numel), view) + b"Q"
    )


def tensor(data=None, offset=0, shape=(4,), stride=(1,)):
    return call(
        "torch._utils._rebuild_tensor_v2",
        storage() if data is None else data,
        number(offset),
        tuple_of(*map(number, shape)),
        tuple_of(*map(number, stride)),
        b"\x89",
        call("collections.OrderedDict"),
    )


VALUES = np.array([1, -2, 3.5, 1e30], dtype=np.float32)


def write_zip(path, value, data=None, byteorder=None, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + value + b".")
        if byteorder:
            archive.writestr("x/byteorder", byteorder)
        for key, content in ({"0": VALUES} if data is None else data).items():
            archive.writestr(f"x/data/{key}", content.tobytes())


def write_stream(path, value, data=None):
    data = {"0": VALUES} if data is None else data
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
    keys = pickle.dumps(list(data), 2)
    storages = [struct.pack("<q", len(content)) + content.tobytes() for content in data.values()]
    path.write_bytes(b"".join([*head, b"\x80\x02", value, b".", keys, *storages]))


def state_dict_of(arrays, begin=0):
    """Return the pickle of a state dict and the storages that it refers to, one a tensor.

    The arrays are C-contiguous; the keys of the storages count from ``begin``.
    """
    kinds = {"float32": "torch.FloatStorage", "int64": "torch.LongStorage"}
    items = []
    for index, (name, array) in enumerate(arrays.items(), begin):
        data = storage(str(index), array.size, kinds[array.dtype.name])
        stride = [step // array.itemsize for step in array.strides]
        items.append(text(name) + tensor(data, 0, array.shape, stride))
    data = {str(index): array.ravel() for index, array in enumerate(arrays.values(), begin)}
    return b"}(" + b"".join(items) + b"u", data
