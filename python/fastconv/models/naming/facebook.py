"""The names of https://github.com/facebookresearch/ConvNeXt."""

from __future__ import annotations

from fastconv.models.naming._format import Format, by_rules

_rename = by_rules(
    (r"^norm\.", "classifier.0."),
    (r"^head\.", "classifier.2."),
    (r"^downsample_layers\.(\d{1,4})\.", lambda stage: f"features.{2 * stage}."),
    (r"^stages\.(\d{1,4})\.", lambda stage: f"features.{2 * stage + 1}."),
    (r"\.gamma$", ".layer_scale"),
    (r"\.dwconv\.", ".block.0."),
    (r"\.norm\.", ".block.2."),
    (r"\.pwconv1\.", ".block.3."),
    (r"\.pwconv2\.", ".block.5."),
)

FORMATS = (
    Format(
        "facebook",
        "ConvNeXt",
        r"downsample_layers\.|stages\.\d+\.\d+\.(dwconv|pwconv[12])\.",
        r"convnext_",
        _rename,
    ),
)
