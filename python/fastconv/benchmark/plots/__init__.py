"""Plots of a report, where matplotlib is installed (extra ``[bench]``)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from fastconv.benchmark.plots import _devices, _figure, _layers
from fastconv.benchmark.plots._figure import Rows
from fastconv.benchmark.runner import REFERENCE


def write(folder: Path, name: str, report: dict[str, Any]) -> list[Path]:
    """Write the plots that a report allows as PNG files; none without matplotlib.

    Parameters
    ----------
    folder : Path
        The folder that they go to.
    name : str
        The beginning of the files' names.
    report : dict
        As `report.read_json` returns it.

    Returns
    -------
    list of Path
        The files.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return []
    written = []
    limits = {entry["threads"]: entry for entry in report.get("limits", [])}
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in report["results"]:
        case = result["case"]
        key = (case["threads"], case["batch"], case["device"], case["precision"])
        groups.setdefault(key, []).append(result)
    for (threads, batch, device, precision), results in groups.items():
        where = "" if (device, precision) == ("cpu", "fp32") else f"-{device}-{precision}"
        prefix = f"{name}-{threads}t-batch{batch}{where}"
        subtitle = f"{_machine(report, threads)}, batch {batch}, {device}, {precision}"
        if any(result["ratios"] for result in results):
            written.append(_ratios(folder / f"{prefix}-ratios.png", results, subtitle))
        if any("share_of_peak" in result["case"] for result in results):
            written.append(_peak(folder / f"{prefix}-peak.png", results, subtitle))
        if (device, precision) != ("cpu", "fp32") or threads not in limits:
            continue  # the limits are those of float32
        timed = [result for result in results if _figure.reference(result) is not None]
        # One thread's peak, as the rounds measured it, is a lower bound of that on many.
        peak = max(limits[threads]["peak_flops"], *(r["calibration"] for r in results))
        layers = [result for result in timed if "bytes" in result["case"]]
        if layers:
            path = folder / f"{prefix}-roofline.png"
            written.append(_layers.roofline(path, layers, limits[threads], peak, subtitle))
        for result in timed:
            if any(contender.get("profile") for contender in result["contenders"]):
                path = folder / f"{prefix}-steps-{result['case']['name']}.png"
                written.append(_layers.steps(path, result, peak, subtitle))
    for threads in dict.fromkeys(key[0] for key in groups):
        cases = [
            result
            for result in report["results"]
            if (result["case"]["suite"], result["case"]["threads"]) == ("models", threads)
        ]
        if len({result["case"]["device"] for result in cases}) > 1:
            path = folder / f"{name}-{threads}t-devices.png"
            written.append(_devices.devices(path, cases, _machine(report, threads)))
    return written


def _machine(report: dict[str, Any], threads: int) -> str:
    environment = report["environment"]
    return f"{environment['cpu']}, {environment['isa']}, {threads} thread{'s' * (threads > 1)}"


def _ratios(path: Path, results: Rows, subtitle: str) -> Path:
    """One group of bars for each case, one bar for each peer, with its interval.

    A very wide interval is cut off, so that the bars can be seen.
    """
    peers = list(dict.fromkeys(name for result in results for name in result["ratios"]))
    figure, axes = _figure.new(9, 1.4 + len(results) * (0.22 * len(peers) + 0.16))
    thickness = 0.8 / len(peers)
    end = 1.15 * max(ratio["value"] for result in results for ratio in result["ratios"].values())
    for k, peer in enumerate(peers):
        rows = [(i, r["ratios"][peer]) for i, r in enumerate(results) if peer in r["ratios"]]
        positions = [i + (k - (len(peers) - 1) / 2) * thickness for i, _ in rows]
        values = [ratio["value"] for _, ratio in rows]
        lower = [ratio["value"] - (ratio["low"] or ratio["value"]) for _, ratio in rows]
        upper = [min(ratio["high"] or end, end) - ratio["value"] for _, ratio in rows]
        bars = axes.barh(
            positions, values, thickness * 0.9, xerr=[lower, upper], capsize=2, label=peer
        )
        axes.bar_label(bars, fmt="%.2f", padding=4, fontsize=8, bbox=_figure.BEHIND_TEXT)
    axes.axvline(1, color="black", linewidth=1, zorder=0)
    axes.set_yticks(range(len(results)), [result["case"]["name"] for result in results])
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.set_xlabel(f"time of the peer / time of {REFERENCE} (above 1: {REFERENCE} is faster)")
    axes.set_title(f"{REFERENCE} against its peers\n{subtitle}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=len(peers), frameon=False)
    return _figure.save(figure, path)


def _peak(path: Path, results: Rows, subtitle: str) -> Path:
    """Share of the machine's peak for each kernel."""
    figure, axes = _figure.new(9, 1.4 + 0.3 * len(results))
    labels = [f"{r['case']['name']} ({r['case']['algorithm']})" for r in results]
    bars = axes.barh(range(len(results)), [100 * r["case"]["share_of_peak"] for r in results])
    axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8, bbox=_figure.BEHIND_TEXT)
    axes.axvline(100, color="black", linewidth=1, zorder=0)
    axes.set_yticks(range(len(results)), labels)
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.set_xlabel("multiply-adds of the layer, % of the FMA peak measured in the same run")
    axes.set_title(f"Kernels inside a network\n{subtitle}", fontsize=10)
    return _figure.save(figure, path)
