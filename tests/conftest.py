"""Helpers that tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import fastconv
import numpy as np
import pytest


@pytest.fixture(params=fastconv.show_config("dict")["isa_found"])
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set that this build has for this CPU in turn."""
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(2024)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> type[np.floating]:
    """Each native dtype in turn."""
    return request.param


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Run ``python ARGUMENTS`` in a process of its own, with extra environment variables."""

    def run(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
