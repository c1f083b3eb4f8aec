"""The logic of bench/gpu_check.py: stages, items that break, what is recorded and aimed at."""

import importlib
import io
import json
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _clone_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def load(name):
    return importlib.import_module(f"bench.gpu.{name}")


STAGE = """
import os
from bench.gpu.items import Missing

if os.environ.get("NO_DRIVER"):
    raise OSError("no driver")

def names(quick):
    if os.environ.get("LACK"):
        raise Missing("no torch")
    found = ["good", "wrong", "broken", "crash", "slow", "lacking", "last"]
    return found[:2] if quick else found

def run(name):
    print("libraries print")
    if name == "wrong":
        assert False, "off by 1"
    if name == "broken":
        raise RuntimeError("illegal address")
    if name == "crash":
        os._exit(3)
    if name == "slow":
        import time
        time.sleep(60)
    if name == "lacking":
        raise Missing("no cupy")
    return {"pid": os.getpid()}
"""


@pytest.fixture
def run_items(tmp_path, monkeypatch):
    """Run the stage above; return the results, what did not run, and what was printed."""
    folder = tmp_path / "bench/gpu"
    folder.mkdir(parents=True)
    for name in ("__init__.py", "gpu/__init__.py", "gpu/__main__.py", "gpu/items.py"):
        (tmp_path / "bench" / name).write_bytes((ROOT / "bench" / name).read_bytes())
    (folder / "fake.py").write_text(STAGE)
    monkeypatch.chdir(tmp_path)  # which comes first in the path of python -m

    def run(done=(), quick=False, budget=60.0, limit=1.5, **environment):
        results, log = {}, (tmp_path / "log").open("w+")
        not_run = load("items").run(
            "fake",
            environment=environment,
            quick=quick,
            done=done,
            limit=limit,
            deadline=time.monotonic() + budget,
            begin=lambda item: None,
            add=results.__setitem__,
            log=log,
        )
        log.seek(0)
        with log:
            return results, not_run, log.read()

    return run


def test_items_that_break_end_nothing_but_their_process(run_items):
    results, not_run, log = run_items()
    assert not_run == {}
    assert {name: result["status"] for name, result in results.items()} == {
        **dict.fromkeys(("good", "last"), "passed"),
        **dict.fromkeys(("wrong", "broken", "crash", "slow"), "failed"),
        "lacking": "missing",
    }
    for name, why in {
        "wrong": "off by 1",
        "broken": "illegal address",
        "crash": "status 3",
        "slow": "more than 2 s",
        "lacking": "no cupy",
    }.items():
        assert why in results[name]["why"]
    assert results["good"]["pid"] != results["last"]["pid"]
    assert "libraries print" in log


def test_both_kernels_are_timed_where_both_serve():
    rivals = load("layers")._rivals
    both = ["wgmma", "implicit_gemm", "depthwise"]
    assert rivals(both, "wgmma: fills the device") == ["implicit_gemm"]
    assert rivals(both, "implicit_gemm: too few tiles") == ["wgmma"]
    assert rivals(both, "depthwise: bound by memory") == []
    assert rivals(["implicit_gemm"], "implicit_gemm: serves any convolution") == []


def test_what_is_done_is_left_out(run_items):
    results, _, _ = run_items(["good"], quick=True)
    assert list(results) == ["wrong"]


def test_what_the_budget_leaves_is_named(run_items):
    results, not_run, _ = run_items(["good", "wrong", "broken", "crash"], budget=1.0, limit=60)
    assert results == {}
    assert list(not_run) == ["slow", "lacking", "last"]


def test_a_stage_may_lack_all_it_needs(run_items):
    results, not_run, _ = run_items(LACK="1")
    assert results == {"all": {"status": "missing", "why": "no torch"}}
    assert not_run == {}


def test_a_stage_that_cannot_start_is_a_failure(run_items):
    results, _, log = run_items(NO_DRIVER="1")
    assert results["start"]["status"] == "failed"
    assert "no driver" in log


def test_the_record_goes_on_unless_the_sources_have_changed(tmp_path):
    record = load("record").Record
    first = record(tmp_path, "a")
    first.stage("ops")["not_run"]["relu"] = "the budget was spent"
    first.add("ops", "relu", {"status": "failed", "why": "off by 1"})
    second = record(tmp_path, "a")
    assert second.failures() == ["ops: relu"]
    assert second.stage("ops")["not_run"] == {}
    assert record(tmp_path, "b").data["stages"] == {}


def test_the_fingerprint_is_of_the_sources():
    fingerprint = load("record").fingerprint
    assert fingerprint() == fingerprint()
    assert len(fingerprint()) == 16


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("build", ["build"]),
        ("tests,build", ["build", "cpp", "pytest", "ops", "models"]),
        ("hosts,times", ["ceilings", "layers", "networks", "hosts"]),
    ],
)
def test_stages_are_chosen_by_name_and_group(text, stages):
    assert load("main")._stages(text) == stages


def test_an_unknown_stage_is_named(capsys):
    with pytest.raises(SystemExit):
        load("main").main(["--only", "bild"])
    assert "expected some of build, cpp, pytest, " in capsys.readouterr().err


def layer(kind, precision, ratio):
    times = {"fastconv": {"minimum": 1.0, "median": 1.5}, "torch": {"minimum": ratio, "median": 2}}
    return {
        "status": "passed", "kind": kind, "precision": precision, "milliseconds": times,
        "ratios": {"torch": {"value": ratio}},
    }  # fmt: skip


def network(batch, precision, ratio):
    return {**layer(None, precision, ratio), "batch": batch, "ratios": {
        "torch": {"value": 9.0}, "torch-compiled": {"value": ratio},
    }}  # fmt: skip


def data(**stages):
    entries = {name: {"results": results, "not_run": {}} for name, results in stages.items()}
    return {"machine": {"gpu": "H200", "commit": ""}, "sources": "abc", "stages": entries}


def test_aims_are_met_missed_or_not_measured():
    report = load("report")
    found = {
        verdict.aim.name: (verdict.text, verdict.cases, verdict.value)
        for verdict in report.verdicts(
            data(
                layers={
                    "a": layer("depthwise", "fp32", 0.5),
                    "b": layer("depthwise", "fp32", 8.0),
                    "c": layer("resnet50", "tf32", 0.6),
                    "d": {"status": "failed", "why": "crashed"},
                },
                networks={
                    "e": network(1, "fp16", 1.5),
                    "f": network(1, "fp16", 0.9),
                    "g": network(64, "fp16", 0.1),
                    "h": network(1, "fp32", 1.2),
                },
            )
        )
    }
    assert found == {
        "depthwise layers, fp32": ("met", 2, pytest.approx(2.0)),
        "depthwise layers, fp16": ("not measured", 0, None),
        "layers of ResNet-50, batch 32, fp32": ("not measured", 0, None),
        "layers of ResNet-50, batch 32, tf32": ("missed", 1, pytest.approx(0.6)),
        "layers of ResNet-50, batch 32, fp16": ("not measured", 0, None),
        "networks, batch 1, fp32": ("met", 1, 1.2),
        "networks, batch 1, tf32": ("not measured", 0, None),
        "networks, batch 1, fp16": ("missed", 2, 0.9),
    }


def test_the_report_has_what_failed_what_lacked_and_what_did_not_run():
    content = data(
        layers={"conv": layer("resnet50", "fp32", 0.9)},
        ceilings={"copy": {"status": "passed", "rate": "4 TB/s"}},
        interop={"cupy": {"status": "missing", "why": "cupy: not installed"}},
        models={
            "lenet5": {"status": "passed", "errors": {"fp32": 1e-7}},
            "vgg11": {"status": "failed", "why": "Traceback\noff by 1", "errors": {"fp32": 1.0}},
        },
    )
    content["stages"]["models"]["not_run"]["vgg19"] = "the budget was spent"
    text = load("report").markdown(content)
    for line in (
        "gpu H200, sources abc",
        "| models | 1 passed, 1 failed, 1 not run |",
        "| conv | 1 (1.5) | 0.9 (2) | 0.90 |  |",
        "| copy | 4 TB/s |",
        "## interop: missing",
        "      cupy: not installed",
        "## models: failed",
        "      off by 1",
        "- vgg19: the budget was spent",
        "| lenet5 | 1.0e-07 |",
    ):
        assert line in text.splitlines()


def test_a_failing_stage_stops_no_other_and_the_exit_code_says_so(tmp_path, monkeypatch, capsys):
    main, commands = load("main"), load("commands")

    def fails(place, add, done):
        raise OSError("no disk")

    def passes(place, add, done):
        add("conv_3x3", {"status": "passed"})
        return {"conv_1x1": "the budget was spent"}

    monkeypatch.setattr(main, "COMMANDS", {"cpp": fails, "pytest": passes, "sanitizer": passes})
    arguments = ["--out", str(tmp_path / "out"), "--build", str(tmp_path / "build")]
    assert main.main([*arguments, "--only", "cpp,pytest"]) == 1
    assert "OSError: no disk" in capsys.readouterr().out
    found = json.loads((tmp_path / "out/gpu_check.json").read_text())
    assert found["stages"]["cpp"]["results"]["script"]["status"] == "failed"
    assert found["stages"]["pytest"]["not_run"] == {"conv_1x1": "the budget was spent"}
    assert found["machine"]["python"]
    monkeypatch.setattr(main, "COMMANDS", {"cpp": passes})
    assert main.main([*arguments, "--only", "cpp"]) == 0
    assert main.main([*arguments, "--only", "ops"]) == 1
    assert "nothing is built" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "gpu_check.json", "gpu_check.md", "gpu_check.log"
    }  # fmt: skip
    assert commands.test_names()


def test_commands_are_ended_with_what_they_started(tmp_path):
    commands = load("commands")
    place = commands.BuildPlace(tmp_path, True, True, time.monotonic() + 60, io.StringIO(), {})
    assert commands._test([sys.executable, "-c", "pass"], place, 30) == {"status": "passed"}
    wrong = commands._test([sys.executable, "-c", "import sys; sys.exit('bad')"], place, 30)
    assert (wrong["status"], wrong["exit_status"], wrong["why"]) == ("failed", 1, "bad\n")
    slow = commands._test(["sh", "-c", "sleep 60 & echo begun; wait"], place, 0.5)
    assert slow["status"] == "failed"
    assert "begun" in slow["why"]
    place.deadline = time.monotonic() + 0.3
    jobs = {"slow": lambda: commands._test(["sleep", "60"], place, 30)}
    assert commands._side_by_side(jobs, place, None) == {"slow": "the budget was spent"}


def test_a_sanitizer_that_is_not_there_is_missing(tmp_path):
    commands, results = load("commands"), {}
    environment = {"PATH": str(tmp_path), "CUDA_HOME": str(tmp_path)}
    place = commands.BuildPlace(
        tmp_path, False, True, time.monotonic() + 60, io.StringIO(), environment
    )
    assert commands.sanitizer(place, results.__setitem__, set()) == {}
    assert results["all"]["status"] == "missing"
    tool = tmp_path / "compute-sanitizer"
    tool.write_text("#!/bin/sh\necho Device not supported\nexit 1\n")
    tool.chmod(0o755)
    commands.sanitizer(place, results.__setitem__, set())
    assert "refuses the device" in results["all"]["why"]
    tool.write_text('#!/bin/sh\nif [ "$2" = racecheck ]; then echo a race; exit 86; fi\n')
    commands.sanitizer(place, results.__setitem__, set())
    states = {name.partition(":")[0]: r["status"] for name, r in results.items() if ":" in name}
    assert states == {"memcheck": "passed", "racecheck": "failed"}
