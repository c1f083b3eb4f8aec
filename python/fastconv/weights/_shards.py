"""Weights in several files: an index says which tensor is in which.

``{"weight_map": {"fc.weight": "model-00002-of-00002.safetensors", ...}}``, as transformers and
huggingface_hub write it: https://huggingface.co/docs/transformers/main/big_models
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

from fastconv.weights._common import Array, Choose, Fail, Source, quote
from fastconv.weights._json import MAX_JSON_BYTES, parse_json_object
from fastconv.weights._pickled import Unreadable

WEIGHT_FILES = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
"""Names of weights in a folder or a repository of the hub; the first one there is taken."""

EXPECTED_FILES = "model.safetensors or pytorch_model.bin, or their shards with an .index.json"

_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def is_index(head: bytes) -> bool:
    """Whether these first bytes are JSON. Safetensors begin with a length, which has zeros."""
    return head[:1] == b"{" and b"\0" not in head[:8]


def weights_file(path: str) -> str:
    """Return the file of weights that a path names: the path, or a file in it if it is a folder.

    Raises
    ------
    FileNotFoundError
        The folder has none.
    """
    if not os.path.isdir(path):
        return path
    for name in WEIGHT_FILES:
        if os.path.isfile(file := os.path.join(path, name)):
            return file
    raise FileNotFoundError(
        f"{path}: the folder has no weights; expected {EXPECTED_FILES}, or pass the path of a file"
    )


def parse_index(content: bytes, fail: Fail) -> dict[str, list[str]]:
    """Return the names of the tensors in each shard.

    A shard lies beside its index: its name must not be a path.
    """
    if len(content) > MAX_JSON_BYTES:
        raise fail(f"expected an index of at most {MAX_JSON_BYTES} bytes; got more")
    weight_map = parse_json_object(content, fail).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise fail("expected an index of shards, with a weight_map from tensors to files")
    shards: dict[str, list[str]] = {}
    for name, file in weight_map.items():
        if not isinstance(file, str) or not _NAME.fullmatch(file):
            raise fail(
                f"the index has {quote(name)} in {quote(str(file))}; expected the name of a file "
                "in the same folder"
            )
        shards.setdefault(file, []).append(name)
    return shards


def read_shards(
    source: Source, choose: Choose, read_shard: Callable[[str], Mapping[str, Array | Unreadable]]
) -> dict[str, Array]:
    """Read the chosen tensors of all shards, which must hold exactly what the index says."""
    shards = parse_index(source.file.read(MAX_JSON_BYTES + 1), source.error)
    folder = os.path.dirname(source.path)
    tensors: dict[str, Array | Unreadable] = {}
    for file, names in shards.items():
        try:
            shard = read_shard(os.path.join(folder, file))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{source.path}: the shard {file} is missing") from error
        if lacking := [name for name in names if name not in shard]:
            raise source.error(
                f"the shard {file} lacks the tensor {quote(lacking[0])}, which the index has there"
            )
        if extra := shard.keys() - {*names}:
            raise source.error(
                f"the shard {file} has the tensor {quote(min(extra))}, which the index does not "
                "have there"
            )
        tensors.update(shard)
    return choose(tensors, source.error)
