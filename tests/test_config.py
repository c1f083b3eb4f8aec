"""show_config and trim."""

from __future__ import annotations

import fastconv
import numpy as np
import pytest

KEYS = {
    "version",
    "compiler",
    "cpu",
    "isa_found",
    "isa",
    "threads",
    "cores_available",
    "cache_l1d",
    "cache_l2",
    "cache_l3",
    "scratch_cached_bytes",
    "cuda",
}


def test_dict():
    config = fastconv.show_config("dict")
    assert set(config) == KEYS
    assert config["version"] == fastconv.__version__
    assert config["isa"] in config["isa_found"]
    assert config["threads"] == fastconv.get_num_threads()
    assert 1 <= config["cores_available"] <= 1024
    assert 4096 <= config["cache_l1d"] <= config["cache_l2"]
    assert config["compiler"].split()[0] in ("GNU", "Clang", "AppleClang")
    assert config["cuda"] is None or set(config["cuda"]) == {"toolkit", "architectures"}


def test_print(capsys):
    assert fastconv.show_config() is None
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(fastconv.show_config("dict"))
    assert lines[0].split() == ["version", fastconv.__version__]


@pytest.mark.parametrize(
    ("mode", "error"), [("json", ValueError), (None, TypeError), (1, TypeError)]
)
def test_bad_mode(mode, error):
    with pytest.raises(error, match="mode must be"):
        fastconv.show_config(mode)


def test_trim_gives_back_what_calls_left():
    x = np.ones((1, 64, 40, 40), np.float32)
    weight = np.ones((64, 64, 3, 3), np.float32)
    fastconv.trim()
    assert fastconv.show_config("dict")["scratch_cached_bytes"] == 0
    fastconv.conv2d(x, weight)
    assert fastconv.show_config("dict")["scratch_cached_bytes"] > 0
    fastconv.trim()
    assert fastconv.show_config("dict")["scratch_cached_bytes"] == 0


def test_kept_scratch_memory_is_bounded():
    rng = np.random.default_rng(0)
    fastconv.trim()
    for size in rng.integers(20, 200, 40):
        fastconv.conv2d(
            np.ones((1, 16, size, size), np.float32), np.ones((16, 16, 5, 5), np.float32)
        )
        assert fastconv.show_config("dict")["scratch_cached_bytes"] <= 256 << 20
    fastconv.trim()
