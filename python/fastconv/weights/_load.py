"""`load`: find out what a file is from its first bytes and hand it to that format's reader."""

from __future__ import annotations

import os
from collections.abc import Callable

from fastconv.weights._common import Array, Source, check_regular


def load(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Read a state dict from a file of weights, as NumPy arrays.

    The format is recognised from the content; the suffix of the file does not matter:

    - safetensors;
    - torch's ``.pth``/``.pt``: the zip format, and the stream format of torch before 1.6;
    - NumPy's ``.npz``.

    No torch is needed and no code from the file is run. torch files are pickles; they are read by a
    small interpreter that knows only dicts, lists, tuples, strings, numbers and tensors. A pickle
    that names anything else is refused, with an error that says what it named.

    A checkpoint that wraps the state dict is unwrapped. Where the top level is not all tensors, the
    first of the entries ``"state_dict"``, ``"model"``, ``"model_state_dict"``, ``"model_ema"``,
    ``"state_dict_ema"`` that is a dict with tensors in it is taken (again unwrapped, if need be);
    without one, the tensors of the top level are. Entries beside them, such as ``"epoch"`` or
    ``"optimizer"``, are ignored. The prefix ``"module."`` of ``torch.nn.DataParallel`` is removed
    where all keys have it.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    dict of str to ndarray
        In the order of the file. Each array is C-contiguous, aligned, in native byte order and
        writable, and no two overlap. The file is read, not mapped: it may change or vanish
        afterwards. The arrays of a safetensors file are views of one buffer, which lives as long as
        any of them: ``.copy()`` keeps one alone. float16, float32, float64, integers and bool keep
        their dtype; bfloat16, which NumPy lacks, becomes float32 with the same values.

    Raises
    ------
    WeightsError
        (a ``ValueError``) The file is none of these formats, or is truncated, corrupt or hostile,
        or its arrays would take far more memory than its size explains.
    OSError
        The file cannot be opened, for example ``FileNotFoundError``.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from fastconv import weights
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.npz"
    >>> weights.save(path, {"conv.weight": np.ones((8, 3, 3, 3), dtype=np.float32)})
    >>> weights.load(path)["conv.weight"].shape
    (8, 3, 3, 3)
    """
    path = os.fspath(path)
    check_regular(path)
    with open(path, "rb") as file:
        source = Source(file, path, os.fstat(file.fileno()).st_size)
        head = file.read(512)
        file.seek(0)
        arrays = _reader(source, head)(source)
    if arrays and all(key.startswith("module.") for key in arrays):
        arrays = {key.removeprefix("module."): array for key, array in arrays.items()}
    return arrays


def _reader(source: Source, head: bytes) -> Callable[[Source], dict[str, Array]]:
    """Return the reader of the format that the first 512 bytes of a file belong to."""
    # Imported here because `import fastconv` must stay fast, and zipfile and pickletools are slow.
    if head[8:9] == b"{":  # the length of the header, of any bytes, then a JSON object
        from fastconv.weights._safetensors import read_safetensors

        return read_safetensors
    if head[:1] == b"\x80":  # the pickle opcode PROTO
        from fastconv.weights._torch_stream import read_torch_stream

        return read_torch_stream
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        from fastconv.weights._zip import read_zip

        return read_zip
    if head[257:262] == b"ustar":
        raise source.error(
            "this is a tar archive, perhaps a checkpoint of torch before 0.1.10; load it with "
            "torch and save its state_dict() again"
        )
    raise source.error(
        "not a weight file: expected safetensors, torch's .pth/.pt or NumPy's .npz, but the file "
        + (f"begins with {head[:24]!r}" if head else "is empty")
    )
