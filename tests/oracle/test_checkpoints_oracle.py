"""Checkpoints of timm and transformers: every name, every shape, and the same logits."""

import json

import fastconv
import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from fastconv.models import _checkpoint, _variants
from fastconv.nn import init
from safetensors.torch import save_file

pytestmark = pytest.mark.oracle

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}

TIMM = [
    name
    for name in timm.list_models()
    if _variants.timm_architecture(name)[0] in fastconv.list_models()
]


def shapes(state_dict):
    return {
        key: tuple(value.shape)
        for key, value in state_dict.items()
        if not key.endswith("num_batches_tracked")
    }


def without_values(state_dict):
    """Return arrays of the shapes of a model on the meta device, which take no memory."""
    return {
        key: np.broadcast_to(np.float32(0), tuple(value.shape)) for key, value in state_dict.items()
    }


def built(name, **arguments):
    with init.skip():
        model = fastconv.models.model_entry(name).factory(**arguments)
    model.name = name
    return model


# ---- Names and shapes ------------------------------------------------------------------------------


def test_timm_architectures_are_those_of_the_families():
    assert {"resnet50", "seresnet50", "vgg16_bn", "densenet121", "inception_v3"} <= set(TIMM)
    assert {"regnety_080_tv", "regnetx_320", "convnext_large", "mnasnet_100"} <= set(TIMM)
    assert {"tf_efficientnet_b7", "efficientnet_b0", "tf_efficientnetv2_l"} <= set(TIMM)
    assert {"tf_efficientnet_lite4", "efficientnet_lite0", "mobilenetv3_small_100"} <= set(TIMM)
    assert {"tf_mobilenetv3_large_100", "mobilenetv2_050", "mobilenetv1_100"} <= set(TIMM)
    assert len(TIMM) > 90


@pytest.mark.parametrize("architecture", TIMM)
def test_every_key_of_timm(architecture):
    name, arguments = _variants.timm_architecture(architecture)
    with torch.device("meta"):
        theirs = timm.create_model(architecture).state_dict()
    model = built(name, **arguments)
    naming, state, files = _checkpoint.translate(model, without_values(theirs))
    assert shapes(state) == shapes(model.state_dict())
    assert naming == "timm" or set(files) == set(theirs)
