"""The names of https://github.com/lukemelas/EfficientNet-PyTorch: blocks counted through."""

from __future__ import annotations

from fastconv.models.naming._format import Format
from fastconv.models.naming._inverted_residuals import by_neutral

_rename = by_neutral(
    (r"^_conv_stem\.", "stem.0."),
    (r"^_bn0\.", "stem.1."),
    (r"^_conv_head\.", "head.0."),
    (r"^_bn1\.", "head.1."),
    (r"^_fc\.", "classifier."),
    (r"^_blocks\.", "blocks."),
    (r"\._expand_conv\.", ".expand.0."),
    (r"\._bn0\.", ".expand.1."),
    (r"\._depthwise_conv\.", ".depthwise.0."),
    (r"\._bn1\.", ".depthwise.1."),
    (r"\._se_reduce\.", ".se.fc1."),
    (r"\._se_expand\.", ".se.fc2."),
    (r"\._project_conv\.", ".project.0."),
    (r"\._bn2\.", ".project.1."),
)

FORMATS = (
    Format(
        "lukemelas", "EfficientNet", r"_conv_stem\.|_blocks\.", r"efficientnet_(b|lite)", _rename
    ),
)
