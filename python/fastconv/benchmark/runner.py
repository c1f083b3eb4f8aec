"""Contenders take turns until their times are certain or the budget is spent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.benchmark import machine
from fastconv.benchmark.cases import AGREEMENT
from fastconv.benchmark.statistics import CONFIRMATIONS, Ratio, Timing
from fastconv.benchmark.worker import PeerError, Worker

REFERENCE = "fastconv"
"""The contender that the ratios are relative to."""


@dataclass(frozen=True)
class Settings:
    """When to stop."""

    budget: float = 20.0
    """Seconds for one case, all contenders together."""
    tolerance: float = 0.05
    """The largest width of any ratio's interval, relative to the ratio."""
    block: float = 0.05
    """Seconds that a contender computes in one round; at least one call."""
    pause: float = 0.02
    """Seconds between two contenders: idle threads of some libraries spin for a while."""


@dataclass
class Contender:
    """What one contender did in one case."""

    name: str
    version: str = ""
    settings: str = ""
    seconds: list[float] = field(default_factory=list)
    """The fastest call of each round, from NumPy array to NumPy array."""
    compute: list[float] = field(default_factory=list)
    transfers: list[float] = field(default_factory=list)
    """Parts of the calls' times, if the contender knows them: the least of each round."""
    difference: float | None = None
    """The difference of its output from the reference's, relative to the largest output."""
    memory: int | None = None
    """Peak resident bytes of its process."""
    profile: list[dict[str, Any]] = field(default_factory=list)
    """Its steps with their times, if it can tell."""
    refused: str | None = None
    """Why it was not timed."""

    def timing(self) -> Timing | None:
        """Summarise its rounds; `None` if it was refused."""
        return Timing.of(self.seconds) if self.seconds else None


@dataclass
class Result:
    """One case, all contenders."""

    case: dict[str, Any]
    contenders: list[Contender]
    calibration: list[float]
    """Floating-point operations a second of one thread, measured before each round."""
    tolerance: float
    stopped: str
    """Why it stopped: ``"converged"``, ``"budget"``, ``"refused"`` if no contender was left, or
    ``"rounds"`` if their number is fixed."""

    @property
    def noise(self) -> float:
        """How much slower the median calibration was than the fastest one."""
        return max(self.calibration) / float(np.median(self.calibration)) - 1

    def ratios(self) -> dict[str, Ratio]:
        """Return how many times as long each other contender takes."""
        by_name = {c.name: c for c in self.contenders if c.seconds}
        first = by_name.pop(REFERENCE, None)
        if first is None:
            return {}
        return {name: Ratio.of(first.seconds, c.seconds) for name, c in by_name.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with the evaluation, for JSON."""
        contenders = []
        for contender in self.contenders:
            timing = contender.timing()
            contenders.append(
                {
                    **asdict(contender),
                    **_finite({"difference": contender.difference}),
                    "timing": None if timing is None else _finite(timing._asdict()),
                }
            )
        compute = {c.name: min(c.compute) for c in self.contenders if c.compute}
        ratios: dict[str, dict[str, Any]] = {}
        for name, ratio in self.ratios().items():
            ratios[name] = _finite(ratio._asdict())
            ratios[name]["converged"] = ratio.converged(self.tolerance)
            if {name, REFERENCE} <= compute.keys():
                ratios[name]["compute"] = compute[name] / compute[REFERENCE]
        return {
            "case": self.case,
            "contenders": contenders,
            "ratios": ratios,
            "noise": self.noise,
            "calibration": max(self.calibration),
            "stopped": self.stopped,
        }


def _finite(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the values without those that JSON has no form for."""
    finite = {key: value is not None and math.isfinite(value) for key, value in values.items()}
    return {key: value if finite[key] else None for key, value in values.items()}


def run_case(
    case: dict[str, Any],
    workers: Mapping[str, Worker],
    load: Callable[[Worker], NDArray[Any]],
    settings: Settings,
    expected: NDArray[Any] | None = None,
) -> Result:
    """Time one case on all workers, round by round.

    Parameters
    ----------
    case : dict
        What identifies the case in reports; `AGREEMENT` says what its ``"precision"`` allows.
    workers : mapping of str to Worker
        The contenders, in the order in which they take turns. Contenders that lack the case's
        device are left out.
    load : callable
        Makes a worker load the case, and returns its output.
    settings : Settings
        When to stop.
    expected : ndarray, optional
        The output that theirs must agree with; by default the first contender's, so `REFERENCE`
        comes first.
    """
    allowed = AGREEMENT[case["precision"]]
    contenders = []
    for name, worker in workers.items():
        if case["device"] not in worker.devices:
            continue
        contender = Contender(name, worker.version, worker.settings)
        contenders.append(contender)
        if case["precision"] not in worker.precisions:
            contender.refused = f"has no {case['precision']}, only {', '.join(worker.precisions)}"
            continue
        try:
            output = load(worker)
        except (PeerError, NotImplementedError) as error:
            contender.refused = str(error)
            continue
        if expected is None:
            expected = output
        contender.difference = _difference(output, expected)
        if not contender.difference <= allowed:
            contender.refused = (
                f"its output differs by {contender.difference:.1e} of the largest value; "
                f"{allowed:.0e} is allowed"
            )
    racing = [(c, workers[c.name]) for c in contenders if c.refused is None]
    calibration = _race(racing, settings)
    for contender, worker in racing:
        contender.memory = worker.memory()
        contender.profile = worker.profile()
    certain = all(_certain(contender, settings) for contender, _ in racing)
    stopped = ("converged" if certain else "budget") if racing else "refused"
    return Result(case, contenders, calibration, settings.tolerance, stopped)


def _race(
    racing: list[tuple[Contender, Worker]],
    settings: Settings,
) -> list[float]:
    """Let the contenders take turns; drop those that fail. Return each round's calibration."""
    calibration: list[float] = []
    calls = dict.fromkeys((c.name for c, _ in racing), 1)
    end = time.monotonic() + settings.budget
    while True:
        calibration.append(machine.peak_flops(threads=1, repeats=1))
        for contender, worker in list(racing):
            time.sleep(settings.pause)
            try:
                total, compute, transfers = zip(*worker.time(calls[contender.name]), strict=True)
            except PeerError as error:
                for times in (contender.seconds, contender.compute, contender.transfers):
                    times.clear()
                contender.refused = str(error)
                racing.remove((contender, worker))
                continue
            calls[contender.name] = max(1, math.ceil(settings.block / min(total)))
            contender.seconds.append(min(total))
            if None not in compute:
                contender.compute.append(min(compute))
                contender.transfers.append(min(transfers))
        if len(calibration) >= CONFIRMATIONS:
            certain = all(_certain(c, settings) for c, _ in racing)
            if certain or time.monotonic() >= end:
                return calibration


def _certain(contender: Contender, settings: Settings) -> bool:
    """Whether the minimum is confirmed closely enough for the interval of any ratio with it."""
    timing = Timing.of(contender.seconds)
    return timing.confirmed <= timing.minimum * (1 + settings.tolerance / 2.1)


def _difference(output: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return max|output - expected| / max|expected|, infinite where the shapes differ."""
    if output.shape != expected.shape:
        return math.inf
    scale = float(np.abs(expected).max(initial=0))
    return float(np.abs(output - expected).max(initial=0)) / (scale or 1.0)
