"""CPU against GPU."""

from __future__ import annotations

from pathlib import Path

from fastconv.benchmark.plots import _figure
from fastconv.benchmark.plots._figure import Rows


def devices(path: Path, results: Rows, subtitle: str) -> Path:
    """Time for one image over the batch size: a colour for each network, a line for each device."""
    figure, axes = _figure.new(9, 5.5)
    lines: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
    for result in results:
        case, contender = result["case"], _figure.reference(result)
        if contender is not None:
            key = case["name"], case["device"], case["precision"]
            seconds = contender["timing"]["minimum"] / case["batch"]
            lines.setdefault(key, []).append((case["batch"], 1e3 * seconds))
    networks = list(dict.fromkeys(name for name, _, _ in lines))
    styles = list(dict.fromkeys((device, precision) for _, device, precision in lines))
    for (name, device, precision), points in lines.items():
        axes.plot(
            *zip(*sorted(points), strict=True),
            ("-o", "--s", ":^", "-.v", "-D")[styles.index((device, precision)) % 5],
            color=f"C{networks.index(name)}",
            label=f"{name}, {device}, {precision}",
            markersize=4,
        )
    batches = sorted({result["case"]["batch"] for result in results})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(batches, batches)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3, which="both")
    axes.set_xlabel("batch size")
    axes.set_ylabel("time for one image / ms")
    axes.set_title(f"CPU against GPU\n{subtitle}", fontsize=10)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return _figure.save(figure, path)
