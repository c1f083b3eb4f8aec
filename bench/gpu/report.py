"""What the record says, as Markdown, and whether what was aimed at was reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

Results = Mapping[str, Mapping[str, Any]]


class Aim(NamedTuple):
    """The ratios (the other's time over fastconv's) of some results, and what they should reach."""

    name: str
    stage: str
    applies: Callable[[Mapping[str, Any]], bool]
    ratio: str
    """The peer whose ratio counts."""
    needed: float
    each: bool = False
    """Every one of them, rather than their geometric mean."""


def _layers(kind: str, precision: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda result: result["kind"] == kind and result["precision"] == precision


def _networks(precision: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda result: result["batch"] == 1 and result["precision"] == precision


AIMS = (
    *(
        Aim(f"depthwise layers, {p}", "layers", _layers("depthwise", p), "torch", 1.0)
        for p in ("fp32", "fp16")
    ),
    *(
        Aim(
            f"layers of ResNet-50, batch 32, {p}", "layers", _layers("resnet50", p), "torch", needed
        )
        for p, needed in (("fp32", 0.8), ("tf32", 0.7), ("fp16", 0.7))
    ),
    *(
        Aim(f"networks, batch 1, {p}", "networks", _networks(p), "torch-compiled", 1.0, each=True)
        for p in ("fp32", "tf32", "fp16")
    ),
)


class Verdict(NamedTuple):
    """How an aim ended."""

    aim: Aim
    value: float | None
    """The geometric mean, or the least ratio; nothing where there are no ratios."""
    cases: int

    @property
    def text(self) -> str:
        """In words."""
        if self.value is None:
            return "not measured"
        return "met" if self.value >= self.aim.needed else "missed"


def verdicts(data: Mapping[str, Any]) -> list[Verdict]:
    """Return how each aim ended."""
    found = []
    for aim in AIMS:
        results: Results = data["stages"].get(aim.stage, {}).get("results", {})
        ratios = [
            result["ratios"][aim.ratio]["value"]
            for result in results.values()
            if aim.applies(_Lenient(result)) and aim.ratio in result.get("ratios", {})
        ]
        value = None
        if ratios:
            value = min(ratios) if aim.each else statistics.geometric_mean(ratios)
        found.append(Verdict(aim, value, len(ratios)))
    return found


class _Lenient(dict[str, Any]):
    """A result that failed lacks what it would have measured."""

    def __missing__(self, key: str) -> None:
        return None


def counts(entry: Mapping[str, Any]) -> dict[str, int]:
    """Return how many items of a stage passed, failed, were missing something, did not run."""
    states = [result["status"] for result in entry["results"].values()]
    found = {state: states.count(state) for state in ("passed", "failed", "missing")}
    found["not run"] = len(entry["not_run"])
    return {what: count for what, count in found.items() if count} or {"not run": 0}


def _verdict_table(data: Mapping[str, Any]) -> list[str]:
    rows = []
    for verdict in verdicts(data):
        kind = "least ratio" if verdict.aim.each else "geometric mean"
        value = "" if verdict.value is None else f"{verdict.value:.3f}"
        aim = f"{verdict.aim.name}: {verdict.aim.ratio} / fastconv, {kind}"
        rows.append([aim, verdict.cases, value, f">= {verdict.aim.needed}", verdict.text])
    return table(["aim", "of", "value", "needed", ""], rows)


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [list(map(str, head))]
    lines += [["---"] * len(lines[0])]
    lines += [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def summary(data: Mapping[str, Any]) -> str:
    """Return the stages and the aims, for the terminal."""
    rows = []
    for stage, entry in data["stages"].items():
        rows.append([stage, ", ".join(f"{n} {what}" for what, n in counts(entry).items())])
    return "\n".join([*table(["stage", "items"], rows), "", *_verdict_table(data)])


def markdown(data: Mapping[str, Any]) -> str:
    """Return the report: the machine, the stages, failures, and all times."""
    machine = ", ".join(f"{name} {value}" for name, value in data["machine"].items() if value)
    lines = ["# GPU check", "", f"{machine}, sources {data['sources']}", "", summary(data)]
    for stage, entry in data["stages"].items():
        results: Results = entry["results"]
        for status in ("failed", "missing"):
            bad = {item: r for item, r in results.items() if r["status"] == status}
            if bad:
                lines += ["", f"## {stage}: {status}", ""]
            for item, result in bad.items():
                why = str(result.get("why", "")).strip()
                lines += [f"- {item}", "", *(f"      {line}" for line in why.splitlines()[-12:])]
        if entry["not_run"]:
            lines += ["", f"## {stage}: not run", ""]
            lines += [f"- {item}: {why}" for item, why in entry["not_run"].items()]
        lines += _measured(stage, results)
    return "\n".join(lines) + "\n"


def _measured(stage: str, results: Results) -> list[str]:
    timed = {item: result for item, result in results.items() if "milliseconds" in result}
    lines: list[str] = []
    if timed:
        names = list(dict.fromkeys(n for r in timed.values() for n in r["milliseconds"]))
        peers = list(dict.fromkeys(n for r in timed.values() for n in r["ratios"]))
        head = [
            "case",
            *(f"{n} ms (median)" for n in names),
            *(f"{p} / fastconv" for p in peers),
            "",
        ]
        rows = [
            [
                item,
                *(_milliseconds(result["milliseconds"].get(name)) for name in names),
                *(_ratio(result["ratios"].get(peer)) for peer in peers),
                result.get("algorithm", ""),
            ]
            for item, result in timed.items()
        ]
        lines += ["", f"## {stage}: times", "", *table(head, rows)]
    rates = {item: result["rate"] for item, result in results.items() if "rate" in result}
    if rates:
        lines += ["", f"## {stage}", "", *table(["", "rate"], rates.items())]
    errors = {item: result["errors"] for item, result in results.items() if "errors" in result}
    if errors:
        kinds = list(dict.fromkeys(kind for found in errors.values() for kind in found))
        found = [
            [item, *(f"{e[kind]:.1e}" if kind in e else "" for kind in kinds)]
            for item, e in errors.items()
        ]
        lines += ["", f"## {stage}: errors, relative to the largest value", ""]
        lines += table(["", *kinds], found)
    return lines


def _milliseconds(times: Mapping[str, float] | None) -> str:
    return "" if times is None else f"{times['minimum']:.4g} ({times['median']:.4g})"


def _ratio(ratio: Mapping[str, float] | None) -> str:
    return "" if ratio is None else f"{ratio['value']:.2f}"
