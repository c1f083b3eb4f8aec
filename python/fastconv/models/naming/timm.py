"""timm's names, where they differ from torchvision's."""

from __future__ import annotations

import re
from collections.abc import Collection

from fastconv.models.naming._format import Format, Renamed, Rule, by_rules, substitute
from fastconv.models.naming._inverted_residuals import write

_OUTSIDE: tuple[Rule, ...] = (
    (r"^conv_stem\.", "stem.0."),
    (r"^bn1\.", "stem.1."),
    (r"^conv_head\.", "head.0."),
    (r"^bn2\.", "head.1."),
)

_SE = {"se.conv_reduce": "se.fc1", "se.conv_expand": "se.fc2"}

# The same names mean different layers in different kinds of blocks.
_BLOCKS = (
    {  # ConvBnAct
        "conv": "conv.0",
        "bn1": "conv.1",
    },
    {  # DepthwiseSeparableConv
        "conv_dw": "depthwise.0",
        "bn1": "depthwise.1",
        **_SE,
        "conv_pw": "project.0",
        "bn2": "project.1",
    },
    {  # EdgeResidual
        "conv_exp": "expand.0",
        "bn1": "expand.1",
        **_SE,
        "conv_pwl": "project.0",
        "bn2": "project.1",
    },
    {  # InvertedResidual
        "conv_pw": "expand.0",
        "bn1": "expand.1",
        "conv_dw": "depthwise.0",
        "bn2": "depthwise.1",
        **_SE,
        "conv_pwl": "project.0",
        "bn3": "project.1",
    },
)

_LAYER = re.compile(r"(blocks\.\d{1,4}\.\d{1,4})\.((?:se\.)?\w+)\.(\w+)", re.ASCII)


def _rename_blocks(keys: Collection[str], name: str, model_keys: Collection[str]) -> Renamed:
    layers = {key: match for key in keys if (match := _LAYER.fullmatch(key))}
    blocks: dict[str, set[str]] = {}
    for match in layers.values():
        blocks.setdefault(match[1], set()).add(match[2])
    # The kind with which a block shares the most layers; of two, the smaller one.
    kinds = {
        block: max(_BLOCKS, key=lambda kind: (len(names & kind.keys()), -len(kind)))
        for block, names in blocks.items()
    }
    neutral = {key: substitute(key, _OUTSIDE) for key in keys}
    for key, match in layers.items():
        if match[2] in kinds[match[1]]:
            neutral[key] = f"{match[1]}.{kinds[match[1]][match[2]]}.{match[3]}"
    return write(neutral, name, model_keys)


_rename_vgg = by_rules(
    (r"^pre_logits\.fc1\.", "classifier.0."),
    (r"^pre_logits\.fc2\.", "classifier.3."),
    (r"^head\.fc\.", "classifier.6."),
)

_rename_regnet = by_rules(
    (r"^stem\.conv\.", "stem.0."),
    (r"^stem\.bn\.", "stem.1."),
    (
        r"^s(\d{1,4})\.b(\d{1,4})\.",
        lambda stage, block: f"trunk_output.block{stage}.block{stage}-{block - 1}.",
    ),
    (r"\.conv1\.", ".f.a."),
    (r"\.conv2\.", ".f.b."),
    (r"\.se\.", ".f.se."),
    (r"\.conv3\.", ".f.c."),
    (r"\.downsample\.", ".proj."),
    (r"\.conv\.(\w+)$", r".0.\1"),
    (r"\.bn\.(\w+)$", r".1.\1"),
    (r"^head\.fc\.", "fc."),
)

_rename_convnext = by_rules(
    (r"^head\.norm\.", "classifier.0."),
    (r"^stem\.", "features.0."),
    (r"^stages\.(\d{1,4})\.downsample\.", lambda stage: f"features.{2 * stage}."),
    (r"^stages\.(\d{1,4})\.blocks\.", lambda stage: f"features.{2 * stage + 1}."),
    (r"\.gamma$", ".layer_scale"),
    (r"\.conv_dw\.", ".block.0."),
    (r"\.norm\.", ".block.2."),
    (r"\.mlp\.fc1\.", ".block.3."),
    (r"\.mlp\.fc2\.", ".block.5."),
    (r"^head\.fc\.", "classifier.2."),
)

_BLOCK_MARKER = r"blocks\.\d+\.\d+\.(conv|bn|se\.conv)"

FORMATS = (
    Format(
        "timm",
        "EfficientNet, MNASNet or MobileNet",
        _BLOCK_MARKER,
        r"efficientnet_|mnasnet|mobilenet_v[23]",
        _rename_blocks,
    ),
    Format("timm", "MobileNetV1", _BLOCK_MARKER, r"mobilenetv1_", by_rules()),
    Format("timm", "VGG", r"pre_logits\.fc[12]\.", r"vgg", _rename_vgg),
    Format("timm", "RegNet", r"s\d+\.b\d+\.", r"regnet_", _rename_regnet),
    Format("timm", "ConvNeXt", r"stages\.\d+\.blocks\.", r"convnext_", _rename_convnext),
)
