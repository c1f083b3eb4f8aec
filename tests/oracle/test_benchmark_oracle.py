"""The benchmark with real libraries: a peer, plots, and a build that can be slowed down."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from fastconv.benchmark import machine, plots, report
from fastconv.benchmark.runner import Settings, run_case
from fastconv.benchmark.worker import Worker
from onnx import numpy_helper

pytestmark = pytest.mark.oracle

ROOT = Path(__file__).parents[2]


def bench(*arguments, **environment):
    """Run ``python -m bench``; return the finished process."""
    path = os.pathsep.join((environment.pop("PYTHONPATH", ""), str(ROOT), *sys.path))
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        env={**os.environ, **environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


# ---- A peer that computes something else ---------------------------------------------------------


def test_peer_with_a_wrong_weight_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), *sys.path)))
    from bench.peers import PEERS
    from bench.suites import models

    (case,) = models.cases(["lenet5"], [1])
    models.prepare(case, tmp_path)
    settings = Settings(budget=0.1, block=0.001, pause=0)

    def race():
        with (
            Worker(PEERS["fastconv"], 1, {}) as first,
            Worker(PEERS["onnxruntime"], 1, {}) as other,
        ):
            workers = {"fastconv": first, "onnxruntime": other}
            description = {**case.to_dict(), "threads": 1}
            return run_case(description, workers, lambda w: w.load(case, tmp_path), settings)

    assert race().contenders[1].refused is None
    model = onnx.load(tmp_path / "model.onnx")
    tensor = next(t for t in model.graph.initializer if t.name.endswith("weight"))
    weight = numpy_helper.to_array(tensor).copy()
    weight.flat[0] += 1
    tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    onnx.save(model, tmp_path / "model.onnx")
    refused = race().contenders[1]
    assert "differs by" in refused.refused
    assert not refused.seconds


# ---- Plots ---------------------------------------------------------------------------------------


def test_plots_of_every_kind(tmp_path):
    step = {"name": "conv1", "op": "conv2d+relu", "algorithm": "winograd4", "macs": 10**7}
    pool = {"name": "pool", "op": "max_pool2d", "algorithm": "", "macs": 0}
    fastconv = {
        "name": "fastconv",
        "timing": {"minimum": 3e-3},
        "profile": [{**step, "seconds": 2e-3}, {**pool, "seconds": 1e-3}],
    }
    model = {"suite": "models", "name": "net", "batch": 1, "threads": 1}
    model |= {"device": "cpu", "precision": "fp32"}
    result = {"case": model, "contenders": [fastconv], "ratios": {}, "calibration": 1e11}
    refused = copy.deepcopy(result)
    refused["contenders"][0] |= {"timing": None, "profile": []}
    layers = []
    for name, kernel, groups in (("a", 3, 1), ("b", 1, 1), ("c", 3, 64), ("d", 3, 2), ("e", 5, 1)):
        shape = {"kernel": [kernel, kernel], "groups": groups, "channels": 64}
        layer = copy.deepcopy(result)
        layer["contenders"][0]["profile"] = []
        layer["case"] |= {"suite": "layers", "name": name, "macs": 10**7, "bytes": 10**6, **shape}
        layers.append(layer)
    gpu = copy.deepcopy(result)
    gpu["case"]["device"] = "cuda"

    limits = [machine.limits(1)]

    def write(*results):
        content = {
            "environment": machine.environment(),
            "limits": limits,
            "results": list(results),
        }
        for path in tmp_path.iterdir():
            path.unlink()
        written = plots.write(tmp_path, "all", content)
        assert sorted(written) == sorted(tmp_path.iterdir())
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
        return {path.name for path in written}

    assert write(refused) == set()
    assert write(result) == {"all-1t-batch1-steps-net.png"}
    assert write(*layers) == {"all-1t-batch1-roofline.png"}
    assert write(result, gpu) == {"all-1t-batch1-steps-net.png", "all-1t-devices.png"}


# ---- A slower kernel -----------------------------------------------------------------------------


@pytest.mark.test_build
def test_compare_catches_a_slower_kernel(request, tmp_path):
    package = tmp_path / "site" / "fastconv"
    shutil.copytree(
        ROOT / "python" / "fastconv", package, ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    (core,) = Path(request.config.getoption("--test-build")).glob("_core*.so")
    shutil.copy(core, package)

    def run(folder, **slowdown):
        options = ("mobilenet_v2", "--threads", "1", "--budget", "2", "--out", str(folder))
        process = bench("models", *options, PYTHONPATH=str(package.parent), **slowdown)
        assert process.returncode == 0, process.stderr
        return str(folder / "models.json")

    before, same = (run(tmp_path / name) for name in ("before", "same"))
    slow = run(tmp_path / "slow", FASTCONV_TEST_SLOWDOWN="direct:5")
    unchanged = bench("compare", before, same, "--threshold", "1")
    assert unchanged.returncode == 0, unchanged.stdout
    caught = bench("compare", before, slow, "--threshold", "1")
    assert caught.returncode == 1, caught.stdout
    (line,) = (line for line in caught.stdout.splitlines() if "SLOWER" in line)
    assert "mobilenet_v2" in line
    steps = [report.read_json(Path(path))["results"][0]["contenders"][0] for path in (before, slow)]
    seconds = [{s["algorithm"]: s["seconds"] for s in contender["profile"]} for contender in steps]
    assert seconds[1]["direct"] > 2 * seconds[0]["direct"]
