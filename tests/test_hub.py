"""The hub loader, against caches laid out as the hub does and a local server that answers as it."""

from __future__ import annotations

import builtins
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from fastconv import weights
from fastconv.weights import WeightsError, _json
from fastconv.weights._hub import fetch
from huggingface_hub import utils

SPEC = "hub:owner/repo"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOBODY = "http://127.0.0.1:9"
SECRET = "hf_secretsecretsecret"

TIMM = b'{"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 224, 224]}}'
TRANSFORMERS = b'{"model_type": "resnet", "architectures": ["ResNetForImageClassification"]}'
PREPROCESSOR = b'{"image_mean": [0.5, 0.5, 0.5]}'

# huggingface_hub reads its environment when it is imported, hence a process for each call.
SCRIPT = """
import json, sys, traceback
from fastconv.weights._hub import fetch
try:
    print(json.dumps(fetch(sys.argv[1])._asdict(), default=str))
except Exception as error:
    names = [base.__name__ for base in type(error).__mro__]
    print(json.dumps({"kind": names, "error": str(error), "trace": traceback.format_exc()}))
"""


def blob_name(file: str, content: bytes) -> str:
    """The name that the hub gives a blob: SHA-256 of large files, git's SHA-1 of small ones."""
    if file.endswith((".safetensors", ".bin")):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Cache:
    """A cache with one repository, as the hub lays it out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repo = path / "models--owner--repo"
        self.snapshot = self.repo / "snapshots" / COMMIT

    def add(self, *refs: str, **files: bytes) -> None:
        """Add files, with ``__`` for the dot in their names, and names of the commit."""
        for folder in (self.snapshot, self.repo / "blobs", self.repo / "refs"):
            folder.mkdir(parents=True, exist_ok=True)
        for ref in refs or ("main",):
            path = self.repo / "refs" / ref
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(COMMIT)
        for name, content in files.items():
            file = name.replace("__", ".")
            blob = self.repo / "blobs" / blob_name(file, content)
            blob.write_bytes(content)
            (self.snapshot / file).symlink_to(f"../../blobs/{blob.name}")

    def lack(self, file: str) -> None:
        """Note, as the hub does after a 404, that the repository does not have a file."""
        path = self.repo / ".no_exist" / COMMIT / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def blob(self, file: str) -> Path:
        return self.repo / "blobs" / Path(os.readlink(self.snapshot / file)).name


class Server(ThreadingHTTPServer):
    """A hub that serves `files`, or answers everything with `failure`: status and error code."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.cut: set[str] = set()
        self.failure: tuple[int, str] | None = None
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments: object) -> None:
        """Write nothing to stderr."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        content = self.answer()
        file = self.path.rpartition("/")[2]
        if file not in self.server.cut:
            self.wfile.write(content)
        else:  # half of it now; an attempt to resume fails
            self.wfile.write(content[: len(content) // 2])
            self.server.failure = (416, "")

    def answer(self) -> bytes:
        """Send a response's head, return its body."""
        server = self.server
        file = self.path.rpartition("/")[2]
        if "/resolve/" in self.path:  # not what huggingface_hub asks for itself
            server.requests.append((self.command, file))
            server.tokens.add(self.headers["Authorization"])
        status, code = server.failure or (
            (200, "") if file in server.files else (404, "EntryNotFound")
        )
        content = server.files[file] if status == 200 else b""
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if status == 200:
            self.send_header("ETag", f'"{server.etags.get(file, blob_name(file, content))}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "hub")


@pytest.fixture
def call(run_python: Callable[..., str], tmp_path: Path, cache: Cache) -> Callable[..., Any]:
    """Call `fetch` in a process of its own, offline unless it gets a server."""

    def call(spec: str = SPEC, server: Server | None = None, **environment: str) -> Any:
        output = run_python(
            *("-W", "error::UserWarning", "-c", SCRIPT, spec),
            **{
                "HF_HOME": str(tmp_path / "home"),
                "HF_HUB_CACHE": str(cache.path),
                "HF_HUB_OFFLINE": "0" if server else "1",
                "HF_ENDPOINT": server.url
                if server
                else "http://127.0.0.1:9",  # where nobody listens
                "HF_TOKEN": SECRET,
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "NO_PROXY": "*",
                **environment,
            },
        )
        assert SECRET not in output
        return json.loads(output)

    return call


@pytest.fixture(scope="module")
def safetensors(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    weights.save(path, {"fc.weight": np.arange(600, dtype=np.float32).reshape(2, 300)})
    return path.read_bytes()


def assert_error(result: Any, kind: str, *parts: str) -> None:
    """One error of that kind that names the repository and says all of `parts`, with no chain."""
    assert kind in result.get("kind", ()), result
    for part in (SPEC, *parts):
        assert part in result["error"]
    assert "\n" not in result["error"]
    assert result["trace"].count("Traceback") == 1


# --- Hits ---


@pytest.mark.parametrize(
    "spec", [SPEC, "hf-hub:owner/repo", f"{SPEC}@v1.0", f"{SPEC}@refs/pr/1", f"{SPEC}@{COMMIT}"]
)
def test_hit(call, cache, safetensors, spec):
    cache.add("main", "v1.0", "refs/pr/1", config__json=TIMM, model__safetensors=safetensors)
    result = call(spec)
    assert result == {
        "weights": str(cache.snapshot / "model.safetensors"),
        "config": json.loads(TIMM),
        "preprocessor": None,
        "repo": "owner/repo",
        "revision": COMMIT,
    }
    assert weights.load(result["weights"])["fc.weight"].shape == (2, 300)


def test_hit_without_network(call, cache, safetensors):
    cache.add(config__json=TIMM, model__safetensors=safetensors)
    result = call(HF_HUB_OFFLINE="0")
    assert result["revision"] == COMMIT


def test_preprocessor_of_transformers(call, cache, safetensors):
    files = {"config__json": TRANSFORMERS, "model__safetensors": safetensors}
    cache.add(**files)
    result = call()
    assert_error(result, "UserWarning", "preprocessor_config.json is not in the cache", "mean")
    cache.lack("preprocessor_config.json")
    assert call()["preprocessor"] is None
    (cache.repo / ".no_exist" / COMMIT / "preprocessor_config.json").unlink()
    cache.add(preprocessor_config__json=PREPROCESSOR)
    assert call()["preprocessor"] == json.loads(PREPROCESSOR)


def test_pytorch_model_where_there_is_no_safetensors(call, cache, server):
    cache.add(config__json=TIMM, pytorch_model__bin=b"pickle")
    assert call()["weights"].endswith("pytorch_model.bin")  # all that the cache has
    cache.add(model__safetensors=b"safe")
    assert call()["weights"].endswith("model.safetensors")
    (cache.snapshot / "model.safetensors").unlink()
    server.files = {"config.json": TIMM, "pytorch_model.bin": b"pickle", "model.safetensors": b"s"}
    assert call(server=server)["weights"].endswith("model.safetensors")
    (cache.snapshot / "model.safetensors").unlink()
    del server.files["model.safetensors"]
    assert call(server=server)["weights"].endswith("pytorch_model.bin")


INDEX = b'{"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}'
SHARDS = {"x-1.safetensors": b"one", "x-2.safetensors": b"two"}


def test_shards(call, cache, server):
    server.files = {"config.json": TIMM, "model.safetensors.index.json": INDEX, **SHARDS}
    downloaded = call(server=server)
    index = cache.snapshot / "model.safetensors.index.json"
    assert downloaded["weights"] == str(index)
    for name, content in SHARDS.items():
        assert (cache.snapshot / name).read_bytes() == content
    assert call() == downloaded
    blob = cache.blob("x-2.safetensors")
    blob.write_bytes(b"tow")
    assert_error(call(), "WeightsError", "x-2.safetensors", f"delete {blob} and load again")
    (cache.snapshot / "x-2.safetensors").unlink()
    assert_error(call(), "FileNotFoundError", "x-2.safetensors", "is not in the cache")
    del server.files["x-2.safetensors"]
    lacking = "the repository lacks the shard x-2.safetensors"
    assert_error(call(server=server), "FileNotFoundError", str(index), lacking)


def test_shards_outside_the_repository(call, cache):
    cache.add(config__json=TIMM)
    cache.lack("model.safetensors")
    content = INDEX.replace(b"x-2", b"../../x-2")
    blob = cache.repo / "blobs" / blob_name("index.json", content)
    blob.write_bytes(content)
    index = cache.snapshot / "model.safetensors.index.json"
    index.symlink_to(f"../../blobs/{blob.name}")
    assert_error(call(), "WeightsError", str(index), "../../x-2", "in the same folder")


def test_download_then_hit(call, cache, server, safetensors):
    server.files = {
        "config.json": TRANSFORMERS,
        "preprocessor_config.json": PREPROCESSOR,
        "model.safetensors": safetensors,
    }
    downloaded = call(server=server)
    assert Path(downloaded["weights"]).read_bytes() == safetensors
    assert downloaded["preprocessor"] == json.loads(PREPROCESSOR)
    assert server.tokens == {f"Bearer {SECRET}"}
    assert {file for method, file in server.requests if method == "GET"} == set(server.files)
    server.requests.clear()
    assert call(server=server) == downloaded
    assert server.requests == [("HEAD", "config.json")]  # has main moved?
    server.requests.clear()
    assert call(f"{SPEC}@{COMMIT}", server) == downloaded
    assert server.requests == []
    assert call() == downloaded


# --- Misses ---


def test_miss_while_offline(call, cache, safetensors):
    expected = ("is not in the cache", str(cache.repo), "HF_HUB_OFFLINE", "load once with network")
    assert_error(call(), "FileNotFoundError", "config.json", *expected)
    cache.add(config__json=TIMM)
    assert_error(call(), "FileNotFoundError", "model.safetensors", *expected)
    assert_error(call(f"{SPEC}@v2"), "FileNotFoundError", "config.json", *expected)
    cache.add(model__safetensors=safetensors)
    assert "error" not in call()


def test_missing_config(call, cache, server, safetensors):
    server.files = {"model.safetensors": safetensors}
    assert_error(call(server=server), "FileNotFoundError", "has no config.json", "pass its path")
    assert_error(call(), "FileNotFoundError", "has no config.json", "pass its path")  # now known


def test_missing_weights(call, cache, server):
    server.files = {"config.json": TIMM}
    expected = ("expected model.safetensors or pytorch_model.bin",)
    assert_error(call(server=server), "FileNotFoundError", *expected)
    assert_error(call(), "FileNotFoundError", *expected)


@pytest.mark.parametrize(
    ("failure", "kind", "expected"),
    [
        ((401, "RepoNotFound"), "FileNotFoundError", ("no such repository", "HF_TOKEN")),
        ((404, "RevisionNotFound"), "FileNotFoundError", ("no such revision", "branch")),
        ((403, "GatedRepo"), "PermissionError", ("gated", "accept its terms", "HF_TOKEN")),
        ((403, ""), "PermissionError", ("refuses access to config.json", "403", "HF_TOKEN")),
        ((451, ""), "ConnectionError", ("config.json", "HTTP 451", "later")),
    ],
)
def test_answers_of_the_hub(call, server, failure, kind, expected):
    server.failure = failure
    assert_error(call(server=server), kind, *expected)
    assert server.tokens == {f"Bearer {SECRET}"}


# --- Damage ---


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_wrong_hash(call, cache, server, safetensors, file):
    server.files = {"config.json": TIMM, "model.safetensors": safetensors}
    cache.add(config__json=TIMM, model__safetensors=safetensors)
    blob = cache.blob(file)
    content = blob.read_bytes()
    blob.write_bytes(content.replace(b"2", b"3", 1))
    parts = (str(cache.snapshot / file), f"delete {blob} and load again")
    assert_error(call(), "WeightsError", *parts)
    blob.unlink()
    assert_error(call(), "FileNotFoundError", "interrupted", str(cache.snapshot / file))
    assert "error" not in call(server=server)
    assert blob.read_bytes() == content


@pytest.mark.parametrize("etag", ["0" * 64, "0" * 40])
def test_wrong_hash_of_a_download(call, server, safetensors, etag):
    server.files = {"config.json": TIMM, "model.safetensors": safetensors}
    server.etags = {"model.safetensors": etag}
    assert_error(call(server=server), "WeightsError", f"expected {etag}", "delete")


def test_interrupted_download(call, cache, server, safetensors):
    server.files = {"config.json": TIMM, "model.safetensors": safetensors}
    server.cut = {"model.safetensors"}
    assert_error(call(server=server), "ConnectionError", "model.safetensors")
    assert not (cache.snapshot / "model.safetensors").exists()
    server.cut, server.failure = set(), None
    assert "error" not in call(server=server)


def test_interrupted_download_then_offline(call, cache):
    cache.add(config__json=TIMM)
    partial = cache.repo / "blobs" / f"{'0' * 64}.incomplete"
    partial.write_bytes(b"half")
    assert_error(call(), "FileNotFoundError", "interrupted", str(partial), "model.safetensors")
    partial.unlink()
    link = cache.snapshot / "model.safetensors"
    link.symlink_to(f"../../blobs/{'0' * 64}")
    assert_error(call(), "FileNotFoundError", "interrupted", str(link))


BAD_JSON = {
    "list": (b"[1]", "a JSON object, got a list"),
    "empty": (b"", "not valid JSON"),
    "truncated": (TIMM[:-1], "not valid JSON"),
    "not UTF-8": (b'{"a": "\xff"}', "not valid JSON"),
    "nested": (b'{"a":' * 10**5, "nested too deeply"),
    "twice": (b'{"a": {"b": 1, "b": 2}}', "the name 'b' occurs twice"),
    "huge integer": (b'{"a": ' + b"9" * 10**6 + b"}", "not valid JSON"),
    "too long": (b'{"a": "' + b"x" * 2**23 + b'"}', "at most 8388608 bytes"),
}


@pytest.mark.parametrize("kind", BAD_JSON)
def test_hostile_json(tmp_path, kind):
    content, match = BAD_JSON[kind]
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=match) as caught:
        _json.read_json_object(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 500


def test_json_in_special_files(tmp_path):
    path = tmp_path / "config.json"
    os.mkfifo(path)
    with pytest.raises(WeightsError, match="regular file"):
        _json.read_json_object(path)
    with pytest.raises(WeightsError, match="regular file"):
        _json.read_json_object("/dev/zero")
    with pytest.raises(IsADirectoryError):
        _json.read_json_object(tmp_path)


def test_config_that_is_no_object(call, cache):
    cache.add(config__json=b"[]", model__safetensors=b"")
    path = cache.snapshot / "config.json"
    assert_error(call(), "WeightsError", f"{path}: expected a JSON object, got a list")


# --- Without the network's help ---


@pytest.mark.parametrize(
    "spec",
    [
        "hub:resnet50",
        "hub:owner/repo/file",
        "hub:owner/repo@",
        "hub:/repo",
        "hub:owner/",
        "hub:",
        "hub: owner/repo",
        "hub:owner/repo@a b",
        "hub:owner/repo@../../x",
        "hub:owner/repo@/x",
        "hub:owner/repo@v1\n",
        "hub:owner/..",
        "hub:owner/a--b",
        "owner/repo",
        "https://huggingface.co/owner/repo",
    ],
)
def test_malformed_spec(spec):
    with pytest.raises(ValueError, match="expected 'hub:owner/repo' or 'hub:owner/repo@revision'"):
        fetch(spec)


def test_huggingface_hub_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'fastconv\[hub\]'"):
        fetch(SPEC)


def raised(error: Exception, cause: Exception | None = None) -> Callable[..., str]:
    """A stand-in for hf_hub_download that fails."""

    def download(*arguments: object, **options: object) -> str:
        raise error from cause

    return download


@pytest.mark.parametrize(
    ("error", "cause", "kind", "match"),
    [
        (
            utils.LocalEntryNotFoundError(SECRET),
            builtins.ConnectionError(SECRET),
            FileNotFoundError,
            "the hub cannot be reached; load once with network, or pass",
        ),
        (RuntimeError(SECRET), None, ConnectionError, r"config.json was interrupted \(RuntimeErr"),
        (OSError(SECRET), None, ConnectionError, "was interrupted"),
        (
            OSError(28, "No space left on device", "/cache/blob"),
            None,
            OSError,
            "cannot keep config.json: No space left on device: /cache/blob",
        ),
    ],
)
def test_other_failures(monkeypatch, error, cause, kind, match):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", raised(error, cause))
    with pytest.raises(kind, match=match) as caught:
        fetch(SPEC)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_interrupts_pass(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", raised(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        fetch(SPEC)


@pytest.mark.parametrize("progress", [True, False])
def test_progress(monkeypatch, progress):
    shown = []

    def download(*arguments: object, **options: object) -> str:
        shown.append(not utils.are_progress_bars_disabled())
        raise OSError

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    was_shown = not utils.are_progress_bars_disabled()
    with pytest.raises(ConnectionError):
        fetch(SPEC, progress=progress)
    assert shown == [progress]
    assert utils.are_progress_bars_disabled() != was_shown
