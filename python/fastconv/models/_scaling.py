"""Rules by which families of networks are scaled."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastconv._arguments import as_float


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a number of channels to a multiple of `divisor`, never down by more than a tenth.

    Examples
    --------
    >>> make_divisible(16 * 0.35), make_divisible(24 * 0.75)
    (8, 24)
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def as_multiplier(name: str, value: Any) -> float:
    """Return the argument `name` as a float, checked to be above 0 and at most 100.

    Raises
    ------
    TypeError, ValueError
        If it is no number, or none by which a network can be scaled.

    Examples
    --------
    >>> as_multiplier("width_mult", 1)
    1.0
    """
    multiplier = as_float(name, value)
    if not 0 < multiplier <= 100:  # published are 0.35 to 3.1; 2**70 layers never end
        raise ValueError(f"{name} must be above 0 and at most 100, got {value!r}")
    return multiplier


class CompoundScaling(NamedTuple):
    """Factors relative to EfficientNet-B0."""

    depth: float
    width: float
    resolution: float


def compound_scaling(phi: float) -> CompoundScaling:
    """Return how much deeper, wider and finer a network is that costs ``2 ** phi`` times as much.

    FLOPs grow as ``depth * width**2 * resolution**2``, and ``1.2 * 1.1**2 * 1.15**2`` is about 2.
    The published EfficientNets follow the rule only roughly: see ``docs/efficientnet.md``.

    Source: Tan and Le, EfficientNet (2019), equation 3 and section 4.

    Parameters
    ----------
    phi : float
        How much more computation to spend; 0 for EfficientNet-B0.

    Returns
    -------
    CompoundScaling
        ``depth`` is ``1.2 ** phi``, ``width`` is ``1.1 ** phi``, ``resolution`` is ``1.15 ** phi``.

    Raises
    ------
    TypeError
        If `phi` is no number.
    ValueError
        If it is not within 100 of 0.

    Examples
    --------
    >>> from fastconv.models.efficientnet import compound_scaling
    >>> depth, width, resolution = compound_scaling(2)
    >>> print(f"{depth:.2f} {width:.2f} {224 * resolution:.0f}")
    1.44 1.21 296
    """
    phi = as_float("phi", phi)
    if not abs(phi) <= 100:
        raise ValueError(f"phi must be between -100 and 100, got {phi}")
    return CompoundScaling(depth=1.2**phi, width=1.1**phi, resolution=1.15**phi)
