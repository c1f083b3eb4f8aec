"""What all classification networks share."""

from __future__ import annotations

from typing import Any, ClassVar, TypedDict

from fastconv._arguments import as_size
from fastconv.models._provenance import Checkpoint
from fastconv.nn import Identity, Linear, Module, init
from fastconv.nn.module import IncompatibleKeys, Value


class _OptionalCfg(TypedDict, total=False):
    test_input_size: tuple[int, int, int]
    """A larger input that gives better results; `fastconv.preprocess` makes it."""
    test_crop_pct: float
    """In place of `crop_pct`, too."""
    crop_rounding: str
    """How an odd border is halved: "even" as torchvision, or "down" as transformers."""


class DefaultCfg(_OptionalCfg):
    """How images become inputs; the keys are timm's."""

    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float
    crop_mode: str


IMAGENET_CFG = DefaultCfg(
    input_size=(3, 224, 224),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    interpolation="bilinear",
    crop_pct=0.875,
    crop_mode="center",
)


class ImageClassifier(Module):
    """Features, then a classifier: the interface of every model in the registry.

    A subclass defines `forward_features`, `forward_head`, the name of its classifier, and, where
    that is no `Linear`, `_make_classifier`.
    """

    input_ndim = 4
    name: str | None = None
    """The model's name in the registry."""
    num_features: int
    """Inputs of the classifier."""
    weights_source: str | None = None
    """Where the weights come from; `None` where they are random, so that outputs mean nothing."""
    checkpoint: Checkpoint | None = None
    """What `create_model` found in a checkpoint; `None` without one."""
    default_cfg: DefaultCfg = IMAGENET_CFG
    """Preprocessing that the published weights expect."""

    _classifier: ClassVar[str]
    """Dotted name of the layer whose `weight` has a row for each class."""

    def _make_classifier(self, in_features: int, num_classes: int) -> Module:
        """Make a layer of the classifier's type."""
        return Linear(in_features, num_classes)

    def forward_features(self, x: Value) -> Value:
        """Compute the last feature map, ``(N, C, H, W)``, before pooling.

        Called on arrays it runs compiled layer by layer; for speed compile the model with a tap.
        """
        raise NotImplementedError

    def forward_head(self, x: Value) -> Value:
        """Pool a feature map and classify, ``(N, num_classes)``."""
        raise NotImplementedError

    def forward(self, x: Value) -> Value:
        """Classify a batch of images, giving logits."""
        return self.forward_head(self.forward_features(x))

    @property
    def _classifier_slot(self) -> tuple[Module, str]:
        path, _, name = self._classifier.rpartition(".")
        return dict(self.named_modules())[path], name

    @property
    def num_classes(self) -> int:
        """Outputs of the classifier; 0 where it has been taken away."""
        parent, name = self._classifier_slot
        classifier = getattr(parent, name)
        return 0 if isinstance(classifier, Identity) else len(classifier.weight)

    def reset_classifier(self, num_classes: int, seed: int = 0) -> None:
        """Replace the classifier by a new one with random weights.

        Parameters
        ----------
        num_classes : int
            Outputs of the new layer; 0 leaves the pooled features as the output.
        seed : int
            Of the new weights.

        Raises
        ------
        ValueError
            If `num_classes` or `seed` is negative.
        TypeError
            If it, or `seed`, is no integer.

        Examples
        --------
        >>> import fastconv
        >>> model = fastconv.create_model("resnet18")
        >>> model.reset_classifier(10)
        >>> model.num_classes, model.num_features
        (10, 512)
        """
        num_classes = as_size("num_classes", num_classes)
        seed = as_size("seed", seed)
        parent, name = self._classifier_slot
        classifier: Module = Identity()
        if num_classes:
            classifier = self._new_classifier(self.num_features, num_classes, seed)
        setattr(parent, name, classifier)
        if self.weights_source is not None:
            self.weights_source += ", new classifier"
        if self.checkpoint is not None:
            self.checkpoint = self.checkpoint._replace(background=False, labels=None)

    def _new_classifier(self, in_features: int, num_classes: int, seed: int) -> Module:
        """Return a layer of this model's dtype, with random weights where they are wanted."""
        with init.skip():
            layer = self._make_classifier(in_features, num_classes)
        if not init.is_skipping():
            layer.reset_parameters(seed)
        return layer if self.dtype is None else layer.astype(self.dtype)

    def load_state_dict(self, state_dict: Any, strict: bool = True) -> IncompatibleKeys:
        """Load weights; see `fastconv.nn.Module.load_state_dict`."""
        result = super().load_state_dict(state_dict, strict)
        self.weights_source = "a state dict"
        self.checkpoint = None
        return result

    def extra_repr(self) -> str:
        """Return the model's name and where its weights come from."""
        source = self.weights_source or "random, not trained"
        return f"{self.name or 'unregistered'}, weights: {source}"
