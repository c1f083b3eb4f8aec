"""``fastconv bench`` and ``python -m bench``: output, files, exit codes, one line on bad input."""

import importlib
import importlib.util
import json
from pathlib import Path

import pytest
from fastconv.benchmark import machine, networks, report
from fastconv.cli import main

ROOT = Path(__file__).parents[1]
QUICKLY = ("--budget", "0.1", "--tolerance", "0.5", "--threads", "1")


@pytest.fixture
def bench(monkeypatch):
    """Return a module of ``bench/``, which is part of the clone only."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"bench.{name}")


def fails(capsys, *arguments):
    """Run a command that must fail; return its line on stderr."""
    assert main(["bench", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("fastconv: error: ")
    assert output.err.count("\n") == 1
    return output.err


def times(path, seconds):
    """Write a report of a network that took so long."""
    contenders = [{"name": "fastconv", "timing": {"minimum": seconds}, "refused": None}]
    case = {"suite": "models", "name": "lenet5", "batch": 1, "threads": 1}
    result = {"case": case, "contenders": contenders, "calibration": 1e9, "ratios": {}}
    path.write_text(report.to_json({"results": [result]}))
    return str(path)


# ---- fastconv bench ------------------------------------------------------------------------------


def test_table_and_files(capsys, tmp_path):
    arguments = ["lenet5", "--batch", "1", "2", "--precision", "fp32", "fp64", *QUICKLY]
    assert main(["bench", *arguments, "--out", str(tmp_path / "new")]) == 0
    output = capsys.readouterr().out
    assert output.count("| lenet5 |") == 4
    assert "## models: cpu, fp64, batch 2, 1 thread\n" in output
    missing = importlib.util.find_spec("matplotlib") is None
    assert ("no plots: matplotlib is missing" in output) == missing
    assert output.startswith((tmp_path / "new" / "models.md").read_text(encoding="utf-8"))
    written = report.read_json(tmp_path / "new" / "models.json")
    assert [result["case"]["batch"] for result in written["results"]] == [1, 2, 1, 2]
    assert not any(c["refused"] for result in written["results"] for c in result["contenders"])


def test_json_and_what_is_refused(capsys, tmp_path):
    arguments = ["lenet5", "--size", "36", "--device", "cpu", "cuda", "--precision", "fp16"]
    assert main(["bench", *arguments, *QUICKLY, "--json"]) == 0
    output = capsys.readouterr()
    (result,) = json.loads(output.out)["results"]
    assert result["case"]["name"] == "lenet5@36"
    assert "precision='fp16' needs device='cuda'" in result["contenders"][0]["refused"]
    assert result["stopped"] == "refused"
    assert "going on with the CPU" in output.err
    (tmp_path / "a.json").write_text(output.out)
    assert report.read_json(tmp_path / "a.json")["results"] == [result]


def test_compare(capsys, tmp_path):
    before, after = times(tmp_path / "a.json", 1.0), times(tmp_path / "b.json", 1.2)
    assert main(["bench", "--compare", before, after]) == 1
    assert "SLOWER" in capsys.readouterr().out
    assert main(["bench", "--compare", before, after, "--threshold", "0.3"]) == 0
    assert main(["bench", "--compare", after, before]) == 0


def test_bad_input(capsys, tmp_path):
    assert "did you mean resnet50" in fails(capsys, "resnet51")
    assert "no models" in fails(capsys, "lenet5", "--compare", "a.json", "b.json")
    assert "No such file" in fails(capsys, "--compare", "a.json", "b.json")
    (tmp_path / "a.json").touch()
    assert "not a report" in fails(capsys, "--compare", *2 * [str(tmp_path / "a.json")])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--batch", "0"], "--batch: expected a positive integer, got '0'"),
        (["--threads", "x"], "--threads: expected a positive integer, got 'x'"),
        (["--device", "tpu"], "--device: invalid choice: 'tpu'"),
        (["--precision", "int8"], "--precision: invalid choice: 'int8'"),
    ],
)
def test_bad_arguments(capsys, arguments, match):
    with pytest.raises(SystemExit) as exit:
        main(["bench", *arguments])
    assert exit.value.code == 2
    assert match in capsys.readouterr().err


def test_images_that_are_too_small(capsys):
    assert main(["bench", "lenet5", "--size", "4", *QUICKLY]) == 2
    assert "fastconv: error: lenet5@4: " in capsys.readouterr().err


def test_cases_are_those_that_differ_in_one_thing_next_to_each_other():
    cases = networks.cases(["lenet5", "resnet18"], [1, 8], ["cpu", "cuda"], ["fp32", "fp64"])
    assert len(set(cases)) == len(cases) == 16
    assert [(case.model, case.device) for case in cases[:3]] == [
        ("lenet5", "cpu"),
        ("lenet5", "cuda"),
        ("resnet18", "cpu"),
    ]


# ---- python -m bench -----------------------------------------------------------------------------


def test_layers_say_in_which_networks_they_are(bench, capsys):
    cases = bench("suites.layers").cases(["resnet18", "resnet34"], size=64)
    assert len(cases) == len(bench("suites.layers").cases(["resnet18"], size=64))
    assert {case.networks for case in cases} == {("resnet18", "resnet34")}
    stem = cases[0]
    assert stem.name == "3@64 -> 64, 7x7/2"
    assert stem.algorithm in ("direct", "im2col")
    run = bench("__main__").main
    assert run(["layers", "lenet5", "--peers", "fastconv-functional", *QUICKLY]) == 0
    output = capsys.readouterr().out
    assert "| fastconv-functional / fastconv | algorithm | networks | noise |" in output
    assert "| lenet5 | " in output
    assert f"commit {machine.environment(ROOT / 'bench' / '__main__.py')['commit']}" in output


def test_both_levels_of_accuracy(bench, capsys):
    run = bench("__main__").main
    assert run(["layers", "lenet5", "--peers", "fastconv-fastest", *QUICKLY]) == 0
    output = capsys.readouterr().out
    assert "| fastconv-fastest / fastconv | algorithm | networks | noise |" in output
    assert "; accuracy 'fast'\n" in output
    assert "; accuracy 'fastest'\n" in output


def test_bench_compares_and_refuses(bench, capsys, tmp_path):
    run = bench("__main__").main
    before, after = times(tmp_path / "a.json", 1.0), times(tmp_path / "b.json", 1.2)
    assert run(["compare", before, after]) == 1
    assert run(["compare", after, before]) == 0
    capsys.readouterr()
    assert run(["models", "lenet5", "--peers", "nope"]) == 2
    assert "--peers: no peer 'nope'; expected some of fastconv," in capsys.readouterr().err
    assert run(["startup", "--peers", "torch"]) == 2
    assert "--peers: no peer 'torch'" in capsys.readouterr().err


def test_startup(bench, capsys, monkeypatch):
    startup = bench("suites.startup")
    monkeypatch.setattr(startup, "MODELS", ("lenet5",))
    monkeypatch.setattr(startup, "ROUNDS", 2)
    slow = "import time\ntime.sleep(0.05)\nassert x.shape == (1, 1, 32, 32)"
    monkeypatch.setitem(startup.LIBRARIES, "numpy", startup.Library("x.npy", slow))
    run = bench("__main__").main
    assert run(["startup", "--peers", "numpy", "--threads", "1", "--json"]) == 0
    importing, answering = json.loads(capsys.readouterr().out)["results"]
    assert importing["case"]["name"] == "import, beyond NumPy"
    assert answering["case"]["name"] == "lenet5: load, first answer"
    fastconv, numpy = answering["contenders"]
    assert fastconv["settings"].startswith("from weights.")
    assert len(fastconv["seconds"]) == 2
    assert min(numpy["seconds"]) >= 0.05
    assert fastconv["memory"] > numpy["memory"] > 2**20
    assert min(answering["case"]["installed_bytes"].values()) > 2**20
    assert run(["startup", "--peers", "numpy", "--threads", "1"]) == 0
    table = capsys.readouterr().out
    assert "| fastconv MB | numpy MB | noise | stopped |" in table
    assert "Installed size, without dependencies, MB: fastconv " in table
    monkeypatch.setitem(startup.LIBRARIES, "numpy", startup.Library("x.npy", "nonsense"))
    assert run(["startup", "--peers", "numpy", "--threads", "1"]) == 2
    assert "NameError: name 'nonsense' is not defined" in capsys.readouterr().err


def test_peers_are_limited_as_fastconv_is(bench, monkeypatch):
    monkeypatch.delenv("FASTCONV_ISA", raising=False)
    peers = bench("peers")
    assert peers.environment(3)["OMP_NUM_THREADS"] == "3"
    assert "ONEDNN_MAX_CPU_ISA" not in peers.environment(3)
    monkeypatch.setenv("FASTCONV_ISA", "avx2")
    assert peers.environment(3)["ONEDNN_MAX_CPU_ISA"] == "AVX2"
