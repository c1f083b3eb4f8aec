"""Where the time goes: the roofline of single convolutions, and the steps of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastconv.benchmark.plots import _figure
from fastconv.benchmark.plots._figure import Rows

_MARKERS = {
    "3x3": "o",
    "1x1": "s",
    "other dense kernel": "D",
    "grouped": "^",
    "depthwise": "v",
}
_COLOURS = {
    "strassen": "tab:pink",
    "winograd2": "tab:cyan",
    "winograd3": "navy",
    "winograd4": "tab:blue",
    "winograd6": "tab:purple",
    "direct": "tab:orange",
    "direct, depthwise": "tab:olive",
    "depthwise": "tab:green",
    "im2col": "tab:red",
    "reference": "tab:brown",
    "": "tab:gray",
}


def roofline(
    path: Path, results: Rows, limits: dict[str, float], peak: float, subtitle: str
) -> Path:
    """Speed of each convolution over its arithmetic intensity, below the machine's limits.

    After Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for
    multicore architectures", 2009.
    """
    figure, axes = _figure.new(9, 6.5)
    points: dict[str, list[tuple[float, float, str]]] = {}
    for result in results:
        case, contender = result["case"], _figure.reference(result)
        if contender is not None:
            intensity = 2 * case["macs"] / case["bytes"]
            speed = 2e-9 * case["macs"] / contender["timing"]["minimum"]
            points.setdefault(_kind(case), []).append((intensity, speed, case["name"]))
    for i, (kind, marker) in enumerate(_MARKERS.items()):
        if kind not in points:
            continue
        place = zip(*(point[:2] for point in points[kind]), strict=True)
        options = {"color": f"C{i}", "marker": marker, "label": kind}
        axes.scatter(*place, 30, **options, alpha=0.8, linewidths=0, zorder=3)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    every = [point for some in points.values() for point in some]
    ends = min(p[0] for p in every) / 2, max(p[0] for p in every) * 2
    axes.axhline(
        1e-9 * peak, color="black", linewidth=1, label=f"FMA peak, {1e-9 * peak:.0f} GFLOP/s"
    )
    for memory, style in (("L2", "--"), ("memory", ":")):
        bandwidth = limits[f"{memory.lower()}_bandwidth"]
        corner = peak / bandwidth
        x = [min(ends[0], corner), min(corner, ends[1])]
        y = [1e-9 * bandwidth * intensity for intensity in x]
        label = f"reading from {memory}, {1e-9 * bandwidth:.0f} GB/s"
        axes.plot(x, y, style, color="black", linewidth=1, label=label)
    axes.set_xlim(ends)
    axes.set_ylim(min(p[1] for p in every) / 2, max(1e-9 * peak, *(p[1] for p in every)) * 2)
    middle = (ends[0] * ends[1]) ** 0.5
    fastest, slowest = (choose(every, key=lambda point: point[1]) for choose in (max, min))
    top = max(fastest[1], 1e-9 * peak)  # above the line of the peak, not across it
    for (intensity, _, name), height, offset, side in (
        (fastest, top, 6, "bottom"),
        (slowest, slowest[1], -6, "top"),
    ):
        axes.annotate(
            name,
            (intensity, height),
            (0, offset),
            textcoords="offset points",
            ha="left" if intensity < middle else "right",
            va=side,
            fontsize=8,
            bbox=_figure.BEHIND_TEXT,
        )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.set_xlabel("arithmetic intensity / (FLOP / byte of input, weights and output, once each)")
    axes.set_ylabel("speed / (GFLOP/s)")
    axes.set_title(
        "Roofline of single convolutions (FLOP as by the definition: Winograd needs fewer)\n"
        + subtitle,
        fontsize=10,
    )
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return _figure.save(figure, path)


def _kind(case: dict[str, Any]) -> str:
    if case["groups"] > 1:
        return "depthwise" if case["groups"] == case["channels"] else "grouped"
    kind = "{}x{}".format(*case["kernel"])
    return kind if kind in _MARKERS else "other dense kernel"


def steps(path: Path, result: dict[str, Any], peak: float, subtitle: str) -> Path:
    """Time of each step of a network, in the order of the steps."""
    contender = _figure.reference(result)
    assert contender is not None
    profile = contender["profile"]
    figure, axes = _figure.new(10, 1.8 + 0.16 * len(profile))
    seconds = [step["seconds"] for step in profile]
    for algorithm in dict.fromkeys(step["algorithm"] for step in profile):
        rows = [i for i, step in enumerate(profile) if step["algorithm"] == algorithm]
        axes.barh(
            rows,
            [1e3 * seconds[i] for i in rows],
            color=_COLOURS[algorithm],
            label=algorithm or "no convolution",
        )
    for i, step in enumerate(profile):
        text = f" {1e3 * step['seconds']:.3g} ms"
        if step["macs"]:
            text += f", {2 * step['macs'] / step['seconds'] / peak:.0%}"
        axes.text(1e3 * step["seconds"], i, text, va="center", fontsize=6)
    names = [f"{step['name']}  {step['op']}" for step in profile]
    axes.set_yticks(range(len(profile)), names, fontsize=6)
    axes.set_ylim(len(profile) - 0.4, -0.6)
    axes.set_xlim(0, 1.15e3 * max(seconds))
    axes.set_xlabel("time / ms; % of the FMA peak of the same run (Winograd needs fewer FLOP)")
    name = result["case"]["name"]
    axes.set_title(
        f"Steps of {name}: {1e3 * sum(seconds):.3g} ms in {len(profile)} steps\n{subtitle}",
        fontsize=10,
    )
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return _figure.save(figure, path)
