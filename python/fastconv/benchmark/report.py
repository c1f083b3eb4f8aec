"""Results as JSON and as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastconv.benchmark.runner import REFERENCE
from fastconv.benchmark.statistics import geometric_mean

SCHEMA = 1
"""The version of the JSON files; it grows with each change that readers would notice."""

Rows = Sequence[dict[str, Any]]

_TEXT = ("case", "device", "algorithm", "networks", "stopped")


def to_json(report: dict[str, Any]) -> str:
    """Return a report as the text of a file."""
    return json.dumps({"schema": SCHEMA, **report}, indent=1) + "\n"


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
    """Return the tables of a report, one for each suite, thread count, batch size and precision."""
    lines = [_environment(report["environment"])]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in report["results"]:
        case = result["case"]
        key = (case["suite"], case["threads"], case["batch"], case["precision"])
        groups.setdefault(key, []).append(result)
    for (suite, threads, batch, precision), results in groups.items():
        devices = " and ".join(dict.fromkeys(result["case"]["device"] for result in results))
        plural = "s" if threads > 1 else ""
        lines += [
            "",
            f"## {suite}: {devices}, {precision}, batch {batch}, {threads} thread{plural}",
            "",
            *_table(results),
            *_means(results),
            *_notes(results),
        ]
    return "\n".join(lines) + "\n"


def _environment(environment: dict[str, Any]) -> str:
    return (
        f"fastconv {environment['fastconv']} ({environment['isa']}, commit "
        f"{environment['commit'] or 'unknown'}), {environment['cpu']}, "
        f"Python {environment['python']}, {environment['date']}"
    )


def _table(results: Rows) -> list[str]:
    """Milliseconds of each contender, the ratios, and other columns of the cases."""
    names = list(dict.fromkeys(c["name"] for r in results for c in r["contenders"]))
    columns: dict[str, Callable[[dict[str, Any]], str]] = {"case": lambda r: r["case"]["name"]}
    if len({result["case"]["device"] for result in results}) > 1:
        columns["device"] = lambda r: r["case"]["device"]
    for name in names:
        columns[f"{name} ms"] = partial(_milliseconds, name=name)
    for name in names:
        if name != REFERENCE:
            columns[f"{name} / {REFERENCE}"] = partial(_ratio, name=name)
    if any(result["case"].get("algorithm") for result in results):
        columns["algorithm"] = lambda r: r["case"]["algorithm"]
    if any("share_of_peak" in result["case"] for result in results):
        columns["% of peak"] = lambda r: f"{r['case']['share_of_peak']:.0%}"
    if any(result["case"].get("networks") for result in results):
        columns["networks"] = lambda r: ", ".join(r["case"]["networks"])
    if any("installed_bytes" in result["case"] for result in results):
        for name in names:
            columns[f"{name} MB"] = partial(_memory, name=name)
    columns["noise"] = lambda r: f"{r['noise']:.0%}"
    columns["stopped"] = lambda r: r["stopped"]
    rows = [
        list(columns),
        ["---" if name in _TEXT else "---:" for name in columns],
        *([cell(result) for cell in columns.values()] for result in results),
    ]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _means(results: Rows) -> list[str]:
    """Geometric means of the ratios on each device, and of the best ratio of each case."""
    lines: list[str] = []
    if "installed_bytes" in results[0]["case"]:
        return lines  # an import and an answer have no mean
    devices = dict.fromkeys(result["case"]["device"] for result in results)
    for device in devices:
        here = [result for result in results if result["case"]["device"] == device]
        ratios: dict[str, list[float]] = {}
        best = []
        for result in here:
            values = {name: ratio["value"] for name, ratio in result["ratios"].items()}
            for name, value in values.items():
                ratios.setdefault(name, []).append(value)
            if peers := [v for name, v in values.items() if not name.startswith(REFERENCE)]:
                best.append(min(peers))
        if sum(not name.startswith(REFERENCE) for name in ratios) > 1:
            ratios["best of the others"] = best
        where = f" on {device}" if len(devices) > 1 else ""
        for name, found in ratios.items():
            mean = geometric_mean(found)
            lines += ["", f"{name} / {REFERENCE}{where}: geometric mean {mean:.3f}"]
    return lines


def _notes(results: Rows) -> list[str]:
    """Contenders, the meaning of numbers in parentheses, sizes, and reasons of refusals."""
    contenders = {c["name"]: c for result in results for c in result["contenders"]}
    described = (f"{c['name']} {c['version']}: {c['settings']}" for c in contenders.values())
    lines = ["", *(f"- {text}" for text in described)]
    if any(contender["compute"] for result in results for contender in result["contenders"]):
        lines += ["", "In parentheses: computing alone, without the transfers."]
    if (sizes := results[0]["case"].get("installed_bytes")) is not None:
        parts = [f"{name} {_megabytes(size, sizes[REFERENCE])}" for name, size in sizes.items()]
        text = "MB: peak resident memory of the process. Installed size, without dependencies, MB: "
        lines += ["", text + ", ".join(parts)]
    refused: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for contender in result["contenders"]:
            if why := contender["refused"]:
                refused.setdefault((contender["name"], why), []).append(result["case"]["name"])
    if refused:
        lines.append("")
    for (name, why), cases in refused.items():
        lines.append(f"- {cases[0] if len(cases) == 1 else f'{len(cases)} cases'}, {name}: {why}")
    return lines


def _milliseconds(result: dict[str, Any], name: str) -> str:
    contender = next((c for c in result["contenders"] if c["name"] == name), None)
    if contender is None:
        return ""
    if contender["timing"] is None:
        return "refused"
    compute = f" ({1e3 * min(contender['compute']):.3g})" if contender["compute"] else ""
    return f"{1e3 * contender['timing']['minimum']:.3g}{compute}"


def _ratio(result: dict[str, Any], name: str) -> str:
    ratio = result["ratios"].get(name)
    if ratio is None:
        return ""
    compute = f" ({ratio['compute']:.2f})" if "compute" in ratio else ""
    return f"{ratio['value']:.2f}{compute}{'' if ratio['converged'] else ' ?'}"


def _memory(result: dict[str, Any], name: str) -> str:
    sizes = {c["name"]: c["memory"] for c in result["contenders"]}
    size = sizes.get(name)
    return "" if size is None else _megabytes(size, sizes[REFERENCE])


def _megabytes(size: int, reference: int | None) -> str:
    """Return a size and, if both are known, its ratio to that of the reference."""
    ratio = f" ({size / reference:.2f}x)" if reference not in (None, size) else ""
    return f"{size / 1e6:.3g}{ratio}"
