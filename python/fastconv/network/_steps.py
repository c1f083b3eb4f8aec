"""The steps of a network, to look at and to print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


class Steps(list[dict[str, Any]]):
    """The steps of a network, one dictionary each; as text, a table.

    Attributes
    ----------
    peak_gflops : float or None
        Of a profile on the CPU: what multiply-adds in registers reach here on as many threads.
    verbose : bool
        Whether the text also says what was rejected, and why.
    """

    def __init__(
        self,
        steps: Iterable[dict[str, Any]] = (),
        *,
        peak_gflops: float | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(steps)
        self.peak_gflops = peak_gflops
        self.verbose = verbose

    @property
    def total(self) -> dict[str, Any]:
        """``macs`` of all steps; of a profile also ``seconds``, ``gflops`` and ``of_peak``."""
        total: dict[str, Any] = {"macs": sum(step["macs"] for step in self)}
        if self._timed:
            total["seconds"] = sum(step["seconds"] for step in self)
            total |= rates(total["macs"], total["seconds"], self.peak_gflops)
        return total

    @property
    def _timed(self) -> bool:
        return bool(self) and "seconds" in self[0]

    def __str__(self) -> str:
        columns: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
            ("name", lambda s: s["name"]),
            ("op", lambda s: s["op"]),
            ("output", lambda s: "x".join(map(str, s["shape"]))),
            ("algorithm", lambda s: s["algorithm"]),
            ("MMACs", lambda s: f"{s['macs'] / 1e6:.1f}" if s["macs"] else ""),
            ("MB", lambda s: f"{s['bytes'] / 1e6:.2f}"),
            ("ms", lambda s: f"{s['seconds'] * 1e3:.3f}"),
            ("share", lambda s: f"{s['share']:.1%}"),
            ("GFLOP/s", lambda s: f"{s['gflops']:.1f}" if s["macs"] else ""),
            ("of peak", lambda s: f"{s['of_peak']:.1%}" if s["macs"] else ""),
            ("reason", lambda s: s["reason"]),
        ]
        lines: list[dict[str, Any]] = list(self)
        if not self._timed:
            columns = [*columns[:6], columns[-1]]
        else:
            if self.peak_gflops is None:
                del columns[-2]
            total = self.total | {"bytes": sum(step["bytes"] for step in self), "share": 1.0}
            total |= {"name": "total", "op": "", "shape": (), "algorithm": "", "reason": ""}
            lines.append(total)
        rows = [[title for title, _ in columns], *([cell(s) for _, cell in columns] for s in lines)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        left = {0, 1, 2, 3, len(columns) - 1}
        text = [
            "  ".join(
                cell.ljust(width) if index in left else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        if self.verbose:
            for index in reversed(range(len(self))):
                names: dict[str, list[str]] = {}  # by why they were rejected
                for name, why in self[index]["rejected"].items():
                    names.setdefault(why, []).append(name)
                text[index + 2 : index + 2] = [
                    f"    not {', '.join(group)}: {why}" for why, group in names.items()
                ]
        return "\n".join(text)


def rates(macs: int, seconds: float, peak_gflops: float | None) -> dict[str, float]:
    """Return ``gflops`` and, where the peak is known, ``of_peak``."""
    gflops = 2e-9 * macs / seconds if seconds > 0 else 0.0
    return {"gflops": gflops} | ({} if peak_gflops is None else {"of_peak": gflops / peak_gflops})


def explained(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a native step as users see it, with why other algorithms were rejected."""
    public = {k: value for k, value in step.items() if k not in ("value", "task", "considered")}
    considered = {name: why for name, _, why in step.get("considered", ())}
    first = next(iter(considered), None)
    if first not in (None, step["algorithm"]):  # the rule's choice was not to be
        considered[first] = step["reason"]
    considered.pop(step["algorithm"], None)
    public["rejected"] = considered
    return public
