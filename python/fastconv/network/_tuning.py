"""Autotuning: measurements decide which algorithm each convolution of a network runs.

Candidates are timed where they will run, which gives them the layout, the threads and the cold
weights that they will have: the network is compiled with every convolution's next candidate, and
runs in turns with the network that the rule decides. What was measured is kept in a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastconv._core as _core
from fastconv._files import replacing
from fastconv._version import __version__
from fastconv.config import num_threads
from fastconv.network._steps import explained

Times = dict[str, float]
"""Seconds that algorithms take for one task."""

_MARGIN = 0.03  # how much faster than the rule's choice another must be
_ROUNDS = 10
_SECONDS = 2.0  # after which three rounds are enough

_FILE = "tuning.json"
_SCHEMA = 1
_MAX_ENTRIES = 4096
_LOCK_SECONDS = 1.0


class Tuner:
    """The measurements for one network, and what follows from them.

    Parameters
    ----------
    dtype, accuracy, threads
        What the network computes in, how, and on how many threads.
    known : mapping of str to dict of str to float, optional
        Earlier measurements.
    """

    def __init__(
        self,
        dtype: np.dtype[Any],
        accuracy: str,
        threads: int,
        known: Mapping[str, Times] | None = None,
    ) -> None:
        machine = _core.config()
        self.known: dict[str, Times] = dict(known or {})
        self._own: set[str] = set()  # where these weights forbade an algorithm: not for others
        self._dtype = dtype
        self._threads = threads
        self._prefix = (
            f"fastconv {__version__} | {machine['cpu']}, L2 {machine['cache_l2']}, "
            f"L3 {machine['cache_l3']} | {machine['isa']}, {threads} threads | {dtype} {accuracy}"
        )

    def tune(
        self,
        steps: Sequence[Mapping[str, Any]],
        compile: Callable[[dict[int, str]], Any],
        shapes: Sequence[tuple[int, ...]],
    ) -> Any:
        """Compile a network with the fastest algorithms.

        Parameters
        ----------
        steps : sequence of mappings
            Of the network by the rule.
        compile : callable
            Makes the native network in which these values are computed by these algorithms.
        shapes : sequence of tuple of int
            Of the network's inputs.
        """
        tasks: dict[str, list[int]] = {}  # the steps that do the same
        candidates: dict[str, list[str]] = {}
        for index, step in enumerate(steps):
            names = _candidates(step)
            if len(names) > 1 and step["macs"]:
                tasks.setdefault(self._key(step), []).append(index)
                candidates[self._key(step)] = names

        def native(algorithms: Mapping[str, str]) -> Any:
            values = ((key, steps[index]["value"]) for key in algorithms for index in tasks[key])
            return compile({value: algorithms[key] for key, value in values})

        def missing() -> list[str]:
            return [key for key, names in candidates.items() if not self._decided(key, names)]

        if unknown := missing():
            kept = load()
            self.known.update((key, kept[key]) for key in unknown if key in kept)
        if unknown := missing():
            with num_threads(self._threads):
                rng = np.random.default_rng(0)
                inputs = [rng.standard_normal(shape).astype(self._dtype) for shape in shapes]
                self._measure(native, tasks, {key: candidates[key] for key in unknown}, inputs)
            store({key: self.known[key] for key in unknown if key not in self._own})
        best = {key: self._best(key, names) for key, names in candidates.items()}
        return native({key: name for key, name in best.items() if name != candidates[key][0]})

    def _measure(
        self,
        native: Callable[[Mapping[str, str]], Any],
        tasks: Mapping[str, list[int]],
        candidates: Mapping[str, list[str]],
        inputs: Sequence[NDArray[Any]],
    ) -> None:
        rule = native({})

        def compare(algorithms: Mapping[str, str]) -> None:
            """Time these algorithms for these tasks against the rule's choices."""
            networks = [rule, native(algorithms)]
            theirs, ours = _race(networks, inputs)
            taken = [[step["algorithm"] for step in network.steps()] for network in networks]
            for key, algorithm in algorithms.items():
                first, times = candidates[key][0], self.known[key]
                if any((taken[0][i], taken[1][i]) != (first, algorithm) for i in tasks[key]):
                    self._own.add(key)
                seconds = float(np.mean(theirs[tasks[key]]))
                ratio = float(np.mean(ours[tasks[key]])) / seconds
                times[algorithm] = _rounded(times.setdefault(first, _rounded(seconds)) * ratio)

        self.known.update((key, {}) for key in candidates)
        for place in range(1, max(map(len, candidates.values()))):
            compare({key: names[place] for key, names in candidates.items() if place < len(names)})
        # Of several candidates the best looks better than it is, so it is measured once more.
        confirmed = {(key, names[0]) for key, names in candidates.items()}
        while winners := {
            key: best
            for key, names in candidates.items()
            if (key, best := self._best(key, names)) not in confirmed
        }:
            compare(winners)
            confirmed |= set(winners.items())

    def explain(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Return a step as `explained` does, with what was measured as the reasons."""
        public = explained(step)
        names = _candidates(step)
        if len(names) < 2 or not self._decided(key := self._key(step), names):
            return public
        if step["algorithm"] != self._best(key, names):  # which these weights forbade
            return public
        times = self.known[key]
        own = times[step["algorithm"]]
        public["reason"] = (
            f"tuned: {_ms(own)} against {_ms(times[names[0]])} of the rule's {names[0]}"
            if step["algorithm"] != names[0]
            else f"tuned: {_ms(own)}, no other is clearly faster"
        )
        for name in names:
            if name != step["algorithm"]:
                verdict = "slower" if times[name] >= own else "not clearly faster"
                public["rejected"][name] = f"{verdict}: {_ms(times[name])} against {_ms(own)}"
        return public

    def _key(self, step: Mapping[str, Any]) -> str:
        return f"{self._prefix} | {step['task']}"

    def _decided(self, key: str, names: Sequence[str]) -> bool:
        return all(name in self.known.get(key, {}) for name in names)

    def _best(self, key: str, names: Sequence[str]) -> str:
        """Return the fastest algorithm; the rule's choice unless another is clearly faster."""
        times = self.known[key]
        best = min(names, key=times.__getitem__)
        return best if times[best] < (1 - _MARGIN) * times[names[0]] else names[0]


def _candidates(step: Mapping[str, Any]) -> list[str]:
    """Return the algorithms that a step could take, the rule's choice first."""
    return [name for name, serves, _ in step.get("considered", []) if serves]


def _race(natives: Sequence[Any], inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float64]]:
    """Run networks in turns; return the shortest time of each step of each of them."""
    best = [np.full(len(native.steps()), np.inf) for native in natives]
    start = time.perf_counter()
    for count in range(_ROUNDS + 1):
        for native, seconds in zip(natives, best, strict=True):
            now = _step_seconds(native, inputs)
            if count:  # the first one pays for memory that is new
                np.minimum(seconds, now, out=seconds)
        if count >= 3 and time.perf_counter() - start > _SECONDS:
            break
    return best


def _step_seconds(native: Any, inputs: Sequence[NDArray[Any]]) -> list[float]:
    seconds: list[float] = native.profile(list(inputs))[1]
    return seconds


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.4g}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def cache_folder() -> str | None:
    """Where measurements are kept: ``FASTCONV_CACHE``, else in the user's cache directory.

    Returns
    -------
    str or None
        `None` if they are not kept: ``FASTCONV_CACHE`` is empty or ``off``, or there is no home.
    """
    given = os.environ.get("FASTCONV_CACHE")
    if given is not None:
        return None if given in ("", "off") else os.path.abspath(given)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # as the XDG specification has it
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "fastconv") if os.path.isabs(base) else None


def load() -> dict[str, Times]:
    """Return what the file has, oldest first; nothing if it is missing, broken or foreign."""
    folder = cache_folder()
    return {} if folder is None else _read(folder)


def store(entries: Mapping[str, Times]) -> None:
    """Add measurements to the file, which may lose its oldest ones.

    Several processes may do so at once. Where the file cannot be written nothing is kept; it is
    said, once, if ``FASTCONV_CACHE`` asks for the place.
    """
    folder = cache_folder()
    if folder is None:
        return
    try:
        os.makedirs(folder, exist_ok=True)
        with _locked(folder):
            kept = _read(folder)
            for key, times in entries.items():
                kept.pop(key, None)
                kept[key] = times
            newest = dict(list(kept.items())[-_MAX_ENTRIES:])
            _write(folder, {"schema": _SCHEMA, "seconds": newest})
    except OSError as error:
        if "FASTCONV_CACHE" in os.environ and folder not in _reported:
            _reported.add(folder)
            warnings.warn(
                f"FASTCONV_CACHE: the measurements of autotune=True cannot be kept in {folder} "
                f"({error.strerror}): name a directory that can be written, or 'off'",
                RuntimeWarning,
                stacklevel=2,
            )


_reported: set[str] = set()


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Hold the file's lock, unless another holds it for long: then only its entries may be lost."""
    descriptor = os.open(os.path.join(folder, _FILE + ".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def _read(folder: str) -> dict[str, Times]:
    import json  # here, as most programs never tune

    try:
        with open(os.path.join(folder, _FILE), encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        return {}
    entries = content.get("seconds")
    if not isinstance(entries, dict):
        return {}
    return {key: times for key, times in entries.items() if _are_times(times)}


def _are_times(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(seconds, float) and 0 < seconds < math.inf for seconds in value.values()
    )


def _write(folder: str, content: Any) -> None:
    """Replace the file, which readers see whole, as it was or as it is."""
    import json

    path = os.path.join(folder, _FILE)
    with replacing(path) as new, open(new, "x", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
