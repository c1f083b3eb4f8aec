"""The command line: stages, one after the other, and a record of each."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import math
import os
import platform
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench.gpu import commands, items, report
from bench.gpu.record import ROOT, Record, fingerprint

COMMANDS = {
    "build": commands.build,
    "cpp": commands.cpp,
    "pytest": commands.pytest,
    "sanitizer": commands.sanitizer,
}

LIMITS = {
    "ops": 300.0,
    "models": 600.0,
    "interop": 120.0,
    "ceilings": 120.0,
    "layers": 180.0,
    "networks": 1200.0,
    "hosts": 240.0,
}
"""Stages whose items run in processes of their own, and seconds for an item."""

GROUPS = {
    "tests": ("cpp", "pytest", "ops", "models"),
    "times": ("ceilings", "layers", "networks", "hosts"),
}

STAGES = ("build", *GROUPS["tests"], "interop", "sanitizer", *GROUPS["times"])
"""In this order."""

_PACKAGES = (
    *("numpy", "torch", "torchvision", "triton", "pytest", "pybind11"),
    *("cupy-cuda12x", "cupy-cuda13x", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
)

_LOG_BYTES = 8_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages; return 1 where anything has failed, now or before."""
    options = _parser().parse_args(arguments)
    start = time.monotonic()
    record = Record(options.out, fingerprint())
    log_path = options.out / "gpu_check.log"
    if log_path.exists() and log_path.stat().st_size > _LOG_BYTES:
        log_path.unlink()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - start:6.1f} s] {text}", flush=True)

    with log_path.open("a", encoding="utf-8") as log:
        place = commands.BuildPlace(
            options.build,
            options.emulated,
            options.quick,
            start + (options.budget or math.inf),
            log,
        )
        place.environment = _environment(place)
        record.data["machine"] = machine(options.commit)
        record.save()
        for stage in options.only:
            log.write(f"\n=== {stage}\n")
            log.flush()
            _run(stage, place, record, options.again, say)
    text = report.markdown(record.data)
    (options.out / "gpu_check.md").write_text(text, encoding="utf-8")
    print(f"\n{report.summary(record.data)}\n{record.path}", flush=True)
    return int(bool(record.failures()))


def _stages(text: str) -> list[str]:
    chosen: set[str] = set()
    for name in text.split(","):
        if name not in STAGES and name not in GROUPS:
            raise argparse.ArgumentTypeError(
                f"expected some of {', '.join((*STAGES, *GROUPS))}, got {name!r}"
            )
        chosen.update(GROUPS.get(name, (name,)))
    return [stage for stage in STAGES if stage in chosen]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python bench/gpu_check.py",
        description="Build the CUDA backend, test it on this machine's GPU, and time it. What is "
        "done is not done again: call it again after it was cut off.",
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build/gpu/results", metavar="DIR", help="for results"
    )
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build/gpu", metavar="DIR", help="to build in"
    )
    parser.add_argument(
        "--only",
        type=_stages,
        default=list(STAGES),
        metavar="A,B",
        help=f"stages: some of {', '.join(STAGES)}; or tests ({', '.join(GROUPS['tests'])}) or "
        f"times ({', '.join(GROUPS['times'])})",
    )
    parser.add_argument("--quick", action="store_true", help="fewer items")
    parser.add_argument("--budget", type=float, metavar="S", help="seconds, after which it ends")
    parser.add_argument("--again", action="store_true", help="also what is done")
    parser.add_argument("--commit", metavar="ID", help="to record, where there is no git")
    parser.add_argument(
        "--emulated", action="store_true", help="try the script itself, where there is no GPU"
    )
    return parser


def _environment(place: commands.BuildPlace) -> dict[str, str]:
    """Return what commands get: the package just built, and this Python's programs first."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FASTCONV_", "PYTEST_"))
    }
    return {
        **kept,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join([str(place.package), str(ROOT)]),
        "FASTCONV_GPU_CHECK_BUILD": str(place.build / "cmake"),
        "TORCHINDUCTOR_CACHE_DIR": str(place.build / "inductor"),
    }


def machine(commit: str | None) -> dict[str, Any]:
    """Return what is known before anything is built."""

    def output(*command: str) -> str:
        program = shutil.which(command[0])
        if program is None:
            return ""
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        return done.stdout.strip() if done.returncode == 0 else ""

    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    gpu = output(
        "nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"
    )
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "gpu": gpu.partition("\n")[0],
        "nvcc": output("nvcc", "--version").rpartition("\n")[2],
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
        "commit": commit
        or output("git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"),
    }


def _run(stage: str, place: commands.BuildPlace, record: Record, again: bool, say: Any) -> None:
    """Run one stage; an error of the script's own is a failure of the stage and no more."""
    entry = record.stage(stage)
    entry["results"].pop("script", None)
    if again:
        entry["results"].clear()
    done = {name for name, result in entry["results"].items() if result["status"] == "passed"}
    last = [time.monotonic()]

    def add(item: str, result: dict[str, Any]) -> None:
        now = time.monotonic()
        record.add(stage, item, {**result, "seconds": round(now - last[0], 2)})
        last[0] = now
        if result["status"] != "passed" or stage in LIMITS or stage == "build":
            why = result.get("why", "").strip().rpartition("\n")[2]
            say(f"{stage}: {item}: {result['status']}{f': {why}' if why else ''}")

    say(f"{stage} ...")
    try:
        if stage in COMMANDS:
            not_run = COMMANDS[stage](place, add, done)
        elif not (place.package / "fastconv").exists():
            raise RuntimeError("nothing is built: run the stage build first")
        else:
            not_run = items.run(
                stage,
                environment=place.environment,
                quick=place.quick,
                done=done,
                limit=LIMITS[stage],
                deadline=place.deadline,
                begin=lambda item: last.__setitem__(0, time.monotonic()),
                add=add,
                log=place.log,
            )
        entry["not_run"] = not_run
    except Exception:
        add("script", {"status": "failed", "why": traceback.format_exc()[-items.TAIL :]})
    record.save()
    counts = report.counts(entry)
    say(f"{stage}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
