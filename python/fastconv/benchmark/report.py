"""Results as JSON and as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastconv.benchmark.runner import REFERENCE
from fastconv.benchmark.statistics import geometric_mean

SCHEMA = 1
"""Of the JSON files; a change that readers would notice makes it grow."""


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write a report, as `bench` keeps it."""
    path.write_text(json.dumps({"schema": SCHEMA, **report}, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises
    ------
    ValueError
        If the file is no report, or one of another schema.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a report of bench: {error}") from error
    if not isinstance(report, dict) or "schema" not in report:
        raise ValueError(f"{path}: not a report of bench")
    if report["schema"] != SCHEMA:
        raise ValueError(
            f"{path}: has schema {report['schema']}, expected {SCHEMA}: run the benchmark again"
        )
    return report


def markdown(report: dict[str, Any]) -> str:
    """Return the tables of a report, one for each suite, thread count and batch size."""
    lines = [_environment(report["environment"])]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in report["results"]:
        case = result["case"]
        key = (case["suite"], case["device"], case["threads"], case["batch"], case["precision"])
        groups.setdefault(key, []).append(result)
    for (suite, device, threads, batch, precision), results in groups.items():
        plural = "s" if threads > 1 else ""
        lines += [
            "",
            f"## {suite}: {device}, {precision}, batch {batch}, {threads} thread{plural}",
            "",
        ]
        lines += _table(results)
    return "\n".join(lines) + "\n"


def _environment(environment: dict[str, Any]) -> str:
    return (
        f"fastconv {environment['fastconv']} ({environment['isa']}, commit "
        f"{environment['commit'] or 'unknown'}), {environment['cpu']}, "
        f"Python {environment['python']}, {environment['date']}"
    )


def _table(results: Sequence[dict[str, Any]]) -> list[str]:
    """Milliseconds of each contender, and the ratios with their intervals."""
    names = list(dict.fromkeys(c["name"] for r in results for c in r["contenders"]))
    others = [name for name in names if name != REFERENCE]
    peak = any("share_of_peak" in result["case"] for result in results)
    header = [
        "case",
        *(f"{name} ms" for name in names),
        *(f"{name} / {REFERENCE}" for name in others),
        *(["algorithm", "% of peak"] if peak else []),
        "noise",
        "stopped",
    ]
    rows = [header, ["---", *["---:"] * (len(header) - 2), "---"]]
    for result in results:
        by_name = {c["name"]: c for c in result["contenders"]}
        rows.append(
            [
                result["case"]["name"],
                *(_milliseconds(by_name.get(name)) for name in names),
                *(_ratio(result["ratios"].get(name)) for name in others),
                *(_peak(result["case"]) if peak else []),
                f"{result['noise']:.0%}",
                result["stopped"],
            ]
        )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    for name in others:
        ratios = [r["ratios"][name]["value"] for r in results if name in r["ratios"]]
        if ratios:
            lines += ["", f"{name} / {REFERENCE}: geometric mean {geometric_mean(ratios):.3f}"]
    peers = [name for name in others if not name.startswith(REFERENCE)]
    best = [
        min(ratios)
        for r in results
        if (ratios := [r["ratios"][name]["value"] for name in peers if name in r["ratios"]])
    ]
    if len(peers) > 1 and best:
        lines += [
            "",
            f"best of the others / {REFERENCE}: geometric mean {geometric_mean(best):.3f}",
        ]
    refused = {
        (result["case"]["name"], c["name"]): c["refused"]
        for result in results
        for c in result["contenders"]
        if c["refused"]
    }
    lines += ["", *(f"- {case}, {name}: {why}" for (case, name), why in refused.items())]
    return lines


def _peak(case: dict[str, Any]) -> list[str]:
    return [case["network"], f"{case['share_of_peak']:.0%}"]


def _milliseconds(contender: dict[str, Any] | None) -> str:
    if contender is None:
        return ""
    timing = contender["timing"]
    return "refused" if timing is None else f"{1e3 * timing['minimum']:.3g}"


def _ratio(ratio: dict[str, Any] | None) -> str:
    if ratio is None:
        return ""
    mark = "" if ratio["converged"] else " ?"
    return f"{ratio['value']:.2f}{mark}"
