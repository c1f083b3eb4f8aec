"""Stages that are commands: the build, the C++ tests, pytest, compute-sanitizer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from bench.gpu.items import SPENT, TAIL
from bench.gpu.record import ROOT

REFUSED = 86
"""Exit code that compute-sanitizer is asked for where it found an error."""

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")


@dataclass
class BuildPlace:
    """Where things are built, and what commands get."""

    build: Path
    emulated: bool
    quick: bool
    deadline: float
    log: TextIO
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def package(self) -> Path:
        """Folder to import fastconv from."""
        return self.build / "python"

    @property
    def tests(self) -> Path:
        """The C++ tests."""
        folder = self.build / "cmake/tests/cpp/cuda"
        device = folder / "device/fastconv_cuda_device_tests"
        return folder / "fastconv_cuda_tests" if self.emulated else device

    @property
    def left(self) -> float:
        """Seconds until the budget is spent."""
        return max(0.0, self.deadline - time.monotonic())


class TimeOut(Exception):
    """A command took longer than it was given."""


def call(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    seconds: float,
    folder: Path = ROOT,
) -> tuple[int, str]:
    """Run a command; return its exit status and all it printed.

    Raises
    ------
    TimeOut
        After so many seconds, with the end of what it printed. What it started ends with it.
    """
    with subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        env={**environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=None if seconds > 1e9 else seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise TimeOut(output[-TAIL:]) from None
        except BaseException:  # such as Ctrl-C
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output


Add = Callable[[str, dict[str, Any]], object]


def build(place: BuildPlace, add: Add, done: Collection[str]) -> dict[str, str]:
    """Configure and build: the package in a folder of its own, the C++ tests, the timer.

    Also where it was done: what was built may be gone.
    """
    shutil.copytree(
        ROOT / "python/fastconv",
        place.package / "fastconv",
        ignore=shutil.ignore_patterns("__pycache__", "*.so"),
        dirs_exist_ok=True,
    )
    cmake = shutil.which("cmake", path=place.environment["PATH"]) or "cmake"
    status, pybind11 = call([sys.executable, "-m", "pybind11", "--cmakedir"], place.environment, 60)
    if status:
        add("configure", {"status": "failed", "why": pybind11[-TAIL:]})
        return {}
    tests = place.tests.name
    steps: dict[str, list[str | Path]] = {
        "configure": [
            *(cmake, "-S", ROOT, "-B", place.build / "cmake", "-G", "Ninja"),
            *("-DFASTCONV_PYTHON=ON", "-DFASTCONV_TESTS=ON"),
            f"-DFASTCONV_CUDA={'EMULATED' if place.emulated else 'ON'}",
            *(f"-DFASTCONV_CUDA_ARCHITECTURES={name}" for name in _architecture(place)),
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.strip()}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={place.package / 'fastconv'}",
        ],
        "package": [cmake, "--build", place.build / "cmake", "--target", "_core", "_cuda"],
        "C++ tests": [cmake, "--build", place.build / "cmake", "--target", tests],
        "layer timer": [
            *(cmake, "--build", place.build / "cmake", "--target", "fastconv_cuda_layer_times")
        ],
    }
    for name, command in steps.items():
        start = time.monotonic()
        try:
            status, output = call(command, place.environment, place.left)
        except TimeOut as over:
            add(name, {"status": "failed", "why": f"{SPENT}: {over}"})
            return {}
        place.log.write(output)
        place.log.flush()
        result: dict[str, Any] = {"status": "failed" if status else "passed"}
        result["build_seconds"] = round(time.monotonic() - start, 1)
        if status:
            result["why"] = output[-TAIL:]
        add(name, result)
        if status and name in ("configure", "package"):
            return {}
    return {}


def _architecture(place: BuildPlace) -> list[str]:
    """Return this device's own, for a short build; nothing where unknown, which means all."""
    program = shutil.which("nvidia-smi", path=place.environment["PATH"])
    if program is None or place.emulated:
        return []
    command = [program, "--query-gpu=compute_cap", "--format=csv,noheader"]
    status, output = call(command, place.environment, 60)
    found = re.match(r"(\d+)\.(\d)", output)
    if status or found is None:
        return []
    number = "".join(found.groups())
    return [f"{number}a-real" if number == "90" else f"{number}-real"]


def test_names() -> list[str]:
    """Return the C++ tests that a device can run, by their files."""
    names = []
    for file in sorted((ROOT / "tests/cpp/cuda").glob("*.cc")):
        if not file.name.startswith("emulation"):
            names += re.findall(r"^TEST\((\w+)\)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return names


def cpp(place: BuildPlace, add: Add, done: Collection[str]) -> dict[str, str]:
    """Run each C++ test in a process of its own: an error of the device ends with it."""

    jobs = {
        name: partial(_test, [place.tests, name], place, 300)
        for name in test_names()
        if name not in done
    }
    return _side_by_side(jobs, place, add)


def _test(command: Sequence[str | Path], place: BuildPlace, seconds: float) -> dict[str, Any]:
    # The tests run again in the other order unless this is set, which means nothing to a device.
    environment = {**place.environment, "FASTCONV_EMULATION_REVERSE": "1"}
    try:
        status, output = call(command, environment, min(seconds, place.left))
    except TimeOut as over:
        if place.left == 0:
            raise
        return {"status": "failed", "why": f"took more than {seconds:.0f} s: {over}"}
    if status == 0:
        return {"status": "passed"}
    return {"status": "failed", "exit_status": status, "why": output[-TAIL:]}


def _side_by_side(
    jobs: Mapping[str, Callable[[], dict[str, Any]]], place: BuildPlace, add: Add
) -> dict[str, str]:
    """Run jobs on a few threads until the budget is spent; return those that did not run."""
    not_run = {}

    def job(name: str) -> dict[str, Any] | None:
        if place.left == 0:
            return None
        try:
            return jobs[name]()
        except TimeOut:
            return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for name, result in zip(jobs, pool.map(job, jobs), strict=True):
            if result is None:
                not_run[name] = SPENT
            else:
                add(name, result)
    return not_run


def pytest(place: BuildPlace, add: Add, done: Collection[str]) -> dict[str, str]:
    """Run the Python tests that are marked ``cuda``."""
    if "pytest -m cuda" in done:
        return {}
    marked = [
        file
        for file in sorted((ROOT / "tests").glob("test_*.py"))
        if "pytest.mark.cuda" in file.read_text(encoding="utf-8")
    ]
    junit = place.build / "junit.xml"
    junit.unlink(missing_ok=True)
    slow = () if place.quick or place.emulated else ("--slow",)
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", *slow]
    environment = {**place.environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command += ["-p", "no:cacheprovider", f"--junitxml={junit}", *map(str, marked)]
    try:
        status, output = call(command, environment, place.left)
    except TimeOut as over:
        place.log.write(str(over))
        return {"pytest -m cuda": SPENT}
    place.log.write(output)
    result: dict[str, Any] = {"status": "passed" if status == 0 else "failed"}
    if junit.exists():
        cases = list(ET.parse(junit).getroot().iter("testcase"))
        bad = [case for case in cases if case.find("failure") is not None]
        bad += [case for case in cases if case.find("error") is not None]
        result["tests"] = len(cases)
        result["skipped"] = sum(case.find("skipped") is not None for case in cases)
        result["failed"] = [f"{case.get('classname')}::{case.get('name')}" for case in bad]
    if status:
        result["why"] = output[-TAIL:]
    add("pytest -m cuda", result)
    return {}


def sanitizer(place: BuildPlace, add: Add, done: Collection[str]) -> dict[str, str]:
    """Run the C++ tests of kernels under each tool of compute-sanitizer."""
    program = shutil.which("compute-sanitizer", path=place.environment["PATH"])
    cuda = Path(place.environment.get("CUDA_HOME", "/usr/local/cuda"))
    if program is None and (cuda / "bin/compute-sanitizer").exists():
        program = str(cuda / "bin/compute-sanitizer")
    if program is None:
        add("all", {"status": "missing", "why": "compute-sanitizer was not found"})
        return {}
    names = test_names()
    probe = _sanitized(program, "memcheck", names[0], place)
    if "not supported" in probe.get("why", "") or "not initialized" in probe.get("why", ""):
        add("all", {"status": "missing", "why": f"it refuses the device: {probe['why']}"})
        return {}
    tools = TOOLS[:2] if place.quick else TOOLS
    jobs = {
        f"{tool}: {name}": partial(_sanitized, program, tool, name, place)
        for tool in tools
        for name in names
        if f"{tool}: {name}" not in done
    }
    return _side_by_side(jobs, place, add)


def _sanitized(program: str, tool: str, test: str, place: BuildPlace) -> dict[str, Any]:
    # Failing calls of the API are no errors here: tests provoke them.
    command = [program, "--tool", tool, "--error-exitcode", str(REFUSED), "--print-limit", "10"]
    if tool == "memcheck":
        command += ["--report-api-errors", "no"]
    return _test([*command, place.tests, test], place, 240)
