"""Photos to the arrays that a classification network was trained on."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastconv._data_config import DataConfig, HasCfg, data_config

if TYPE_CHECKING:
    from PIL import Image

ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[Any]"

_MAX_PIXELS = 2**27
"""Most pixels of a resized photo; only one of an absurd aspect ratio has more."""

_MODES = {1: "L", 3: "RGB"}
"""PIL's modes of photos by their number of channels."""


def preprocess(
    image: ImageLike | Sequence[ImageLike],
    model: HasCfg,
    *,
    input_size: int | Sequence[int] | None = None,
    interpolation: str | None = None,
    crop_pct: float | None = None,
    crop_mode: str | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Turn photos into the batch that a model expects: resized, cropped and normalised.

    What ``model.default_cfg`` says is done, unless an argument replaces it. Steps and rounding are
    those of timm and torchvision on PIL images: a photo is resized towards ``floor(size /
    crop_pct)`` for each side of the input, then cropped around its centre. `crop_mode` says how it
    gets the input's aspect ratio:

    - ``"center"``: it keeps its own and covers that size, so that the crop takes more of one side.
    - ``"squash"``: it is stretched to that size. With ``crop_pct=1`` nothing is cut off.
    - ``"border"``: it keeps its own and fits into that size. The rest is filled with `mean`.

    Needs Pillow (extra ``[demo]``).

    Parameters
    ----------
    image : path, PIL.Image.Image, ndarray, or a sequence of these
        An array has shape (H, W, 3), (H, W, 1) or (H, W) and is uint8, or float with values in
        0..1, which are rounded to 8 bits; an array (N, H, W, C) is a sequence of N images. Photos
        are turned as their EXIF orientation says. Every mode of PIL becomes RGB, or grey (``"L"``)
        for a model with one input channel: transparency is dropped, 16 bits per channel become 8,
        and of an animation the first frame is taken.
    model : Module
        Or anything with a mapping ``default_cfg`` that has ``input_size`` (C, H, W) with C = 3 or
        1, ``interpolation``, ``crop_pct``, and ``mean`` and ``std`` in units of 0..1, a value for
        each channel or one for all. ``crop_mode`` may be absent and is ``"center"`` then. Where
        there are ``test_input_size`` and ``test_crop_pct``, these are used: timm tests the weights
        with them.
    input_size : int or sequence of 3 ints, optional
        (C, H, W), or the side of a square. For the size of training where there is a larger one for
        tests, pass ``model.default_cfg["input_size"]``, and its `crop_pct` with it.
    interpolation : str, optional
        A filter of Pillow: nearest, lanczos, bilinear, bicubic, box or hamming.
    crop_pct : float, optional
        Sides of the crop as a part of those of the resized photo.
    crop_mode : str, optional
        See above.
    mean, std : float or sequence of float, optional
        Subtracted from pixels in 0..1, and what the difference is divided by.

    Returns
    -------
    ndarray
        float32, shape (N, C, H, W), C-contiguous; N is 1 for a single image.

    Raises
    ------
    ValueError
        A file is no picture, or a truncated one, or would decompress to an absurd size; or an array
        has another shape, or floats outside 0..1; or the model takes neither RGB nor grey images,
        or its `default_cfg` lacks a key, or that or an argument has a value that makes no sense.
    TypeError
        An image is something else, or an array of another dtype; or the model has no `default_cfg`.
    ImportError
        Pillow is not installed.
    OSError
        A file cannot be opened, for example ``FileNotFoundError``.

    Examples
    --------
    >>> import types
    >>> import numpy as np
    >>> from fastconv import preprocess
    >>> cfg = {"input_size": (3, 224, 224), "mean": (0.5,) * 3, "std": (0.5,) * 3,
    ...        "interpolation": "bicubic", "crop_pct": 0.875}
    >>> photo = np.zeros((480, 640, 3), dtype=np.uint8)
    >>> x = preprocess(photo, types.SimpleNamespace(default_cfg=cfg))
    >>> x.shape, float(x.min())
    ((1, 3, 224, 224), -1.0)
    >>> preprocess(photo, types.SimpleNamespace(default_cfg=cfg), input_size=288).shape
    (1, 3, 288, 288)
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "preprocess needs the package pillow; install it: pip install 'fastconv[demo]'"
        ) from error

    cfg = data_config(
        model,
        input_size=input_size,
        interpolation=interpolation,
        crop_pct=crop_pct,
        crop_mode=crop_mode,
        mean=mean,
        std=std,
    )
    resample = Image.Resampling[cfg.interpolation.upper()]
    # One table per channel, from float64: for mean 127/255, std 128/255 exactly (x - 127) / 128.
    levels = np.arange(256) / 255
    tables = [
        ((levels - center) / scale).astype(np.float32)
        for center, scale in zip(cfg.mean, cfg.std, strict=True)
    ]

    images = _as_list(image)
    channels, height, width = cfg.input_size
    batch = np.empty((len(images), channels, height, width), dtype=np.float32)
    for item, output in zip(images, batch, strict=True):
        name = os.fspath(item) if isinstance(item, str | os.PathLike) else "image"
        upright = _as_rgb(item, name).convert(_MODES[channels])
        fitted = _crop(_resize(upright, cfg, resample, name), cfg)
        pixels = np.asarray(fitted).reshape(height, width, channels)
        for channel, table in enumerate(tables):
            output[channel] = table[pixels[:, :, channel]]
    return batch


def _as_list(image: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    if isinstance(image, list | tuple) or (isinstance(image, np.ndarray) and image.ndim == 4):
        return list(image)
    return [image]  # type: ignore[list-item]


def _as_rgb(image: ImageLike, name: str) -> Image.Image:
    """Return an upright image of mode RGB."""
    from PIL import Image

    if isinstance(image, np.ndarray):
        return _array_to_rgb(image)
    if isinstance(image, Image.Image):
        return _to_rgb(image, name)
    if not isinstance(image, str | os.PathLike):
        raise TypeError(
            f"image must be a path, a PIL image or an array (H, W, 3), or a list of these; "
            f"got {type(image).__name__}"
        )
    with open(image, "rb") as file:
        try:
            opened = Image.open(file)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's readers raise almost anything on hostile files
            raise ValueError(_no_picture(name, error)) from error
        return _to_rgb(opened, name)


def _no_picture(name: str, error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"{name}: not a picture in a format that Pillow can read"
    return f"{name}: not a readable picture: {error or type(error).__name__}"


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    from PIL import ImageOps

    if 0 in image.size:
        raise ValueError(f"{name}: a picture of {image.width} x {image.height} pixels is empty")
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16") or image.mode == "I":
            wide = np.asarray(image).astype(np.int64)
            if wide.size and not 0 <= wide.min() <= wide.max() < 2**16:
                raise ValueError("its pixels are outside 0..65535")
            return _array_to_rgb((wide >> 8).astype(np.uint8))
        if image.mode == "F":
            return _array_to_rgb(np.asarray(image))
        if "transparency" in image.info:  # else Pillow warns for some palettes
            image = image.convert("RGBA")
        return image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(_no_picture(name, error)) from error


def _array_to_rgb(array: NDArray[Any]) -> Image.Image:
    from PIL import Image

    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        channels_first = array.shape[:1] == (3,)
        mend = "; put its channels last: image.transpose(1, 2, 0)" if channels_first else ""
        raise ValueError(
            f"image must be an array (H, W, 3), (H, W, 1) or (H, W), or (N, H, W, C) for a batch; "
            f"got shape {array.shape}{mend}"
        )
    if array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):
            raise ValueError(
                f"a float image must have values in 0..1; got {array.min():g}..{array.max():g}; "
                "divide by 255, or convert: image.astype(numpy.uint8)"
            )
        array = np.rint(array * 255)
    elif array.dtype != np.uint8:
        raise TypeError(f"image must be uint8, or float in 0..1; got an array of {array.dtype}")
    rgb = np.broadcast_to(array.astype(np.uint8), (*array.shape[:2], 3))
    return Image.fromarray(np.ascontiguousarray(rgb))


def _resize(
    image: Image.Image, cfg: DataConfig, resample: Image.Resampling, name: str
) -> Image.Image:
    """Resize towards the input's size divided by `crop_pct`."""
    width, height = _resized(image, cfg)
    if min(width, height) < 1 or width * height > _MAX_PIXELS:
        raise ValueError(
            f"{name}: with {image.width} x {image.height} pixels it is too long and narrow to "
            f"resize it to {width} x {height}; crop it first"
        )
    if image.size != (width, height):
        image = image.resize((width, height), resample)
    return image


def _resized(image: Image.Image, cfg: DataConfig) -> tuple[int, int]:
    """Return the width and height to resize to."""
    # So that 224 / (224 / 232), in floating point a little less than 232, is 232.
    height, width = (math.floor(side / cfg.crop_pct + 1e-6) for side in cfg.input_size[1:])
    if cfg.crop_mode == "squash":
        return width, height
    if cfg.crop_mode == "center" and height == width:  # torchvision's Resize of the short side
        short = min(image.size)
        return int(height * image.width / short), int(height * image.height / short)
    # timm's ResizeKeepRatio.
    pick = max if cfg.crop_mode == "border" else min
    ratio = pick(image.height / height, image.width / width)
    return round(image.width / ratio), round(image.height / ratio)


def _crop(image: Image.Image, cfg: DataConfig) -> Image.Image:
    """Take the centre; where the image is smaller than the input, put a border around it."""
    from PIL import Image

    channels, height, width = cfg.input_size
    left = _border(image.width - width, cfg.crop_rounding)
    top = _border(image.height - height, cfg.crop_rounding)
    fill = [0] * channels
    if cfg.crop_mode == "border":
        fill = [min(max(round(255 * value), 0), 255) for value in cfg.mean]
    canvas = Image.new(image.mode, (width, height), tuple(fill))
    canvas.paste(image, (-left, -top))
    return canvas


def _border(excess: int, rounding: str) -> int:
    """Return how much to cut off on the first side; below 0, how much to add."""
    if excess < 0:
        return -(-excess // 2)
    return round(excess / 2) if rounding == "even" else excess // 2
