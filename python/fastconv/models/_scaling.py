"""Rules by which families of networks scale their widths."""

from __future__ import annotations


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a number of channels to a multiple of `divisor`, never down by more than a tenth.

    Examples
    --------
    >>> make_divisible(16 * 0.35), make_divisible(24 * 0.75)
    (8, 24)
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
