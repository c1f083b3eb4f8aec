"""A process for each peer, which keeps thread pools, libraries and crashes apart.

The parent sends pickled requests through a pipe and gets a pickled answer to each::

    ("open", "package.module:Class", threads)  -> {"name", "version", "settings", ...}
    ("load", case, folder)                     -> the output for the input in the folder
                                                  (of a `Bound`, once it has been seen to use it)
    ("time", calls)                            -> a `Times` for each call
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
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Timed(NamedTuple):
    """The result of a call that knows the parts of its time, as on a device with events."""

    output: NDArray[Any]
    compute: float
    """Seconds of computing."""
    transfers: float
    """Seconds of copying to the device and back."""


class Times(NamedTuple):
    """Seconds of one call, from NumPy array to NumPy array."""

    total: float
    compute: float | None = None
    transfers: float | None = None


Run = Callable[[], "NDArray[Any] | Timed"]


class Bound(NamedTuple):
    """A call on memory that the library got once, before, as in a server."""

    call: Callable[[], object]
    x: NDArray[Any]
    """The case's input, which each call reads."""
    y: NDArray[Any]
    """Written in each call."""

    def output(self) -> NDArray[Any]:
        """Return a copy of the output for the input.

        Raises
        ------
        RuntimeError
            If the call does not write all of `y`, or writes the same for an input of zeros.
        """
        x = self.x.copy()
        other, output = self._call(np.zeros_like(x)), self._call(x)
        if np.array_equal(other, output):
            raise RuntimeError(
                "the output is the same for the input and for zeros: the call does not read the "
                "input that was bound, or the output does not depend on it (an input of zeros, "
                "ReLUs that are all off)"
            )
        return output

    def _call(self, x: NDArray[Any]) -> NDArray[Any]:
        self.x[...] = x
        self.y.fill(np.nan)
        self.call()
        if np.isnan(self.y).any():
            raise RuntimeError("the call does not write the output that was bound")
        return self.y.copy()


class Peer(Protocol):
    """The interface of a plug-in, which computes the cases of the suites by one library.

    It is created in a process of its own, in which nothing else runs. It may also define
    ``devices``, by default ``("cpu",)``, and ``precisions``, by default ``("fp32",)``. If its
    device is missing it is created all the same, but nothing is loaded. ``profile()``, if it is
    there, returns the steps of the case that was loaded last, as `fastconv.Network.profile` does.
    """

    name: str
    version: str
    settings: str
    """The settings that make it fast, for the report."""

    def __init__(self, threads: int) -> None:
        """Import the library and limit it to so many threads."""

    def load(self, case: Any, folder: Path) -> Run | Bound:
        """Return a call that computes the case from the files in the folder.

        If the library can read its input and write its output in memory that it got before, return
        a `Bound` with that memory. Then no contender is timed with copies that others are spared.

        Raises
        ------
        NotImplementedError
            If the library cannot compute it; the message says why.
        """


class PeerError(RuntimeError):
    """A peer that failed, with its message."""


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
            [sys.executable, "-c", "from fastconv.benchmark import worker; worker.main()"],
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
        self.devices: tuple[str, ...] = info["devices"]
        self.precisions: tuple[str, ...] = info["precisions"]

    def load(self, case: Any, folder: Path) -> NDArray[Any]:
        """Prepare a case and return its output."""
        output: NDArray[Any] = self._ask("load", case, folder)
        return output

    def time(self, calls: int) -> list[Times]:
        """Make this many calls in a row; return the times of each."""
        times: list[Times] = self._ask("time", calls)
        return times

    def memory(self) -> int:
        """Return the peak resident bytes of the process."""
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

    def open(self, peer: str, threads: int) -> dict[str, Any]:
        module, _, name = peer.partition(":")
        self.peer: Peer = getattr(importlib.import_module(module), name)(threads)
        return {
            **{key: getattr(self.peer, key) for key in ("name", "version", "settings")},
            "devices": getattr(self.peer, "devices", ("cpu",)),
            "precisions": getattr(self.peer, "precisions", ("fp32",)),
        }

    def load(self, case: Any, folder: Path) -> NDArray[Any]:
        self.loaded = loaded = self.peer.load(case, folder)  # keeps what is bound alive
        if isinstance(loaded, Bound):
            self.run: Callable[[], object] = loaded.call
            return loaded.output()
        self.run = loaded
        answer = loaded()
        return np.array(answer.output if isinstance(answer, Timed) else answer)

    def time(self, calls: int) -> list[Times]:
        self.run()  # wakes the threads, and brings the weights back into the caches
        times = []
        for _ in range(calls):
            start = time.perf_counter()
            answer = self.run()
            total = time.perf_counter() - start
            parts = (answer.compute, answer.transfers) if isinstance(answer, Timed) else ()
            times.append(Times(total, *parts))
        return times

    def memory(self) -> int:
        return peak_memory()

    def profile(self) -> list[dict[str, Any]]:
        profile = getattr(self.peer, "profile", None)
        return [] if profile is None else profile()


def peak_memory() -> int:
    """Return the peak resident bytes of this process.

    On Linux a process's ``ru_maxrss`` begins with its parent's, so it is not used there.
    """
    if sys.platform == "linux":
        with open("/proc/self/status", encoding="ascii", errors="ignore") as status:
            for line in status:
                if line.startswith("VmHWM"):  # kB
                    return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


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
