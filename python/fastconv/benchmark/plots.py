"""Plots of a report, where matplotlib is installed (extra ``[bench]``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastconv.benchmark.runner import REFERENCE

Rows = Sequence[dict[str, Any]]

_BEHIND_TEXT = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # hides the line below it


def write(folder: Path, name: str, report: dict[str, Any]) -> list[Path]:
    """Write the plots that a report allows as PNG files; none without matplotlib.

    Parameters
    ----------
    folder : Path
        Where to.
    name : str
        How the files' names begin.
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
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in report["results"]:
        case = result["case"]
        groups.setdefault((case["threads"], case["batch"]), []).append(result)
    for (threads, batch), results in groups.items():
        suffix = f"{name}-{threads}t-batch{batch}"
        subtitle = f"{report['environment']['cpu']}, {threads} thread{'s' * (threads > 1)}, "
        subtitle += f"batch {batch}, {report['environment']['isa']}"
        if any(result["ratios"] for result in results):
            written.append(_ratios(folder / f"{suffix}-ratios.png", results, subtitle))
        if any("share_of_peak" in result["case"] for result in results):
            written.append(_peak(folder / f"{suffix}-peak.png", results, subtitle))
    return written


def _figure(width: float, height: float) -> tuple[Any, Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot(), FigureCanvasAgg(figure)


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=120)
    return path


def _ratios(path: Path, results: Rows, subtitle: str) -> Path:
    """One group of bars for each case, one bar for each peer, with its interval."""
    peers = list(dict.fromkeys(name for result in results for name in result["ratios"]))
    figure, axes, _ = _figure(9, 1.4 + len(results) * (0.22 * len(peers) + 0.16))
    thickness = 0.8 / len(peers)
    for k, peer in enumerate(peers):
        rows = [(i, r["ratios"][peer]) for i, r in enumerate(results) if peer in r["ratios"]]
        positions = [i + (k - (len(peers) - 1) / 2) * thickness for i, _ in rows]
        values = [ratio["value"] for _, ratio in rows]
        lower = [ratio["value"] - (ratio["low"] or ratio["value"]) for _, ratio in rows]
        upper = [(ratio["high"] or ratio["value"]) - ratio["value"] for _, ratio in rows]
        bars = axes.barh(
            positions, values, thickness * 0.9, xerr=[lower, upper], capsize=2, label=peer
        )
        axes.bar_label(bars, fmt="%.2f", padding=4, fontsize=8, bbox=_BEHIND_TEXT)
    axes.axvline(1, color="black", linewidth=1, zorder=0)
    axes.set_yticks(range(len(results)), [result["case"]["name"] for result in results])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"time of the peer / time of {REFERENCE} (above 1: {REFERENCE} is faster)")
    axes.set_title(f"{REFERENCE} against its peers\n{subtitle}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=len(peers), frameon=False)
    return _save(figure, path)


def _peak(path: Path, results: Rows, subtitle: str) -> Path:
    """Share of the machine's peak for each kernel."""
    figure, axes, _ = _figure(9, 1.4 + 0.3 * len(results))
    labels = [f"{r['case']['name']} ({r['case']['algorithm']})" for r in results]
    bars = axes.barh(range(len(results)), [100 * r["case"]["share_of_peak"] for r in results])
    axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8, bbox=_BEHIND_TEXT)
    axes.axvline(100, color="black", linewidth=1, zorder=0)
    axes.set_yticks(range(len(results)), labels)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("multiply-adds of the layer, % of the FMA peak measured in the same run")
    axes.set_title(f"Kernels inside a network\n{subtitle}", fontsize=10)
    return _save(figure, path)
