"""Photos to the arrays that a classification network was trained on."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastconv.ops._args import as_int, is_number, numpy_array

if TYPE_CHECKING:
    from PIL import Image

ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[Any]"

_MAX_PIXELS = 2**27
"""Most pixels of a resized photo; only one of an absurd aspect ratio has more."""

_MAX_SIDE = 2**15
"""Most rows and columns of an input."""

_CFG_KEYS = ("input_size", "interpolation", "crop_pct", "mean", "std")

_MODES = {1: "L", 3: "RGB"}
"""PIL's modes of photos by their number of channels."""


class _Model(Protocol):
    @property
    def default_cfg(self) -> Mapping[str, Any]: ...


def preprocess(image: ImageLike | Sequence[ImageLike], model: _Model) -> NDArray[np.float32]:
    """Turn photos into the batch that a model expects: resized, cropped and normalised.

    The steps and the rounding are those of torchvision's ``Resize(floor(size / crop_pct))``,
    ``CenterCrop(size)`` and ``Normalize(mean, std)`` on PIL images, with the numbers from
    ``model.default_cfg``. Where height and width of the input differ, photos are resized as timm
    resizes them, to the smallest size of their own aspect ratio that covers both divided by
    `crop_pct`. Needs Pillow (extra ``[demo]``).

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
        each channel or one for all.

    Returns
    -------
    ndarray
        float32, shape (N, C, H, W), C-contiguous; N is 1 for a single image.

    Raises
    ------
    ValueError
        A file is no picture, or a truncated one, or would decompress to an absurd size; or an array
        has another shape, or floats outside 0..1; or the model takes neither RGB nor grey images,
        or its `default_cfg` lacks a key or has numbers that make no sense.
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
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "preprocess needs the package pillow; install it: pip install 'fastconv[demo]'"
        ) from error

    cfg = _checked_cfg(model)
    channels, height, width = cfg["input_size"]
    if channels not in _MODES:
        raise ValueError(
            f"preprocess makes RGB and grey images, but model.default_cfg['input_size'] is "
            f"{cfg['input_size']}; expected (3, height, width) or (1, height, width)"
        )
    # So that 224 / (224 / 232), in floating point a little less than 232, is 232.
    covered = [math.floor(size / cfg["crop_pct"] + 1e-6) for size in (height, width)]
    modes = {mode.name.lower(): mode for mode in Image.Resampling}
    if str(cfg["interpolation"]) not in modes:
        raise ValueError(
            f"model.default_cfg['interpolation'] is {cfg['interpolation']!r}; expected one of "
            f"{', '.join(modes)}"
        )
    resample = modes[str(cfg["interpolation"])]

    # One table per channel, from float64: for mean 127/255, std 128/255 exactly (x - 127) / 128.
    levels = np.arange(256) / 255
    tables = [
        ((levels - mean) / std).astype(np.float32)
        for mean, std in zip(
            _per_channel(cfg, "mean", channels), _per_channel(cfg, "std", channels), strict=True
        )
    ]

    images = _as_list(image)
    batch = np.empty((len(images), channels, height, width), dtype=np.float32)
    for item, output in zip(images, batch, strict=True):
        name = os.fspath(item) if isinstance(item, str | os.PathLike) else "image"
        upright = _as_rgb(item, name).convert(_MODES[channels])
        resized = _resize(upright, covered, resample, name)
        pixels = np.asarray(_crop(resized, height, width)).reshape(height, width, channels)
        for channel, table in enumerate(tables):
            output[channel] = table[pixels[:, :, channel]]
    return batch


def _checked_cfg(model: _Model) -> Mapping[str, Any]:
    """Return `default_cfg`, checked to have all keys, and numbers that images can be resized by."""
    cfg = getattr(model, "default_cfg", None)
    if not isinstance(cfg, Mapping):
        raise TypeError(
            f"model must have a mapping default_cfg, got {type(model).__name__}: pass the model "
            "itself, as fastconv.create_model returns it"
        )
    if missing := [key for key in _CFG_KEYS if key not in cfg]:
        raise ValueError(f"model.default_cfg has no {', '.join(missing)}")
    try:
        sizes = [as_int("input_size", size) for size in cfg["input_size"]]
        fits = len(sizes) == 3 and all(1 <= size <= _MAX_SIDE for size in sizes[1:])
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"model.default_cfg['input_size'] must be (channels, height, width), the last two "
            f"from 1 to {_MAX_SIDE}, got {cfg['input_size']!r}"
        )
    if not is_number(cfg["crop_pct"]) or not 0 < cfg["crop_pct"] < math.inf:
        raise ValueError(
            f"model.default_cfg['crop_pct'] must be a positive number, got {cfg['crop_pct']!r}"
        )
    return cfg


def _per_channel(cfg: Mapping[str, Any], key: str, channels: int) -> list[float]:
    try:
        values = [float(value) for value in np.atleast_1d(numpy_array(key, cfg[key]))]
    except (TypeError, ValueError):
        values = [math.nan]
    if not all(map(math.isfinite, values)) or (key == "std" and 0 in values):
        raise ValueError(
            f"model.default_cfg[{key!r}] must be finite numbers{', not 0' * (key == 'std')}, "
            f"got {cfg[key]!r}"
        )
    if len(values) not in (1, channels):
        raise ValueError(
            f"model.default_cfg[{key!r}] has {len(values)} values for {channels} channels; "
            f"expected {channels}, or one for all"
        )
    return values * (channels // len(values))


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
    image: Image.Image, covered: Sequence[int], resample: Image.Resampling, name: str
) -> Image.Image:
    """Resize, keeping the aspect ratio, to the smallest size that covers (height, width)."""
    if covered[0] == covered[1]:  # torchvision's Resize of the short side
        short = min(image.size)
        width, height = (int(covered[0] * side / short) for side in image.size)
    else:  # timm's ResizeKeepRatio
        ratio = min(image.height / covered[0], image.width / covered[1])
        width, height = (round(side / ratio) for side in image.size)
    if width * height > _MAX_PIXELS:
        raise ValueError(
            f"{name}: with {image.width} x {image.height} pixels it is too long and narrow to "
            f"resize it to {width} x {height}; crop it first"
        )
    if image.size != (width, height):
        image = image.resize((width, height), resample)
    return image


def _crop(image: Image.Image, height: int, width: int) -> Image.Image:
    """Take the centre."""
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))
