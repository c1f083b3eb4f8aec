"""Whole networks from NumPy array to NumPy array, on the CPU and on the device, by the harness."""

from __future__ import annotations

import argparse
from typing import Any

import fastconv
from fastconv.benchmark import networks, session
from fastconv.benchmark.cases import ModelCase

from bench.gpu import device, items
from bench.gpu.networks import MODELS
from bench.peers import PEERS, environment


def names(quick: bool) -> list[str]:
    """The CPU in fp32, the device in each precision."""
    kinds = [("cuda", "fp32"), ("cpu", "fp32"), ("cuda", "tf32"), ("cuda", "fp16")]
    if device.emulated():
        return ["lenet5, cuda, fp32, batch 1", "lenet5, cpu, fp32, batch 1"]
    return [
        f"{model}, {where}, {precision}, batch {batch}"
        for where, precision in kinds[: 2 if quick else None]
        for batch in ((1,) if quick else (1, 8, 64))
        for model in (MODELS[1:2] if quick else MODELS)
    ]


def run(name: str) -> dict[str, Any]:
    """Time a network; on the device against torch there, where it is installed."""
    model, where, precision, batch = name.split(", ")
    case = ModelCase(model, int(batch.removeprefix("batch ")), None, where, precision)
    peers = [device.REFERENCE]
    if where == "cuda":
        try:
            device.torch_with_cuda()
            peers.append("torch-cuda")
        except items.Missing:
            pass
    options = argparse.Namespace(
        budget=4.0, quick=False, tolerance=0.05, threads=[fastconv.get_num_threads()]
    )
    chosen = {peer: PEERS[peer] for peer in peers}
    [result] = session.race([case], networks.prepare, chosen, options, environment)
    told = result.to_dict()
    milliseconds = {
        contender["name"]: {
            "minimum": 1e3 * contender["timing"]["minimum"],
            "median": 1e3 * contender["timing"]["median"],
            **({"compute": 1e3 * min(contender["compute"])} if contender["compute"] else {}),
        }
        for contender in told["contenders"]
        if contender["timing"] is not None
    }
    refused = {c["name"]: c["refused"] for c in told["contenders"] if c["refused"]}
    failed = {"status": "failed", "why": str(refused)} if device.REFERENCE in refused else {}
    return {
        "batch": case.batch,
        "precision": precision,
        "device": where,
        "threads": options.threads[0],
        "milliseconds": milliseconds,
        "ratios": told["ratios"],
        "refused": refused,
        "stopped": told["stopped"],
        **failed,
    }
