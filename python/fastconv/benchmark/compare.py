"""What has become slower between two reports."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastconv.benchmark.runner import REFERENCE

_KEY = ("suite", "name", "padding", "accuracy", "batch", "threads", "device", "precision")


class Change(NamedTuple):
    """One case that both reports have."""

    case: str
    before: float
    after: float
    """Times, counted in operations of the calibration kernel, so that a slower clock cancels."""
    ratio: float
    """After over before: above 1 is slower."""
    slower: bool
    """Beyond the threshold."""


def compare(before: dict[str, Any], after: dict[str, Any], threshold: float) -> list[Change]:
    """Compare fastconv's times in two reports, relative to the calibration kernel of each case.

    Parameters
    ----------
    before, after : dict
        Reports, as `report.read_json` returns them.
    threshold : float
        A case counts as slower if its time has grown by more than this share.

    Raises
    ------
    ValueError
        If the reports have no case in common.
    """
    old, new = _times(before), _times(after)
    common = [key for key in old if key in new]
    if not common:
        raise ValueError("the two reports have no case in common: nothing to compare")
    changes = []
    for key in common:
        ratio = new[key] / old[key]
        changes.append(Change(_name(key), old[key], new[key], ratio, ratio > 1 + threshold))
    return changes


def _name(key: tuple[str, ...]) -> str:
    suite, name, padding, accuracy, batch, threads, device, precision = key
    parts = {"padding ": padding, "": accuracy, "batch ": batch, "threads ": threads}
    rest = [f"{label}{part}" for label, part in parts.items() if part != "None"]
    return ", ".join([f"{suite}: {name}", *rest, device, precision])


def _times(report: dict[str, Any]) -> dict[tuple[str, ...], float]:
    times = {}
    for result in report["results"]:
        timing = next((c["timing"] for c in result["contenders"] if c["name"] == REFERENCE), None)
        if timing is not None:
            key = tuple(str(result["case"].get(field)) for field in _KEY)
            times[key] = timing["minimum"] * result["calibration"]
    return times


def table(changes: list[Change]) -> str:
    """Return a Markdown table, the slowest first."""
    lines = ["| case | after / before | |", "| --- | ---: | --- |"]
    for change in sorted(changes, key=lambda change: -change.ratio):
        verdict = "SLOWER" if change.slower else ""
        lines.append(f"| {change.case} | {change.ratio:.3f} | {verdict} |")
    count = sum(change.slower for change in changes)
    return "\n".join([*lines, "", f"{count} of {len(changes)} cases are slower"])
