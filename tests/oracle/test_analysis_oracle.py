"""MACs are those that torchvision publishes with its weights."""

import fastconv
import pytest
import torchvision
from fastconv.analysis import summary

pytestmark = pytest.mark.oracle

MODELS = [name for name in fastconv.list_models() if hasattr(torchvision.models, name)]


def test_covers_the_families_of_torchvision():
    assert {"resnet50", "mobilenet_v2", "convnext_tiny"} <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_macs_equal_torchvisions(name):
    weights = torchvision.models.get_model_weights(name)
    meta = {w.name: w for w in weights}.get("IMAGENET1K_V1", next(iter(weights))).meta
    # "_ops" are called GFLOPS, but count a multiplication and an addition as one.
    assert summary(name, depth=0).macs / 1e9 == pytest.approx(meta["_ops"], abs=0.0006)
