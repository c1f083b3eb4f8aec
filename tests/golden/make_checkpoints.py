"""Writes the checkpoints of this folder; needs torch (2.13 wrote those that are committed).

The values are those of EXPECTED in tests/test_weights.py.
"""

import sys
from collections import OrderedDict
from pathlib import Path

import torch


def state_dict() -> OrderedDict[str, torch.Tensor]:
    base = torch.arange(10, dtype=torch.float32)
    state = OrderedDict(
        {
            "conv.weight": torch.arange(24, dtype=torch.float32).reshape(2, 3, 2, 2),
            "parameter": torch.nn.Parameter(torch.tensor([0.5, -1.25])),
            "num_batches_tracked": torch.tensor(2**40 + 7),
            "transposed": torch.arange(6, dtype=torch.float64).reshape(2, 3).t(),
            "shared.slice": base[2:5],
            "shared.steps": base[1::3],
            "shared.whole": base,
            "expanded": torch.tensor([3.0]).expand(2, 4),
            "empty": torch.empty(0, 3),
            "float16": torch.tensor([1.5, -65504.0], dtype=torch.float16),
            "bfloat16": torch.tensor([1.0, -3.140625, float("inf")], dtype=torch.bfloat16),
            "int32": torch.tensor([-(2**31), 5], dtype=torch.int32),
            "int16": torch.tensor([-300], dtype=torch.int16),
            "int8": torch.tensor([-128, 127], dtype=torch.int8),
            "uint8": torch.tensor([[0, 255]], dtype=torch.uint8),
            "bool": torch.tensor([True, False, True]),
        }
    )
    state._metadata = OrderedDict({"": {"version": 1}})
    return state


def main(folder: Path) -> None:
    torch.save(state_dict(), folder / "zip.pth")
    torch.save(state_dict(), folder / "stream.pth", _use_new_zipfile_serialization=False)
    torch.save(state_dict(), folder / "protocol4.pth", pickle_protocol=4)
    checkpoint = {
        "epoch": 3,
        "best": 0.75,
        "optimizer": {"state": {0: {"momentum": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
        "state_dict": {"module." + key: value for key, value in state_dict().items()},
    }
    torch.save(checkpoint, folder / "checkpoint.pth")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
