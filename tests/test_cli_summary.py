"""``fastconv summary``: output, exit codes and one clear line on bad input."""

import json

import pytest
from fastconv.analysis import summary
from fastconv.cli import main


def fails(capsys, *arguments):
    """Run a command that must fail; return its line on stderr."""
    assert main(["summary", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("fastconv: error: ")
    assert output.err.count("\n") == 1
    return output.err


def test_table(capsys):
    assert main(["summary", "lenet5"]) == 0
    output = capsys.readouterr().out
    assert output == f"{summary('lenet5')}\n"
    assert "Conv2d" in output
    assert "61,706" in output


def test_depth_and_input_shape(capsys):
    arguments = ["resnet18", "--depth", "0", "--input-shape", "3", "64", "96", "--batch", "2"]
    assert main(["summary", *arguments]) == 0
    assert capsys.readouterr().out == f"{summary('resnet18', (2, 3, 64, 96), depth=0)}\n"
    assert main(["summary", "resnet18", "--depth", "1", "--batch", "3"]) == 0
    output = capsys.readouterr().out
    assert "layer4 " in output
    assert "layer4.0" not in output
    assert "3x3x224x224" in output


def test_json(capsys):
    assert main(["summary", "mobilenet_v2", "--json", "--depth", "1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.pop("model") == "mobilenet_v2"
    assert result == summary("mobilenet_v2", depth=1).to_dict()
    assert (result["parameters"], result["macs"]) == (3_504_872, 300_774_272)


def test_bad_input(capsys):
    assert "did you mean resnet50" in fails(capsys, "resnet51")
    assert "channels" in fails(capsys, "resnet18", "--input-shape", "4", "64", "64")
    assert "fit" in fails(capsys, "lenet5", "--input-shape", "1", "8", "8")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "MODEL"),
        (["lenet5", "--depth", "-1"], "--depth"),
        (["lenet5", "--depth", "x"], "--depth: expected an integer of at least 0, got 'x'"),
        (["lenet5", "--batch", "0"], "--batch: expected a positive integer, got '0'"),
        (["lenet5", "--input-shape", "1", "32"], "--input-shape: expected 3 arguments"),
        (["lenet5", "--input-shape", "1", "32", "0"], "expected a positive integer, got '0'"),
    ],
)
def test_arguments_that_cannot_be_parsed(capsys, arguments, match):
    with pytest.raises(SystemExit) as caught:
        main(["summary", *arguments])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert match in error
    assert error.count("\n") == 1


def test_help(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["summary", "--help"])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith("usage: fastconv summary")
    assert "examples:" in output
