"""`save`: write a state dict as safetensors or ``.npz``."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping

import numpy as np
from numpy.lib import format as npy_format

from fastconv._files import replacing
from fastconv.weights._common import LOADED_DTYPES, Array


def save(path: str | os.PathLike[str], state_dict: Mapping[str, Array]) -> None:
    """Write a state dict to a file: safetensors or ``.npz``, by the suffix of ``path``.

    The file appears whole or not at all. It is written under another name in the same folder and
    then renamed, which replaces a file of that name.

    Parameters
    ----------
    path : str or os.PathLike
        A name that ends in ``.safetensors`` (needs the extra ``[weights]``) or ``.npz``.
    state_dict : mapping of str to ndarray
        Arrays of float16, float32, float64, integers or bool, of any strides and byte order.

    Raises
    ------
    ValueError
        `path` ends otherwise.
    TypeError
        A key is not a string, or a value not an array of those dtypes.
    ImportError
        The suffix is ``.safetensors`` and that package is not installed.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from fastconv import weights
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.npz"
    >>> weights.save(path, {"fc.bias": np.zeros(10)})
    >>> weights.load(path)["fc.bias"].dtype
    dtype('float64')
    """
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1]
    serialise = {".safetensors": _serialise_safetensors, ".npz": _serialise_npz}.get(suffix)
    if serialise is None:
        raise ValueError(
            f"path must end in .safetensors or .npz, which says the format to write; got {path!r}"
        )
    content = serialise(_checked(state_dict))
    with replacing(path) as new, open(new, "xb") as file:
        file.write(content)


def _checked(state_dict: Mapping[str, Array]) -> dict[str, Array]:
    """Check names and dtypes; return little-endian C-contiguous arrays."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"state_dict must be a mapping from names to arrays, such as model.state_dict(); "
            f"got {type(state_dict).__name__}"
        )
    arrays = {}
    for name, array in state_dict.items():
        if not isinstance(name, str):
            raise TypeError(f"state_dict must have strings as keys; got a {type(name).__name__}")
        if not isinstance(array, np.ndarray | np.generic) or array.dtype.name not in LOADED_DTYPES:
            got = array.dtype.name if hasattr(array, "dtype") else type(array).__name__
            raise TypeError(
                f"state_dict[{name!r}] must be an array of one of {', '.join(LOADED_DTYPES)}; got "
                f"{got}"
            )
        arrays[name] = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return arrays


def _serialise_safetensors(arrays: Mapping[str, Array]) -> bytes:
    """Return the content of a safetensors file."""
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise ImportError(
            "writing safetensors files needs the package safetensors; install it: "
            "pip install 'fastconv[weights]'"
        ) from error
    return save(dict(arrays))


def _serialise_npz(arrays: Mapping[str, Array]) -> bytes:
    import zipfile

    # Not np.savez: it takes the names as keyword arguments, so that "file" cannot be one.
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                npy_format.write_array(entry, array, allow_pickle=False)
    return content.getvalue()
