"""The packaged LeNet-5 on the third of scikit-learn's digits that it was not trained on."""

import runpy
from pathlib import Path

import fastconv
import pytest
from fastconv.models._packaged import packaged_weights

pytestmark = pytest.mark.oracle

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "train_lenet5.py"))


def test_held_out_third():
    train, _, images, labels = SCRIPT["load_split"]()
    assert (len(train), len(images)) == (1198, 599)
    seen = {image.tobytes() for image in train}
    assert not any(image.tobytes() in seen for image in images)

    model = fastconv.create_model("lenet5", packaged_weights("digits"))
    assert (model(fastconv.preprocess(images, model)).argmax(axis=1) == labels).mean() >= 0.98


def test_training_learns():
    train, train_labels, images, labels = SCRIPT["load_split"]()
    weights = SCRIPT["train"](train, train_labels, epochs=2, seed=0)
    assert SCRIPT["accuracy"](weights, images, labels) > 0.5
