"""Checkpoints on the Hugging Face hub: ``"hub:owner/repo[@revision]"``.

The package huggingface_hub downloads and keeps the cache. In it, ``snapshots/COMMIT/FILE`` is a
symbolic link to ``blobs/HASH``, where ``HASH`` is the SHA-256 of a large file (git LFS, Xet) and
git's SHA-1 of a small one: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fastconv.weights._common import WeightsError, check_regular, quote
from fastconv.weights._json import parse_json_object, read_json_bytes
from fastconv.weights._shards import EXPECTED_FILES, WEIGHT_FILES, parse_index

_SPEC = re.compile(
    r"(?:hf-)?hub:(?P<repo>[a-z0-9][\w.-]*/[a-z0-9][\w.-]*)"
    r"(?:@(?P<revision>(?!.*\.\.)\w[\w.+-]*(?:/\w[\w.+-]*)*))?",
    re.ASCII | re.IGNORECASE,
)

_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubFiles(NamedTuple):
    """What `fetch` found in a repository."""

    weights: Path
    """The file of weights in the cache, or the index of its shards; all hashes are checked."""
    config: Mapping[str, Any]
    """What ``config.json`` holds: timm's, with ``architecture``, or transformers'."""
    preprocessor: Mapping[str, Any] | None
    """What ``preprocessor_config.json`` holds, where transformers keeps mean, std and size; None
    where the repository has none. timm's repositories are not asked: ``config`` has it all."""
    repo: str
    """``"owner/repo"``."""
    revision: str
    """The commit that all files are of."""


class _NotCached(FileNotFoundError):
    """A file is not in the cache, and the hub cannot be reached."""


def fetch(spec: str, progress: bool = True) -> HubFiles:
    """Get a model's weights and configuration from the Hugging Face hub, or from its local cache.

    What is in the cache is not downloaded again. Without network, or with ``HF_HUB_OFFLINE=1``,
    only the cache serves. All files are of one commit. A file whose name in the cache is a hash is
    compared with it. On file systems without symbolic links no hash is known.

    Parameters
    ----------
    spec : str
        ``"hub:owner/repo"``, optionally with ``"@revision"``: a branch, tag or commit, by default
        ``main``. ``hf-hub:`` is the same.
    progress : bool
        Show the bars of huggingface_hub on stderr.

    Returns
    -------
    HubFiles
        Weights from ``model.safetensors``, or from ``pytorch_model.bin`` if the repository (or,
        without network, the cache) does not have it. Either may be in shards.

    Raises
    ------
    ImportError
        huggingface_hub is not installed.
    ValueError
        `spec` has another form. As `WeightsError`: a file does not match its hash, or is no JSON.
    OSError
        There is no such repository, revision or file, or, offline, the cache lacks it
        (``FileNotFoundError``); it is private or gated (``PermissionError``); the network or the
        hub failed (``ConnectionError``).

    Examples
    --------
    >>> from fastconv.weights._hub import fetch
    >>> fetch("hub:resnet50")
    Traceback (most recent call last):
        ...
    ValueError: 'hub:resnet50' names no repository: expected 'hub:owner/repo' or \
'hub:owner/repo@revision', such as 'hub:timm/resnet50.tv_in1k'
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise _malformed(spec)
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{spec}: the hub needs the package huggingface_hub; install it: "
            "pip install 'fastconv[hub]'"
        ) from error

    repo = match["repo"]
    with _progress_bars(progress):
        path = _download(spec, repo, "config.json", match["revision"] or "main")
        if path is None:
            raise FileNotFoundError(
                f"{spec}: the repository has no config.json, which says how to build and feed the "
                "model; expected one by timm or transformers, or download the file of weights and "
                "pass its path"
            )
        revision = path.parent.name
        config = _read_json(spec, path)
        preprocessor = None
        if "architecture" not in config:  # not timm's
            preprocessor = _preprocessor(spec, repo, revision)
        weights = _weights(spec, repo, revision)
    return HubFiles(weights, config, preprocessor, repo, revision)


def _malformed(spec: str) -> ValueError:
    return ValueError(
        f"{quote(spec)} names no repository: expected 'hub:owner/repo' or "
        "'hub:owner/repo@revision', such as 'hub:timm/resnet50.tv_in1k'"
    )


@contextmanager
def _progress_bars(shown: bool) -> Iterator[None]:
    """Hide huggingface_hub's progress bars for a while, unless they are wanted."""
    from huggingface_hub import utils

    if shown or utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


def _preprocessor(spec: str, repo: str, revision: str) -> dict[str, Any] | None:
    name = "preprocessor_config.json"
    try:
        path = _download(spec, repo, name, revision)
    except _NotCached:
        pass
    else:
        return None if path is None else _read_json(spec, path)
    # Not an error: nothing in a complete copy of a repository tells that this file never was there.
    warnings.warn(
        f"{spec}: {name} is not in the cache and the hub cannot be reached; if the repository has "
        "it, the model's default mean, std and input size may not be those of the weights",
        stacklevel=3,
    )
    return None


def _weights(spec: str, repo: str, revision: str) -> Path:
    missed: _NotCached | None = None
    for name in WEIGHT_FILES:
        try:
            path = _download(spec, repo, name, revision)
        except _NotCached as error:
            missed = missed or error
            continue
        if path is not None:
            _check_file(spec, path)
            if name.endswith(".index.json"):
                _fetch_shards(spec, repo, revision, path)
            return path
    raise missed or FileNotFoundError(
        f"{spec}: the repository has no weights; expected {EXPECTED_FILES}"
    )


def _fetch_shards(spec: str, repo: str, revision: str, index: Path) -> None:
    """Get the files that an index names, which lie beside it in the cache."""
    where = f"{spec}: {index}"

    def fail(message: str) -> WeightsError:
        return WeightsError(f"{where}: {message}")

    for shard in parse_index(read_json_bytes(index), fail):
        path = _download(spec, repo, shard, revision)
        if path is None:
            raise FileNotFoundError(f"{where}: the repository lacks the shard {shard}")
        _check_file(spec, path)


def _check_file(spec: str, path: Path) -> None:
    check_regular(os.fspath(path))
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        _check_hash(spec, path, iter(lambda: file.read(2**20), b""), size)


def _read_json(spec: str, path: Path) -> dict[str, Any]:
    content = read_json_bytes(path)
    _check_hash(spec, path, [content], len(content))
    return parse_json_object(content, lambda message: WeightsError(f"{spec}: {path}: {message}"))


def _check_hash(spec: str, path: Path, chunks: Iterable[bytes], size: int) -> None:
    """Compare a file's content with the name of the blob that its link in the cache points to."""
    # Not resolve(): a blob may be a link to a store that several repositories share.
    blob = path.parent / os.readlink(path) if path.is_symlink() else path
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        digest, what = hashlib.sha256(), "SHA-256"
    elif _COMMIT.fullmatch(blob.name):
        digest, what = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False), "git SHA-1"
    else:
        return
    for chunk in chunks:
        digest.update(chunk)
    if digest.hexdigest() != blob.name:
        raise WeightsError(
            f"{spec}: {path} is damaged: its {what} is {digest.hexdigest()}, expected "
            f"{blob.name}; delete {os.path.normpath(blob)} and load again to download it anew"
        )


def _download(spec: str, repo: str, file: str, revision: str) -> Path | None:
    """Return the path of a file in the cache, None if the repository does not have the file."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache, utils

    def is_known_to_be_missing() -> bool:
        found = try_to_load_from_cache(repo, file, revision=revision)
        return found is not None and not isinstance(found, str)

    try:
        if _COMMIT.fullmatch(revision) and is_known_to_be_missing():
            return None
        return Path(hf_hub_download(repo, file, revision=revision))
    except utils.HFValidationError:
        raise _malformed(spec) from None
    except utils.LocalEntryNotFoundError as error:
        if _status(error) is None and is_known_to_be_missing():
            return None
        raise _explain(error, spec, repo, file) from None
    except utils.EntryNotFoundError:
        return None
    # The errors of the two HTTP libraries below huggingface_hub have no common base. They are
    # replaced, not chained: what they say may hold a header with a token, or a signed address.
    except Exception as error:
        raise _explain(error, spec, repo, file) from None


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error is about, if it is about one."""
    response = getattr(error.__cause__ or error, "response", None)
    return getattr(response, "status_code", None)


def _explain(error: Exception, spec: str, repo: str, file: str) -> OSError:
    """Return the error to raise: what failed, and what to do."""
    from huggingface_hub import utils

    login = "log in with a token that may read it (HF_TOKEN)"
    if isinstance(error, utils.RevisionNotFoundError):
        return FileNotFoundError(
            f"{spec}: the repository has no such revision; expected a branch, a tag or the 40 "
            "digits of a commit"
        )
    if isinstance(error, utils.GatedRepoError):
        return PermissionError(
            f"{spec}: the repository is gated: accept its terms on the hub, then {login}"
        )
    if isinstance(error, utils.RepositoryNotFoundError):
        return FileNotFoundError(
            f"{spec}: the hub has no such repository, or a private one: check the name, or {login}"
        )
    status = _status(error)
    if status in (401, 403):
        return PermissionError(f"{spec}: the hub refuses access to {file} (HTTP {status}): {login}")
    if status is not None:
        return ConnectionError(
            f"{spec}: the hub failed to send {file} (HTTP {status}); try again later"
        )
    if isinstance(error, utils.LocalEntryNotFoundError):
        return _not_cached(error, spec, repo, file)
    if isinstance(error, OSError) and error.filename:
        return OSError(f"{spec}: cannot keep {file}: {error.strerror}: {error.filename}")
    return ConnectionError(
        f"{spec}: the download of {file} was interrupted ({type(error).__name__}); check the "
        "network and load again"
    )


def _not_cached(error: Exception, spec: str, repo: str, file: str) -> _NotCached:
    from huggingface_hub import constants, utils

    folder = Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}")
    links = [snapshot / file for snapshot in folder.glob("snapshots/*")]
    partial = [path for path in links if path.is_symlink() and not path.exists()]
    partial += folder.glob("blobs/*.incomplete")
    offline = isinstance(error.__cause__, utils.OfflineModeIsEnabled)
    return _NotCached(
        f"{spec}: {file} is not in the cache {folder} and the hub "
        + ("must not be asked (HF_HUB_OFFLINE)" if offline else "cannot be reached")
        + (f"; an earlier download was interrupted and left {partial[0]}" if partial else "")
        + "; load once with network"
        + (" and HF_HUB_OFFLINE=0" if offline else "")
        + ", or pass the path of a file"
    )
