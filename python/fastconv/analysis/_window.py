"""What the elements of a value see along one axis of the image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

Span = tuple[float, float]
"""First and last pixel; infinite for the whole image, (inf, -inf) for none."""

EVERYTHING: Span = (-math.inf, math.inf)


class Taps(NamedTuple):
    """Which inputs each output reads along an axis.

    Output ``q * len(phases) + r`` reads, for each ``t`` in ``phases[r]``, input ``q * step + t``.
    """

    step: int
    phases: tuple[Sequence[int], ...]


@dataclass(frozen=True)
class Window:
    """What the elements of a value see along one axis of the image.

    Element ``q * len(spans) + r`` along the value's axis `axis` sees the pixels from
    ``spans[r][0] + q * step`` to ``spans[r][1] + q * step``. There are several spans only after
    upsampling, which gives neighbours different windows. `axis` is `None` if all elements see the
    same. `scattered` is true if the elements are no longer in the image's order (flattened); then
    only the size of the span has a meaning.
    """

    axis: int | None
    step: int
    spans: tuple[Span, ...]
    scattered: bool = False

    @property
    def jump(self) -> Fraction:
        return Fraction(self.step, len(self.spans))

    @property
    def size(self) -> float:
        return max(last - first + 1 for first, last in self.spans)

    @property
    def is_whole(self) -> bool:
        return self.spans[0] == EVERYTHING

    def at(self, index: int) -> Span:
        """Return what element `index` sees; indices continue into the padding on both sides."""
        q, r = divmod(index, len(self.spans))
        first, last = self.spans[r]
        return first + q * self.step, last + q * self.step

    def moved(self, axis: int | None) -> Window:
        """Return the same along another axis of the value."""
        return Window(axis, self.step, self.spans, self.scattered)

    def through(self, taps: Taps) -> Window:
        """Return the window of an operator's result from that of its input."""
        period, phases = len(self.spans), taps.phases
        repeats = period // math.gcd(period, taps.step)
        spans = tuple(
            _hull(self.at(q * taps.step + t) for t in phases[r])
            for q in range(repeats)
            for r in range(len(phases))
        )
        return _periodic(self.axis, repeats * taps.step * self.step // period, spans)


WHOLE = Window(None, 0, (EVERYTHING,))


def _hull(spans: Iterable[Span]) -> Span:
    firsts, lasts = zip(*spans, (math.inf, -math.inf), strict=True)
    return min(firsts), max(lasts)


def _periodic(axis: int | None, step: int, spans: tuple[Span, ...]) -> Window:
    """Return a window with the smallest period, so that equal windows are equal objects."""
    n = len(spans)
    for period in range(1, n):
        if n % period or (period * step) % n:
            continue
        candidate = Window(axis, period * step // n, spans[:period])
        if all(candidate.at(i) == spans[i] for i in range(n)):
            return candidate
    return Window(axis, step, spans)


def union(windows: Sequence[Window]) -> Window:
    """Return the window of a value that depends on several.

    If their jumps differ, the distance between what they see grows with the position. Together they
    count as the whole image.
    """
    first = windows[0]
    if all(window == first for window in windows):
        return first
    if any(w.is_whole or w.axis != first.axis or w.scattered != first.scattered for w in windows):
        return WHOLE
    if first.scattered:
        return max(windows, key=lambda window: window.size)
    if any(window.jump != first.jump for window in windows):
        return WHOLE
    period = math.lcm(*(len(window.spans) for window in windows))
    spans = tuple(_hull(window.at(i) for window in windows) for i in range(period))
    return _periodic(first.axis, first.step * period // len(first.spans), spans)
