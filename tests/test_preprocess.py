"""preprocess: photos of every kind to a normalised batch, and what is no photo refused."""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fastconv.preprocess import preprocess
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"

CFG = {
    "input_size": (3, 224, 224),
    "mean": (127 / 255,) * 3,
    "std": (128 / 255,) * 3,
    "interpolation": "bicubic",
    "crop_pct": 0.875,
}
MODEL = SimpleNamespace(default_cfg=CFG)


def model(**changes):
    return SimpleNamespace(default_cfg={**CFG, **changes})


PLAIN = model(input_size=(3, 32, 32), crop_pct=1.0)
"""Of a 32 x 32 image it keeps every pixel."""

PIXELS = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def expected(pixels):
    """(x - 127) / 128 of the pixels, as a batch of one."""
    return ((pixels.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]


def test_photo():
    x = preprocess(EXAMPLES / "coffee.jpg", MODEL)
    assert x.shape == (1, 3, 224, 224)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    # Exactly (x - 127) / 128 of whole numbers.
    pixels = x * 128 + 127
    np.testing.assert_array_equal(pixels, np.rint(pixels))
    assert 0 <= pixels.min() < pixels.max() <= 255

    with Image.open(EXAMPLES / "coffee.jpg") as image:  # 600 x 400
        manual = image.resize((384, 256), Image.Resampling.BICUBIC).crop((80, 16, 304, 240))
    np.testing.assert_array_equal(pixels[0].transpose(1, 2, 0), np.asarray(manual))


def test_normalisation_is_per_channel():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    x = preprocess(PIXELS, model(input_size=(3, 32, 32), crop_pct=1.0, mean=mean, std=std))
    np.testing.assert_allclose(
        x[0].transpose(1, 2, 0), (PIXELS / 255 - mean) / np.array(std), rtol=1e-6, atol=1e-7
    )


def test_crop_of_odd_size():
    # (33 - 32) / 2 rounds to the even 0, (35 - 32) / 2 to the even 2, as in torchvision.
    pixels = np.random.default_rng(2).integers(0, 256, (33, 35, 3), dtype=np.uint8)
    cfg = model(input_size=(3, 32, 32), crop_pct=32 / 33)
    np.testing.assert_array_equal(preprocess(pixels, cfg), expected(pixels[0:32, 2:34]))


def test_same_photo_in_every_form(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(path)
    for image in (
        path,
        str(path),
        Image.fromarray(PIXELS),
        PIXELS,
        PIXELS[::-1][::-1],
        PIXELS.astype(np.float32) / 255,
        PIXELS / 255,
    ):
        np.testing.assert_array_equal(preprocess(image, PLAIN), expected(PIXELS))


def test_batches():
    images = [PIXELS, Image.fromarray(PIXELS[::-1].copy()), PIXELS[:, ::-1]]
    x = preprocess(images, PLAIN)
    assert x.shape == (3, 3, 32, 32)
    for index, pixels in enumerate([PIXELS, PIXELS[::-1], PIXELS[:, ::-1]]):
        np.testing.assert_array_equal(x[index : index + 1], expected(pixels))
    np.testing.assert_array_equal(preprocess(tuple(images), PLAIN), x)
    np.testing.assert_array_equal(preprocess(np.stack([PIXELS, PIXELS]), PLAIN)[1], x[0])
    assert preprocess([], PLAIN).shape == (0, 3, 32, 32)


GREY = PIXELS[:, :, 0]
GREY_RGB = np.repeat(GREY[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    "image",
    [
        GREY,
        GREY[:, :, None],
        GREY / 255,
        Image.fromarray(GREY),
        Image.fromarray(GREY.astype(np.uint16) * 257),
        Image.fromarray(GREY.astype(np.int32) * 257),
        Image.fromarray((GREY / 255).astype(np.float32)),
        Image.fromarray(np.dstack([GREY, PIXELS[:, :, 1]])),
    ],
    ids=["array", "array with a channel", "floats", "L", "I;16", "I", "F", "LA"],
)
def test_grey(image):
    np.testing.assert_array_equal(preprocess(image, PLAIN), expected(GREY_RGB))


def test_other_modes(tmp_path):
    rgb = Image.fromarray(PIXELS)
    alpha = Image.fromarray(np.dstack([PIXELS, GREY]))
    np.testing.assert_array_equal(preprocess(alpha, PLAIN), expected(PIXELS))

    palette = rgb.convert("P")
    np.testing.assert_array_equal(
        preprocess(palette, PLAIN), expected(np.asarray(palette.convert("RGB")))
    )
    palette.save(tmp_path / "palette.png", transparency=bytes(range(256)))
    np.testing.assert_array_equal(
        preprocess(tmp_path / "palette.png", PLAIN), expected(np.asarray(palette.convert("RGB")))
    )

    bits = Image.fromarray(GREY > 127)
    np.testing.assert_array_equal(
        preprocess(bits, PLAIN), expected((GREY_RGB > 127) * np.uint8(255))
    )

    cmyk = Image.merge("CMYK", [*(Image.fromarray(255 - PIXELS).split()), Image.new("L", (32, 32))])
    np.testing.assert_array_equal(preprocess(cmyk, PLAIN), expected(PIXELS))

    rgb.save(tmp_path / "animation.gif", save_all=True, append_images=[Image.new("RGB", (32, 32))])
    with Image.open(tmp_path / "animation.gif") as frame:
        first = np.asarray(frame.convert("RGB"))
    np.testing.assert_array_equal(preprocess(tmp_path / "animation.gif", PLAIN), expected(first))


def test_sixteen_bit_file(tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "grey16.png")
    np.testing.assert_array_equal(preprocess(tmp_path / "grey16.png", PLAIN), expected(GREY_RGB))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    stored = Image.fromarray(PIXELS)
    transposed = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    upright = stored.transpose(transposed[orientation]) if orientation > 1 else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(
        preprocess(tmp_path / "photo.png", PLAIN), expected(np.asarray(upright))
    )


def test_image_is_not_changed():
    image = Image.fromarray(PIXELS)
    before = PIXELS.copy()
    preprocess([image, PIXELS], MODEL)
    np.testing.assert_array_equal(np.asarray(image), before)
    np.testing.assert_array_equal(PIXELS, before)


# --- Other inputs than square RGB ---

ONE_CHANNEL = model(input_size=(1, 32, 32), crop_pct=1.0, mean=(127 / 255,), std=(128 / 255,))


@pytest.mark.parametrize(
    "image",
    [
        GREY,
        GREY[:, :, None] / 255,
        GREY_RGB,
        Image.fromarray(GREY),
        Image.fromarray(GREY.astype(np.uint16) * 257),
        Image.fromarray(np.dstack([GREY_RGB, PIXELS[:, :, 1]])),
    ],
    ids=["array", "floats", "RGB", "L", "I;16", "RGBA"],
)
def test_one_channel_of_grey_images(image):
    x = preprocess(image, ONE_CHANNEL)
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(x, expected(GREY[:, :, None]))


def test_one_channel_of_photos_is_their_luma():
    x = preprocess([PIXELS, Image.fromarray(PIXELS)], ONE_CHANNEL)
    assert x.shape == (2, 1, 32, 32)
    luma = np.asarray(Image.fromarray(PIXELS).convert("L"))  # ITU-R 601-2
    np.testing.assert_array_equal(x, np.repeat(expected(luma[:, :, None]), 2, axis=0))


@pytest.mark.parametrize("channels", [1, 3])
def test_one_mean_and_deviation_for_all_channels(channels):
    sizes = {"input_size": (channels, 32, 32), "crop_pct": 1.0}
    each = model(**sizes, mean=(0.25,) * channels, std=(0.5,) * channels)
    for mean, std in (((0.25,), (0.5,)), (0.25, 0.5), ([0.25], np.array([0.5]))):
        np.testing.assert_array_equal(
            preprocess(PIXELS, model(**sizes, mean=mean, std=std)), preprocess(PIXELS, each)
        )


@pytest.mark.parametrize(
    ("height", "width", "crop_pct", "resized", "box"),  # the last two in PIL's order
    [
        (60, 80, 2 / 3, (72, 54), (12, 11, 60, 43)),  # wide, but not as wide as the input
        (100, 80, 1.0, (48, 60), (0, 14, 48, 46)),
        (40, 120, 2 / 3, (144, 48), (48, 8, 96, 40)),  # wider than the input
    ],
)
def test_rectangular_input(height, width, crop_pct, resized, box):
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    manual = Image.fromarray(pixels).resize(resized, Image.Resampling.BICUBIC).crop(box)
    x = preprocess(pixels, model(input_size=(3, 32, 48), crop_pct=crop_pct))
    np.testing.assert_array_equal(x, expected(np.asarray(manual)))


# --- Crop modes, and what arguments replace ---


def ramp(width, height):
    """An image whose red grows from left to right, from 0 to 255."""
    row = np.rint(np.linspace(0, 255, width)).astype(np.uint8)
    return np.repeat(np.broadcast_to(row, (height, width))[:, :, None], 3, axis=2)


RAMP_MODEL = model(crop_pct=1.0, interpolation="bilinear", mean=0.0, std=1.0)


@pytest.mark.parametrize(
    ("crop_mode", "low", "high"),
    [("center", 0.251, 0.745), ("squash", 0.0, 1.0), ("border", 0.0, 1.0)],
)
def test_what_is_seen_of_a_wide_image(crop_mode, low, high):
    x = preprocess(ramp(400, 200), RAMP_MODEL, crop_mode=crop_mode)[0, 0]
    assert (x.min(), x.max()) == pytest.approx((low, high), abs=0.009)
    assert x[112, 0] == pytest.approx(low, abs=0.009)
    same = model(**{**RAMP_MODEL.default_cfg, "crop_mode": crop_mode})
    np.testing.assert_array_equal(preprocess(ramp(400, 200), same)[0, 0], x)


@pytest.mark.parametrize(
    ("crop_mode", "resized", "box"),  # in PIL's order
    [
        ("squash", (60, 40), (6, 4, 54, 36)),
        ("border", (20, 40), (-14, 4, 34, 36)),
        ("center", (60, 120), (6, 44, 54, 76)),
    ],
)
def test_crop_modes(crop_mode, resized, box):
    pixels = np.random.default_rng(3).integers(0, 256, (80, 40, 3), dtype=np.uint8)
    manual = Image.fromarray(pixels).resize(resized, Image.Resampling.BICUBIC)
    filled = Image.new("RGB", (48, 32), (127, 127, 127))  # the mean
    filled.paste(manual, (-box[0], -box[1]))
    cfg = model(input_size=(3, 32, 48), crop_pct=0.8, crop_mode=crop_mode)
    np.testing.assert_array_equal(preprocess(pixels, cfg), expected(np.asarray(filled)))


def test_border_of_grey_images_and_of_a_mean_outside():
    cfg = model(input_size=(1, 32, 32), crop_pct=1.0, crop_mode="border", mean=0.25, std=0.25)
    x = preprocess(np.full((16, 32), 255, dtype=np.uint8), cfg)[0, 0]
    assert (x[0, 0], x[16, 16]) == (np.float32((64 / 255 - 0.25) / 0.25), 3)
    for mean, level in ((-3.0, 0), (3.0, 255)):
        x = preprocess(PIXELS[:16], cfg, mean=mean, std=1)
        assert x[0, 0, 0, 0] == np.float32(level / 255 - mean)


@pytest.mark.parametrize(("crop_mode", "fill"), [("center", 0), ("squash", 0), ("border", 127)])
def test_crop_larger_than_the_image(crop_mode, fill):
    """The smaller half of an odd border is on the left and at the top, as in torchvision."""
    cfg = model(input_size=(3, 35, 35), crop_pct=35 / 32, crop_mode=crop_mode)
    x = preprocess(PIXELS, cfg)
    padded = np.full((35, 35, 3), fill, dtype=np.uint8)
    padded[1:33, 1:33] = PIXELS
    np.testing.assert_array_equal(x, expected(padded))


def test_crop_rounding():
    pixels = np.random.default_rng(2).integers(0, 256, (35, 35, 3), dtype=np.uint8)
    for rounding, first in (("even", 2), ("down", 1)):
        cfg = model(input_size=(3, 32, 32), crop_pct=32 / 35, crop_rounding=rounding)
        last = first + 32
        np.testing.assert_array_equal(
            preprocess(pixels, cfg), expected(pixels[first:last, first:last])
        )


def test_sizes_for_tests_come_first():
    image = Image.fromarray(PIXELS)
    tested = model(test_input_size=(3, 48, 40), test_crop_pct=1.0)
    np.testing.assert_array_equal(
        preprocess(image, tested), preprocess(image, model(input_size=(3, 48, 40), crop_pct=1.0))
    )
    only_crop = model(test_input_size=None, test_crop_pct=1.0)
    np.testing.assert_array_equal(
        preprocess(image, only_crop), preprocess(image, model(crop_pct=1.0))
    )
    np.testing.assert_array_equal(
        preprocess(image, tested, input_size=CFG["input_size"], crop_pct=CFG["crop_pct"]),
        preprocess(image, MODEL),
    )


def test_arguments_replace_the_configuration():
    changes = {
        "input_size": (3, 40, 48),
        "interpolation": "nearest",
        "crop_pct": 0.5,
        "crop_mode": "squash",
        "mean": (0.1, 0.2, 0.3),
        "std": 0.5,
    }
    np.testing.assert_array_equal(
        preprocess(PIXELS, MODEL, **changes), preprocess(PIXELS, model(**changes))
    )
    np.testing.assert_array_equal(
        preprocess(PIXELS, SimpleNamespace(default_cfg={}), **changes),
        preprocess(PIXELS, MODEL, **changes),
    )
    assert preprocess(PIXELS, MODEL, input_size=40).shape == (1, 3, 40, 40)
    assert preprocess(PIXELS, ONE_CHANNEL, input_size=np.int64(40)).shape == (1, 1, 40, 40)
    assert preprocess(PIXELS, model(input_size=None), input_size=40).shape == (1, 3, 40, 40)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"crop_mode": "fit"}, "^crop_mode is 'fit'; expected one of center, squash, border$"),
        ({"interpolation": "random"}, "^interpolation is 'random'; expected one of nearest, lanc"),
        ({"input_size": (32, 32)}, r"^input_size must be \(channels, .* got \(32, 32\)"),
        ({"input_size": 0}, "^input_size must be .*from 1 to 32768"),
        ({"input_size": 32.5}, "^input_size must be"),
        ({"input_size": (2, 32, 32)}, r"input_size is \(2, 32, 32\); expected \(3, height"),
        ({"crop_pct": 0}, "^crop_pct must be a positive number, got 0$"),
        ({"crop_pct": "1"}, "^crop_pct must be a positive number"),
        ({"input_size": 4, "crop_pct": 5}, "^crop_pct is 5: of 4 pixels .* none is left"),
        ({"mean": (1, 2)}, "^mean has 2 values for 3 channels"),
        ({"std": 0}, "^std must be finite numbers, not 0, got 0$"),
    ],
)
def test_arguments_that_make_no_sense(changes, match):
    with pytest.raises(ValueError, match=match):
        preprocess(PIXELS, MODEL, **changes)


# --- What is refused ---


def refused(path, match):
    with pytest.raises(ValueError, match=match) as caught:
        preprocess([path], MODEL)
    assert str(caught.value).startswith(f"{path}: ")


def test_files_that_are_no_pictures(tmp_path):
    path = tmp_path / "photo.jpg"
    for content in (b"", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a"):
        path.write_bytes(content)
        refused(path, "picture")
    with pytest.raises(FileNotFoundError):
        preprocess(tmp_path / "none.jpg", MODEL)
    with pytest.raises(IsADirectoryError):
        preprocess(tmp_path, MODEL)


def test_truncated_photo(tmp_path):
    content = (EXAMPLES / "chelsea.jpg").read_bytes()
    path = tmp_path / "photo.jpg"
    for length in (100, 500, 5000, len(content) // 2, len(content) - 5000):
        path.write_bytes(content[:length])
        refused(path, "not a (readable )?picture")


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tiff", "webp", "jpg", "ppm"])
@pytest.mark.filterwarnings("ignore")  # of Pillow, about damaged metadata
def test_damaged_photos(tmp_path, suffix):
    content = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(content, {"jpg": "jpeg"}.get(suffix, suffix), exif=exif)
    path = tmp_path / "photo"
    generator = random.Random(3)
    refusals = 0
    for _ in range(100):
        damaged = bytearray(content.getvalue())
        for _ in range(4):
            damaged[generator.randrange(min(len(damaged), 200))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            assert preprocess(path, PLAIN).shape == (1, 3, 32, 32)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
            refusals += 1
    assert refusals > 0


def test_decompression_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    Image.fromarray(PIXELS).save(tmp_path / "bomb.png")
    refused(tmp_path / "bomb.png", "decompression bomb")


def test_long_and_narrow():
    narrow = np.zeros((1, 10_000, 3), dtype=np.uint8)
    for size in ((3, 224, 224), (3, 224, 192)):
        with pytest.raises(ValueError, match="too long and narrow"):
            preprocess(narrow, model(input_size=size))
    with pytest.raises(ValueError, match="too long and narrow to resize it to 256 x 0"):
        preprocess(narrow, model(crop_mode="border"))
    assert preprocess(narrow, model(crop_mode="squash")).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    ("array", "error", "match"),
    [
        (np.zeros((3, 8, 9), np.uint8), ValueError, r"\(3, 8, 9\); put its channels last"),
        (np.zeros((8, 9, 2), np.uint8), ValueError, r"got shape \(8, 9, 2\)"),
        (np.zeros(8, np.uint8), ValueError, "got shape"),
        (np.zeros((0, 8, 3), np.uint8), ValueError, "got shape"),
        (np.full((8, 8, 3), 255.0), ValueError, "divide by 255"),
        (np.full((8, 8, 3), -0.5), ValueError, "divide by 255"),
        (np.full((8, 8, 3), np.nan), ValueError, "nan"),
        (np.zeros((8, 8, 3), np.int64), TypeError, "int64"),
        (np.zeros((8, 8, 3), np.complex64), TypeError, "complex64"),
        (3, TypeError, "got int"),
        (None, TypeError, "got NoneType"),
        (b"photo.jpg", TypeError, "got bytes"),
    ],
)
def test_wrong_arguments(array, error, match):
    with pytest.raises(error, match=match):
        preprocess(array, MODEL)


@pytest.mark.parametrize("size", [(0, 0), (0, 5)])
def test_empty_picture(size):
    with pytest.raises(ValueError, match=f"a picture of 0 x {size[1]} pixels is empty"):
        preprocess(Image.new("RGB", size), MODEL)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"input_size": (3, 28)}, "must be .channels, height, width.*28"),
        ({"input_size": (3, 0, 28)}, "from 1 to 32768, got .3, 0, 28"),
        ({"input_size": (3, 2**40, 2**40)}, "from 1 to 32768"),
        ({"input_size": None}, "got None"),
        ({"crop_pct": 0}, "crop_pct'. must be a positive number, got 0"),
        ({"crop_pct": np.nan}, "crop_pct'. must be a positive number, got nan"),
        ({"crop_pct": "x"}, "crop_pct'. must be a positive number, got 'x'"),
        ({"mean": None}, "mean'. must be finite numbers, got None"),
        ({"std": (0.5, 0, 0.5)}, "std'. must be finite numbers, not 0"),
        ({"std": np.nan}, "std'. must be finite numbers, not 0"),
        ({"interpolation": ["bicubic"]}, "expected one of nearest"),
        ({"crop_mode": "fit"}, "crop_mode'. is 'fit'; expected one of center, squash, border"),
        ({"crop_mode": None}, "crop_mode'. is None; expected one of center"),
        ({"crop_rounding": "up"}, "crop_rounding'. is 'up'; expected one of even, down"),
        ({"test_input_size": (3, 0, 28)}, "test_input_size'. must be .*from 1 to 32768"),
        ({"test_crop_pct": -1}, "test_crop_pct'. must be a positive number, got -1"),
    ],
)
def test_configuration_that_makes_no_sense(changes, match):
    with pytest.raises(ValueError, match=match):
        preprocess(PIXELS, model(**changes))


def test_something_else_than_a_model():
    with pytest.raises(TypeError, match="model must have a mapping default_cfg, got str"):
        preprocess(PIXELS, "resnet18")
    with pytest.raises(ValueError, match="default_cfg has no interpolation, std"):
        preprocess(PIXELS, SimpleNamespace(default_cfg=dict(list(CFG.items())[:2], crop_pct=1)))


def test_wrong_configuration():
    for channels in (0, 2, 4):
        with pytest.raises(ValueError, match=rf"is \({channels}, 28, 28\); expected \(3, height"):
            preprocess(PIXELS, model(input_size=(channels, 28, 28)))
    for channels, means in ((3, 2), (3, 4), (1, 3)):
        cfg = model(input_size=(channels, 28, 28), mean=(0.5,) * means)
        with pytest.raises(ValueError, match=f"'mean'.* has {means} values for {channels} chan"):
            preprocess(PIXELS, cfg)
    with pytest.raises(ValueError, match="interpolation"):
        preprocess(PIXELS, model(interpolation="spline"))


def test_pillow_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'fastconv\[demo\]'"):
        preprocess(PIXELS, MODEL)
