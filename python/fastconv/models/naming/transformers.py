"""The names of Hugging Face transformers, with or without the prefix of the base model."""

from __future__ import annotations

from fastconv.models.naming._format import Format, by_rules
from fastconv.models.naming._inverted_residuals import by_neutral

_rename_resnet = by_rules(
    (r"^resnet\.", ""),
    (r"^embedder\.embedder\.convolution\.", "conv1."),
    (r"^embedder\.embedder\.normalization\.", "bn1."),
    (r"^encoder\.stages\.(\d{1,4})\.layers\.", lambda stage: f"layer{stage + 1}."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"\.layer\.(\d{1,4})\.convolution\.", lambda layer: f".conv{layer + 1}."),
    (r"\.layer\.(\d{1,4})\.normalization\.", lambda layer: f".bn{layer + 1}."),
    (r"^classifier\.1\.", "fc."),
)

_rename_regnet = by_rules(
    (r"^regnet\.", ""),
    (r"^embedder\.embedder\.", "stem."),
    (
        r"^encoder\.stages\.(\d{1,4})\.layers\.(\d{1,4})\.",
        lambda stage, block: f"trunk_output.block{stage + 1}.block{stage + 1}-{block}.",
    ),
    (r"\.shortcut\.", ".proj."),
    (r"\.layer\.0\.", ".f.a."),
    (r"\.layer\.1\.", ".f.b."),
    (r"\.layer\.2\.attention\.0\.", ".f.se.fc1."),
    (r"\.layer\.2\.attention\.2\.", ".f.se.fc2."),
    (r"\.layer\.[23]\.", ".f.c."),  # 2 where there is no squeeze-excitation
    (r"\.convolution\.", ".0."),
    (r"\.normalization\.", ".1."),
    (r"^classifier\.1\.", "fc."),
)

_rename_convnext = by_rules(
    (r"^convnext\.", ""),
    (r"^classifier\.", "classifier.2."),
    (r"^layernorm\.", "classifier.0."),
    (r"^embeddings\.patch_embeddings\.", "features.0.0."),
    (r"^embeddings\.layernorm\.", "features.0.1."),
    (
        r"^encoder\.stages\.(\d{1,4})\.downsampling_layer\.",
        lambda stage: f"features.{2 * stage}.",
    ),
    (r"^encoder\.stages\.(\d{1,4})\.layers\.", lambda stage: f"features.{2 * stage + 1}."),
    (r"\.layer_scale_parameter$", ".layer_scale"),
    (r"\.dwconv\.", ".block.0."),
    (r"\.layernorm\.", ".block.2."),
    (r"\.pwconv1\.", ".block.3."),
    (r"\.pwconv2\.", ".block.5."),
)

_rename_efficientnet = by_neutral(
    (r"^efficientnet\.", ""),
    (r"^embeddings\.convolution\.", "stem.0."),
    (r"^embeddings\.batchnorm\.", "stem.1."),
    (r"^encoder\.top_conv\.", "head.0."),
    (r"^encoder\.top_bn\.", "head.1."),
    (r"^encoder\.blocks\.", "blocks."),
    (r"\.expansion\.expand_conv\.", ".expand.0."),
    (r"\.expansion\.expand_bn\.", ".expand.1."),
    (r"\.depthwise_conv\.depthwise_conv\.", ".depthwise.0."),
    (r"\.depthwise_conv\.depthwise_norm\.", ".depthwise.1."),
    (r"\.squeeze_excite\.reduce\.", ".se.fc1."),
    (r"\.squeeze_excite\.expand\.", ".se.fc2."),
    (r"\.projection\.project_conv\.", ".project.0."),
    (r"\.projection\.project_bn\.", ".project.1."),
)

_rename_mobilenet_v1 = by_neutral(
    (r"^mobilenet_v1\.", ""),
    (r"^conv_stem\.", "stem."),
    (
        r"^layer\.(\d{1,4})\.",
        lambda layer: f"blocks.{layer // 2}.{('depthwise', 'project')[layer % 2]}.",
    ),
    (r"\.convolution\.", ".0."),
    (r"\.normalization\.", ".1."),
)

_rename_mobilenet_v2 = by_neutral(
    (r"^mobilenet_v2\.", ""),
    (r"^conv_stem\.first_conv\.", "stem."),
    (r"^conv_stem\.", "blocks.0."),
    (r"^layer\.(\d{1,4})\.", lambda layer: f"blocks.{layer + 1}."),
    (r"\.expand_1x1\.", ".expand."),
    (r"\.conv_3x3\.", ".depthwise."),
    (r"\.reduce_1x1\.", ".project."),
    (r"^conv_1x1\.", "head."),
    (r"\.convolution\.", ".0."),
    (r"\.normalization\.", ".1."),
)

_STAGES_MARKER = r"embedder\.embedder\.|encoder\.stages\.\d+\.layers\.\d+\.(layer|shortcut)\."

FORMATS = (
    Format(
        "transformers",
        "ResNet",
        rf"resnet\.|{_STAGES_MARKER}",
        r"(wide_)?resne(t|xt)\d",
        _rename_resnet,
    ),
    Format("transformers", "RegNet", rf"regnet\.|{_STAGES_MARKER}", r"regnet_", _rename_regnet),
    Format(
        "transformers",
        "ConvNeXt",
        r"convnext\.|embeddings\.patch_embeddings\.|encoder\.stages\.\d+\.layers\.\d+\.dwconv\.",
        r"convnext_",
        _rename_convnext,
    ),
    Format(
        "transformers",
        "EfficientNet",
        r"efficientnet\.|embeddings\.batchnorm\.|encoder\.blocks\.",
        r"efficientnet_b",
        _rename_efficientnet,
    ),
    Format(
        "transformers",
        "MobileNetV1",
        r"mobilenet_v1\.|conv_stem\.convolution\.|layer\.\d+\.convolution\.",
        r"mobilenetv1_",
        _rename_mobilenet_v1,
    ),
    Format(
        "transformers",
        "MobileNetV2",
        r"mobilenet_v2\.|conv_stem\.first_conv\.|layer\.\d+\.expand_1x1\.",
        r"mobilenet_v2",
        _rename_mobilenet_v2,
    ),
)
