"""torchvision's names, which are fastconv's; and older ones, still found in its files."""

from __future__ import annotations

from fastconv.models.naming._format import Format, by_rules

FORMATS = (
    Format(
        "torchvision",
        "DenseNet",
        r"features\.denseblock\d+\.denselayer\d+\.(norm|conv)\.[12]\.",
        r"densenet",
        by_rules((r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.")),
    ),
)
