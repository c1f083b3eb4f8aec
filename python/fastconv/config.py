"""Threads, cached memory, and the configuration of this build."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, overload

from fastconv import _core, _threadpoolctl
from fastconv._arguments import as_int, choice
from fastconv._version import __version__
from fastconv.cuda._devices import build_config

_threadpoolctl.register()


def _thread_count(n: int) -> int:
    n = as_int("n", n)
    if not 1 <= n <= 1024:
        raise ValueError(f"n must be a number of threads from 1 to 1024, got {n}")
    return n


def set_num_threads(n: int) -> None:
    """Set how many threads the process uses.

    ``threadpool_limits`` of the package ``threadpoolctl`` sets it too.

    Parameters
    ----------
    n : int
        From 1 to 1024. Results never depend on it.

    Raises
    ------
    TypeError
        If `n` is no integer.
    ValueError
        If `n` is out of range.

    Examples
    --------
    >>> import fastconv
    >>> before = fastconv.get_num_threads()
    >>> fastconv.set_num_threads(1)
    >>> fastconv.get_num_threads()
    1
    >>> fastconv.set_num_threads(before)
    """
    _core.set_num_threads(_thread_count(n))


def get_num_threads() -> int:
    """Return how many threads calls from this thread use.

    The default is ``FASTCONV_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the number of cores
    that this process may use, by its affinity or by the CPU quota of its container. A surrounding
    `num_threads` counts for this thread only. All threads of a process share one pool; a forked
    child starts its own.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.get_num_threads() >= 1
    True
    """
    return _core.num_threads()


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use `n` threads inside the ``with`` block, for calls from this Python thread only.

    Parameters
    ----------
    n : int
        From 1 to 1024. Results never depend on it.

    Raises
    ------
    TypeError
        If `n` is no integer.
    ValueError
        If `n` is out of range.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.num_threads(1):
    ...     fastconv.get_num_threads()
    1
    """
    before = _core.set_thread_override(_thread_count(n))
    try:
        yield
    finally:
        _core.set_thread_override(before)


def trim() -> None:
    """Return cached scratch memory to the system, and cached device memory to the driver.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.trim()
    """
    _core.trim()
    if native := sys.modules.get("fastconv._cuda"):
        native.trim()


@overload
def show_config(mode: Literal["print"] = "print") -> None: ...
@overload
def show_config(mode: Literal["dict"]) -> dict[str, Any]: ...
def show_config(mode: str = "print") -> dict[str, Any] | None:
    """Show the version, compiler, CPU, instruction set, threads and caches.

    Parameters
    ----------
    mode : {"print", "dict"}
        Whether to print the configuration or to return it.

    Returns
    -------
    dict or None
        With ``mode="dict"``: ``version``, ``compiler``, ``cpu``, ``isa_found`` (weakest first),
        ``isa`` (in use), ``threads``, ``cores_available``, ``cache_l1d``, ``cache_l2``,
        ``cache_l3`` and ``scratch_cached_bytes`` (bytes), and ``cuda``: ``None`` if this build has
        no CUDA backend, else a dict of ``toolkit`` and ``architectures``. The driver is not asked.

    Raises
    ------
    TypeError, ValueError
        If `mode` is neither.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.show_config("dict")["isa"] in ("baseline", "avx2", "avx512", "neon")
    True
    """
    choice("mode", mode, ("print", "dict"))
    config = {"version": __version__, **_core.config(), "cuda": build_config()}
    if mode == "dict":
        return config
    for key, value in config.items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{key:<22}{text}")
    return None
