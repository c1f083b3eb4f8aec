"""A process that runs one peer, so that thread pools, libraries and crashes stay apart.

The parent sends pickled requests through a pipe and gets a pickled answer to each::

    ("open", "package.module:Class", threads)  -> {"name", "version", "settings"}
    ("load", case, folder)                     -> the output for the input in the folder
    ("time", calls)                            -> seconds of each call
    ("memory",)                                -> peak resident bytes of the process
    ("profile",)                               -> steps of the case, as dictionaries
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Run = Callable[[], NDArray[Any]]


class Peer(Protocol):
    """What a plug-in defines: how one library computes the cases of the suites.

    It is created in a process of its own, in which nothing else runs. It may also define
    ``profile()``, which returns the steps of the case that was loaded last, as
    `fastconv.Network.profile` does.
    """

    name: str
    version: str
    settings: str
    """The settings that were chosen for speed, for the report."""

    def __init__(self, threads: int) -> None:
        """Import the library and limit it to so many threads."""

    def load(self, case: Any, folder: Path) -> Run:
        """Return a call that computes the case from the files in the folder.

        Raises
        ------
        NotImplementedError
            If the library cannot compute it; the message says why.
        """


class PeerError(RuntimeError):
    """A peer that failed; the message is what it said."""


class Worker:
    """The parent's side of such a process.

    Parameters
    ----------
    peer : str
        ``"package.module:Class"``.
    threads : int
        For the peer.
    environment : mapping of str to str
        Variables that its library reads when it is imported.
    """

    def __init__(self, peer: str, threads: int, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fastconv.benchmark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        try:
            info = self._ask("open", peer, threads)
        except PeerError:
            self.close()
            raise
        self.name: str = info["name"]
        self.version: str = info["version"]
        self.settings: str = info["settings"]

    def load(self, case: Any, folder: Path) -> NDArray[Any]:
        """Prepare a case and return its output."""
        output: NDArray[Any] = self._ask("load", case, folder)
        return output

    def time(self, calls: int) -> list[float]:
        """Return the seconds of each of so many calls in a row."""
        seconds: list[float] = self._ask("time", calls)
        return seconds

    def memory(self) -> int:
        """Return the most bytes of memory that the process has used."""
        nbytes: int = self._ask("memory")
        return nbytes

    def profile(self) -> list[dict[str, Any]]:
        """Return the steps of the loaded case with their times; none if the peer cannot tell."""
        steps: list[dict[str, Any]] = self._ask("profile")
        return steps

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):  # it may have ended before
            self._process.communicate()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask(self, *request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            kind, answer = pickle.load(self._process.stdout)
        except (EOFError, OSError) as error:
            status = self._process.wait()
            raise PeerError(f"its process ended with status {status}") from error
        if kind is not None:
            raise (NotImplementedError if kind == "NotImplementedError" else PeerError)(answer)
        return answer


class _Served:
    """The child's side: the peer, and the case that is loaded."""

    def open(self, peer: str, threads: int) -> dict[str, str]:
        module, _, name = peer.partition(":")
        self.peer: Peer = getattr(importlib.import_module(module), name)(threads)
        return {key: getattr(self.peer, key) for key in ("name", "version", "settings")}

    def load(self, case: Any, folder: Path) -> NDArray[Any]:
        self.run = self.peer.load(case, folder)
        return np.array(self.run())

    def time(self, calls: int) -> list[float]:
        self.run()  # wakes the threads, and brings the weights back into the caches
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            self.run()
            seconds.append(time.perf_counter() - start)
        return seconds

    def memory(self) -> int:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def profile(self) -> list[dict[str, Any]]:
        profile = getattr(self.peer, "profile", None)
        return [] if profile is None else profile()


def main() -> None:
    """Answer requests until the pipe is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    served = _Served()
    while True:
        try:
            method, *arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: tuple[str | None, Any] = (None, getattr(served, method)(*arguments))
        except Exception as error:  # whatever a library raises is the peer's failure, not ours
            text = str(error).strip() or "no message"
            answer = (type(error).__name__, f"{type(error).__name__}: {text}")
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
