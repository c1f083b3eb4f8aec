"""Functional ops on CUDA devices give what they give on the CPU, and arrays stay where they are."""

from __future__ import annotations

from functools import partial

import fastconv
import numpy as np
import pytest
from fastconv import cuda

ON_DEVICE = pytest.mark.cuda


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


W = draw(8, 6, 3, 3)
VECTOR, POSITIVE = draw(6), abs(draw(6, seed=1)) + 0.5
IMAGES = (2, 6, 9, 7)

# A function of arrays of these shapes.
CALLS = [
    *((getattr(fastconv, name), [IMAGES]) for name in ("relu", "relu6", "silu", "hardswish")),
    *((getattr(fastconv, name), [(3, 50)]) for name in ("hardsigmoid", "sigmoid", "tanh", "mish")),
    (lambda x: fastconv.leaky_relu(x, 0.2), [(1000,)]),
    (lambda x: fastconv.gelu(x), [IMAGES]),
    (lambda x: fastconv.gelu(x, "tanh"), [()]),
    *((lambda x, a=a: fastconv.softmax(x, a), [IMAGES]) for a in range(4)),
    (lambda x: fastconv.log_softmax(x), [(4, 1000)]),
    (fastconv.add, [IMAGES, IMAGES]),
    (fastconv.add, [IMAGES, (6, 1, 1)]),
    (fastconv.multiply, [(4, 1, 3), (5, 1)]),
    (lambda x: fastconv.multiply(x, 0.5), [(7, 3)]),
    (lambda x: fastconv.add(2, x), [IMAGES]),
    (lambda x: fastconv.add(x, x), [(3, 3)]),
    *((getattr(fastconv, n), [IMAGES]) for n in ("exp", "expm1", "erf", "abs", "sign", "square")),
    *((getattr(fastconv, n), [(9, 7)]) for n in ("floor", "ceil", "negative", "reciprocal")),
    *((getattr(fastconv, name), [IMAGES]) for name in ("sin", "cos", "trunc")),
    *(
        (lambda x, function=function: function(fastconv.abs(x)), [(50,)])
        for function in (fastconv.sqrt, fastconv.rsqrt, fastconv.log, fastconv.log1p)
    ),
    (lambda x: fastconv.round(fastconv.multiply(x, 3)), [IMAGES]),
    *((getattr(fastconv, name), [IMAGES, (6, 1, 1)]) for name in ("subtract", "divide")),
    *((getattr(fastconv, name), [(7, 3), (3,)]) for name in ("minimum", "maximum")),
    (lambda x: fastconv.power(2.5, x), [IMAGES]),
    (lambda x: fastconv.power(fastconv.abs(x), -1.25), [IMAGES]),
    (lambda x: fastconv.clip(x, -0.5, 0.75), [IMAGES]),
    (lambda x, low: fastconv.clip(x, low, 0.75), [IMAGES, (9, 1)]),
    (lambda x, y: fastconv.subtract(y, fastconv.divide(x, 2)), [(3, 1), (3, 4)]),
    *(
        (lambda x, axes=axes: fastconv.mean(x, axes), [IMAGES])
        for axes in (None, 0, 1, (2, 3), (1, 3), (0, 2), (0, 1, 2), ())
    ),
    (lambda x: fastconv.mean(x, -1, keepdims=True), [(4, 5, 6)]),
    (lambda x: fastconv.batch_norm(x, VECTOR, POSITIVE, VECTOR, VECTOR), [IMAGES]),
    (lambda x: fastconv.batch_norm(x, VECTOR, POSITIVE, activation="silu"), [(5, 6, 4)]),
    (lambda x: fastconv.batch_norm(x, VECTOR, POSITIVE), [(5, 6)]),
    (lambda x: fastconv.layer_norm(x, 7, draw(7), draw(7)), [IMAGES]),
    (lambda x: fastconv.layer_norm(x, (6, 9, 7)), [IMAGES]),
    (lambda x: fastconv.local_response_norm(x, 3, alpha=0.5), [IMAGES]),
    (lambda x: fastconv.local_response_norm(x, 4, k=2.0), [IMAGES[1:]]),
    (lambda x: fastconv.max_pool2d(x, 3, 2, 1), [IMAGES]),
    (lambda x: fastconv.max_pool2d(x, (2, 3), dilation=2, ceil_mode=True), [IMAGES[1:]]),
    (lambda x: fastconv.avg_pool2d(x, 3, 2, 1, count_include_pad=False), [IMAGES]),
    (lambda x: fastconv.avg_pool2d(x, (3, 2), ceil_mode=True), [IMAGES]),
    (lambda x: fastconv.adaptive_avg_pool2d(x, (4, 3)), [IMAGES]),
    (lambda x: fastconv.adaptive_max_pool2d(x, 5), [IMAGES]),
    (fastconv.global_avg_pool2d, [IMAGES]),
    (fastconv.global_avg_pool2d, [IMAGES[1:]]),
    (lambda x: fastconv.interpolate(x, scale_factor=2), [IMAGES]),
    (lambda x: fastconv.interpolate(x, scale_factor=(2.086, 1.06)), [IMAGES]),
    (lambda x: fastconv.interpolate(x, (5, 20), mode="bilinear"), [IMAGES]),
    (lambda x: fastconv.interpolate(x, 12, mode="bilinear", align_corners=True), [IMAGES[1:]]),
    (lambda x: fastconv.interpolate(x, (5, 20), mode="area"), [IMAGES]),
    (lambda x: fastconv.channel_shuffle(x, 3), [IMAGES]),
    (lambda x: fastconv.pixel_shuffle(x, 2), [(2, 12, 3, 5)]),
    (lambda x: fastconv.depth_to_space(x, 2), [(2, 12, 3, 5)]),
    (lambda x: fastconv.pixel_unshuffle(x, 3), [(2, 5, 6, 9)]),
    (lambda x: fastconv.space_to_depth(x, 3), [(2, 5, 6, 9)]),
    (lambda x: fastconv.space_to_depth(x, 3, "CRD"), [(5, 6, 9)]),
    (lambda x: fastconv.flip(x, (1, 3)), [IMAGES]),
    (lambda x: fastconv.roll(x, (2, -3), (1, 2)), [IMAGES]),
    (lambda x: fastconv.stack([x, x], 1), [IMAGES]),
    (lambda x: fastconv.squeeze(fastconv.unsqueeze(x, 2)), [(3, 4, 5)]),
    (lambda x: fastconv.reshape(x, (3, -1)), [IMAGES]),
    (lambda x: fastconv.flatten(x, 1), [IMAGES]),
    (lambda x: fastconv.permute(x, (2, 0, 3, 1)), [IMAGES]),
    (lambda x: fastconv.permute(x, (4, 2, 0, 5, 1, 3)), [(2, 3, 2, 3, 2, 3)]),
    (lambda x: fastconv.split(x, 4, 1), [IMAGES]),
    (lambda x: fastconv.split(x, [1, 0, 5], 1), [IMAGES]),
    (lambda x, y: fastconv.concat([x, y, x], 1), [IMAGES, (2, 1, 9, 7)]),
    (lambda x, y: fastconv.concat((x, y)), [(2, 3), (5, 3)]),
    (lambda x: fastconv.pad(x, (1, 2, 3, 0)), [IMAGES]),
    (lambda x: fastconv.pad(x, (1, 2, -1, 3), value=7.0), [(4, 5)]),
    (lambda x: fastconv.pad(x, (2, 3), "reflect"), [(3, 4)]),
    (lambda x: fastconv.pad(x, (2, 3, 1, 1), "replicate"), [IMAGES]),
    (lambda x: fastconv.conv2d(x, W, draw(8), padding=1, activation="relu"), [IMAGES]),
    (lambda x: fastconv.conv2d(x, W, padding="same", stride=2), [IMAGES[1:]]),
    (lambda x, r: fastconv.conv2d(x, W, residual=r), [IMAGES, (2, 8, 7, 5)]),
    (lambda x: fastconv.conv2d(x, W, accuracy="exact"), [IMAGES]),
    (lambda x: fastconv.conv1d(x, draw(4, 3, 3), groups=2, padding=1), [(2, 6, 20)]),
    (lambda x: fastconv.conv1d(x, draw(4, 6, 5)), [(6, 20)]),
    (lambda x: fastconv.conv_transpose2d(x, draw(6, 4, 3, 3), draw(4), 2, 1, 1), [IMAGES]),
    (lambda x: fastconv.conv_transpose2d(x, draw(6, 2, 2, 3), groups=2), [IMAGES[1:]]),
    (
        lambda x: fastconv.depthwise_separable_conv2d(
            x, draw(12, 1, 3, 3), draw(5, 12, 1, 1), padding=1, depthwise_activation="relu6"
        ),
        [IMAGES],
    ),
    (lambda x: fastconv.linear(x, draw(5, 7), draw(5), activation="gelu"), [IMAGES]),
    (lambda x, r: fastconv.linear(x, draw(5, 7), residual=r), [(3, 7), (3, 5)]),
    (lambda x: fastconv.linear(x, draw(5, 7)), [(7,)]),
]


def check(actual, expected, tolerance=2e-6):
    if isinstance(expected, tuple):
        assert isinstance(actual, tuple)
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            check(a, e, tolerance)
        return
    assert type(actual) is cuda.Array
    values = actual.numpy()
    assert (values.shape, values.dtype) == (expected.shape, expected.dtype)
    scale = max(1.0, float(abs(expected).max(initial=0)))
    np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance * scale)


@ON_DEVICE
@pytest.mark.parametrize("index", range(len(CALLS)))
def test_ops_give_what_they_give_on_the_cpu(index):
    call, shapes = CALLS[index]
    arrays = [draw(*shape, seed=i) for i, shape in enumerate(shapes)]
    expected = call(*arrays)
    for _ in range(2):  # the second one finds what the first one has compiled
        check(call(*map(cuda.asarray, arrays)), expected, 1e-5)
    if len(arrays) == 1:  # empty ones
        shape = (0, *shapes[0][1:]) if len(shapes[0]) in (2, 4) else None
        if shape is not None and call(arrays[0]) is not None:
            try:
                expected = call(np.empty(shape, np.float32))
            except ValueError:
                return
            check(call(cuda.asarray(np.empty(shape, np.float32))), expected)


def random_convolution(rng):
    """x, weight, bias, options and the residual's shape or None."""
    pick = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    groups = pick(1, 1, 1, 2, 3)
    channels, out = groups * pick(1, 3, 4, 8, 17), groups * pick(1, 4, 5, 16, 33)
    kernel = (pick(1, 3, 3, 5), pick(1, 3, 3, 2))
    if rng.random() < 0.25:
        groups, out = channels, channels * pick(1, 1, 2)
    shape = (pick(1, 2, 3), channels, pick(5, 8, 13), pick(5, 9, 16))
    options = {
        "stride": (pick(1, 1, 2), pick(1, 1, 3)),
        "padding": pick(0, 1, 2, "same", ((0, 1), (2, 1))),
        "dilation": pick(1, 1, (1, 2)),
        "groups": groups,
        "activation": pick(None, "relu", "silu"),
    }
    bias = draw(out) if rng.random() < 0.5 else None
    weight = draw(out, channels // groups, *kernel)
    return draw(*shape), weight, bias, options


@ON_DEVICE
@pytest.mark.parametrize("seed", range(60))
def test_random_convolutions(seed):
    rng = np.random.default_rng(seed)
    x, weight, bias, options = random_convolution(rng)
    activation = options.pop("activation")
    expected = fastconv.conv2d(x, weight, bias, **options, algorithm="reference")
    residual = draw(*expected.shape, seed=1) if rng.random() < 0.5 else None
    options["activation"] = activation
    y = fastconv.conv2d(x, weight, bias, **options, residual=residual, algorithm="reference")
    # The bound of docs/accuracy.md, from the sums of absolute values.
    options["activation"] = None
    sums = fastconv.conv2d(abs(x), abs(weight), None if bias is None else abs(bias), **options) + (
        0 if residual is None else abs(residual)
    )
    bound = 2e-6 * sums.max(axis=(0, 2, 3), keepdims=True)
    options["activation"] = activation
    place = cuda.asarray
    listed = fastconv.algorithms(
        x.shape,
        weight.shape,
        **{k: v for k, v in options.items() if k != "activation"},
        device="cuda",
    )
    for algorithm in ("auto", *(info.name for info in listed)):
        actual = fastconv.conv2d(
            place(x),
            weight,
            bias,
            **options,
            residual=None if residual is None else place(residual),
            algorithm=algorithm,
        )
        assert (abs(actual.numpy() - y) <= bound).all(), algorithm


@ON_DEVICE
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("take", lambda x: fastconv.take(x, [0, 2], 1)),
        ("tile", lambda x: fastconv.tile(x, 2)),
        ("tile", lambda x: fastconv.expand(x, (5, *x.shape))),
        ("scatter_add", lambda x: fastconv.scatter_add(x, [0] * 6, x, 1)),
        ("grid_sample", lambda x: fastconv.grid_sample(x, cuda.asarray(draw(2, 4, 5, 2)))),
    ],
)
def test_what_does_not_run_on_a_device_says_so(name, call):
    with pytest.raises(ValueError, match=f"^{name} does not run on device='cuda'"):
        call(cuda.asarray(draw(*IMAGES)))


@ON_DEVICE
def test_device_takes_numpy_arrays_there():
    x, residual = draw(*IMAGES), draw(2, 8, 7, 5)
    expected = fastconv.conv2d(x, W, residual=residual)
    check(fastconv.conv2d(x, W, residual=residual, device="cuda"), expected)
    check(
        fastconv.conv1d(draw(6, 20), draw(4, 6, 5), device="cuda"),
        fastconv.conv1d(draw(6, 20), draw(4, 6, 5)),
    )


@ON_DEVICE
def test_weights_may_be_on_the_device():
    x = draw(*IMAGES)
    y = fastconv.conv2d(cuda.asarray(x), cuda.asarray(W), cuda.asarray(draw(8)))
    check(y, fastconv.conv2d(x, W, draw(8)))


class Lent:
    """As another library's array: DLPack and nothing else."""

    def __init__(self, array):
        self._array = cuda.asarray(array)
        self.shape, self.ndim = array.shape, array.ndim

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class Interface:
    """As another library's array: ``__cuda_array_interface__`` and nothing else; channels last."""

    def __init__(self, array):
        self._array = cuda.asarray(array.transpose(0, 2, 3, 1))
        n, h, w, c = self._array.strides
        self.__cuda_array_interface__ = {
            **self._array.__cuda_array_interface__, "shape": array.shape, "strides": (n, c, h, w)
        }  # fmt: skip


@ON_DEVICE
@pytest.mark.parametrize("kind", [Lent, Interface])
def test_arrays_of_other_libraries(kind):
    x = draw(*IMAGES)
    check(fastconv.conv2d(kind(x), W), fastconv.conv2d(x, W))
    check(fastconv.relu(kind(x)), fastconv.relu(x))


@ON_DEVICE
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, d: fastconv.add(d, x), TypeError, r"a is on a CUDA device, but b is ndarray"),
        (lambda x, d: fastconv.add(x, d), TypeError, r"b is on a CUDA device, but a is ndarray"),
        (
            lambda x, d: fastconv.conv2d(x, cuda.asarray(W)),
            TypeError,
            "weight is on a CUDA device, but x is not",
        ),
        (
            lambda x, d: fastconv.conv2d(d, W, residual=draw(2, 8, 7, 5)),
            TypeError,
            "x is on a CUDA device, but residual is ndarray",
        ),
        (lambda x, d: fastconv.concat([d, x]), TypeError, r"arrays\[0\] is on a CUDA device, but"),
        (lambda x, d: fastconv.relu(d, out=x), TypeError, "out cannot be given"),
        (lambda x, d: fastconv.conv2d(d, W, device="cpu"), TypeError, "device='cpu', but x is on"),
        (
            lambda x, d: fastconv.relu(cuda.asarray(x.astype(np.float64))),
            TypeError,
            "x must be float32 on a CUDA device, got float64",
        ),
        (
            lambda x, d: fastconv.conv2d(x.astype(np.float64), W, device="cuda"),
            TypeError,
            "x must be float32 on a CUDA device, got float64",
        ),
        (lambda x, d: fastconv.conv2d(x, W, device="cuda:99"), ValueError, "99"),
        (lambda x, d: fastconv.conv2d(x, W, device="cuda:x"), ValueError, "device must be one of"),
        (
            lambda x, d: fastconv.conv2d(d, W, algorithm="im2col"),
            ValueError,
            "algorithm must be one of auto, implicit_gemm, depthwise, winograd4, wgmma on "
            "device='cuda'",
        ),
        (
            lambda x, d: fastconv.conv2d(d, W, algorithm="depthwise"),
            ValueError,
            "'depthwise' cannot serve",
        ),
        (
            lambda x, d: fastconv.conv2d(d, W, accuracy="exact", algorithm="winograd4"),
            ValueError,
            "accuracy='exact'",
        ),
        (lambda x, d: fastconv.conv2d(d, W[:, :5]), ValueError, "weight has 5 input channels"),
        (
            lambda x, d: fastconv.algorithms(x.shape, W.shape, dtype="float64", device="cuda"),
            ValueError,
            "dtype must be float32",
        ),
        (lambda x, d: fastconv.relu(cuda.asarray(draw(*[1] * 9))), ValueError, "up to 8 dim"),
        *(
            (
                partial(lambda x, d, **mode: fastconv.interpolate(d, 5, **mode), **mode),
                ValueError,
                f"interpolate with the mode {name}, .* does not run on device='cuda'",
            )
            for name, mode in (
                ("nearest", {"mode": "nearest-exact"}),
                ("bicubic", {"mode": "bicubic"}),
                ("bilinear", {"mode": "bilinear", "antialias": True}),
            )
        ),
    ],
)
def test_errors(call, error, message):
    x = draw(*IMAGES)
    with pytest.raises(error, match=message):
        call(x, cuda.asarray(x))


@ON_DEVICE
@pytest.mark.parametrize("name", ["minimum", "maximum", "clip", "round", "sign"])
def test_special_values_are_those_of_the_cpu(name):
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, 1.5, -2.5, 1.0]
    a, b = (v.reshape(-1).astype(np.float32) for v in np.meshgrid(special, special))
    operands = {"clip": (a, b, b[::-1].copy()), "round": (a,), "sign": (a,)}.get(name, (a, b))
    function = getattr(fastconv, name)
    expected = function(*operands)
    actual = function(*map(cuda.asarray, operands)).numpy()
    np.testing.assert_array_equal(actual, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual)[number], np.signbit(expected)[number])


COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
LOGIC = ("logical_and", "logical_or", "logical_xor")


@ON_DEVICE
@pytest.mark.parametrize("shape", [(3, 40, 5, 9), (4,), (), (0, 4)])
def test_masks_on_a_device(shape):
    """As results and as operands, of any strides; those of other libraries too."""
    a, b = np.round(draw(*shape)), np.round(draw(*shape, seed=1))
    masks = []
    for name in COMPARISONS:
        masks.append(getattr(fastconv, name)(a, b))
        check(getattr(fastconv, name)(cuda.asarray(a), cuda.asarray(b)), masks[-1])
    p, q = masks[0], masks[2]
    on_device = cuda.asarray(p), Lent(q)
    for name in LOGIC:
        check(getattr(fastconv, name)(*on_device), getattr(fastconv, name)(p, q))
    check(fastconv.logical_not(on_device[0]), ~p)
    check(fastconv.where(on_device[0], cuda.asarray(a), 0.5), np.where(p, a, np.float32(0.5)))
    if len(shape) == 4:
        swapped = np.ascontiguousarray(p.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        check(fastconv.where(Interface(swapped), Interface(a), Interface(b)), np.where(p, a, b))
        check(
            fastconv.where(cuda.asarray(p[:1, :, :1]), Interface(a), 2),
            np.where(p[:1, :, :1], a, 2),
        )


@ON_DEVICE
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, mask: fastconv.exp(mask), "x must be float32 on a CUDA device, got bool"),
        (lambda x, mask: fastconv.add(x, mask), "b must be float32 on a CUDA device, got bool"),
        (lambda x, mask: fastconv.where(mask, x, mask), "b must be float32 on a CUDA device, got"),
        (lambda x, mask: fastconv.reshape(mask, -1), "x must be float32 on a CUDA device, got"),
        (lambda x, mask: fastconv.where(x, x, 0), r"condition must be bool, .*not_equal\(cond"),
        (lambda x, mask: fastconv.logical_and(mask, x), "b must be bool, got float32: compare"),
        (lambda x, mask: fastconv.logical_not(x), "x must be bool, got float32: compare"),
    ],
)
def test_masks_are_no_numbers_on_a_device(call, message):
    x = cuda.asarray(draw(3, 4))
    with pytest.raises(TypeError, match=message):
        call(x, fastconv.less(x, 0))


@ON_DEVICE
def test_calls_that_differ_are_not_confused():
    x = cuda.asarray(draw(3, 4))
    for slope in (0.1, 0.2):
        check(fastconv.leaky_relu(x, slope), fastconv.leaky_relu(x.numpy(), slope))
    for number in (1.0, 2.0):
        check(fastconv.add(x, number), fastconv.add(x.numpy(), number))
        check(fastconv.multiply(x, number), fastconv.multiply(x.numpy(), number))


@pytest.mark.usefixtures("without_cuda")
def test_without_cuda_a_device_is_an_error_that_says_what_is_missing():
    with pytest.raises(cuda.CudaUnavailable, match="device='cuda' needs a CUDA device: this build"):
        fastconv.conv2d(draw(*IMAGES), W, device="cuda")
    with pytest.raises(cuda.CudaUnavailable, match="device='cuda:1' needs"):
        fastconv.algorithms(IMAGES, W.shape, device="cuda:1")


@ON_DEVICE
@pytest.mark.parametrize(
    "name", ["sum", "prod", "max", "min", "argmax", "argmin", "norm", "cumsum"]
)
def test_reductions_without_a_kernel_are_named(name):
    op = getattr(fastconv, name)
    message = rf"{name} (does not run|has no kernel for int64) on device='cuda'"
    with pytest.raises(ValueError, match=message):
        op(cuda.asarray(draw(3, 4)), axis=1)
