"""``fastconv explain``: output, exit codes and one clear line on bad input."""

import json

import fastconv
import pytest
from fastconv.cli import main


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    monkeypatch.setenv("FASTCONV_CACHE", "off")


def fails(capsys, *arguments):
    """Run a command that must fail; return its line on stderr."""
    assert main(["explain", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("fastconv: error: ")
    assert output.err.count("\n") == 1
    return output.err


def test_table(capsys):
    assert main(["explain", "lenet5", "--batch", "2"]) == 0
    network = fastconv.create_model("lenet5").compile((2, 1, 32, 32))
    assert capsys.readouterr().out == f"{network.explain()}\n"
    assert main(["explain", "lenet5", "--verbose"]) == 0
    output = capsys.readouterr().out
    assert "not winograd4, winograd2, winograd6: needs a 3x3 kernel" in output


def test_profile(capsys):
    assert main(["explain", "lenet5", "--profile", "--threads", "1"]) == 0
    output = capsys.readouterr().out
    assert "of peak" in output.splitlines()[0]
    assert output.splitlines()[-1].startswith("total ")


def test_json(capsys):
    arguments = ["--json", "--batch", "3", "--threads", "1", "--accuracy", "exact"]
    assert main(["explain", "lenet5", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    network = fastconv.create_model("lenet5").compile((3, 1, 32, 32), accuracy="exact")
    steps = [{**step, "shape": list(step["shape"])} for step in network.explain()]
    assert result == {
        "model": "lenet5",
        "input_shape": [3, 1, 32, 32],
        "threads": 1,
        "accuracy": "exact",
        "autotune": False,
        "total": {"macs": sum(step["macs"] for step in steps)},
        "steps": steps,
    }
    assert main(["explain", "lenet5", "--json", "--profile"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["total"]["seconds"] > 0
    assert all(0 <= step["share"] <= 1 for step in result["steps"])


def test_size_and_autotune(capsys):
    assert main(["explain", "squeezenet1_1", "--size", "64", "--autotune", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["input_shape"] == [1, 3, 64, 64]
    convolutions = [step for step in result["steps"] if step["algorithm"]]
    assert all(step["reason"].startswith("tuned: ") for step in convolutions)


def test_bad_input(capsys):
    assert "did you mean resnet50" in fails(capsys, "resnet51")
    assert "fit" in fails(capsys, "lenet5", "--size", "8")
    assert "threads must be from 1 to 1024" in fails(capsys, "lenet5", "--threads", "5000")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "MODEL"),
        (["lenet5", "--batch", "0"], "--batch: expected a positive integer, got '0'"),
        (["lenet5", "--size", "x"], "--size: expected a positive integer, got 'x'"),
        (["lenet5", "--threads", "-1"], "--threads"),
        (["lenet5", "--accuracy", "best"], "--accuracy: invalid choice: 'best'"),
    ],
)
def test_arguments_that_cannot_be_parsed(capsys, arguments, match):
    with pytest.raises(SystemExit) as caught:
        main(["explain", *arguments])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert match in error
    assert error.count("\n") == 1


def test_help(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["explain", "--help"])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith("usage: fastconv explain")
    assert "examples:" in output
