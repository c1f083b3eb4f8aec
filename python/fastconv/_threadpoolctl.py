"""Lets ``threadpoolctl`` see and limit fastconv's threads, where it is installed."""

from __future__ import annotations

import fastconv._core as _core
from fastconv._version import __version__


def register() -> None:
    """Register fastconv's thread pool with ``threadpoolctl``, where that is installed.

    ``threadpoolctl.threadpool_limits(1)`` then limits fastconv, for the whole process.

    Source: https://github.com/joblib/threadpoolctl, "Writing a custom library controller".
    """
    try:
        import threadpoolctl
        from threadpoolctl import LibController  # since 3.2, as is threadpoolctl.register
    except ImportError:
        return

    class FastconvController(LibController):  # type: ignore[misc]
        user_api = "fastconv"
        internal_api = "fastconv"
        filename_prefixes = ("_core",)
        check_symbols = ("fastconv_num_threads",)

        def get_num_threads(self) -> int:
            return _core.process_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            _core.set_num_threads(num_threads)

        def get_version(self) -> str:
            return __version__

    threadpoolctl.register(FastconvController)
