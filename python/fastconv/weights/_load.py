"""`load`: find the format of a file from its first bytes, and let that format's reader read it."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from typing import Any

from fastconv.weights._common import (
    Array,
    Choose,
    Fail,
    Source,
    check_regular,
    check_use_ema,
    quote,
)
from fastconv.weights._parts import (
    Part,
    below,
    by_average,
    find_parts,
    is_stored,
    is_tensor,
    narrow,
    select_ema,
    without_wrapping,
)
from fastconv.weights._pickled import Unreadable
from fastconv.weights._shards import is_index, read_shards, weights_file


def load(
    path: str | os.PathLike[str], *, use_ema: bool | None = None, key: str | None = None
) -> dict[str, Array]:
    """Read a state dict from a file of weights, as NumPy arrays.

    The format is recognised from the content; the suffix of the file does not matter:

    - safetensors;
    - torch's ``.pth``/``.pt``: the zip format, and the stream format of torch before 1.6;
    - NumPy's ``.npz``;
    - the index of shards of these, such as ``model.safetensors.index.json``.

    It needs no torch, and runs no code from the file. torch's files are pickles. A small
    interpreter reads them and makes dicts, lists, tuples, strings, numbers and tensors. It skips
    any other object beside the weights (arguments, sets, an optimizer) without making it. An object
    in place of the weights, such as a whole model, is an error that names it.

    A checkpoint that wraps the state dict is unwrapped. If the top level is not all tensors, `load`
    takes the first of these entries that is a dict with tensors in it, again unwrapped if need be:
    ``"state_dict"``, ``"model"``, ``"model_state_dict"``, ``"model_state"``, ``"net"``,
    ``"network"``, ``"module"``, ``"params"``, ``"weights"``; then those of an exponential moving
    average (EMA): ``"model_ema"``, ``"state_dict_ema"``, ``"ema_state_dict"``,
    ``"model_ema_state_dict"``, ``"ema"``, ``"ema_model"``, ``"params_ema"``. If there is no such
    entry, it takes the tensors of the top level. It also takes these if their names have dots, as
    those of networks have, and the entries hold only averages, or fewer tensors each. The prefixes
    ``"module."`` of ``torch.nn.DataParallel`` and ``"_orig_mod."`` of ``torch.compile`` are removed
    if all names have them.

    Parameters
    ----------
    path : str or os.PathLike
        The file; or a folder with ``model.safetensors`` or ``pytorch_model.bin``, or the index of
        their shards.
    use_ema : bool, optional
        Whether to take the EMA weights or the others, if a file has both. Default: the others. True
        or False also divides a single state dict: EMA weights are those whose names begin with
        ``"ema."``, ``"ema_model."``, ``"model_ema."``, ``"ema_net."`` or ``"ema_module."``. The
        prefix is removed.
    key : str, optional
        Where in the file to look instead of at the top: the names of entries, then the beginning of
        the weights' names, joined by dots, such as ``"generator"`` or ``"state_dict.teacher"``. The
        prefix is removed.

    Returns
    -------
    dict of str to ndarray
        In the order of the file. Each array is C-contiguous, aligned, in native byte order and
        writable, and no two overlap. The file is read, not mapped: it may change or vanish
        afterwards. The arrays of a safetensors file are views of one buffer, which lives as long as
        any of them: ``.copy()`` keeps one alone. float16, float32, float64, integers and bool keep
        their dtype; bfloat16, which NumPy lacks, becomes float32 with the same values. Tensors of
        other kinds (float8, complex, sparse, quantized) are left out, with a warning.

    Raises
    ------
    TypeError
        An argument is of another type.
    WeightsError
        (a ``ValueError``) The file is none of these formats, or is truncated, corrupt or hostile,
        or its arrays would take far more memory than its size explains; or it has nothing that
        `use_ema` and `key` ask for.
    OSError
        The file, or a shard of it, cannot be opened, for example ``FileNotFoundError``.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from fastconv import weights
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.npz"
    >>> weights.save(path, {"conv.weight": np.ones((8, 3, 3, 3), dtype=np.float32)})
    >>> weights.load(path)["conv.weight"].shape
    (8, 3, 3, 3)
    """
    check_use_ema(use_ema)
    if key is not None and not isinstance(key, str):
        raise TypeError(f"key must be None or a string, got {type(key).__name__}")
    arrays, part = read(path, functools.partial(_first, use_ema=use_ema, key=key))
    if unreadable := part.unreadable:
        name, kind = next(iter(unreadable.items()))
        warnings.warn(
            f"{os.fspath(path)}: left out {len(unreadable)} tensors of kinds that NumPy lacks: "
            f"{quote(name)} is {kind}" + (", ..." if len(unreadable) > 1 else ""),
            stacklevel=2,
        )
    return arrays


def _first(root: object, fail: Fail, use_ema: bool | None, key: str | None) -> Part:
    """Choose the part of a checkpoint as `load` documents it."""
    if key is None:
        parts = find_parts(root, is_stored, fail)
    else:
        parts = below(find_parts(narrow(root, key, fail), is_stored, fail), key)
    if use_ema is not None:
        parts = [group for part in parts for group in by_average(part)]
    return without_wrapping(select_ema(parts, use_ema, fail)[0])


def read(
    path: str | os.PathLike[str], choose: Callable[[object, Fail], Part], is_shard: bool = False
) -> tuple[dict[str, Array], Part]:
    """Read the part of a file that ``choose(root, fail)`` takes from what the file holds.

    `root` is a mapping, maybe of mappings, to arrays, tensors that are not read yet, and anything
    else. `find_parts` finds the state dicts in it. The result is the arrays of the part, and the
    part.
    """
    path = os.fspath(path)
    if not is_shard:
        path = weights_file(path)
    check_regular(path)
    found: list[Part] = []

    def chosen(root: object, fail: Fail) -> dict[str, Any]:
        found.append(choose(root, fail))
        return found[0].values

    with open(path, "rb") as file:
        source = Source(file, path, os.fstat(file.fileno()).st_size)
        head = file.read(512)
        file.seek(0)
        if is_index(head) and not is_shard:
            arrays = read_shards(source, chosen, _read_shard)
        else:
            arrays = _reader(source, head)(source, chosen)
    return arrays, found[0]


def _read_shard(path: str) -> dict[str, Array | Unreadable]:
    """Read all tensors of a shard; for those that NumPy lacks, return their kind."""

    def choose(root: object, fail: Fail) -> Part:
        part = find_parts(root, is_tensor, fail)[0]
        readable = {k: v for k, v in part.values.items() if k not in part.unreadable}
        return part._replace(values=readable)

    arrays, part = read(path, choose, is_shard=True)
    return arrays | {name: Unreadable(kind) for name, kind in part.unreadable.items()}


def _reader(source: Source, head: bytes) -> Callable[[Source, Choose], dict[str, Array]]:
    """Return the reader of the format that the first 512 bytes of a file belong to."""
    # Imported here because `import fastconv` must stay fast, and zipfile and pickletools are slow.
    if head[8:9] == b"{":  # the length of the header, of any bytes, then a JSON object
        from fastconv.weights._safetensors import read_safetensors

        return read_safetensors
    if head[:1] == b"\x80":  # the pickle opcode PROTO
        from fastconv.weights._torch_stream import read_torch_stream

        return read_torch_stream
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _read_zip
    if head[257:262] == b"ustar":
        raise source.error(
            "this is a tar archive, perhaps a checkpoint of torch before 0.1.10; load it with "
            "torch and save its state_dict() again"
        )
    raise source.error(
        "not a weight file: expected safetensors, torch's .pth/.pt or NumPy's .npz, but the file "
        + (f"begins with {head[:24]!r}" if head else "is empty")
    )


def _read_zip(source: Source, choose: Choose) -> dict[str, Array]:
    """Read the chosen arrays of a zip archive: torch's, or ``.npz``."""
    import zipfile

    from fastconv.weights._npz import read_npz
    from fastconv.weights._torch_zip import is_torch_zip, read_torch_zip
    from fastconv.weights._zip import Archive, zip_errors

    with zip_errors(source), zipfile.ZipFile(source.file) as file:
        archive = Archive(source, file)
        if is_torch_zip(archive):
            return read_torch_zip(archive, choose)
        return choose(read_npz(archive), source.error)
