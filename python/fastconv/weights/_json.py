"""JSON objects that may be corrupt or hostile: ``config.json``, the header of safetensors."""

from __future__ import annotations

import json
import os
from typing import Any

from fastconv.weights._common import Fail, WeightsError, check_regular, quote

MAX_JSON_BYTES = 8 * 2**20
"""The most that is read: 3 times the ``config.json`` of a model with the 21,841 labels of ImageNet,
or a header of safetensors with about 70,000 tensors."""


def parse_json_object(content: bytes, fail: Fail) -> dict[str, Any]:
    """Return a JSON object; ``fail`` makes the error to raise."""
    try:
        value = json.loads(content.decode(), object_pairs_hook=_unique)
    except RecursionError:
        raise fail("the JSON is nested too deeply") from None
    except ValueError as error:
        raise fail(f"not valid JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise fail(f"expected a JSON object, got a {type(value).__name__}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict; where a name occurs twice, readers disagree about which value counts."""
    items: dict[str, Any] = {}
    for name, value in pairs:
        if name in items:
            raise ValueError(f"the name {quote(name)} occurs twice in one object")
        items[name] = value
    return items


def read_json_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file of JSON, which must be of sane size."""
    path = os.fspath(path)
    check_regular(path)
    with open(path, "rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise WeightsError(f"{path}: expected JSON of at most {MAX_JSON_BYTES} bytes; got more")
    return content


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file that holds one JSON object, such as ``config.json``.

    Raises
    ------
    WeightsError
        It holds something else, is nested too deeply, has a name twice, or exceeds 8 MiB.
    OSError
        It cannot be opened.
    """
    return parse_json_object(
        read_json_bytes(path), lambda message: WeightsError(f"{os.fspath(path)}: {message}")
    )
