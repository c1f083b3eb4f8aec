"""Conclusions from timings on a noisy machine.

Other programs on a machine make a call slower, never faster. So the time of a contender is its
minimum. The question is whether that minimum is the machine's or luck. It counts as found once
several rounds, spread over the run, have come close to it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

CONFIRMATIONS = 3
"""The number of rounds that must come close to the minimum, its own round included."""


class Timing(NamedTuple):
    """The times of one contender, in seconds; each round counts with its fastest call."""

    minimum: float
    """Over all calls."""
    median: float
    """Over the rounds."""
    spread: float
    """The width of the middle half of the rounds, relative to the median."""
    confirmed: float
    """The time that `CONFIRMATIONS` rounds have reached; infinite with fewer rounds."""
    rounds: int

    @classmethod
    def of(cls, rounds: Sequence[float]) -> Timing:
        """Summarise the rounds' fastest calls.

        Raises
        ------
        ValueError
            If there are no rounds.

        Examples
        --------
        >>> Timing.of([1.25, 1.0, 1.5, 1.0, 3.0])
        Timing(minimum=1.0, median=1.25, spread=0.4, confirmed=1.25, rounds=5)
        """
        if not rounds:
            raise ValueError("rounds must not be empty: nothing has been timed")
        ordered = sorted(rounds)
        median = statistics.median(ordered)
        quarter = len(ordered) // 4
        middle = ordered[len(ordered) - 1 - quarter] - ordered[quarter]
        confirmed = ordered[CONFIRMATIONS - 1] if len(ordered) >= CONFIRMATIONS else math.inf
        return cls(ordered[0], median, middle / median, confirmed, len(ordered))


class Ratio(NamedTuple):
    """How many times as long the other takes: above 1, the first is faster."""

    value: float
    """The ratio of the minima."""
    low: float
    high: float
    """The interval of the value if one of the minima were the luck of a single round."""
    median: float
    """The median ratio of single rounds, in which both ran next to each other."""
    spread: float
    """The width of the middle half of these ratios, relative to their median."""

    @classmethod
    def of(cls, first: Sequence[float], other: Sequence[float]) -> Ratio:
        """Compare two contenders that took turns.

        Parameters
        ----------
        first, other : sequence of float
            Seconds of each round, the same number of rounds for both.

        Raises
        ------
        ValueError
            If they are not of the same length, or empty.

        Examples
        --------
        >>> Ratio.of([1.0, 1.0, 1.0], [2.0, 2.1, 2.0]).value
        2.0
        """
        a, b = Timing.of(first), Timing.of(other)
        if a.rounds != b.rounds:
            raise ValueError(f"both need as many rounds: got {a.rounds} and {b.rounds}")
        rounds = Timing.of([y / x for x, y in zip(first, other, strict=True)])
        return cls(
            b.minimum / a.minimum,
            b.minimum / a.confirmed,
            b.confirmed / a.minimum,
            rounds.median,
            rounds.spread,
        )

    def converged(self, tolerance: float) -> bool:
        """Whether the interval is narrower than `tolerance`, relative to the value."""
        return self.high - self.low <= tolerance * self.value


def geometric_mean(values: Sequence[float]) -> float:
    """Return the mean of ratios.

    Examples
    --------
    >>> round(geometric_mean([0.5, 2.0, 8.0]), 9)
    2.0
    """
    return math.exp(statistics.fmean(math.log(value) for value in values))
