"""Write docs/models.md, the table of all models, from the registry and their recorded graphs.

Usage: python docs/make_models.py [--check]

With --check nothing is written: the exit code is 1 if the file is not what it would be.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import fastconv
import generated
from fastconv.analysis import Summary, summary
from fastconv.models import model_entry

FILE = Path(__file__).with_name("models.md")

HEAD = """\
# The models

<!-- Written by docs/make_models.py: change that, or the models, and run it. -->

`fastconv.create_model(name)` or `fastconv.models.NAME()` makes each of them. Names and arguments
are torchvision's, or timm's if torchvision lacks the model.

- **Input**: channels, height and width, for which the MACs are counted. Other sizes work too. The
  size is that of the first weights that torchvision published (`IMAGENET1K_V1`), or, if it has no
  such model, that of the weights in the last column. The weights in the last column may want other
  images: for `efficientnet_b5` 448 pixels, stretched to a square instead of cropped
  (`crop_mode="squash"`); for `efficientnet_v2_m` and `efficientnet_v2_l` 384, and 480 for tests,
  stretched too. Loading them sets `model.default_cfg`, which `preprocess` follows:
  [weights.md](weights.md#preprocessing).
- **MACs**: multiply-accumulates of convolutions and linear layers for one image. FLOPs are twice
  that. `fastconv summary NAME` lists them by module.
- **Receptive field**: one element of the last feature map before global pooling or the classifier
  depends on a square of the image with this side, in pixels. It may exceed the image. A * says that
  the whole image also scales the element (squeeze-and-excitation). See
  [arithmetic.md](arithmetic.md).
- **Weights**: a repository of the Hugging Face hub with trained weights, which
  `create_model(name, weights="hub:OWNER/REPO")` loads (extra `[hub]`). For every model under
  torchvision's name, the files that torchvision publishes load unchanged too:
  `create_model(name, weights=PATH)`. Those of `googlenet` and `inception_v3` also need
  `transform_input=True`.
"""


def receptive_field(result: Summary) -> str:
    """Return the largest field that is not the whole image."""
    fields = [row.receptive_field for row in result.rows if row.receptive_field]
    largest = max((f for f in fields if not math.isinf(max(f.size))), key=lambda f: f.size)
    height, width = largest.size
    size = str(height) if height == width else f"{height} x {width}"
    return size + ("*" if largest.global_context else "")


def cite(paper: str) -> str:
    """Return authors and year, as a link if the paper's source is one."""
    authors, year = paper.partition(",")[0], re.search(r"\((\d{4})\)", paper)
    short = f"{authors} {year[1]}" if year else paper
    if source := re.search(r"arXiv:(\d{4}\.\d{4,5})", paper):
        return f"[{short}](https://arxiv.org/abs/{source[1]})"
    if source := re.search(r"https?://\S+", paper):
        return f"[{short}]({source[0]})"
    return short


def cells(name: str) -> list[str]:
    """Return a model's row."""
    entry, result = model_entry(name), summary(name)
    hub = f"[{entry.hub}](https://huggingface.co/{entry.hub})" if entry.hub else ""
    return [
        f"`{name}`",
        " x ".join(map(str, result.input_shape[1:])),
        f"{result.parameters:,}",
        f"{result.macs / 1e9:,.3f} G" if result.macs >= 1e7 else f"{result.macs / 1e6:,.3f} M",
        receptive_field(result),
        cite(entry.paper),
        hub,
    ]


def document() -> str:
    """Return the whole page."""
    names = sorted(
        fastconv.list_models(), key=lambda name: (model_entry(name).family, natural(name))
    )
    titles = ["model", "input", "parameters", "MACs", "receptive field", "paper", "weights"]
    rules = ["---", "---", "---:", "---:", "---:", "---", "---"]
    table = [titles, rules, *map(cells, names)]
    papers = sorted({model_entry(name).paper for name in names})
    return "\n".join(
        [
            HEAD,
            *("| " + " | ".join(row) + " |" for row in table),
            "",
            "## Papers",
            "",
            *(f"- {paper}" for paper in papers),
            "",
        ]
    )


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts resnet18 before resnet101."""
    return [
        (int(part or 0), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


if __name__ == "__main__":
    sys.exit(generated.main(FILE, document()))
