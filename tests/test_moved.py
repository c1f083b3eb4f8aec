"""Names that have moved work under their old names, with a warning."""

import importlib
import pickle

import fastconv
import pytest
from fastconv import models, nn, weights
from fastconv.models import blocks, naming

BLOCKS = {name: value for name, value in vars(blocks).items() if isinstance(value, type)}


def old_name(module: str, name: str, new: str) -> object:
    """Return what an old name gives, after checking the warning and where it points to."""
    text = rf"^{module}\.{name} is now {new}\.{name}: the old name goes with fastconv 0\.2$"
    with pytest.warns(DeprecationWarning, match=text) as caught:
        value = getattr(importlib.import_module(module), name)
    assert [warning.filename for warning in caught] == [__file__]
    return value


def test_there_are_blocks() -> None:
    assert len(BLOCKS) == 23


@pytest.mark.parametrize("module", ["fastconv.nn", "fastconv.nn.blocks"])
@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_under_their_old_names(module: str, name: str) -> None:
    assert old_name(module, name, "fastconv.models.blocks") is BLOCKS[name]


@pytest.mark.parametrize("name", ["recognise", "to_model_names"])
@pytest.mark.parametrize("module", ["fastconv.weights"])
def test_naming_under_its_old_names(module: str, name: str) -> None:
    assert old_name(module, name, "fastconv.models") is getattr(models, name)


def test_modules_under_their_old_names() -> None:
    assert old_name("fastconv.nn", "blocks", "fastconv.models") is blocks
    assert old_name("fastconv.weights", "naming", "fastconv.models") is naming
    assert old_name("fastconv.nn.layers", "Conv2d", "fastconv.nn") is nn.Conv2d
    for name in naming.__all__:
        found = old_name("fastconv.weights.naming", name, "fastconv.models.naming")
        assert found is getattr(naming, name)
    found = old_name("fastconv.weights.naming", "to_model_names", "fastconv.models")
    assert found is models.to_model_names


def test_imports_of_old_names() -> None:
    with pytest.warns(DeprecationWarning, match="fastconv.models.blocks.MBConv"):
        from fastconv.nn import MBConv
    with pytest.warns(DeprecationWarning, match="fastconv.models.blocks.Fire"):
        from fastconv.nn.blocks import Fire
    assert MBConv is blocks.MBConv
    assert Fire is blocks.Fire


def test_what_never_was_there() -> None:
    with pytest.raises(AttributeError, match=r"'fastconv\.nn' has no attribute 'Nothing': use"):
        _ = nn.Nothing
    with pytest.raises(AttributeError, match=r"'fastconv\.weights' has no attribute 'nothing'"):
        _ = weights.nothing
    old = importlib.import_module("fastconv.nn.blocks")
    with pytest.raises(AttributeError, match=r"'fastconv\.nn\.blocks' has no attribute 'ReLU'"):
        _ = old.ReLU
    assert not BLOCKS.keys() & {*nn.__all__}


def test_models_use_the_new_names() -> None:
    block = fastconv.create_model("resnet18").layer1[0]
    assert pickle.loads(pickle.dumps(type(block))) is blocks.BasicBlock
