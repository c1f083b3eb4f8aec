"""The runner of the benchmark, with peers whose times are known."""

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import fastconv
import numpy as np
import pytest
from fake_peers import FakeCase
from fastconv.benchmark import compare, machine, plots, report, session
from fastconv.benchmark.runner import Result, Settings, run_case
from fastconv.benchmark.statistics import Ratio, Timing, geometric_mean
from fastconv.benchmark.worker import Bound, PeerError, Worker

PATH = os.pathsep.join((str(Path(__file__).parent), *sys.path))
SETTINGS = Settings(budget=3, tolerance=0.5, block=0.01, pause=0)
CASE = FakeCase()


def worker(name):
    return Worker(f"fake_peers:{name}", 1, {"PYTHONPATH": PATH})


def race(*names, settings=SETTINGS, case=CASE):
    with contextlib.ExitStack() as stack:
        workers = {}
        for name in names:
            one = stack.enter_context(worker(name))
            workers["fastconv" if name == "Fake" else one.name] = one
        return run_case(case.to_dict(), workers, lambda w: w.load(case, Path()), settings)


def made_up(seconds, calibration=1e9, name="sleep"):
    """Return a report in which the reference took so long."""
    contenders = [{"name": "fastconv", "timing": {"minimum": seconds}, "refused": None}]
    case = {**CASE.to_dict(), "name": name}
    result = {"case": case, "contenders": contenders, "calibration": calibration, "ratios": {}}
    return {"schema": report.SCHEMA, "results": [result]}


# ---- Statistics ----------------------------------------------------------------------------------


def test_timing():
    timing = Timing.of([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (timing.minimum, timing.median, timing.confirmed, timing.rounds) == (1, 3, 3, 5)
    assert timing.spread == pytest.approx(2 / 3)
    assert math.isinf(Timing.of([1.0, 1.0]).confirmed)
    with pytest.raises(ValueError, match="nothing has been timed"):
        Timing.of([])


def test_ratio_is_that_of_the_minima_and_knows_when_one_was_luck():
    steady = Ratio.of([1.0, 1.01, 1.02, 9.0], [2.0, 2.01, 9.0, 2.02])
    assert steady.value == 2
    assert (steady.low, steady.high) == pytest.approx((2 / 1.02, 2.02))
    assert steady.converged(0.05)
    assert not steady.converged(0.01)
    lucky = Ratio.of([0.5, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0])
    assert lucky.value == 4
    assert lucky.low == 2
    assert not lucky.converged(0.05)
    assert not Ratio.of([1.0], [1.0]).converged(0.5)
    with pytest.raises(ValueError, match="got 1 and 2"):
        Ratio.of([1.0], [1.0, 2.0])


def test_geometric_mean():
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4)


# ---- Workers -------------------------------------------------------------------------------------


def test_worker_answers():
    with worker("Fake") as fake:
        assert (fake.name, fake.version, fake.settings) == ("fake", "1", "none")
        assert fake.load(CASE, Path()).tolist() == [1, 2, 3, 4]
        times = fake.time(3)
        assert len(times) == 3
        assert all(time.total >= CASE.seconds and time.compute is None for time in times)
        assert fake.memory() > 2**20
        assert fake.profile() == []


def test_memory_is_not_that_of_the_parent():
    ballast = np.ones(2**25)  # 256 MB
    with worker("Fake") as fake:
        assert fake.memory() < ballast.nbytes


def test_worker_with_a_device():
    with worker("Fake") as fake, worker("Device") as device:
        assert (fake.devices, fake.precisions) == (("cpu",), ("fp32",))
        assert device.devices == ("cpu", "cuda")
        assert device.load(FakeCase(device="cuda"), Path()).tolist() == [1, 2, 3, 4]
        (time,) = device.time(1)
        assert time.compute == time.transfers == CASE.seconds
        assert time.total >= 2 * CASE.seconds


def test_library_that_is_not_installed():
    with pytest.raises(PeerError, match="no module named fake"):
        worker("NotInstalled")


# ---- The runner ----------------------------------------------------------------------------------


def test_slower_peer():
    result = race("Fake", "TwiceAsSlow")
    ratio = result.ratios()["slow"]
    assert 1.4 < ratio.value < 2.6  # sleep takes as long as it says, and a little more
    assert len(result.contenders[0].seconds) == len(result.contenders[1].seconds) >= 3
    assert len(result.calibration) == len(result.contenders[0].seconds)
    assert result.noise >= 0


def test_peers_that_fail_are_refused_with_their_reason():
    result = race("Fake", "Wrong", "Unable", "Crashing", "CrashingLater")
    refused = {contender.name: contender.refused for contender in result.contenders}
    assert refused["fastconv"] is None
    assert "differs by 2.5e-03 of the largest value; 1e-03 is allowed" in refused["wrong"]
    assert "cannot sleep" in refused["unable"]
    assert "ended with status 3" in refused["crashing"]
    assert "StopIteration" in refused["later"]
    assert result.ratios() == {}
    assert len(result.contenders[0].seconds) >= 3


def test_peers_that_do_not_use_what_they_have_bound_are_refused():
    result = race("Fake", "Binding", "StaleOutput", "HalfOutput", "StaleInput")
    refused = {contender.name: contender.refused for contender in result.contenders}
    assert refused["binding"] is None
    assert "the call does not write the output that was bound" in refused["stale output"]
    assert "the call does not write the output that was bound" in refused["half an output"]
    assert "the call does not read the input that was bound" in refused["stale input"]
    binding = result.contenders[1]
    assert binding.difference == 0
    assert len(binding.seconds) >= 3
    assert min(binding.seconds) >= CASE.seconds


@pytest.mark.parametrize("value", [0, -1])
def test_outputs_that_do_not_depend_on_the_input_are_a_cause_that_is_named(value):
    x, y = np.full(4, float(value)), np.empty(4)
    relu = Bound(lambda: np.maximum(x, 0, out=y), x, y)
    with pytest.raises(RuntimeError, match=r"does not read .*or .* does not depend on it \(an"):
        relu.output()


def test_steps_of_a_peer_that_knows_them():
    first, other = race("Fake", "Profiled").to_dict()["contenders"]
    assert first["profile"] == []
    assert other["profile"] == [{"name": "sleep", "seconds": 0.002}]


def test_budget_ends_what_does_not_converge():
    settings = Settings(budget=0.2, tolerance=0.0, block=0.001, pause=0)
    result = race("Fake", "TwiceAsSlow", settings=settings)
    assert result.stopped == "budget"
    assert not result.to_dict()["ratios"]["slow"]["converged"]


def test_precision_that_a_peer_lacks():
    result = race("Device", "TwiceAsSlow", case=FakeCase(precision="fp64"))
    assert result.contenders[0].refused is None
    assert result.contenders[1].refused == "has no fp64, only fp32"


# ---- Sessions ------------------------------------------------------------------------------------


def options(*arguments):
    parser = argparse.ArgumentParser()
    session.add_case_options(parser)
    session.add_output_options(parser)
    return parser.parse_args(["--threads", "1", "--budget", "1", "--tolerance", "0.5", *arguments])


def raced(cases, **peers):
    """Time cases with fake peers; what is not there on the CPU is no contender there."""
    peers = {name.replace("_", " "): f"fake_peers:{peer}" for name, peer in peers.items()}
    environment = {"PYTHONPATH": PATH}
    return session.race(cases, lambda *_: None, peers, options(), lambda threads: environment)


def test_devices_in_one_table(tmp_path):
    cases = [FakeCase(), FakeCase(device="cuda")]
    results = raced(cases, fastconv="Device", slow="TwiceAsSlow", slow_device="SlowDevice")
    names = [[contender.name for contender in result.contenders] for result in results]
    assert names == [["fastconv", "slow"], ["fastconv", "slow device"]]
    on_cpu, on_device = (result.to_dict() for result in results)
    assert on_cpu["contenders"][0]["compute"] == []
    assert "compute" not in on_cpu["ratios"]["slow"]
    assert set(on_device["contenders"][1]["compute"]) == {3 * CASE.seconds}
    assert set(on_device["contenders"][1]["transfers"]) == {CASE.seconds}
    assert on_device["ratios"]["slow device"]["compute"] == pytest.approx(3)
    table = report.markdown({"environment": machine.environment(), "results": [on_cpu, on_device]})
    assert "## tests: cpu and cuda, fp32, batch 1, 1 thread\n" in table
    assert "| case | device | fastconv ms | slow ms | slow device ms |" in table
    assert " (6) |" in table  # milliseconds of computing, beside those of the whole call
    assert " (3.00)" in table
    assert "slow device / fastconv on cuda: geometric mean" in table
    assert "In parentheses: computing alone" in table


@pytest.mark.parametrize(("precision", "refused"), [("fp32", True), ("fp16", False)])
def test_devices_must_agree_with_the_cpu(precision, refused):
    case = FakeCase(device="cuda", precision=precision)
    (result,) = raced([case], fastconv="WrongOnDevice", other="SlowDevice")
    wrong, right = result.contenders
    assert right.refused is None
    assert (wrong.refused is not None) == refused
    assert wrong.difference == pytest.approx(0.01 / 4)


def test_peer_that_cannot_start():
    with pytest.raises(ImportError, match=r"the peer other cannot start: .* no module named fake"):
        raced([CASE], other="NotInstalled")


@pytest.mark.usefixtures("without_cuda")
def test_no_device(capsys, monkeypatch):
    assert session.usable_devices(["cpu", "cpu"]) == ["cpu"]
    assert capsys.readouterr().err == ""
    assert session.usable_devices(["cpu", "cuda"]) == ["cpu"]
    error = capsys.readouterr().err
    assert "going on with the CPU" in error
    assert error.count("\n") == 1
    monkeypatch.setattr(fastconv.cuda, "is_available", lambda: True)
    assert session.usable_devices(["cuda", "cpu"]) == ["cuda", "cpu"]


# ---- Reports -------------------------------------------------------------------------------------


def finished():
    result = race("Fake", "TwiceAsSlow", "Wrong")
    assert isinstance(result, Result)
    return {"environment": machine.environment(), "results": [result.to_dict()]}


def test_reports(tmp_path):
    content = finished()
    (tmp_path / "a.json").write_text(report.to_json(content))
    assert report.read_json(tmp_path / "a.json")["results"] == json.loads(
        json.dumps(content["results"])
    )
    table = report.markdown(content)
    assert "## tests: cpu, fp32, batch 1, 1 thread\n" in table
    assert "| sleep |" in table
    assert "refused" in table
    assert "- sleep, wrong: its output differs" in table
    assert fastconv.__version__ in table
    assert isinstance(plots.write(tmp_path, "tests", content), list)


@pytest.mark.parametrize(
    ("text", "match"),
    [("", "not a report"), ("[]", "not a report"), ('{"schema": 99}', "has schema 99, expected")],
)
def test_files_that_are_no_reports(tmp_path, text, match):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=match):
        report.read_json(path)


def test_compare_finds_what_is_slower_beyond_the_clock():
    def slower(after):
        return [change.slower for change in compare.compare(made_up(1.0), after, 0.1)]

    assert slower(made_up(1.05)) == [False]
    assert slower(made_up(1.2)) == [True]
    assert slower(made_up(1.2, calibration=1e9 / 1.2)) == [False]  # the whole machine was slower
    changes = compare.compare(made_up(1.0), made_up(1.2), 0.1)
    assert "1 of 1 cases are slower" in compare.table(changes)
    padded = made_up(1.0)
    padded["results"][0]["case"]["padding"] = [1, 1]
    both = {"results": made_up(1.0)["results"] + padded["results"]}
    assert len({change.case for change in compare.compare(both, both, 0.1)}) == 2
    with pytest.raises(ValueError, match="no case in common"):
        compare.compare(made_up(1.0), made_up(1.0, name="other"), 0.1)


def test_commit_is_that_of_the_source(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        return subprocess.check_output(["git", "-C", tmp_path, *identity, *arguments], text=True)

    source = tmp_path / "source.py"
    source.write_text("1")
    assert machine.environment(source)["commit"] is None
    git("init", "-q")
    git("add", "source.py")
    git("commit", "-q", "-m", "one")
    commit = git("rev-parse", "--short=12", "HEAD").strip()
    assert machine.environment(source)["commit"] == commit
    source.write_text("2")
    assert machine.environment(source)["commit"] == f"{commit}+"
    other = tmp_path / "untracked.py"
    other.touch()
    assert machine.environment(other)["commit"] is None


def test_machine():
    one = machine.peak_flops(threads=1, repeats=2)
    assert one > 1e8
    assert machine.peak_flops(threads=1, dtype=np.float64, repeats=2) < 1.5 * one
    small, large = (machine.read_bandwidth(n, threads=1, repeats=2) for n in (2**14, 2**26))
    assert min(small, large) > 1e8
    limits = machine.limits(1)
    assert limits["threads"] == 1
    assert limits["l2_bandwidth"] > 1e8
    assert limits["memory_bandwidth"] > 1e8
    assert limits["peak_flops"] > 1e8
    assert {"cpu", "isa", "fastconv", "numpy", "commit"} <= machine.environment().keys()


def test_every_algorithm_of_a_network_has_a_colour():
    from fastconv.benchmark.plots import _layers

    for name in ("mobilenet_v2", "resnet18"):
        steps = fastconv.create_model(name).compile((1, 3, 224, 224)).explain()
        assert {step["algorithm"] for step in steps} <= _layers._COLOURS.keys()
