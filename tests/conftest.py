"""The options that choose tests, the limit of their memory, and helpers that they share."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import fastconv
import numpy as np
import pytest

ORACLE_TESTS = Path(__file__).parent / "oracle"
LIMIT = 8 * 2**30
"""Bytes of memory that one process may take. Only one of two workers has large models (see
``xdist_group``), so that both together stay below 12 GB."""
LONG_LIMIT = 14 * 2**30
"""The same with ``--long``, where one process runs alone."""
SANITIZED = fastconv.show_config("dict")["compiler"].endswith("with sanitizers")
"""Whether this is a build with ``FASTCONV_SANITIZE``, whose shadow memory knows no limit."""
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--oracle",
        action="store_true",
        help="also run tests/oracle (see .ci/oracles); a skipped test then fails",
    )
    parser.addoption(
        "--slow",
        action="store_true",
        help="also run the tests marked slow: the largest models, which need up to 5 GB of memory",
    )
    parser.addoption(
        "--long",
        action="store_true",
        help="also run the tests marked long, for .ci/long: they need up to 14 GB of memory",
    )
    parser.addoption(
        "--test-build",
        metavar="DIR",
        help="also run the tests marked test_build, with the _core of this CMake build, which has "
        "the option FASTCONV_TEST_SLOWDOWN",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Limit the memory of this process, so that a test that needs more gets a `MemoryError`."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # what large arrays took goes back when they go
        libc.mallopt(M_MMAP_THRESHOLD, 4 * 2**20)
    if SANITIZED:
        return
    limit = LONG_LIMIT if config.getoption("--long") else LIMIT
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY or limit < soft:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out tests/oracle without the option: its files import torch."""
    if collection_path == ORACLE_TESTS and not config.getoption("--oracle"):
        return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for marker, option in (("slow", "--slow"), ("long", "--long"), ("test_build", "--test-build")):
        marked = [item for item in items if item.get_closest_marker(marker) is not None]
        if marked and not config.getoption(option):
            config.hook.pytest_deselected(items=marked)
            items[:] = [item for item in items if item not in marked]
    on_device = [item for item in items if item.get_closest_marker("cuda") is not None]
    if on_device and not fastconv.cuda.is_available():
        config.hook.pytest_deselected(items=on_device)
        items[:] = [item for item in items if item not in on_device]
    for item in items:
        in_oracle = ORACLE_TESTS in item.path.parents
        if in_oracle != (item.get_closest_marker("oracle") is not None):
            raise pytest.UsageError(
                f"{item.nodeid}: tests/oracle and the marker oracle go together"
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if item.config.getoption("--oracle") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which --oracle forbids"
    return report


@pytest.fixture(params=fastconv.show_config("dict")["isa_found"])
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set that this build has for this CPU in turn."""
    return request.param


@pytest.fixture
def sanitized() -> bool:
    """Whether this is a build with ``FASTCONV_SANITIZE``."""
    return SANITIZED


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(2024)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> type[np.floating]:
    """Each native dtype in turn."""
    return request.param


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this build had no CUDA backend."""
    monkeypatch.setitem(sys.modules, "fastconv._cuda", None)


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Run ``python ARGUMENTS`` in a process of its own; return what it prints.

    ``run_python(*arguments, check=True, **environment)``. With ``check=False`` the process must
    fail, and its stderr is returned. What configures fastconv or pytest is unset unless given.
    """

    def run(*arguments: str, check: bool = True, **environment: str) -> str:
        unset = ("FASTCONV_ISA", "FASTCONV_NUM_THREADS", "OMP_NUM_THREADS", "PYTEST_ADDOPTS")
        env = {name: value for name, value in os.environ.items() if name not in unset}
        process = subprocess.run(
            [sys.executable, *arguments],
            env=env | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,  # so that a deadlock is a failure
        )
        assert (process.returncode == 0) == check, process.stdout + process.stderr
        assert process.returncode >= 0, f"killed by signal {-process.returncode}"
        return process.stdout if check else process.stderr

    return run


@pytest.fixture
def run_source(run_python: Callable[..., str]) -> Callable[..., str]:
    """Run Python source as `run_python` runs a file."""

    def run(source: str, *, check: bool = True, **environment: str) -> str:
        return run_python("-c", textwrap.dedent(source), check=check, **environment)

    return run
