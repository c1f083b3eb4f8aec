"""What Inception v1 and v3 share: the range of their inputs, and auxiliary heads."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastconv._arguments import as_bool
from fastconv.models._base import IMAGENET_CFG, DefaultCfg, ImageClassifier
from fastconv.nn.module import Value

INCEPTION_CFG: DefaultCfg = {**IMAGENET_CFG, "mean": (0.5,) * 3, "std": (0.5,) * 3}

# From ImageNet's mean and deviation to 0.5 and 0.5, which map [0, 1] to [-1, 1].
SCALE = np.array(IMAGENET_CFG["std"]).reshape(1, 3, 1, 1) / 0.5
SHIFT = (np.array(IMAGENET_CFG["mean"]).reshape(1, 3, 1, 1) - 0.5) / 0.5


class InceptionClassifier(ImageClassifier):
    """A classifier of images in [-1, 1], perhaps with auxiliary heads, which inference ignores.

    With `transform_input` the network computes that range itself from images that are normalised
    by ImageNet's mean and deviation, and `default_cfg` asks for those: both ways the same image
    gives the same logits.

    Parameters
    ----------
    in_chans : int
        Channels of the input.
    transform_input : bool
        Whether images come normalised by ImageNet's mean and deviation.

    Raises
    ------
    ValueError
        If `transform_input` is asked for with `in_chans` other than 3.
    """

    _aux_classifiers: ClassVar[tuple[tuple[str, str], ...]]
    """Each auxiliary head's attribute and, in it, that of its last `Linear`."""

    default_cfg = INCEPTION_CFG

    def __init__(self, in_chans: int, transform_input: bool) -> None:
        transform_input = as_bool("transform_input", transform_input)
        if transform_input and in_chans != 3:
            raise ValueError(
                f"transform_input=True needs in_chans=3, because it renormalises red, green and "
                f"blue by ImageNet's statistics, got in_chans={in_chans}: pass "
                f"transform_input=False and images in [-1, 1]"
            )
        self.transform_input = transform_input
        if transform_input:
            self.default_cfg = IMAGENET_CFG

    def _transform(self, x: Value) -> Value:
        """Bring the input to [-1, 1], where `transform_input` asks for it."""
        if not self.transform_input:
            return x
        return x * SCALE.astype(x.dtype) + SHIFT.astype(x.dtype)

    def reset_classifier(self, num_classes: int, seed: int = 0) -> None:
        """Replace the last layer, and that of each auxiliary head, by new ones.

        As `ImageClassifier.reset_classifier`; with ``num_classes=0`` the auxiliary heads stay.
        """
        super().reset_classifier(num_classes, seed)
        modules = dict(self.named_modules())
        for i, (head, name) in enumerate(self._aux_classifiers, start=1):
            if num_classes and head in modules:
                in_features = getattr(modules[head], name).in_features
                layer = self._new_classifier(in_features, num_classes, seed + i)
                setattr(modules[head], name, layer)
